"""Large spools, made fast and worked on through the library.

    growth.py make SPOOL COUNT STATE [delayed]   COUNT jobs in STATE, without an fsync; with records if it is completed
    growth.py work SPOOL COUNT                   claim and complete COUNT jobs without running them, as a worker would
    growth.py finish SPOOL                       move whatever is pending to completed, one by one, and remove it there

`work` drives a supervisor's own dealer with a hand that asks for as many names as a worker may, and prints the
seconds that it took as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator

from queuectl import Spool, ids, results
from queuectl.crew import Hand
from queuectl.dealer import Dealer
from queuectl.filename import Name, encode
from queuectl.wire import Line
from queuectl.worker import MOST

#: What each job file holds.
DATA = b'{"command": ["/bin/sh", "-c", "true"]}\n'

#: The id of the job that `make` gives a full record.
SHOWN = "shown"


def _names(count: int, ahead: float) -> Iterator[Name]:
    began = time.time() + ahead
    for number in range(count):
        due = began + number / 1e6
        yield Name(due, 5, 0, ids.derived(round(due * 1e6), number))


def _put(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(fd, data)
    os.close(fd)


def make(path: str, count: int, state: str, *, delayed: bool) -> None:
    """Make the jobs; those that are not delayed were due one second after another, up to now."""
    spool = Spool(path).make()
    for name in _names(count, 86400.0 if delayed else -count / 1e6 - 1):
        if state == "completed":
            name = name._replace(attempts=1)
            _put(spool.at("results", name.id + ".jsonl"), b"")
        _put(spool.at(state, encode(name)), DATA)
    if state == "completed":
        _record(spool)


def _record(spool: Spool) -> None:
    """One job more, with a record of its run."""
    name = Name(time.time(), 5, 1, SHOWN)
    _put(spool.at("completed", encode(name)), DATA)
    claim = f"processing/nobody/{encode(name)}"
    results.append(
        spool.at("results"),
        SHOWN,
        {"attempt": 1, "claim": claim, "to": f"completed/{encode(name)}", "outcome": "completed"},
    )


class _Wire(Line):
    """The supervisor's end of a wire that keeps what is sent to the worker."""

    def __init__(self) -> None:
        super().__init__(-1, -1)
        self.sent: list[str] = []

    def put_off(self, verb: str, text: str = "") -> None:
        self.sent.append(text)

    def flush(self) -> bool:
        return True


def work(path: str, count: int) -> float:
    """Claim and complete so many jobs; seconds."""
    spool = Spool(path).open()
    worker = f"bench-{os.getpid()}"
    os.mkdir(spool.at("processing", worker))
    wire = _Wire()
    hand = Hand(os.getpid(), wire, time.monotonic(), worker)
    dealer = Dealer(spool, trusts_times=True)
    done, began = 0, time.perf_counter()
    while done < count:
        hand.wants, hand.held = min(MOST, count - done), set()
        dealer.deal([hand], 3600.0)
        if not wire.sent:
            raise SystemExit(f"growth: only {done} of {count} jobs were dealt")
        for file in wire.sent:
            done += _complete(spool, file, worker)
        wire.sent.clear()
    seconds = time.perf_counter() - began
    os.rmdir(spool.at("processing", worker))
    return seconds


def _complete(spool: Spool, file: str, worker: str) -> bool:
    claim = spool.claim(file, worker, time.time())
    if claim is None:
        return False
    target = spool.target(claim, "completed", time.time())
    results.append(
        spool.at("results"),
        claim.name.id,
        {"attempt": 1, "claim": claim.file, "to": target, "outcome": "completed"},
    )
    return spool.file(claim, target)


def finish(path: str) -> None:
    """Empty pending/ by way of completed/, as a drain and a prune do: both directories keep the size that they had."""
    spool = Spool(path).open()
    names = os.listdir(spool.at("pending"))
    for name in names:
        os.rename(spool.at("pending", name), spool.at("completed", name))
    for name in names:
        os.unlink(spool.at("completed", name))


def main(verb: str, path: str, *words: str) -> None:
    """Do what the words say."""
    if verb == "make":
        make(path, int(words[0]), words[1], delayed="delayed" in words)
    elif verb == "finish":
        finish(path)
    else:
        print(json.dumps(work(path, int(words[0]))))


if __name__ == "__main__":
    main(*sys.argv[1:])
