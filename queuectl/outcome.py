"""The outcome of a run: what its end means, in one word and in words for people. Pure.

Leaves to others
    what becomes of the job (retry); writing the record down (results).
Raises
    nothing.
"""

from __future__ import annotations

import signal

from queuectl.executor import Ended
from queuectl.retry import Outcome

#: The reason of a job that was cancelled while it ran.
CANCELLED = "cancelled while it ran"


def meaning(ended: Ended, success: tuple[int, ...] = (0,)) -> tuple[Outcome, str | None]:
    """The outcome of a run and its reason in words; `success` are the exit codes that mean it."""
    if ended.cause == "timeout":
        return "timeout", "took longer than its timeout"
    if ended.cause == "cancelled":
        return "cancelled", CANCELLED
    if ended.cause == "output":
        return "failed", "printed more than max_output allows; set it higher, or to 0 for no limit"
    if ended.reason:
        return "failed", ended.reason
    if ended.signal:
        return "failed", f"ended by signal {ended.signal} ({signal_name(ended.signal)})"
    # What was no command has no exit code: it says by its reason that it failed.
    return (
        ("completed", None)
        if ended.exit_code in (None, *success)
        else ("failed", f"exit code {ended.exit_code}")
    )


def signal_name(number: int) -> str:
    """The name of a signal; those for real-time have none of their own."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return (
            f"SIGRTMIN+{number - signal.SIGRTMIN}" if hasattr(signal, "SIGRTMIN") else str(number)
        )


def text(data: bytes) -> str:
    """Bytes that a command printed, as JSON can hold them."""
    return data.decode(errors="replace")
