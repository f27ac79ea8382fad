"""When a watch is started, with the real child."""

import pytest

from queuectl.watcher import Sentry
from tests.support import until


def test_a_watch_starts_after_a_rest_and_not_while_there_is_work(tmp_path):
    sentry = Sentry([str(tmp_path)], pytest.fail)
    try:
        for _ in range(2):
            sentry.arm(list)
            assert sentry.reader is None
            assert sentry.wakes_at() is not None
            sentry.stand_down()
            assert sentry.wakes_at() is None
        until(lambda: sentry.arm(list) or sentry.reader is not None)
        assert sentry.wakes_at() is None
    finally:
        sentry.finish()
