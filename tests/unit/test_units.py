"""Durations and times."""

import math
import time
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

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
        timedelta(seconds=-1),
        timedelta.max,
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


@pytest.fixture
def local_zone(monkeypatch):
    """Sets the zone of this process."""

    def set_zone(name):
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield set_zone
    monkeypatch.undo()
    time.tzset()


BERLIN, LORD_HOWE, APIA = "Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia"

LOCAL = [
    # A skipped hour, half an hour, and a day: as much later as the clocks are put forward.
    (BERLIN, "2027-03-28T01:59", "2027-03-28T01:59+01:00"),
    (BERLIN, "2027-03-28T02:00", "2027-03-28T03:00+02:00"),
    (BERLIN, "2027-03-28T02:30", "2027-03-28T03:30+02:00"),
    (BERLIN, "2027-03-28T03:00", "2027-03-28T03:00+02:00"),
    (LORD_HOWE, "2026-10-04T02:15", "2026-10-04T02:45+11:00"),
    (APIA, "2011-12-30T12:00", "2011-12-31T12:00+14:00"),
    # An hour that comes twice: the first.
    (BERLIN, "2027-10-31T01:59", "2027-10-31T01:59+02:00"),
    (BERLIN, "2027-10-31T02:30", "2027-10-31T02:30+02:00"),
    (BERLIN, "2027-10-31T03:00", "2027-10-31T03:00+01:00"),
    # A zone in the text counts, whatever the clocks show.
    (BERLIN, "2027-03-28T02:30+01:00", "2027-03-28T03:30+02:00"),
    (BERLIN, "2027-03-28T01:30Z", "2027-03-28T03:30+02:00"),
]


@pytest.mark.parametrize(("zone", "text", "expected"), LOCAL)
def test_a_local_time_is_never_earlier_than_it_says(zone, text, expected, local_zone):
    local_zone(zone)

    assert units.instant(text, None) == units.instant(expected)
    assert units.instant(text, ZoneInfo(zone)) == units.instant(expected)


def test_times_of_python_are_times():
    assert units.seconds(timedelta(minutes=1, milliseconds=500)) == 60.5
    assert units.instant(datetime(1970, 1, 2, tzinfo=UTC)) == 86400
    assert units.instant(datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))) == 0
    assert units.instant(datetime(2027, 3, 28, 2, 30, tzinfo=ZoneInfo(BERLIN))) == units.instant(
        "2027-03-28T03:30+02:00"
    )


class Zoneless(tzinfo):
    def utcoffset(self, _):
        return None


@pytest.mark.parametrize(
    "moment",
    [datetime(2027, 1, 1), datetime(2027, 1, 1, tzinfo=Zoneless())],  # noqa: DTZ001
)
@pytest.mark.parametrize("zone", [None, UTC])
def test_a_datetime_without_a_zone_is_refused(moment, zone):
    with pytest.raises(ValueError, match="names no zone"):
        units.instant(moment, zone)


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
        datetime.max.replace(tzinfo=UTC),
        datetime.min.replace(tzinfo=UTC),
        datetime(2027, 1, 1).date(),  # noqa: DTZ001
    ],
)
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError, match="."):
        units.instant(text)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1e300, "2199-12-31T23:59:59"),
        (math.inf, "2199-12-31T23:59:59"),
        (-1e300, "1970-01-01T00:00:00"),
        (-math.inf, "1970-01-01T00:00:00"),
        (math.nan, "1970-01-01T00:00:00"),
    ],
)
def test_a_time_that_no_calendar_has_is_shown_as_the_end_that_is_nearest(value, shown):
    assert units.iso(value) == f"{shown}.000000Z"


@pytest.mark.parametrize(
    ("value", "text"), [(-5, "0s"), (59.9, "59s"), (60, "1m"), (3600, "1h"), (200000, "2d")]
)
def test_an_age_is_one_number_and_one_unit(value, text):
    assert units.ago(value) == text
