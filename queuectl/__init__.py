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
    from queuectl.errors import AmbiguousId as AmbiguousId
    from queuectl.errors import ConfigDamaged as ConfigDamaged
    from queuectl.errors import IdTaken as IdTaken
    from queuectl.errors import InvalidJob as InvalidJob
    from queuectl.errors import InvalidSchedule as InvalidSchedule
    from queuectl.errors import InvalidSetting as InvalidSetting
    from queuectl.errors import KeyTaken as KeyTaken
    from queuectl.errors import Locked as Locked
    from queuectl.errors import LostClaim as LostClaim
    from queuectl.errors import NoSuchBatch as NoSuchBatch
    from queuectl.errors import NoSuchJob as NoSuchJob
    from queuectl.errors import NoSuchSchedule as NoSuchSchedule
    from queuectl.errors import NoSuchWorker as NoSuchWorker
    from queuectl.errors import QueuectlError as QueuectlError
    from queuectl.errors import ScheduleDamaged as ScheduleDamaged
    from queuectl.errors import ScheduleTaken as ScheduleTaken
    from queuectl.errors import ServiceError as ServiceError
    from queuectl.errors import SpoolError as SpoolError
    from queuectl.errors import SpoolMissing as SpoolMissing
    from queuectl.errors import SpoolUnusable as SpoolUnusable
    from queuectl.errors import SpoolVersion as SpoolVersion
    from queuectl.errors import TimedOut as TimedOut
    from queuectl.errors import Wrong as Wrong
    from queuectl.errors import WrongState as WrongState
    from queuectl.job import Job as Job

__version__ = "0.1.0"

#: Where the public classes are; the others are errors.
_ROOMS = {
    "api": ("Fields", "JobView", "Result", "Run", "Spool"),
    "claimed": ("ClaimedJob",),
    "consumer": ("Consumer",),
    "job": ("Job",),
}

__all__ = [
    "AmbiguousId",
    "ClaimedJob",
    "ConfigDamaged",
    "Consumer",
    "Fields",
    "IdTaken",
    "InvalidJob",
    "InvalidSchedule",
    "InvalidSetting",
    "Job",
    "JobView",
    "KeyTaken",
    "Locked",
    "LostClaim",
    "NoSuchBatch",
    "NoSuchJob",
    "NoSuchSchedule",
    "NoSuchWorker",
    "QueuectlError",
    "Result",
    "Run",
    "ScheduleDamaged",
    "ScheduleTaken",
    "ServiceError",
    "Spool",
    "SpoolError",
    "SpoolMissing",
    "SpoolUnusable",
    "SpoolVersion",
    "TimedOut",
    "Wrong",
    "WrongState",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Import the public classes when they are first asked for: start-up stays cheap."""
    if name not in __all__:
        raise AttributeError(f"module 'queuectl' has no attribute {name!r}")
    from importlib import import_module

    room = next((room for room, names in _ROOMS.items() if name in names), "errors")
    return getattr(import_module(f"queuectl.{room}"), name)
