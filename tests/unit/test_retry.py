"""When to try again, and when to give up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl.retry import Verdict, decide, delay

dice = st.floats(0, 1, exclude_max=True)
settings = st.fixed_dictionaries(
    {"base": st.floats(1, 1000), "most": st.floats(0, 1e9), "jitter": st.floats(0, 1), "dice": dice}
)


def table(outcome, attempts, max_retries):
    return decide(outcome, attempts, max_retries, 1000.0, base=2, most=3600, jitter=0, dice=0)


@pytest.mark.parametrize(
    ("outcome", "attempts", "max_retries", "verdict"),
    [
        ("completed", 1, 3, Verdict("completed", 1000)),
        ("completed", 9, 3, Verdict("completed", 1000)),
        ("failed", 1, 3, Verdict("failed", 1002)),
        ("failed", 2, 3, Verdict("failed", 1004)),
        ("failed", 3, 3, Verdict("dead", 1000)),
        ("failed", 1, 1, Verdict("dead", 1000)),
        ("failed", 4, 3, Verdict("dead", 1000)),
        ("failed", 20, 99, Verdict("failed", 4600)),
        ("timeout", 1, 3, Verdict("failed", 1002)),
        ("timeout", 3, 3, Verdict("dead", 1000)),
        ("lost", 1, 3, Verdict("failed", 1000)),
        ("lost", 3, 3, Verdict("dead", 1000)),
        ("cancelled", 1, 3, Verdict("dead", 1000)),
    ],
)
def test_what_becomes_of_a_job(outcome, attempts, max_retries, verdict):
    assert table(outcome, attempts, max_retries) == verdict


@given(st.integers(1, 999_999), settings)
def test_a_delay_is_never_longer_than_the_cap_and_its_jitter(attempts, given):
    wait = delay(attempts, **given)

    assert 0 <= wait <= given["most"] * (1 + given["jitter"])


@given(st.integers(1, 30), settings)
def test_jitter_only_adds(attempts, given):
    assert delay(attempts, **given) >= delay(attempts, **{**given, "dice": 0.0})


@given(st.integers(1, 500), settings)
def test_the_next_delay_is_at_least_as_long(attempts, given):
    given = {**given, "jitter": 0.0}

    assert delay(attempts + 1, **given) >= delay(attempts, **given)


@given(
    st.sampled_from(["failed", "timeout", "lost"]), st.integers(1, 50), st.integers(1, 50), settings
)
def test_a_job_never_runs_more_often_than_max_retries(outcome, attempts, max_retries, given):
    verdict = decide(outcome, attempts, max_retries, 0.0, **given)

    assert (verdict.state == "dead") == (attempts >= max_retries)
