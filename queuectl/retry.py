"""When to try again, and when to give up: one decision for every end of a run.

Promises
    decide is pure: it gets the time and the dice, and answers the same for the same.
    The delay is backoff_base ^ attempts seconds, at most backoff_max, then up to
    backoff_jitter of it longer; so it is never shorter than said and never
    over (1 + backoff_jitter) * backoff_max.
    A job that has been attempted max_retries times is never tried again.
Leaves to others
    how a run ended (executor), the moves (spool), the words for people (render).
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

Outcome = Literal["completed", "failed", "timeout", "lost", "cancelled"]
State = Literal["completed", "failed", "dead"]


class Verdict(NamedTuple):
    """Where a job goes after a run. `due` is the time in its next name: when it may run again, else when it ended."""

    state: State
    due: float


def delay(attempts: int, base: float, most: float, jitter: float, dice: float) -> float:
    """Seconds to wait after `attempts` failed attempts; `dice` is a random number in [0, 1)."""
    try:
        plain = min(base**attempts, most)
    except OverflowError:
        plain = most
    return plain * (1 + jitter * dice)


def decide(
    outcome: Outcome,
    attempts: int,
    max_retries: int,
    now: float,
    *,
    base: float,
    most: float,
    jitter: float,
    dice: float,
    after: float | None = None,
) -> Verdict:
    """What becomes of a job whose attempt number `attempts` ended with `outcome` at `now`.

    `after`: seconds until another try that the failure itself asked for, infinite for none; None: the backoff.
    """
    if outcome == "completed":
        return Verdict("completed", now)
    if outcome == "cancelled" or attempts >= max_retries or after == math.inf:
        return Verdict("dead", now)
    if after is not None:
        return Verdict("failed", now + after)
    if outcome == "lost":
        # Nothing says that the job is at fault, so it need not wait.
        return Verdict("failed", now)
    return Verdict("failed", now + delay(attempts, base, most, jitter, dice))
