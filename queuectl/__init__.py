"""A background job queue in plain files: a directory is the queue, a JSON file is a job, a rename is a change of state.

From Python: `from queuectl import Spool`; docs/python.md has the rest. From a shell: `queuectl --help`.
"""

from __future__ import annotations

TYPE_CHECKING = False  # what typing says as well, without loading it
if TYPE_CHECKING:
    from typing import Any

    from queuectl.api import Fields as Fields
    from queuectl.api import JobView as JobView
    from queuectl.api import Result as Result
    from queuectl.api import Run as Run
    from queuectl.api import Spool as Spool
    from queuectl.claimed import ClaimedJob as ClaimedJob
    from queuectl.consumer import Consumer as Consumer
    from queuectl.errors import IdTaken as IdTaken
    from queuectl.errors import InvalidJob as InvalidJob
    from queuectl.errors import LostClaim as LostClaim
    from queuectl.errors import NoSuchJob as NoSuchJob
    from queuectl.errors import QueuectlError as QueuectlError
    from queuectl.errors import TimedOut as TimedOut
    from queuectl.errors import WrongState as WrongState
    from queuectl.job import Job as Job

__version__ = "0.1.0"

_ROOMS = {
    "api": ("Fields", "JobView", "Result", "Run", "Spool"),
    "claimed": ("ClaimedJob",),
    "consumer": ("Consumer",),
    "errors": (
        "IdTaken",
        "InvalidJob",
        "LostClaim",
        "NoSuchJob",
        "QueuectlError",
        "TimedOut",
        "WrongState",
    ),
    "job": ("Job",),
}

__all__ = [
    "ClaimedJob", "Consumer", "Fields", "IdTaken", "InvalidJob", "Job", "JobView", "LostClaim", "NoSuchJob",
    "QueuectlError", "Result", "Run", "Spool", "TimedOut", "WrongState", "__version__",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import the public classes when they are first asked for: start-up stays cheap."""
    for room, names in _ROOMS.items():
        if name in names:
            from importlib import import_module

            return getattr(import_module(f"queuectl.{room}"), name)
    raise AttributeError(f"module 'queuectl' has no attribute {name!r}")
