"""`python -m tests.hosts`: the scenarios of two hosts on one spool, in full size, on the lab's file systems.

Prints a Markdown table for each scenario. Exit code 1 if anything was not as promised, 2 if there can be no lab here.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack

from tests.hosts import gluster
from tests.hosts import lab as nfs
from tests.hosts.guest import GuestFailed
from tests.hosts.scenarios import SCENARIOS
from tests.hosts.site import FULL, Rows, Size

#: The file systems: why they cannot be had here, and how a lab on them is made.
LABS: dict[str, tuple[Callable[[], str | None], Callable[[], nfs.Lab | gluster.Gluster]]] = {
    "nfs4": (nfs.obstacle, lambda: nfs.Lab(mount="vers=4.2")),
    "nfs3": (nfs.obstacle, lambda: nfs.Lab(mount="vers=3")),
    "gluster": (gluster.obstacle, gluster.Gluster),
}


def run(kind: str, names: list[str], size: Size) -> bool:
    """Run scenarios on a file system, each as it comes out of the one before: whether all went well."""
    well, lab = True, None
    with ExitStack() as stack:
        for name in names:
            lab = lab or stack.enter_context(LABS[kind][1]())
            begun = time.monotonic()
            try:
                rows = SCENARIOS[name](lab, size)
            except (AssertionError, GuestFailed) as error:
                say(f"{name} on {kind}: FAILED: {error}")
                well, lab = False, None
                stack.close()  # nobody knows what runs in it now
                continue
            print(table(f"{name} on {kind} ({time.monotonic() - begun:.0f} s)", rows), flush=True)
    return well


def table(title: str, rows: Rows) -> str:
    """Markdown: what a scenario does, and what was counted."""
    lines = [f"| {what} | {count} |" for what, count in rows.items()]
    return "\n".join([f"### {title}", "", "| what | how many |", "|---|---|", *lines, ""])


def say(line: str) -> None:
    """A line for the person who waits."""
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Run what was asked for."""
    described = "\n".join(
        f"  {name:8} {(scenario.__doc__ or '').splitlines()[0]}"
        for name, scenario in SCENARIOS.items()
    )
    parser = argparse.ArgumentParser(
        prog="python -m tests.hosts",
        description=f"Two hosts, one spool: what they must come through.\n\n{described}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--on",
        choices=LABS,
        action="append",
        help="the file system (default: nfs4); may be said again",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=FULL.jobs,
        help=f"how many two hosts share (default: {FULL.jobs})",
    )
    parser.add_argument(
        "--crashes",
        type=int,
        default=FULL.crashes,
        help=f"how often the server dies (default: {FULL.crashes})",
    )
    parser.add_argument("--times", type=int, default=1, help="how often each is played")
    parser.add_argument(
        "scenario", nargs="*", choices=[*SCENARIOS, []], help="which (default: all)"
    )
    words = parser.parse_args()
    kinds = words.on or ["nfs4"]
    for kind in kinds:
        if why := LABS[kind][0]():
            say(f"{kind}: {why}")
            return 2
    size = dataclasses.replace(FULL, jobs=words.jobs, crashes=words.crashes)
    went = [run(kind, words.times * (words.scenario or list(SCENARIOS)), size) for kind in kinds]
    return int(not all(went))


if __name__ == "__main__":
    sys.exit(main())
