"""The bare rename spool: the smallest loop in Python that is still a queue.

It claims by a rename, spawns, waits, and renames to done or failed. There is no record, no log, no retry, no heartbeat and no
waking: what queuectl costs beyond this is the price of what it promises.

    python bare.py SPOOL WIDTH

Leaves to others
    filling SPOOL/pending (drain).
Raises
    OSError from the disk.
"""

from __future__ import annotations

import os
import sys


def work(spool: str, share: int, width: int) -> None:
    """Run every job of our share, then whatever the others have left."""
    pending, done, failed = (os.path.join(spool, name) for name in ("pending", "done", "failed"))
    mine = os.path.join(spool, f"mine-{os.getpid()}")
    os.mkdir(mine)
    names = sorted(os.listdir(pending))
    shell, environ = "/bin/sh", dict(os.environ)
    for name in [*names[share::width], *names]:
        held = f"{mine}/{name}"
        try:
            os.rename(f"{pending}/{name}", held)
        except FileNotFoundError:
            continue  # another worker was first
        with open(held) as file:
            command = file.read()
        pid = os.posix_spawn(shell, (shell, "-c", command), environ)
        _, status = os.waitpid(pid, 0)
        os.rename(held, f"{failed if status else done}/{name}")
    os.rmdir(mine)


def main(spool: str, width: int) -> None:
    """Work with `width` processes until nothing is left."""
    for name in ("done", "failed"):
        os.makedirs(os.path.join(spool, name), exist_ok=True)
    workers = []
    for share in range(width):
        pid = os.fork()
        if not pid:
            work(spool, share, width)
            os._exit(0)
        workers.append(pid)
    codes = [os.waitpid(pid, 0)[1] for pid in workers]
    if any(codes):
        raise SystemExit("bare: a worker failed")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
