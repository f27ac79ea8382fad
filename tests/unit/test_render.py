"""What people read."""

import json

from queuectl import render


def test_a_json_event_is_one_line_that_is_json():
    line = render.event("json", 0.5, "failed", {"job": "a", "reason": "two\nlines"})

    assert line.count("\n") == 1
    assert json.loads(line) == {
        "time": "1970-01-01T00:00:00.500000Z",
        "event": "failed",
        "job": "a",
        "reason": "two\nlines",
    }


def test_a_text_event_is_one_line_whatever_a_job_put_into_it():
    line = render.event(
        "text", 0, "rejected", {"drop": "a\nb\x1b[31m", "reason": "bad thing", "duration": 1.23456}
    )

    assert line.count("\n") == 1
    assert "\x1b" not in line
    assert "drop=a\\nb\\x1b[31m" in line
    assert 'reason="bad thing"' in line
    assert "duration=1.235" in line


def test_colour_is_there_only_when_asked_for():
    assert "\x1b[31m" in render.event("text", 0, "dead", {}, colour=True)
    assert "\x1b" not in render.event("text", 0, "dead", {})


def test_a_long_text_is_cut_with_a_mark():
    assert render.short("abcdef", 4) == "abc…"
    assert render.short("a\tb", 9) == "a\\tb"


def test_a_command_is_shown_as_a_person_would_type_it():
    assert render.command("echo  hi | cat") == "echo  hi | cat"
    assert render.command(["ls", "-l", "a b"]) == "ls -l 'a b'"
