"""An errand: a child of the supervisor that does one thing and ends, so that heartbeats and jobs need not wait for it.

Promises
    It keeps no pipe and no lock of the supervisor's open.
    It has no terminal, so Ctrl+C does not reach it; TERM ends it, unless what it does says otherwise.
Leaves to others
    what is done (porter, janitor); collecting the child (supervisor).
Raises
    OSError when there is no process left.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from queuectl import signals

#: The signals that mean something else to a supervisor.
_SIGNALS = (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

#: No descriptor of ours has a number as high as this.
_HIGHEST = 65536


def start(act: Callable[[], None], complain: Callable[[str], None], nice: int = 0) -> int:
    """Do it in a child, less urgently by `nice`: its process id. What `act` raises is told to `complain`, there."""
    # RACE: a signal before the child has its own handlers would be the supervisor's there, and be lost.
    with signals.deaf(_SIGNALS):
        pid = os.fork()
        if not pid:
            _live(act, complain, nice)
    return pid


def _live(act: Callable[[], None], complain: Callable[[str], None], nice: int) -> None:
    code = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in _SIGNALS:
            signal.signal(
                number,
                signal.SIG_IGN if number in (signal.SIGINT, signal.SIGHUP) else signal.SIG_DFL,
            )
        os.closerange(3, _HIGHEST)
        os.nice(nice)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        act()
        code = 0
    except Exception as error:  # whatever it is: a child must say why it dies
        complain(f"{type(error).__name__}: {error}")
    finally:
        os._exit(code)
