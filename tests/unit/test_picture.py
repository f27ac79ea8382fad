"""The picture of `queuectl top`: what was seen goes in, lines come out."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl import columns, picture
from queuectl.layout import STATES
from queuectl.picture import Mood, Row, View, Worker

NOW = 1_000_000.0

COUNTS = {
    "processing": 1,
    "pending": 2,
    "blocked": 0,
    "held": 0,
    "failed": 0,
    "dead": 1,
    "completed": 1_234_567,
}


def row(id, state="pending", **more):
    fields = {
        "time": NOW - 75,
        "priority": 5,
        "attempts": 0,
        "most": 3,
        "file": "",
        "worker": None,
        "what": "true",
        "why": "",
    }
    return Row(**{"state": state, "id": id, **fields, **more})


ROWS = [
    row("run", "processing", attempts=1),
    row("next"),
    row("later", why="due in 5m"),
    row("gone", "dead", why="exit code 3"),
]

CALM = Mood()

VIEW = View("/srv/spool", NOW, COUNTS, rows=ROWS)


def text(line):
    return "".join(span.text for span in line)


def lines(view=VIEW, mood=CALM, width=90, height=24):
    return [text(line).rstrip() for line in picture.jobs(view, mood, width, height)]


def test_each_kind_of_job_has_its_part_and_says_what_matters_of_it():
    body = [line for line in lines(height=12)[3:-1] if line]

    assert body == [
        "RUNNING 1",
        "  run    processing  p5    1/3  1:15                 true",
        "WAITING 2",
        "  next   pending     p5    0/3  ready 1m             true",
        "  later  pending     p5    0/3  due in 5m            true",
        "DEAD 1",
        "  gone   dead        p5    0/3  1m ago: exit code 3  true",
    ]


def test_the_chosen_job_is_marked_over_the_whole_width():
    [line] = [
        line
        for line in picture.jobs(VIEW, Mood(chosen="next"), 90, 24)
        if text(line).startswith(">")
    ]

    assert [span.style for span in line] == ["chosen"]
    assert len(text(line)) == 90


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({}, "processing 1  pending 2  failed 0  dead 1  completed 1,234,567"),
        ({"rare": ["completed"]}, "completed ~1,234,567"),
        ({"jobs": {"completed": None}}, "completed ..."),
        ({"jobs": {**COUNTS, "held": 3}}, "held 3"),
        ({"jobs": {**COUNTS, "pending": 5000}}, "WAITING 2 of 5,000"),
        ({"is_paused": True}, "queuectl top /srv/spool  paused"),
        ({"trouble": "no spool at /srv/spool"}, "no spool at /srv/spool"),
        ({"scheduled": 1200}, "1,200 wait for their time"),
        ({"oldest": NOW - 7200}, "oldest ready since 2h"),
        (
            {"minutes": [0] * 10 + [60, 60, 60, 60, 60, 30], "part": 30.0},
            "60.0 ended a minute ▁▁▁▁▁▁▁▁▁▁█████▅",
        ),
        ({"minutes": [5], "part": 0.0}, "0.0 ended a minute"),
        ({"minutes": []}, "0.0 ended a minute"),
        (
            {"workers": [Worker("mars-1", "mars", True, 3.0, "run")]},
            "  mars-1  mars  beat   3s  runs run",
        ),
        (
            {"workers": [Worker("mars-1", "mars", True, 3.0, None)]},
            "  mars-1  mars  beat   3s  idle",
        ),
        ({"workers": [Worker("mars-1", "?", False, None, None)]}, "  mars-1  ?  dead    -  -"),
        ({"rows": [row("a", what="echo \x1b[31m\nb")]}, "echo \\x1b[31m\\nb"),
        ({"rows": [row("x" * 60)]}, "x" * 15 + "…" + "x" * 14),
        ({"rows": [row("a", most=0, attempts=2)]}, "p5      2  ready"),
    ],
)
def test_a_view_shows(change, part):
    assert part in "\n".join(lines(VIEW._replace(**change)))


@pytest.mark.parametrize(
    ("mood", "part"),
    [
        (Mood(), "enter log  c cancel"),
        (Mood(message="refused"), "refused"),
        (Mood(filter="abc", is_typing=True), "/abc_"),
        (Mood(filter="abc"), "only 'abc'"),
        (Mood(silence=6.0), "no news for 6s"),
    ],
)
def test_a_mood_shows(mood, part):
    assert part in "\n".join(lines(mood=mood))


def test_many_workers_are_cut_short_and_the_busy_come_first():
    workers = [
        Worker(f"w{i:02}", "mars", i != 3, 1.0, "run" if i == 17 else None) for i in range(20)
    ]

    shown = [
        line
        for line in lines(VIEW._replace(workers=workers), height=28)
        if line.startswith("  w") or "WORKERS" in line or "more" in line
    ]

    assert shown[0] == "WORKERS 20, 1 busy"
    assert shown[1].startswith("  w17 ")
    assert shown[-1] == "  and 16 more"


@pytest.mark.parametrize("height", [4, 6, 9, 24])
def test_the_chosen_job_is_in_sight_wherever_it_is(height):
    many = VIEW._replace(rows=[row(f"job{i}") for i in range(100)])

    for id in ("job0", "job1", "job50", "job98", "job99"):
        assert any(
            line.startswith(f"> {id} ") for line in lines(many, Mood(chosen=id), height=height)
        )


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_column_of_jobs_hides_another(width):
    long = row("begin" + "x" * 118 + "end", "dead", why="reason " * 20, what="command " * 20)
    view = VIEW._replace(rows=[long], workers=[Worker("w" * 80, "h" * 40, True, 1.0, long.id)])

    shown = lines(view, width=width)
    [job] = [line for line in shown if "1m ago" in line]
    assert all(part in job for part in ("  b", "…", "nd", "comm"))
    assert ("dead" in job) == (width >= picture.WIDE)
    [worker] = [line for line in shown if "beat" in line]
    assert worker.endswith("d")
    assert all(part in worker for part in ("  w", "h", "beat   1s  runs b"))


texts = st.text(max_size=40)


VIEWS = st.builds(
    lambda jobs, workers, rows, minutes, text: View(
        text, NOW, jobs, ["dead"], 7, NOW, True, workers, rows, minutes, 30.0, text
    ),
    st.dictionaries(st.sampled_from(STATES), st.integers(0, 10**9)),
    st.lists(
        st.builds(Worker, texts, texts, st.booleans(), st.none() | st.just(1.0), st.none() | texts),
        max_size=9,
    ),
    st.lists(st.builds(row, texts, st.sampled_from(STATES), what=texts, why=texts), max_size=30),
    st.lists(st.integers(0, 10**6), max_size=16),
    texts,
)


@given(
    st.integers(-1, 120),
    st.integers(0, 40),
    VIEWS,
    st.builds(Mood, texts, texts, st.booleans(), texts, st.just(9.0)),
)
def test_a_picture_fits_its_screen_and_commands_no_terminal(width, height, view, mood):
    for page in (
        picture.jobs(view, mood, width, height),
        picture.log(view.trouble, view.spool, 1, width, height),
        picture.help(width, height),
    ):
        assert len(page) == height
        assert all(columns.cells(text(line)) <= max(0, width) for line in page)
        assert all(text(line).isprintable() for line in page)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0:00"),
        (7.9, "0:07"),
        (723, "12:03"),
        (10809, "3:00:09"),
        (176409, "2d 01:00:09"),
        (-5, "0:00"),
    ],
)
def test_a_running_time_is_exact(seconds, shown):
    assert picture.clock(seconds) == shown


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("", []),
        ("a\nb\n", ["a", "b"]),
        ("a\n\nb", ["a", "", "b"]),
        ("10%\r50%\r100%\r\n", ["100%"]),
        ("\x1b[1;31mred\x1b[0m \x1b]0;title\x07x", ["red x"]),
        ("a\tb\x07", ["a       b", "\\x07"]),
        ("0123456789abcdef", ["012345678", "9abcdef"]),
        ("日本語の本", ["日本語の", "本"]),
    ],
)
def test_a_log_is_folded_as_a_screen_would_show_it(printed, shown):
    assert picture.folded(printed, 9) == shown


@pytest.mark.parametrize("sign", ["a", "語", "e\u0301", "\u0301"])
def test_a_line_without_end_is_folded_in_no_time(sign):
    began = time.process_time()

    assert "".join(picture.folded(sign * 256 * 1024, 80)) == sign * 256 * 1024

    assert time.process_time() - began < 5


@pytest.mark.parametrize(("back", "first", "last"), [(0, "7", "9"), (1, "6", "8"), (7, "0", "2")])
def test_a_log_shows_its_end_or_what_stands_before(back, first, last):
    page = [
        text(line)
        for line in picture.log("title", "".join(f"{i}\n" for i in range(10)), back, 30, 5)
    ]

    assert (page[0], page[1], page[3]) == ("title", first, last)
    assert picture.most_back("".join(f"{i}\n" for i in range(10)), 30, 5) == 7
