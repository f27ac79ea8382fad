"""A short chaos run: the long one is `python -m tests.chaos --minutes 30`."""

import random

from tests.chaos.storm import Storm


def test_random_kills_stops_and_cancels_lose_no_job_and_double_none():
    report = Storm(8, random.randrange(1 << 32), 0).run()

    failures = {what: cases for what, cases in report.findings.failures.items() if cases}
    assert failures == {}, f"{report.table}\n{report.evidence}"
    assert report.kills > 0
    assert report.findings.places["completed"] > 0
