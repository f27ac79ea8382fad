"""The other queues: how each is filled, drained by two workers, and kept idle to be woken.

Promises
    Whatever a peer needs runs in a directory of its own and ends with it: Redis and beanstalkd listen on a socket there.
    The rate of every contestant counts from the start of its workers to the end of its last job.
Leaves to others
    what happens inside an interpreter with the peer's library (inside/with_*.py, inside/loop.py).
Raises
    Impossible if the peer is not installed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from benchmarks.arena import INSIDE, JOB, Arena, Cost, Impossible, ended, environment

#: Seconds until a server must be there.
PATIENCE = 10

#: What keeps the two places of a queue busy until all its jobs are queued, for those that start a job at once.
_GATE = ["/bin/sh", "-c", 'read x < "$BENCH_DIR/gate"']


class Bench(NamedTuple):
    """A peer at work: its directory, its environment, the pids of its servers."""

    arena: Arena
    directory: Path
    env: dict[str, str]
    servers: list[int]

    def client(self, module: str, *words: str) -> object:
        """Run inside/client.py with the interpreter of the peers."""
        return self.arena.inside(
            "client", module, *words, python=self.arena.peers or sys.executable, **self.env
        )


@dataclass(frozen=True)
class Peer:
    """A contestant. `module`: its inside/with_*.py. `workers`: the argv of two workers, ending when all is done if
    `ends`, else for ever. `fill` instead of the client if it has its own way; `before`: commands that do it in the tree that
    is measured, uncounted; `most`: the most jobs that it gets, because it is slow or holds no more."""

    name: str
    records: str
    workers: Callable[[Bench, bool, int], list[str]]
    module: str = ""
    needs: tuple[str, ...] = ()
    server: str = ""
    ends: bool = True
    wakes: bool = True
    most: int = 1_000_000
    env: dict[str, str] = field(default_factory=dict)
    fill: Callable[[Bench, int], None] | None = None
    before: Callable[[Bench, int], list[list[str]]] | None = None

    def obstacle(self, arena: Arena) -> str | None:
        """Why it cannot take part; None if it can."""
        for need in self.needs:
            if need.startswith("python:") and (
                arena.peers is None or not _has_module(arena.peers, need.removeprefix("python:"))
            ):
                return (
                    f"{need.removeprefix('python:')} is not installed (python -m benchmarks setup)"
                )
            if not need.startswith("python:") and shutil.which(need) is None:
                return f"{need} is not installed (python -m benchmarks setup)"
        return None

    @contextlib.contextmanager
    def bench(self, arena: Arena) -> Iterator[Bench]:
        """A fresh directory, with the peer's server if it has one."""
        directory = arena.fresh("peer")
        env = {"BENCH_DIR": str(directory), **self.env, "PYTHONPATH": str(INSIDE)}
        env |= {
            "TS_SOCKET": f"{directory}/tsp.sock",
            "TMPDIR": str(directory),
            "NQDIR": f"{directory}/nq0",
            "TS_MAXFINISHED": "100000",
        }
        with contextlib.ExitStack() as stack:
            servers = [stack.enter_context(_SERVERS[self.server](directory))] if self.server else []
            yield Bench(arena, directory, env, servers)

    def drain(self, arena: Arena, count: int) -> tuple[int, Cost]:
        """How many jobs it was given, and what they cost."""
        count = min(count, self.most)
        with self.bench(arena) as bench:
            before = self.before(bench, count) if self.before else []
            if self.fill:
                self.fill(bench, count)
            elif not before:
                bench.client(self.module, "fill", str(count), *JOB)
            tally = None if self.ends else (bench.directory / "tally", count)
            argv = self.workers(bench, False, count)
            log = arena.place / "peer.log"
            return count, arena.cost(
                argv, log=log, tally=tally, servers=bench.servers, before=before, **bench.env
            )

    @contextlib.contextmanager
    def idle(self, arena: Arena) -> Iterator[Bench]:
        """Its two workers wait for jobs."""
        with self.bench(arena) as bench, open(arena.place / "peer.log", "wb") as log:
            process = subprocess.Popen(
                self.workers(bench, True, 0), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=environment(**bench.env), cwd=bench.directory, start_new_session=True,
            )  # fmt: skip
            try:
                yield bench
            finally:
                _end_group(process)


def _has_module(python: str, name: str) -> bool:
    return (
        subprocess.run(
            [python, "-c", f"import {name}"], capture_output=True, check=False
        ).returncode
        == 0
    )


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a session of ours, all of it."""
    for number in (15, 9):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)


# -- servers


def _until_there(path: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not path.exists():
        if time.monotonic() > deadline:
            raise Impossible(f"{path.name} did not come up")
        time.sleep(0.01)


@contextlib.contextmanager
def _serving(argv: list[str], socket: Path) -> Iterator[int]:
    process = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    with ended(process):
        _until_there(socket)
        yield process.pid


def _redis(directory: Path) -> contextlib.AbstractContextManager[int]:
    socket = directory / "redis.sock"
    words = [
        "--port",
        "0",
        "--unixsocket",
        str(socket),
        "--save",
        "",
        "--appendonly",
        "no",
        "--dir",
        str(directory),
    ]
    return _serving(["redis-server", *words], socket)


def _beanstalkd(directory: Path) -> contextlib.AbstractContextManager[int]:
    socket = directory / "beanstalkd.sock"
    return _serving(["beanstalkd", "-l", f"unix:{socket}"], socket)


_SERVERS = {"redis": _redis, "beanstalkd": _beanstalkd}


# -- the workers of each


def _commands(bench: Bench, count: int) -> None:
    (bench.directory / "lines").write_text(f"{JOB[2]}\n" * count)


def _xargs(bench: Bench, forever: bool, count: int) -> list[str]:
    return ["xargs", "-a", f"{bench.directory}/lines", "-P", "2", "-d", r"\n", "-n", "1", *JOB[:2]]


def _parallel(bench: Bench, forever: bool, count: int) -> list[str]:
    lines, log = f"{bench.directory}/lines", f"{bench.directory}/joblog"
    return ["env", "SHELL=/bin/sh", "parallel", "--will-cite", "-j2", "--joblog", log, "-a", lines]


def _bare_fill(bench: Bench, count: int) -> None:
    (bench.directory / "pending").mkdir()
    for number in range(count):
        (bench.directory / "pending" / f"{number:08}").write_text(JOB[2])


def _tight_fill(bench: Bench, count: int) -> None:
    (bench.directory / "pending").mkdir()
    for number in range(count):
        (bench.directory / "pending" / f"{number:08}-{number}.json").write_text(
            json.dumps({"command": JOB})
        )


def _ours(script: str) -> Callable[[Bench, bool, int], list[str]]:
    def argv(bench: Bench, forever: bool, count: int) -> list[str]:
        return [bench.arena.python, str(INSIDE / script), str(bench.directory), "2"]

    return argv


def _tight_in_c(bench: Bench, forever: bool, count: int) -> list[str]:
    return [bench.arena.program("tight"), str(bench.directory), "2"]


def _loop(module: str) -> Callable[[Bench, bool, int], list[str]]:
    def argv(bench: Bench, forever: bool, count: int) -> list[str]:
        return [
            str(bench.arena.peers),
            str(INSIDE / "loop.py"),
            module,
            "2",
            *(["forever"] if forever else []),
        ]

    return argv


def _script(bench: Bench, name: str) -> str:
    return str(Path(str(bench.arena.peers)).parent / name)


def _huey(bench: Bench, forever: bool, count: int) -> list[str]:
    script = next(
        name
        for name in ("huey_consumer", "huey_consumer.py")
        if Path(_script(bench, name)).exists()
    )
    return [_script(bench, script), "with_huey.huey", "-w", "2", "-k", "process", "-q"]


def _celery(bench: Bench, forever: bool, count: int) -> list[str]:
    words = ["-c", "2", "-P", "prefork", "--without-gossip", "--without-mingle", "-l", "WARNING"]
    return [_script(bench, "celery"), "-A", "with_celery", "worker", *words]


def _dramatiq(bench: Bench, forever: bool, count: int) -> list[str]:
    return [_script(bench, "dramatiq"), "with_dramatiq", "-p", "2", "-t", "1"]


def _rq(kind: str) -> Callable[[Bench, bool, int], list[str]]:
    def argv(bench: Bench, forever: bool, count: int) -> list[str]:
        words = [
            _script(bench, "rq"),
            "worker",
            "-q",
            "-u",
            f"unix://{bench.directory}/redis.sock",
            "-w",
            f"rq.worker.{kind}",
        ]
        line = shlex.join(words if forever else [*words, "-b"])
        # A bare `wait` says nothing of how they ended.
        return ["/bin/sh", "-c", f"{line} & one=$!; {line} & wait $one && wait $!"]

    return argv


# Two queues start a job as soon as it comes: both places are kept busy by a job that waits at a gate until all are queued.


def _put(bench: Bench, count: int, argv: list[str], *env: str) -> list[str]:
    return [
        "env",
        *env,
        sys.executable,
        str(INSIDE / "client.py"),
        "with_tool",
        "fill",
        str(count),
        *argv,
    ]


def _tsp_before(bench: Bench, count: int) -> list[list[str]]:
    os.mkfifo(bench.directory / "gate")
    return [["tsp", "-S", "2"], _put(bench, 2, _GATE), _put(bench, count, JOB)]


def _tsp(bench: Bench, forever: bool, count: int) -> list[str]:
    if forever:
        return ["/bin/sh", "-c", "tsp -S 2; trap 'tsp -K' TERM; sleep 1000000 & wait"]
    # The gates are the jobs 0 and 1; the last two jobs are done when all are.
    return [
        "/bin/sh",
        "-c",
        f"exec 3<>{bench.directory}/gate; echo >&3; echo >&3; tsp -w {count}; tsp -w {count + 1}; tsp -K",
    ]


def _nq_before(bench: Bench, count: int) -> list[list[str]]:
    os.mkfifo(bench.directory / "gate")
    queues = [f"NQDIR={bench.directory}/nq{index}" for index in range(2)]
    parts = [count // 2, count - count // 2]
    return [
        *(_put(bench, 1, _GATE, queue) for queue in queues),
        *(_put(bench, part, JOB, queue) for part, queue in zip(parts, queues, strict=True)),
    ]


def _nq(bench: Bench, forever: bool, count: int) -> list[str]:
    if forever:
        return ["sleep", "1000000"]
    waits = " & ".join(f"NQDIR={bench.directory}/nq{index} nq -w" for index in range(2))
    return ["/bin/sh", "-c", f"exec 3<>{bench.directory}/gate; echo >&3; echo >&3; {waits} & wait"]


PEERS = [
    Peer("queuectl's files in C", "yes", _tight_in_c, fill=_tight_fill, wakes=False),
    Peer(
        "queuectl's files in a tight loop", "yes", _ours("tight.py"), fill=_tight_fill, wakes=False
    ),
    Peer("xargs -P2 (no queue)", "no", _xargs, needs=("xargs",), fill=_commands, wakes=False),
    Peer("dirq, bare loop", "no", _loop("with_dirq"), "with_dirq", ("python:dirq",)),
    Peer(
        "litequeue, bare loop",
        "barely",
        _loop("with_litequeue"),
        "with_litequeue",
        ("python:litequeue",),
    ),
    Peer(
        "beanstalkd, bare loop",
        "no",
        _loop("with_beanstalkd"),
        "with_beanstalkd",
        ("python:greenstalk", "beanstalkd"),
        "beanstalkd",
    ),
    Peer(
        "task-spooler",
        "yes",
        _tsp,
        "with_tool",
        ("tsp",),
        env={"BENCH_TOOL": "tsp"},
        before=_tsp_before,
        most=500,
    ),
    Peer(
        "nq",
        "yes",
        _nq,
        "with_tool",
        ("nq",),
        env={"BENCH_TOOL": "nq"},
        before=_nq_before,
        most=200,
    ),
    Peer(
        "huey, files",
        "yes",
        _huey,
        "with_huey",
        ("python:huey",),
        ends=False,
        env={"BENCH_STORE": "file"},
    ),
    Peer(
        "huey, SQLite",
        "yes",
        _huey,
        "with_huey",
        ("python:huey",),
        ends=False,
        env={"BENCH_STORE": "sqlite"},
    ),
    Peer(
        "Celery (Redis)",
        "yes",
        _celery,
        "with_celery",
        ("python:celery", "redis-server"),
        "redis",
        ends=False,
    ),
    Peer(
        "dramatiq (Redis)",
        "no",
        _dramatiq,
        "with_dramatiq",
        ("python:dramatiq", "redis-server"),
        "redis",
        ends=False,
    ),
    Peer(
        "RQ, simple", "yes", _rq("SimpleWorker"), "with_rq", ("python:rq", "redis-server"), "redis"
    ),
    Peer(
        "RQ, fork",
        "yes",
        _rq("Worker"),
        "with_rq",
        ("python:rq", "redis-server"),
        "redis",
        most=500,
    ),
    Peer(
        "GNU parallel",
        "log",
        _parallel,
        needs=("parallel",),
        fill=_commands,
        wakes=False,
        most=1000,
    ),
]

#: The ceiling: every round has it beside ours.
BARE = Peer("bare rename spool, Python", "barely", _ours("bare.py"), fill=_bare_fill, wakes=False)
