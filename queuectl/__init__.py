"""A background job queue in plain files: a directory is the queue, a JSON file is a job, a rename is a change of state.

From Python: `from queuectl import Spool, Job`. Everything else is the command line, see `queuectl --help`.
"""

from __future__ import annotations

TYPE_CHECKING = False  # what typing says as well, without loading it
if TYPE_CHECKING:
    from typing import Any

    from queuectl.job import Job as Job
    from queuectl.spool import Spool as Spool

__version__ = "0.1.0"
__all__ = ["Job", "Spool", "__version__"]

_ROOMS = {"Job": "queuectl.job", "Spool": "queuectl.spool"}


def __getattr__(name: str) -> Any:
    """Import the public classes when they are first asked for: start-up stays cheap."""
    if name not in _ROOMS:
        raise AttributeError(f"module 'queuectl' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_ROOMS[name]), name)
