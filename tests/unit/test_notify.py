"""What the notifier takes from its environment."""

import os

import pytest

from queuectl.notify import Notifier


@pytest.mark.parametrize(
    ("environ", "watched"),
    [
        ({}, False),
        ({"NOTIFY_SOCKET": "/run/x"}, False),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "10000000"}, True),
        (
            {
                "NOTIFY_SOCKET": "/run/x",
                "WATCHDOG_USEC": "10000000",
                "WATCHDOG_PID": str(os.getpid()),
            },
            True,
        ),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"}, False),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "0"}, False),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "soon"}, False),
        ({"NOTIFY_SOCKET": "relative", "WATCHDOG_USEC": "10000000"}, False),
        ({"WATCHDOG_USEC": "10000000"}, False),
    ],
)
def test_only_who_is_watched_wakes_for_it_and_nobody_inherits_it(environ, watched):
    notifier = Notifier(environ)
    notifier.beat()

    assert (notifier.wakes_at() < float("inf")) == watched
    assert environ == {}
