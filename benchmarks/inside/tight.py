"""The tight loop: what queuectl does on the disk for a job, and nothing else.

It claims by a rename under a new time, reads the job, gives the command two nameless logs and a process group of its own,
waits, writes the record of the run into a new file, and renames to completed/ or failed/. There are no settings, retries,
limits, heartbeats, timeouts, signals, log lines nor syncs, and no functions to hold them: nothing in Python that keeps
queuectl's files can be much faster. What queuectl costs beyond this is the price of all that.

    python tight.py SPOOL WIDTH

Leaves to others
    filling SPOOL/pending (peers).
Raises
    OSError from the disk.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time


def _log(directory: str) -> int:
    """A nameless file, open for reading."""
    fd = os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(fd)


def _stamp(now: float) -> str:
    whole = int(now)
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(whole))}.{int((now - whole) * 1e6):06}Z"


def work(spool: str, share: int, width: int) -> None:
    """Run every job of our share, then whatever the others have left."""
    mine = f"worker-{os.getpid()}"
    os.mkdir(f"{spool}/processing/{mine}")
    os.setsid()
    names = sorted(os.listdir(f"{spool}/pending"))
    environ, null, make = (
        dict(os.environ),
        os.open(os.devnull, os.O_RDONLY),
        json.JSONEncoder(separators=(",", ":")).encode,
    )
    logs = [_log(f"{spool}/logs") for _ in range(2)]
    for name in [*names[share::width], *names]:
        id = name.partition("-")[2]
        claim = f"processing/{mine}/{_stamp(time.time())}-{id}"
        try:
            os.rename(f"{spool}/pending/{name}", f"{spool}/{claim}")
        except FileNotFoundError:
            continue  # another worker was first
        with open(f"{spool}/{claim}", "rb", buffering=0) as file:
            command = json.loads(file.read())["command"]
        environ["QUEUECTL_JOB_ID"] = id
        opens = [
            (os.POSIX_SPAWN_OPEN, at, f"/proc/{os.getpid()}/fd/{fd}", os.O_WRONLY | os.O_APPEND, 0)
            for at, fd in enumerate(logs, 1)
        ]
        began = time.time()
        actions = [(os.POSIX_SPAWN_DUP2, null, 0), *opens]
        pid = os.posix_spawn(command[0], command, environ, file_actions=actions, setpgroup=0)
        _, status, usage = os.wait4(pid, 0)
        ended = time.time()
        for fd in logs:
            if os.lseek(fd, 0, os.SEEK_END):
                raise SystemExit("tight: a command printed something")
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)  # nobody can write to it any more
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        target = f"{'failed' if status else 'completed'}/{_stamp(ended)}-{id}"
        record = {
            "claim": claim,
            "to": target,
            "worker": mine,
            "started_at": _stamp(began),
            "finished_at": _stamp(ended),
            "exit_code": os.waitstatus_to_exitcode(status),
            "cpu_seconds": usage.ru_utime + usage.ru_stime,
        }
        fd = os.open(
            f"{spool}/results/{id}l",
            os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC,
            0o600,
        )
        os.write(fd, make(record).encode() + b"\n")
        os.close(fd)
        os.rename(f"{spool}/{claim}", f"{spool}/{target}")
    os.rmdir(f"{spool}/processing/{mine}")


def main(spool: str, width: int) -> None:
    """Work with `width` processes until nothing is left."""
    for name in ("processing", "completed", "failed", "results", "logs"):
        os.makedirs(f"{spool}/{name}", exist_ok=True)
    workers = []
    for share in range(width):
        pid = os.fork()
        if not pid:
            work(spool, share, width)
            os._exit(0)
        workers.append(pid)
    codes = [os.waitpid(pid, 0)[1] for pid in workers]
    if any(codes):
        raise SystemExit("tight: a worker failed")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
