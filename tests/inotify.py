"""A user namespace of its own, in which the kernel hands out as few inotify instances and watches as a test wants."""

import subprocess

import pytest

#: Words before a command that runs in such a namespace.
NAMESPACE = ["unshare", "--user", "--map-root-user"]


def allow(count: int) -> str:
    """A shell command that sets how many instances and watches there may be; said in the namespace."""
    return f"for of in instances watches; do echo {count} > /proc/sys/user/max_inotify_$of || exit; done"


def allow_in(pid: int, count: int) -> None:
    """Set how many instances and watches there may be in the namespace of a process."""
    words = [
        "nsenter",
        "--user",
        f"--target={pid}",
        "--preserve-credentials",
        "sh",
        "-c",
        allow(count),
    ]
    subprocess.run(words, check=True)


def _why_not() -> str:
    try:
        done = subprocess.run(
            [*NAMESPACE, "sh", "-c", allow(1)], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return "there is no unshare(1) here"
    return "" if done.returncode == 0 else f"no user namespaces here: {done.stderr.strip()}"


limited = pytest.mark.skipif(bool(why := _why_not()), reason=why)
