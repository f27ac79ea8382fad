"""Fixtures of all tests: a spool of its own for each."""

import os
from pathlib import Path

import pytest

from queuectl import Spool
from tests.support import Command


def pytest_addoption(parser: pytest.Parser) -> None:
    """What CI asks for besides."""
    parser.addoption("--every-error", action="store_true", help="each disk call lies and fails in every way, not in one of them")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting and no spool of the machine that runs the tests gets into one."""
    for name in list(os.environ):
        if name.startswith("QUEUECTL_"):
            monkeypatch.delenv(name)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a spool may be made."""
    return tmp_path / "spool"


@pytest.fixture
def spool(path: Path) -> Spool:
    """A spool that is there."""
    return Spool(path).make()


@pytest.fixture
def queuectl(path: Path) -> Command:
    """The command, on the spool of this test."""
    return Command(path)
