"""Schedules: which ticks there are, by tables and by properties; no disk, and `now` is an argument."""

import itertools
import json
import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queuectl import host
from queuectl import schedule as rules
from queuectl.errors import InvalidSchedule
from queuectl.filename import Name, decode, encode
from queuectl.ids import is_ours
from queuectl.schedule import GRACE, LONGEST_NAME, MOST, following, is_name, parse, tick_id, ticks
from queuectl.units import LATEST, instant, iso


def at(text):
    return int(instant(text + ":00Z" if len(text) == 16 else text))


def rule(**fields):
    return rules.from_record({"job": {"command": "true"}, **fields})


def cron(text, zone="UTC", **fields):
    return rule(cron=text, zone=zone, **fields)


def some(schedule, after, count):
    return [iso(tick)[:16] for tick in itertools.islice(ticks(schedule, at(after)), count)]


BERLIN, NEW_YORK, LORD_HOWE, APIA = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Pacific/Apia",
)

# Berlin 2026: 29 March 02:00 -> 03:00 at 01:00Z; 25 October 03:00 -> 02:00 at 01:00Z.
# New York 2026: 8 March 02:00 -> 03:00 at 07:00Z; 1 November 02:00 -> 01:00 at 06:00Z.
TIMES = [
    # A fixed time in the skipped hour comes at its end, once.
    (
        "30 2 * * *",
        BERLIN,
        "2026-03-28T00:00",
        ["2026-03-28T01:30", "2026-03-29T01:00", "2026-03-30T00:30"],
    ),
    (
        "0,15,30 2 * * *",
        BERLIN,
        "2026-03-29T00:00",
        ["2026-03-29T01:00", "2026-03-30T00:00", "2026-03-30T00:15"],
    ),
    (
        "0 2,3 * * *",
        BERLIN,
        "2026-03-29T00:00",
        ["2026-03-29T01:00", "2026-03-30T00:00", "2026-03-30T01:00"],
    ),
    ("30 2 * * *", NEW_YORK, "2026-03-07T12:00", ["2026-03-08T07:00", "2026-03-09T06:30"]),
    ("* 30 2 * * *", BERLIN, "2026-03-29T00:00", ["2026-03-29T01:00", "2026-03-30T00:30"]),
    # In the doubled hour it comes the first time only.
    (
        "30 2 * * *",
        BERLIN,
        "2026-10-24T00:00",
        ["2026-10-24T00:30", "2026-10-25T00:30", "2026-10-26T01:30"],
    ),
    ("30 1 * * *", NEW_YORK, "2026-10-31T12:00", ["2026-11-01T05:30", "2026-11-02T06:30"]),
    ("0 3 * * *", BERLIN, "2026-10-25T00:00", ["2026-10-25T02:00", "2026-10-26T02:00"]),
    ("45 2 * * *", BERLIN, "2026-10-25T01:30", ["2026-10-26T01:45"]),
    # What recurs is as the wall shows it.
    (
        "*/30 * * * *",
        BERLIN,
        "2026-03-29T00:00",
        ["2026-03-29T00:30", "2026-03-29T01:00", "2026-03-29T01:30", "2026-03-29T02:00"],
    ),
    (
        "*/30 * * * *",
        BERLIN,
        "2026-10-25T00:00",
        ["2026-10-25T00:30", "2026-10-25T01:00", "2026-10-25T01:30", "2026-10-25T02:00"],
    ),
    (
        "*/30 2 25 10 *",
        BERLIN,
        "2025-11-22T00:00",
        [
            "2026-10-25T00:00",
            "2026-10-25T00:30",
            "2026-10-25T01:00",
            "2026-10-25T01:30",
            "2027-10-25T00:00",
        ],
    ),
    (
        "*/30 1 * * *",
        NEW_YORK,
        "2026-11-01T00:00",
        [
            "2026-11-01T05:00",
            "2026-11-01T05:30",
            "2026-11-01T06:00",
            "2026-11-01T06:30",
            "2026-11-02T06:00",
        ],
    ),
    ("*/30 2 * * *", BERLIN, "2026-03-29T00:00", ["2026-03-30T00:00", "2026-03-30T00:30"]),
    (
        "30 * * * *",
        NEW_YORK,
        "2026-03-08T05:00",
        ["2026-03-08T05:30", "2026-03-08T06:30", "2026-03-08T07:30"],
    ),
    (
        "@hourly",
        BERLIN,
        "2026-10-24T23:30",
        ["2026-10-25T00:00", "2026-10-25T01:00", "2026-10-25T02:00"],
    ),
    # Half an hour of it, and a day that never was.
    (
        "*/15 3 * * *",
        LORD_HOWE,
        "2026-10-03T12:00",
        [
            "2026-10-03T16:00",
            "2026-10-03T16:15",
            "2026-10-03T16:30",
            "2026-10-03T16:45",
            "2026-10-04T16:00",
        ],
    ),
    ("15 2 * * *", LORD_HOWE, "2026-10-03T12:00", ["2026-10-03T15:30", "2026-10-04T15:15"]),
    (
        "0 12 * * *",
        APIA,
        "2011-12-29T00:00",
        ["2011-12-29T22:00", "2011-12-30T10:00", "2011-12-30T22:00"],
    ),
    # Leap days, ends of months, days of the week.
    (
        "0 0 29 2 *",
        "UTC",
        "2026-11-22T00:00",
        ["2028-02-29T00:00", "2032-02-29T00:00", "2036-02-29T00:00"],
    ),
    ("0 12 L * *", "UTC", "2028-02-01T00:00", ["2028-02-29T12:00", "2028-03-31T12:00"]),
    ("0 9 * * MON-FRI", NEW_YORK, "2026-03-06T12:00", ["2026-03-06T14:00", "2026-03-09T13:00"]),
    (
        "0 0 1 * 7",
        "UTC",
        "2026-11-20T00:00",
        ["2026-11-22T00:00", "2026-11-29T00:00", "2026-12-01T00:00"],
    ),
    ("0 0 * * MON#1", "UTC", "2026-11-22T00:00", ["2026-12-07T00:00"]),
    ("@daily", BERLIN, "2026-03-28T12:00", ["2026-03-28T23:00", "2026-03-29T22:00"]),
    (" @YEARLY ", "UTC", "2026-03-28T12:00", ["2027-01-01T00:00"]),
]


@pytest.mark.parametrize(("text", "zone", "after", "expected"), TIMES)
def test_cron_ticks_as_the_table_says(text, zone, after, expected):
    assert some(cron(text, zone), after, len(expected)) == expected


def test_six_fields_begin_with_the_seconds():
    schedule = cron("*/20 * * * * *")

    assert list(itertools.islice(ticks(schedule, at("2026-11-22T10:15")), 4)) == [
        at("2026-11-22T10:15") + n for n in (20, 40, 60, 80)
    ]


def test_an_interval_is_counted_from_the_moment_it_was_made():
    schedule = rule(every="10m", created_at="2026-11-22T10:03:07Z")

    assert some(schedule, "2026-11-22T00:00", 2) == ["2026-11-22T10:13", "2026-11-22T10:23"]
    assert next(ticks(schedule, at("2026-11-22T10:13:07Z"))) == at("2026-11-22T10:23:07Z")
    assert next(ticks(schedule, at("2026-11-22T10:13:06Z"))) == at("2026-11-22T10:13:07Z")


def test_nothing_ticks_before_it_was_made():
    assert some(cron("0 * * * *", created_at="2026-11-22T10:30:00Z"), "1970-01-01T00:00", 1) == [
        "2026-11-22T11:00"
    ]
    assert some(cron("0 * * * *", created_at="2026-11-22T11:00:00Z"), "1970-01-01T00:00", 1) == [
        "2026-11-22T12:00"
    ]


# -- properties

#: A busy machine is no fault.
calmly = settings(deadline=None)

FIELDS = [
    ("*", "*/7", "30", "0,59", "5-40/5", "*/30"),
    ("*", "*/2", "2", "1-3", "0", "23"),
    ("*", "1", "29", "L", "*/10"),
    ("*", "3", "10-11", "2"),
    ("*", "SUN", "1-5", "MON#1"),
]

crons = st.tuples(*(st.sampled_from(field) for field in FIELDS)).map(" ".join)
zones = st.sampled_from(
    [
        BERLIN,
        NEW_YORK,
        LORD_HOWE,
        "UTC",
        "Asia/Kathmandu",
        "America/St_Johns",
        "Africa/Casablanca",
        "Antarctica/Troll",
    ]
)

#: Times near which clocks are put somewhere.
edges = st.sampled_from(
    [
        "2026-03-29T01:00",
        "2026-10-25T01:00",
        "2026-03-08T07:00",
        "2026-11-01T06:00",
        "2026-10-03T15:30",
        "2026-04-04T15:00",
        "2026-03-22T02:00",
    ]
)
moments = st.builds(
    lambda edge, seconds: at(edge) + seconds, edges, st.integers(-30 * 3600, 30 * 3600)
)


def between(schedule, low, high):
    return list(itertools.takewhile(lambda tick: tick <= high, ticks(schedule, low)))


@calmly
@given(crons, zones, moments, st.lists(st.integers(0, 2 * 86400), max_size=6))
def test_the_ticks_of_the_parts_are_the_ticks_of_the_whole(text, zone, start, lengths):
    schedule = cron(text, zone)
    cuts = [start + length for length in sorted({0, 3 * 86400, *lengths})]

    parts = [
        tick for low, high in itertools.pairwise(cuts) for tick in between(schedule, low, high)
    ]

    assert parts == between(schedule, cuts[0], cuts[-1])
    assert parts == sorted(set(parts))


@calmly
@given(
    st.integers(1, 10**6),
    st.integers(0, 10**9),
    st.integers(0, 2 * 10**9),
    st.lists(st.integers(0, 10**6), max_size=6),
)
def test_the_same_of_intervals(every, created, start, lengths):
    schedule = rule(every=every, created_at=iso(created))
    cuts = [start + length * 3 for length in sorted({0, *lengths})]

    parts = [
        tick
        for low, high in itertools.pairwise(cuts)
        for tick in itertools.islice(between(schedule, low, min(high, low + 500 * every)), 500)
    ]

    assert all((tick - created) % every == 0 and tick > max(start, created) for tick in parts)
    assert parts == sorted(set(parts))


@calmly
@given(
    crons.filter(lambda text: text.startswith("*") or text.split()[1].startswith("*")),
    zones,
    moments,
)
def test_what_recurs_ticks_at_each_minute_that_the_wall_shows_so(text, zone, start):
    where, rest = ZoneInfo(zone), text.split()[:2]
    schedule = cron(f"{rest[0]} {rest[1]} * * *", zone)
    plain = cron(f"{rest[0]} {rest[1]} * * *")
    clock = {
        iso(tick)[11:16]
        for tick in between(plain, at("2026-01-01T00:00") - 60, at("2026-01-01T23:59"))
    }
    begin = start - start % 60

    shown = [
        minute
        for minute in range(begin + 60, begin + 86400 + 60, 60)
        if f"{datetime.fromtimestamp(minute, where):%H:%M}" in clock
    ]

    assert between(schedule, begin, begin + 86400) == shown


@calmly
@given(
    crons.filter(lambda text: not text.startswith("*") and not text.split()[1].startswith("*")),
    zones,
    moments,
)
def test_a_fixed_time_comes_once_on_each_day(text, zone, start):
    fields = text.split()[:2]
    schedule, where = cron(f"{fields[0]} {fields[1]} * * *", zone), ZoneInfo(zone)
    plain = between(
        cron(f"{fields[0]} {fields[1]} * * *"), at("2026-01-01T00:00") - 60, at("2026-01-01T23:59")
    )
    day = datetime.fromtimestamp(start, where).replace(hour=0, minute=0, second=0, fold=0)

    found = between(
        schedule, int(day.timestamp()) - 1, int((day + timedelta(days=1)).timestamp()) - 1
    )

    assert 1 <= len(found) <= len(plain)
    if day.utcoffset() == (day + timedelta(days=1)).utcoffset():
        assert [f"{datetime.fromtimestamp(tick, where):%H:%M}" for tick in found] == [
            iso(tick)[11:16] for tick in plain
        ]


# -- what is due


def due(schedule, last, now):
    found = rules.due(schedule, at(last), at(now))
    return [iso(tick)[11:19] for tick in found.ticks], found.missed is not None


HOURLY = {"cron": "0 * * * *", "zone": "UTC"}
MINUTELY = {"cron": "* * * * *", "zone": "UTC"}

DUE = [
    # On time: whatever catch_up says.
    ("none", HOURLY, "2026-11-22T10:00", "2026-11-22T11:00", ["11:00:00"], False),
    ("one", HOURLY, "2026-11-22T10:00", "2026-11-22T11:00", ["11:00:00"], False),
    ("all", HOURLY, "2026-11-22T10:00", "2026-11-22T11:00", ["11:00:00"], False),
    ("none", HOURLY, "2026-11-22T10:00", "2026-11-22T11:00:59Z", ["11:00:00"], False),
    ("none", {"every": "20s", "created_at": "2026-11-22T09:00:00Z"}, "2026-11-22T10:00", "2026-11-22T10:00:50Z", ["10:00:20", "10:00:40"], False),
    ("one", {"every": "20s", "created_at": "2026-11-22T09:00:00Z"}, "2026-11-22T10:00", "2026-11-22T10:00:50Z", ["10:00:20", "10:00:40"], False),
    # Missed.
    ("none", HOURLY, "2026-11-22T10:00", "2026-11-22T11:01", [], True),
    ("one", HOURLY, "2026-11-22T10:00", "2026-11-22T11:01", ["11:00:00"], False),
    ("all", HOURLY, "2026-11-22T10:00", "2026-11-22T11:01", ["11:00:00"], False),
    ("none", HOURLY, "2026-11-22T10:00", "2026-11-22T14:30", [], True),
    ("one", HOURLY, "2026-11-22T10:00", "2026-11-22T14:30", ["14:00:00"], True),
    ("all", HOURLY, "2026-11-22T10:00", "2026-11-22T14:30", ["11:00:00", "12:00:00", "13:00:00", "14:00:00"], False),
    # Missed, and one that is on time.
    ("none", MINUTELY, "2026-11-22T10:00", "2026-11-22T10:05:20Z", ["10:05:00"], True),
    ("one", MINUTELY, "2026-11-22T10:00", "2026-11-22T10:05:20Z", ["10:05:00"], True),
    ("all", MINUTELY, "2026-11-22T10:00", "2026-11-22T10:05:20Z", ["10:01:00", "10:02:00", "10:03:00", "10:04:00", "10:05:00"], False),
    # Nothing, and a clock that was put back.
    *[(catch_up, HOURLY, "2026-11-22T10:00", "2026-11-22T10:59", [], False) for catch_up in rules.CATCH_UPS],
    *[(catch_up, HOURLY, "2026-11-22T10:00", "2026-11-22T07:30", [], False) for catch_up in rules.CATCH_UPS],
]  # fmt: skip


@pytest.mark.parametrize(("catch_up", "fields", "last", "now", "expected", "missed"), DUE)
def test_what_is_due_and_what_was_missed(catch_up, fields, last, now, expected, missed):
    assert due(rule(catch_up=catch_up, **fields), last, now) == (expected, missed)


def test_all_is_a_thousand_at_most_and_those_are_the_newest():
    schedule = rule(every=1, created_at="2026-01-01T00:00:00Z", catch_up="all")
    now = at("2026-11-22T10:15")

    found = rules.due(schedule, at("2026-11-21T10:15"), now + 0.5)

    assert found.ticks == list(range(now - MOST + 1, now + 1))
    assert found.missed == now - MOST


@calmly
@given(
    st.sampled_from(rules.CATCH_UPS),
    st.sampled_from(["* * * * *", "*/7 * * * *", "0 */3 * * *", "30 2 * * *", "*/50 * * * * *"]),
    st.integers(0, 3 * 86400),
    st.integers(0, 3 * 86400),
)
def test_due_is_an_end_of_what_ticked(catch_up, text, since, until):
    start = at("2026-10-24T12:00")
    schedule, last, now = cron(text, BERLIN, catch_up=catch_up), start + since, start + until

    found = rules.due(schedule, last, now)

    everything = between(schedule, last, now)
    assert found.ticks == everything[len(everything) - len(found.ticks) :]
    assert (found.missed is not None) == (len(found.ticks) < len(everything))
    assert set(found.ticks) >= {tick for tick in everything if tick > now - GRACE}
    if found.missed is not None:
        # Dealt with are those that were missed, and none of those that are due.
        assert between(schedule, max(last, found.missed), now) == found.ticks
    if everything and catch_up == "one":
        assert found.ticks


# -- the ends of time


FAR = [
    {"every": "36500d"},
    {"every": 1, "created_at": "2199-12-31T23:59:59Z"},
    {"every": "1h", "created_at": "2199-12-31T23:30:00Z"},
    {"cron": "* * * * * *", "created_at": "2199-12-31T23:59:59Z"},
    {"cron": "* * * * *", "created_at": "2199-12-31T23:59:59Z", "zone": BERLIN},
    {"cron": "0 0 29 2 *", "created_at": "2196-03-01T00:00:00Z"},
    {"cron": "59 59 23 31 12 *", "created_at": "2199-12-31T23:59:59Z"},
]


@pytest.mark.parametrize("catch_up", rules.CATCH_UPS)
@pytest.mark.parametrize("fields", FAR, ids=str)
def test_a_schedule_whose_next_tick_is_beyond_the_years_of_names_has_none(fields, catch_up):
    schedule = rule(catch_up=catch_up, **{"created_at": "2199-06-01T00:00:00Z", **fields})

    assert following(schedule, at("2026-11-22T10:15")) is None
    assert due(schedule, "1970-01-01T00:00", "2026-11-22T10:15") == ([], False)
    assert list(ticks(schedule, LATEST)) == []


@pytest.mark.parametrize("fields", [{"every": 1}, {"cron": "* * * * * *"}], ids=str)
def test_the_last_tick_is_the_last_second_that_a_name_can_say(fields):
    schedule = rule(created_at="1970-01-01T00:00:00Z", **fields)

    assert list(ticks(schedule, LATEST - 3)) == [LATEST - 2, LATEST - 1, LATEST]


@pytest.mark.parametrize("catch_up", rules.CATCH_UPS)
@pytest.mark.parametrize("text", ["0 0 29 2 *", "0 0 29 2 MON", "0 12 31 12 *"])
def test_what_is_due_is_found_without_walking_through_what_is_to_come(text, catch_up, monkeypatch):
    drawn, real = [], rules.cron.ticks
    monkeypatch.setattr(
        rules.cron, "ticks", lambda *what: (drawn.append(tick) or tick for tick in real(*what))
    )
    now = at("2026-11-22T10:15")

    rules.due(cron(text, catch_up=catch_up), at("1970-01-01T00:00"), now)

    assert len({tick for tick in drawn if tick > now}) <= 1


# -- names


def test_the_id_of_a_tick_is_made_of_the_name_and_the_time_and_is_an_id():
    assert tick_id("nightly", at("2026-11-22T10:15")) == "nightly-20261122T101500Z"
    for name in ("n", "n" * LONGEST_NAME):
        assert is_name(name)
        id = tick_id(name, at("2026-11-22T10:15"))
        assert decode(encode(Name(0.0, 5, 0, id)))
        assert not is_ours(id)
    assert not is_name("n" * (LONGEST_NAME + 1))
    assert not any(is_name(text) for text in ("", ".x", "-x", "a/b", "ä", "a b"))


def test_the_job_of_a_tick_has_its_id_its_time_and_the_name_of_its_schedule():
    tick = at("2026-11-22T10:15")
    job = cron("* * * * *").job_at("nightly", tick)
    assert (job.id, job.run_at, job.name) == ("nightly-20261122T101500Z", tick, "nightly")
    named = rule(every=5, job={"command": "true", "name": "mine"})
    assert named.job_at("nightly", tick).name == "mine"
    assert named.any_job("nightly").id is None


# -- reading


def test_a_schedule_survives_being_written_and_read():
    for schedule in (
        cron("30 2 * * *", BERLIN, catch_up="all", created_at="2026-11-22T10:15:00Z"),
        rule(every="1h30m"),
    ):
        assert parse(schedule.to_bytes()) == schedule


def test_what_a_file_leaves_out_is_utc_and_one():
    schedule = parse(b'{"cron": "0 0 * * *", "job": {"command": "true"}}')
    assert (schedule.zone, schedule.catch_up, schedule.created_at) == ("UTC", "one", None)


JOB = {"command": "true"}

REFUSED = [
    ([], "a list"),
    ({"cron": "* * * * *"}, "job: is missing"),
    ({"job": JOB}, "one of cron and every"),
    ({"job": JOB, "cron": "* * * * *", "every": 5}, "one of cron and every"),
    ({"job": JOB, "every": 5, "zone": "UTC"}, "zone"),
    ({"job": JOB, "corn": "* * * * *"}, "did you mean 'cron'?"),
    ({"job": JOB, "cron": "* * * * *", "xyzzy": 1}, "the fields are cron, every"),
    ({"job": {"comand": "true"}, "every": 5}, "did you mean 'command'?"),
    ({"job": "true", "every": 5}, "job: must be a JSON object"),
    ({"job": {**JOB, "id": "x"}, "every": 5}, "id: comes with each tick"),
    (
        {"job": {**JOB, "run_at": "2026-11-22T10:15:00Z"}, "every": 5},
        "run_at: comes with each tick",
    ),
    ({"job": {**JOB, "delay": 5}, "every": 5}, "delay: comes with each tick"),
    ({"job": {**JOB, "after": ["x"]}, "every": 5}, "after: a job that comes again"),
    ({"job": JOB, "cron": 5}, "cron: must be a string"),
    ({"job": JOB, "cron": ""}, "number of fields"),
    ({"job": JOB, "cron": "61 * * * *"}, "minute '61' is not from 0 to 59"),
    ({"job": JOB, "cron": "0 0 31 2 *"}, "never happens: none of its months has such a day"),
    ({"job": JOB, "cron": "* * */20 * 1L"}, "never happens"),
    ({"job": JOB, "cron": "@reboot"}, "@daily"),
    ({"job": JOB, "cron": "0 0 " + "1," * 100 + "1 * *"}, "200 are the most"),
    ({"job": JOB, "every": 0}, "at least one"),
    ({"job": JOB, "every": "500ms"}, "at least one"),
    ({"job": JOB, "every": 1.5}, "whole seconds"),
    ({"job": JOB, "every": True}, "every: must be seconds"),
    ({"job": JOB, "every": "soon"}, "every: 'soon' is no duration"),
    (
        {"job": JOB, "cron": "* * * * *", "zone": "Europe/Atlantis"},
        "no time zone 'Europe/Atlantis'",
    ),
    ({"job": JOB, "cron": "* * * * *", "zone": "../../etc/passwd"}, "no time zone"),
    ({"job": JOB, "cron": "* * * * *", "zone": "Europe"}, "no time zone"),
    ({"job": JOB, "cron": "* * * * *", "zone": ""}, "no time zone"),
    ({"job": JOB, "every": 5, "catch_up": "some"}, "none, one, all"),
    ({"job": JOB, "every": 5, "created_at": "yesterday"}, "created_at: 'yesterday' is no time"),
]


@pytest.mark.parametrize(("record", "why"), REFUSED)
def test_what_is_no_schedule_is_refused_with_the_reason(record, why):
    with pytest.raises(InvalidSchedule) as caught:
        parse(json.dumps(record).encode())
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


#: What a field of an expression cannot say, and the cure.
FAULTS = [
    # A step that leaves only the first: it looks like an interval, and is none.
    ("*/60 * * * *", "minute '*/60' has a step beyond 0-59; use every 60m"),
    ("*/90 * * * *", "minute '*/90' has a step beyond 0-59; use every 90m"),
    ("*/60 * * * * *", "second '*/60' has a step beyond 0-59; use every 60s"),
    ("0 */24 * * *", "hour '*/24' has a step beyond 0-23; use every 24h"),
    ("0 0 */40 * *", "day '*/40' has a step beyond 1-31; use every 40d"),
    ("0 0 1 */13 *", "month '*/13' has a step beyond 1-12; name the numbers"),
    ("0 0 * * */7", "weekday '*/7' has a step beyond 0-6; name the numbers"),
    ("5/90 * * * *", "minute '5/90' has a step beyond 0-59; name the numbers"),
    ("0,10-20/30 * * * *", "minute '10-20/30' has a step beyond 10-20; name the numbers"),
    ("*/0 * * * *", "minute '*/0' has a step of 0; write 1 or more"),
    # A range that goes round the end of its field.
    ("0 0 * * fri-mon", "weekday 'FRI-MON' ends before it begins; write FRI-SAT,SUN-MON"),
    ("0 0 * * sat-sun", "weekday 'SAT-SUN' ends before it begins; write SAT,SUN"),
    ("0 0 * * 5-1", "weekday '5-1' ends before it begins; write 5-6,0-1"),
    ("0 0 * * 7-2", "weekday '7-2' ends before it begins; write 0-2"),
    ("0 22-2 * * *", "hour '22-2' ends before it begins; write 22-23,0-2"),
    ("0 0 1 nov-feb *", "month 'NOV-FEB' ends before it begins; write NOV-DEC,JAN-FEB"),
    ("0 0 28-3 * *", "day '28-3' ends before it begins; write 28-31,1-3"),
    # What other crons have.
    ("0 0 ? * 1", "day '?' means nothing here; write *"),
    ("0 0 1 * ?", "weekday '?' means nothing here; write *"),
    ("0 0 1 1 * 2027", "ends in a year; leave it out"),
    ("0 0 1 1 * 2027-2030", "ends in a year; leave it out"),
    ("0 0 1 1 * 2027,2028", "ends in a year; leave it out"),
    ("0 0 0 1 1 ? 2027", "has 7 fields, and none is for years"),
    ("0 0 * *", "wrong number of fields, 4"),
    # What is no number of the field, or no day of the month.
    ("0 24 * * *", "hour '24' is not from 0 to 23"),
    ("0 0 0 * *", "day '0' is not from 1 to 31"),
    ("0 0 1 foo *", "month 'FOO' is not from 1 to 12, nor from JAN to DEC"),
    ("0 0 * * 8", "weekday '8' is not from 0 to 6, nor from SUN to SAT"),
    ("0 0 30 2 *", "never happens: none of its months has such a day"),
    ("0 0 30,31 2 *", "never happens: none of its months has such a day"),
    ("0 0 31 4,6,9,11 *", "never happens: none of its months has such a day"),
]


@pytest.mark.parametrize(("text", "why"), FAULTS)
def test_a_fault_of_an_expression_is_called_by_its_name(text, why):
    with pytest.raises(InvalidSchedule, match=f"^cron: .*{re.escape(why)}"):
        cron(text)


@pytest.mark.parametrize(
    "text",
    [
        "*/59 * * * *",
        "*/7 */23 */30 */11 */6",
        "30/30 * * * *",
        "10-20/10 * * * *",
        "5-5/1 * * * *",
        "0 0 * * 5-7",
        "0 0 * * 7",
        "0 0 29 2 *",
        "0 0 30 1,2 *",
        "0 0 30 2 MON",
        "0 0 L,1 * FRI#2,5L",
        "0 0 LW * *",
        "0 0 0 1 jan mon-fri",
    ],
)
def test_what_is_rare_is_no_fault(text):
    assert following(cron(text), at("2026-11-22T10:15"))


@pytest.mark.parametrize(
    "name", ["localtime", "posixrules", "Factory", "right/UTC", "posix/Europe/Berlin"]
)
def test_a_zone_that_hosts_do_not_share_is_refused(name, monkeypatch):
    with pytest.raises(InvalidSchedule, match=f"zone: '{name}' is not the same on every host"):
        cron("@daily", name)
    monkeypatch.setenv("TZ", f":{name}")
    assert host.zone() is None


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff", b'{"cron": NaN}', b'{"cron": "@daily", "cron": "@hourly"}']
)
def test_what_is_no_json_is_refused(data):
    with pytest.raises(InvalidSchedule):
        parse(data)


@calmly
@given(
    st.one_of(
        st.text(max_size=30),
        st.lists(st.text("0123456789*/,-#LWMON@ ²", max_size=5), min_size=5, max_size=6).map(
            " ".join
        ),
    )
)
def test_any_text_is_a_time_or_refused(text):
    try:
        schedule = cron(text)
    except InvalidSchedule:
        return
    tick = following(schedule, at("2026-11-22T10:15"))
    assert tick is None or datetime.fromtimestamp(tick, UTC).year >= 2026
