"""When a watch is started, with the real child."""

import select

import pytest

from queuectl.watcher import Sentry
from tests.support import PATIENCE, until


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


@pytest.fixture
def armed(tmp_path):
    """A sentry whose watch on two directories is armed, and what it warns of."""
    warnings = []
    for name in ("pending", "inbox"):
        (tmp_path / name).mkdir()
    sentry = Sentry([str(tmp_path / "pending"), str(tmp_path / "inbox")], warnings.append)
    arm(sentry)
    yield sentry, warnings
    sentry.finish()


def arm(sentry):
    """Arm it, and wait until it is."""
    until(lambda: sentry.arm(list) or sentry.reader is not None)
    sentry.arm(list)
    assert select.select([sentry.reader], [], [], PATIENCE)[0]
    assert not sentry.hear()


@pytest.mark.parametrize("name", ["pending", "inbox"])
def test_a_directory_that_takes_the_place_of_a_watched_one_is_watched_instead(
    tmp_path, armed, name
):
    sentry, warnings = armed
    (tmp_path / name).rename(tmp_path / "aside")
    (tmp_path / name).mkdir()

    arm(sentry)
    (tmp_path / name / "new").touch()

    assert select.select([sentry.reader], [], [], PATIENCE)[0]
    assert sentry.hear()
    assert warnings == [f"{tmp_path / name} is another directory than before; watching this one"]


def test_a_directory_that_is_missing_is_no_lack_of_watches(tmp_path, armed):
    sentry, warnings = armed
    (tmp_path / "pending").rename(tmp_path / "aside")

    arm(sentry)

    assert warnings == []
