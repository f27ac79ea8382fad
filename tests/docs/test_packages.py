"""What is given away: the wheel and the sdist install into a clean environment, and run."""

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from queuectl import __version__
from tests.support import environment

ROOT = Path(__file__).parents[2]


def run(*words, **options):
    return subprocess.run(
        list(map(str, words)), capture_output=True, text=True, timeout=110, check=True, **options
    ).stdout


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    directory = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-d", directory, cwd=ROOT)
    return {path.suffix: path for path in directory.iterdir()}


def test_a_wheel_has_the_program_its_types_and_its_manual_and_no_tests(packages):
    names = zipfile.ZipFile(packages[".whl"]).namelist()

    assert packages[".whl"].name == f"queuectl-{__version__}-py3-none-any.whl"
    assert {
        "queuectl/py.typed",
        "queuectl/__main__.py",
        f"queuectl-{__version__}.data/data/share/man/man1/queuectl.1",
    } <= set(names)
    assert not [name for name in names if name.startswith(("tests", "docs", "benchmarks"))]
    ours = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "queuectl").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert ours <= set(names)


def test_a_sdist_has_all_that_a_build_and_a_check_need(packages):
    with tarfile.open(packages[".gz"]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    assert {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "check",
        "queuectl/__init__.py",
        "tests/conftest.py",
        "docs/queuectl.1",
    } <= names
    assert not [name for name in names if name.startswith((".venv", "build", "dist", ".git/"))]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("suffix", [".whl", ".gz"])
def test_a_package_installs_into_a_clean_environment_and_runs(packages, tmp_path, suffix):
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    run(
        tmp_path / "venv" / "bin" / "pip",
        "install",
        "-q",
        "--disable-pip-version-check",
        packages[suffix],
    )
    queuectl, env = tmp_path / "venv" / "bin" / "queuectl", environment(tmp_path / "spool")

    said = run(queuectl, "--version", env=env)
    assert re.fullmatch(rf"queuectl, version {re.escape(__version__)}\+[0-9a-f]{{8}}\n", said), said
    run(queuectl, "enqueue", "--id", "a", "-c", "echo installed", env=env)
    run(queuectl, "worker", "start", "--drain", env=env)
    assert run(queuectl, "logs", "a", env=env) == "installed\n"
    assert (tmp_path / "venv" / "share" / "man" / "man1" / "queuectl.1").exists()
