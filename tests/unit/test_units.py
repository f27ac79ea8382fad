"""Durations and times."""

from datetime import timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl import units


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (90, 90),
        (1.5, 1.5),
        ("90", 90),
        ("1.5", 1.5),
        ("90s", 90),
        ("10m", 600),
        ("1h30m", 5400),
        ("2d", 172800),
        ("1w", 604800),
        ("500ms", 0.5),
        (" 5 M ", 300),
        (0, 0),
    ],
)
def test_a_duration_is_seconds_or_a_text_with_units(text, seconds):
    assert units.seconds(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        True,
        None,
        [],
        "",
        "m",
        "5x",
        "-1",
        "1e3",
        "nan",
        "inf",
        "10m5",
        "1 2s 3",
        "٣",
        float("nan"),
        float("inf"),
        -1,
        10**400,
        "9" * 200,
    ],
)
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="."):
        units.seconds(text)


@given(st.integers(0, 10**9))
def test_whole_seconds_come_back_from_their_text(value):
    assert units.seconds(units.span(value)) == value


def test_a_span_is_short():
    assert [units.span(v) for v in (0, 1.5, 90, 5400, 604800)] == [
        "0s",
        "1.5s",
        "1m30s",
        "1h30m",
        "7d",
    ]


@given(st.integers(0, units.LATEST * 1_000_000))
def test_times_come_back_from_their_text_to_the_microsecond(micro):
    assert units.instant(units.iso(micro / 1_000_000)) == micro / 1_000_000


def test_a_time_without_a_zone_is_in_the_zone_that_its_reader_names():
    assert units.instant("1970-01-01T01:00:00+01:00") == 0
    assert units.instant("1970-01-01T01:00:00") == 3600
    assert units.instant("1970-01-01T01:00:00", timezone(timedelta(hours=1))) == 0
    assert units.instant("1970-01-02") == 86400


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tomorrow",
        "2026-13-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00+14:00",
        5,
        None,
        True,
    ],
)
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError, match="."):
        units.instant(text)


@pytest.mark.parametrize(
    ("value", "text"), [(-5, "0s"), (59.9, "59s"), (60, "1m"), (3600, "1h"), (200000, "2d")]
)
def test_an_age_is_one_number_and_one_unit(value, text):
    assert units.ago(value) == text
