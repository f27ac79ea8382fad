"""`python -m tests.chaos`: a chaos run by hand. Exit code 1 if anything was lost, doubled or else not as promised."""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys

from tests.chaos.storm import Report, Storm


def main() -> int:
    """Run, print the table, and say what failed."""
    for name in [name for name in os.environ if name.startswith("QUEUECTL_")]:
        del os.environ[name]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    words = _words()
    seed = random.randrange(1 << 32) if words.seed is None else words.seed
    report = Storm(words.minutes * 60, seed, words.spool_size, say).run()
    print(report.table)
    _explain(report)
    return int(report.has_failed)


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description="Kill, freeze and starve queuectl at random; count what it loses.",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=30,
        help="how long the chaos lasts (default: 30); draining comes on top",
    )
    parser.add_argument("--seed", type=int, help="seed of the dice (default: another each time)")
    parser.add_argument(
        "--spool-size",
        type=int,
        default=1024,
        metavar="MB",
        help="the disk that fills (default: 1024); 0: none; needs root on Linux",
    )
    return parser.parse_args()


def _explain(report: Report) -> None:
    for what, cases in report.findings.failures.items():
        for case in cases[:20]:
            say(f"{what}: {case}")
    for name in report.findings.leftovers[:20]:
        say(f"left behind: {name}")
    for death, count in report.findings.own_deaths.most_common(20):
        say(f"died unkilled, {count} times: {death}")
    if report.evidence:
        say(f"the evidence is in {report.evidence}")


def say(line: str) -> None:
    """A line for the person who waits."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
