"""The kit: what is measured, built and installed where it harms nobody.

queuectl is built as a wheel from this checkout and installed into build/benchmarks/queuectl; the peers that are
Python packages go into build/benchmarks/peers, those that are programs come by apt.

Promises
    No service is left running or enabled: servers are started by the benchmark itself, and ended.
Raises
    CalledProcessError from pip.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.arena import ROOT

BUILD = ROOT / "build" / "benchmarks"

#: The peers that pip installs, and the packages of Debian that hold the others.
PACKAGES = [
    "dirq>=1.8",
    "litequeue>=0.9",
    "greenstalk>=2.1",
    "huey>=3",
    "celery[redis]>=5.6",
    "packaging",
    "dramatiq>=2",
    "rq>=2.6",
]
PROGRAMS = ["task-spooler", "nq", "parallel", "redis-server", "beanstalkd"]

#: A file that keeps Debian's packages from starting their services.
_POLICY = Path("/usr/sbin/policy-rc.d")


def _venv(path: Path) -> str:
    python = path / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", path], check=True)
    return str(python)


def _pip(python: str, *words: str) -> None:
    subprocess.run(
        [python, "-m", "pip", "--disable-pip-version-check", *words, "-q"],
        stdout=sys.stderr,
        check=True,
    )


def _compiled(python: str) -> str:
    """The interpreter, none of whose modules must be compiled at each start: a copy of its directory may have made that necessary."""
    where = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    # What is no Python of this version (templates, other versions' tests) cannot be compiled, nor is it imported.
    subprocess.run([python, "-m", "compileall", "-qq", where.stdout.strip()], check=False)
    return python


def ours(*, again: bool = True) -> str:
    """An interpreter with queuectl from a wheel of this checkout."""
    path = BUILD / "queuectl"
    if again or not (path / "bin" / "queuectl").exists():
        wheels = BUILD / "wheels"
        shutil.rmtree(wheels, ignore_errors=True)
        python = _venv(path)
        _pip(python, "wheel", "--no-deps", "-w", str(wheels), str(ROOT))
        [wheel] = wheels.iterdir()
        _pip(python, "install", str(wheel))
        _pip(python, "install", "--no-deps", "--force-reinstall", str(wheel))
    return _compiled(str(path / "bin" / "python"))


def peers() -> str | None:
    """The interpreter with the peers, if `setup` was run."""
    python = BUILD / "peers" / "bin" / "python"
    return _compiled(str(python)) if python.exists() else None


def setup() -> None:
    """Install what can be installed."""
    python = _venv(BUILD / "peers")
    for package in PACKAGES:  # one by one: a peer that is not to be had is left out
        try:
            _pip(python, "install", package)
        except subprocess.CalledProcessError:
            print(f"{package} cannot be installed; it will be left out", file=sys.stderr)
    if shutil.which("apt-get") and os.geteuid() == 0:
        _programs()
    else:
        print(
            f"as root, and where there is apt, these would be installed: {' '.join(PROGRAMS)}",
            file=sys.stderr,
        )


def _programs() -> None:
    made = not _POLICY.exists()
    if made:
        _POLICY.write_text("#!/bin/sh\nexit 101\n")
        _POLICY.chmod(0o755)
    try:
        subprocess.run(["apt-get", "update", "-q"], stdout=sys.stderr, check=False)
        for program in PROGRAMS:
            subprocess.run(
                ["apt-get", "install", "-qy", "--no-install-recommends", program],
                stdout=sys.stderr,
                check=False,
            )
    finally:
        if made:
            _POLICY.unlink()
    if shutil.which("systemctl"):
        subprocess.run(
            ["systemctl", "disable", "redis-server", "beanstalkd"], capture_output=True, check=False
        )
