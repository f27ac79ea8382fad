"""The start of each command from an installed wheel, beside `python -c 'import click'` of the same interpreter."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.arena import Arena, environment
from benchmarks.drain import fill
from benchmarks.figures import Part, Table, median, ratios, spread

#: What every other command is compared with.
CLICK = "python -c 'import click'"

#: What no command that changes the settings can be faster than: the libraries of its words and of its lock.
FLOOR = "python -c 'import click, filelock'"

#: The commands, as a person types them, in an order in which all succeed; ID stands for a job that has completed, NEW for a new
#: one. Left out are those that do not end by themselves, or want a terminal or more than queuectl alone; of `worker start` it is the help.
COMMANDS = [
    "--help",
    "status",
    "enqueue -c true",
    "enqueue --id NEW -c true",
    "list",
    "show ID",
    "logs ID",
    "wait ID",
    "hold NEW",
    "release NEW",
    "set NEW --priority 9",
    "cancel NEW",
    "dlq list",
    "dlq show NEW",
    "dlq retry NEW",
    "remove NEW",
    "retry --all-failed",
    "dlq purge --all --yes",
    "prune",
    "pause",
    "resume",
    "schedule add NEW --every 1h -c true",
    "schedule list",
    "schedule show NEW",
    "schedule run NEW",
    "schedule pause NEW",
    "schedule resume NEW",
    "schedule remove NEW",
    "config list",
    "config get max_retries",
    "config set max_retries 3",
    "config unset max_retries",
    "worker list",
    "worker stop",
    "worker start --help",
    "events",
    "completion bash",
    "init",
    "doctor",
]


def _time(argv: list[str], env: dict[str, str], null: int) -> float:
    """Milliseconds from the spawn to the end."""
    actions = [(os.POSIX_SPAWN_DUP2, null, fd) for fd in (0, 1, 2)]
    began = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, env, file_actions=actions)
    _, status = os.waitpid(pid, 0)
    taken = time.perf_counter() - began
    if status:
        raise RuntimeError(f"{' '.join(argv)} failed")
    return taken * 1000


def _finished(arena: Arena, spool: Path) -> str:
    """A spool with a few jobs that have completed; the id of one."""
    fill(arena, spool.name, 5)
    arena.cost(arena.start(spool, 1, "--drain"))
    return next((spool / "completed").iterdir()).name.split("-", 3)[3].removesuffix(".json")


def run(arena: Arena, *, rounds: int = 40, commands: Sequence[str] = ()) -> Part:
    """The part: in each round every command once, or those with a word of `commands` in them; some need those before them."""
    spool = arena.place / "start"
    id = _finished(arena, spool)
    env = environment()
    null = os.open(os.devnull, os.O_RDWR)
    chosen = [
        f"queuectl {name}"
        for name in COMMANDS
        if not commands or any(word in name for word in commands)
    ]
    found: dict[str, list[float]] = {name: [] for name in [CLICK, FLOOR, *chosen]}
    try:
        for turn in range(rounds + 1):
            print(f"start: round {turn} of {rounds}", file=sys.stderr)
            for name, values in found.items():
                program, *words = [
                    {"ID": id, "NEW": f"new-{turn}"}.get(word, word) for word in shlex.split(name)
                ]
                argv = (
                    [arena.python]
                    if program == "python"
                    else [*arena.command, "--spool", str(spool)]
                )
                taken = _time([*argv, *words], env, null)
                if turn:  # the first one fills the caches
                    values.append(taken)
    finally:
        os.close(null)
    return _part(found, rounds)


def _part(found: dict[str, list[float]], rounds: int) -> Part:
    rows = [[f"`{CLICK}`", f"{median(found[CLICK]):.1f}", "1"]]
    rows += [
        [f"`{name}`", f"{median(values):.1f}", spread(ratios(values, found[CLICK]), most=0.8)]
        for name, values in found.items()
        if name != CLICK
    ]
    note = f"Milliseconds, medians of {rounds} rounds; the ratio is to its neighbour in the same round, with the middle 80 %."
    return Part(
        {"rounds": rounds, "milliseconds": found},
        [Table("Start of each command", ["", "ms", "of click"], rows, [note])],
    )
