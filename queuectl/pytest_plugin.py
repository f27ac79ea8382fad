"""The pytest plugin: a fresh spool, with workers on demand, for each test that wants one.

    def test_the_thumbnail_is_made(queuectl_spool, tmp_path):
        upload(queuectl_spool, tmp_path / "cat.png")       # your code enqueues
        queuectl_spool.drain(fail_on_dead=True)            # real workers run what is due
        assert (tmp_path / "cat.thumb.png").exists()

Promises
    pytest loads nothing of queuectl but this module until a test asks for the fixture.
Leaves to others
    the spool and its workers (testing).
Raises
    nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from queuectl.testing import SpoolUnderTest


@pytest.fixture
def queuectl_spool(tmp_path: Path) -> SpoolUnderTest:
    """A fresh queuectl spool in tmp_path; `drain()` runs what is due, with real workers."""
    from queuectl.testing import SpoolUnderTest

    return SpoolUnderTest(tmp_path / "queuectl-spool").make()
