"""Recipes: the jobs of a chaos run, as JSON objects.

Promises
    The first thing that every command does is one line "<id> <attempt> <pid>" at the end of the ledger.
    A command that sleeps is one process that holds a lock: a second run beside it is a line in `overlaps`.
Leaves to others
    how a job comes into the spool (producer).
"""

from __future__ import annotations

import itertools
import random
from typing import Any

from tests.chaos.arena import Ground

Record = dict[str, Any]

#: (weight, what the command does after its line in the ledger, what else the job says).
RECIPES: list[tuple[int, str, Record]] = [
    (30, "true", {}),
    (14, "seq 300", {}),
    (6, "seq 20000; seq 5 >&2", {}),
    (22, "{lock}; exec sleep {pause}", {}),
    (10, "test $QUEUECTL_ATTEMPT -ge 2", {}),
    (6, "echo no >&2; exit 3", {"max_retries": 2}),
    (4, "{lock}; exec sleep 30", {"max_retries": 2, "timeout": 0.4}),
    (4, "true", {"delay": 0.5}),
    (4, "true", {"meta": "x" * 9000}),
]

#: Takes the lock of a job, if there is flock(1); 99 is the only code that means it is held.
LOCK = (
    "if command -v flock >/dev/null; then exec 9>{locks}/$QUEUECTL_JOB_ID; flock -n -E 99 9; "
    'test $? -ne 99 || echo "$QUEUECTL_JOB_ID $QUEUECTL_ATTEMPT" >> {overlaps}; fi'
)


class Cook:
    """Makes jobs, about half of them with an id of their own."""

    def __init__(self, arena: Ground, dice: random.Random, series: str = "chaos") -> None:
        self._arena, self._dice, self._series = arena, dice, series
        self._serial = itertools.count(1)

    def fresh_id(self) -> str:
        """An id that no other job of this run has."""
        return f"{self._series}-{next(self._serial):06}"

    def job(self, *, named: bool) -> Record:
        """A job; with `named` it says its id."""
        [(_, then, more)] = self._dice.choices(RECIPES, [recipe[0] for recipe in RECIPES])
        lock = LOCK.format(locks=self._arena.locks, overlaps=self._arena.overlaps)
        then = then.format(lock=lock, pause=round(self._dice.uniform(0.05, 0.9), 2))
        line = f'echo "$QUEUECTL_JOB_ID $QUEUECTL_ATTEMPT $$" >> {self._arena.ledger}'
        record = {
            "command": f"{line}; {then}",
            "priority": self._dice.choice([5, 5, 5, 0, 9]),
            **more,
        }
        return {"id": self.fresh_id(), **record} if named else record
