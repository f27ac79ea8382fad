"""Fixtures of all tests: a spool of its own for each."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from queuectl import Spool, config
from tests.support import Command

# No test depends on how fast a busy machine draws examples.
hypothesis.settings.register_profile(
    "steady", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("steady")


def pytest_addoption(parser: pytest.Parser) -> None:
    """What CI asks for besides."""
    parser.addoption(
        "--every-error",
        action="store_true",
        help="each disk call lies and fails in every way, not in one of them",
    )
    parser.addoption(
        "--pictures",
        metavar="DIR",
        help="write the pictures of the dashboard that are in the documents",
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Callable[..., None]) -> Any:
    """One process plays all scenarios of several hosts, one after the other; every other test goes to whoever is free.

    (pytest-xdist 3.8 has groups for that, which pytest 9.2 does not let it make.)
    """
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            module = nodeid.partition("::")[0]
            return module if module.endswith("hosts/test_hosts.py") else nodeid

    return Scheduling(config, log)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting and no spool of the machine that runs the tests gets into one."""
    for name in list(os.environ):
        if name.startswith("QUEUECTL_"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def same_directory() -> Iterator[None]:
    """A worker that runs in the process of a test leaves it in the directory of its last job."""
    before = os.getcwd()
    yield
    os.chdir(before)


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


@pytest.fixture
def overtake(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Whoever takes a lock next gets it only after somebody else has had it and done something: overtake(act)."""
    real = config.locked

    def overtake(act: Callable[[], object]) -> None:
        @contextmanager
        def locked(path: str, **more: Any) -> Iterator[None]:
            monkeypatch.setattr(config, "locked", real)
            act()
            with real(path, **more):
                yield

        monkeypatch.setattr(config, "locked", locked)

    return overtake
