"""The index of a large directory, and the drawings of the dashboard."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queuectl.dashboard import index, plots
from queuectl.dashboard.desk import Bucket, buckets
from queuectl.filename import Name, encode, stamp

NAMES = st.builds(
    lambda time, priority, text: encode(Name(time, priority, 0, text)),
    st.integers(0, 2000).map(float),
    st.integers(0, 9),
    st.text("ab.-7", max_size=9).map(lambda text: "x" + text)
    | st.integers(100, 120).map(lambda count: "y" * count),
)


def made(lines, *, reverse, late=()):
    maker = index.Maker(reverse=reverse)
    for text in lines:
        maker.add(text)
    with maker.finish() as file:
        found = index.Index(os.dup(file.fileno()), reverse=reverse)
    found.late = list(late)
    return found


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Chunks and blocks so small that every page crosses some."""
    monkeypatch.setattr(index, "CHUNK", 7)
    monkeypatch.setattr(index, "BLOCK", 64)
    monkeypatch.setattr(index, "STRIDE", 96)


@settings(max_examples=40, deadline=None)
@given(
    names=st.sets(NAMES, max_size=40),
    late=st.sets(NAMES, max_size=5),
    reverse=st.booleans(),
    state=st.sampled_from(["pending", "dead"]),
    data=st.data(),
)
def test_an_index_is_the_sorted_list(names, late, reverse, state, data):
    lines = {index.line(state, text, stamp(1000.0)) for text in names}
    more = {index.line(state, text, stamp(1000.0)) for text in late}
    found = made(lines, reverse=reverse, late=more)
    wanted = sorted(lines | more, reverse=reverse)

    assert list(found.lines("")) == wanted

    after = data.draw(st.sampled_from(wanted or ["00"]) | NAMES.map(lambda text: f"00{text}"))
    rest = [text for text in wanted if (text < after if reverse else text > after)]
    assert list(found.lines(after)) == rest

    part = data.draw(st.sampled_from(["-p5-", "a", ".json", "nowhere"]))
    assert list(found.lines(after, part)) == [text for text in rest if part in text]


def test_ready_jobs_come_by_priority_and_scheduled_ones_by_time():
    now = stamp(1000.0)
    names = [
        encode(Name(time, priority, 0, id))
        for time, priority, id in (
            (5, 1, "low"),
            (9, 9, "high"),
            (2000, 9, "later"),
            (1500, 0, "soon"),
        )
    ]

    ordered = sorted(index.line("pending", text, now) for text in names)

    assert [text.rpartition("-")[2] for text in ordered] == [
        "high.json",
        "low.json",
        "soon.json",
        "later.json",
    ]


@given(
    st.lists(
        st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), st.none() | st.floats(0, 1e7)),
        min_size=2,
        max_size=100,
    )
)
def test_every_bar_and_point_is_inside_the_drawing(rows):
    found = [Bucket(60.0 * n, done, dead, took, took) for n, (done, dead, took) in enumerate(rows)]

    for drawn in (plots.throughput(found, 60), plots.run_times(found, 60)):
        for bar in drawn["bars"]:
            assert plots.TOP - 0.1 <= float(bar["y"]) <= plots.HEIGHT - plots.BOTTOM
            assert float(bar["x"]) + float(bar["w"]) <= plots.WIDTH
        for line in drawn["lines"]:
            for dot in line["dots"]:
                assert plots.TOP - 0.1 <= float(dot["y"]) <= plots.HEIGHT - plots.BOTTOM + 0.1


def test_buckets_add_up_minutes():
    now = 1_700_000_000.0
    minute = stamp(now)[:13]
    report = {
        "ends": {"completed": {minute: 3, "20200101T0000": 9}, "dead": {minute: 1}},
        "durations": {minute: [3.0, 1.0, 2.0]},
    }

    found = buckets(report, now, 60, 60)

    assert (len(found), found[-1].completed, found[-1].dead, found[-1].median, found[-1].high) == (
        60,
        3,
        1,
        2.0,
        3.0,
    )
    assert sum(bucket.completed for bucket in found) == 3


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0123, "0.0123 s"), (3.456, "3.46 s"), (59.6, "60 s"), (600, "10 min"), (7200, "2.0 h")],
)
def test_times_are_for_people(value, text):
    assert plots.seconds(value) == text
