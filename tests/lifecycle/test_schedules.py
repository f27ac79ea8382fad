"""Schedules with the real command and real supervisors."""

import json
import re
import time

from queuectl.units import instant, iso
from tests.support import Workers, ids_in, until


def times(ids):
    return [
        instant(re.sub(r".*-(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z", r"\1-\2-\3T\4:\5:\6Z", id))
        for id in ids
    ]


def test_each_tick_is_one_job_however_many_supervisors_there_are(queuectl, path, tmp_path):
    queuectl("init")
    with Workers(path, "--count", "2") as one, Workers(path, "--count", "2") as other:
        one.up(2)
        other.up(2)
        queuectl(
            "schedule",
            "add",
            "tick",
            "--every",
            "1s",
            "--catch-up",
            "all",
            "-c",
            f"echo $QUEUECTL_JOB_ID >> {tmp_path}/ran",
        )
        until(lambda: len(ids_in(path, "completed")) >= 5)
        queuectl("schedule", "pause", "tick")
        until(lambda: not ids_in(path, "pending") and not ids_in(path, "processing"))
        ids = ids_in(path, "completed")
        assert sorted((tmp_path / "ran").read_text().split()) == ids
        ticks = times(ids)
        assert ticks == [ticks[0] + number for number in range(len(ticks))]
        events = [event["job"] for event in one.events("ticked") + other.events("ticked")]
        assert sorted(events) == ids
        assert one.events("warning") == other.events("warning") == []


def test_a_schedule_that_is_added_while_workers_rest_is_noticed_at_once(queuectl, path):
    queuectl("init")
    queuectl(
        "config",
        "set",
        "heartbeat_interval",
        "3600",
    )
    queuectl("config", "set", "poll_interval", "3600")
    with Workers(path) as workers:
        workers.up()
        queuectl("enqueue", "--id", "a", "-c", "true")
        until(lambda: ids_in(path, "completed") == ["a"])

        queuectl("schedule", "add", "tick", "--every", "1s", "-c", "true")

        until(lambda: len(ids_in(path, "completed")) >= 3)


def test_a_tick_that_is_due_is_run_by_a_drain_of_an_empty_spool(queuectl, path):
    queuectl("init")
    queuectl("schedule", "add", "tick", "--every", "1s", "-c", "true")
    due = time.time() + 1.1
    until(lambda: time.time() > due)

    queuectl("worker", "start", "--count", "2", "--drain")

    assert ids_in(path, "completed")
    assert not ids_in(path, "pending")


def test_a_schedule_is_noticed_at_the_next_heartbeat_by_workers_that_are_busy(
    queuectl, path, tmp_path
):
    queuectl("config", "set", "heartbeat_interval", "0.5")
    queuectl("enqueue", "--id", "long", "-c", f"until test -e {tmp_path}/go; do sleep 0.02; done")
    with Workers(path):
        until(lambda: ids_in(path, "processing") == ["long"])
        queuectl("schedule", "add", "tick", "--every", "1s", "-c", "true")
        until(lambda: ids_in(path, "pending"))
        (tmp_path / "go").touch()
        until(lambda: len(ids_in(path, "completed")) >= 2)


def test_ticks_of_a_paused_spool_wait_in_it(queuectl, path):
    queuectl("init")
    queuectl("pause")
    with Workers(path) as workers:
        workers.up()
        queuectl("schedule", "add", "tick", "--every", "1s", "-c", "true")
        until(lambda: len(ids_in(path, "pending")) >= 2)
        assert workers.events("started") == []
        queuectl("schedule", "pause", "tick")
        queuectl("resume")
        until(lambda: not ids_in(path, "pending") and not ids_in(path, "processing"))
        assert len(ids_in(path, "completed")) >= 2


def test_what_was_missed_is_made_up_by_the_next_worker_even_one_that_drains(queuectl, path):
    queuectl("schedule", "add", "hourly", "--cron", "0 * * * *", "--zone", "UTC", "-c", "true")
    file = path / "schedules" / "hourly.json"
    record = json.loads(file.read_text())
    file.write_text(json.dumps({**record, "created_at": "2026-01-01T00:00:00Z"}))

    queuectl("worker", "start", "--drain")
    queuectl("worker", "start", "--drain")

    [id] = ids_in(path, "completed")
    assert id.startswith("hourly-")
    assert id.endswith("0000Z")


def test_a_job_of_a_schedule_is_as_it_was_asked_for(queuectl, path, tmp_path):
    (tmp_path / "here").mkdir()
    words = [
        "schedule",
        "add",
        "all",
        "--every",
        "1s",
        "--priority",
        "9",
        "--max-retries",
        "2",
        "--timeout",
        "5m",
        "--name",
        "mine",
    ]
    queuectl(
        *words,
        "--env",
        "A=1",
        "--",
        "sh",
        "-c",
        "echo $A $GIVEN; pwd",
        "--every",
        cwd=tmp_path / "here",
        GIVEN="x",
    )
    id = queuectl("schedule", "run", "all").strip()
    job = queuectl.json("show", id, "--show-env")
    assert job["command"] == ["sh", "-c", "echo $A $GIVEN; pwd", "--every"]
    assert (job["priority"], job["max_retries"], job["timeout"], job["name"]) == (9, 2, 300, "mine")
    assert (job["cwd"], job["env"]["A"], "GIVEN" in job["env"]) == (
        str(tmp_path / "here"),
        "1",
        False,
    )

    shown = queuectl.json("schedule", "show", "all")
    assert set(shown["job"]["env"].values()) == {None}
    assert re.search("^job.priority +9$", queuectl("schedule", "show", "all"), re.MULTILINE)


def test_listing_shows_when_what_and_how_it_is(queuectl, path):
    assert queuectl("init")
    assert queuectl("schedule", "list") == ""
    assert queuectl.json("schedule", "list") == []
    queuectl(
        "schedule",
        "add",
        "nightly",
        "--cron",
        "30 2 * * *",
        "--zone",
        "Europe/Berlin",
        "--catch-up",
        "none",
        "-c",
        "make backup",
    )
    queuectl("schedule", "add", "often", "--every", "90m", '{"command": ["echo", "a b"]}')
    queuectl("schedule", "pause", "often")
    (path / "schedules" / "bad.json").write_text("{")

    bad, nightly, often = queuectl.json("schedule", "list")

    keys = [
        "name",
        "state",
        "cron",
        "every",
        "zone",
        "catch_up",
        "command",
        "next_at",
        "last_at",
        "created_at",
        "file",
        "reason",
    ]
    assert list(bad) == list(nightly) == list(often) == keys
    assert (nightly["state"], nightly["cron"], nightly["zone"], nightly["catch_up"]) == (
        "active",
        "30 2 * * *",
        "Europe/Berlin",
        "none",
    )
    assert nightly["next_at"][11:] in ("00:30:00.000000Z", "01:30:00.000000Z")
    assert (often["state"], often["every"], often["command"], often["next_at"]) == (
        "paused",
        "1h30m",
        ["echo", "a b"],
        None,
    )
    assert (bad["state"], bad["cron"]) == ("damaged", None)
    assert "is not JSON" in bad["reason"]
    table = queuectl("schedule", "list")
    assert "30 2 * * * Europe/Berlin" in table
    assert "every 1h30m" in table
    assert len(queuectl.json("schedule", "show", "nightly")["next"]) == 5
    assert queuectl.json("schedule", "show", "bad")["state"] == "damaged"
    assert "damaged" in queuectl("schedule", "show", "bad")


def test_refusals_say_why_and_change_nothing(queuectl, path):
    queuectl("schedule", "add", "a", "--every", "1h", "-c", "true")
    assert "already" in queuectl.refusal(
        "schedule", "add", "a", "--every", "1h", "-c", "true", code=4
    )
    assert "give one of cron and every" in queuectl.refusal(
        "schedule", "add", "b", "-c", "true", code=2
    )
    assert "an interval has none" in queuectl.refusal(
        "schedule", "add", "b", "--every", "1h", "--zone", "UTC", "-c", "true", code=2
    )
    assert "minute '99' is not from 0 to 59" in queuectl.refusal(
        "schedule", "add", "b", "--cron", "99 * * * *", "-c", "true", code=2
    )
    assert "no time zone" in queuectl.refusal(
        "schedule", "add", "b", "--cron", "@daily", "--zone", "Mars", "-c", "true", code=2
    )
    assert "what shall run?" in queuectl.refusal("schedule", "add", "b", "--every", "1h", code=2)
    assert "what shall run?" in queuectl.refusal(
        "schedule", "add", "b", "--every", "1h", "-c", "true", "--", "true", code=2
    )
    assert "leave it out" in queuectl.refusal(
        "schedule", "add", "b", "--every", "1h", '{"command": "true", "id": "x"}', code=2
    )
    assert "JSON object" in queuectl.refusal("schedule", "add", "b", "--every", "1h", "[1]", code=2)
    assert "no name" in queuectl.refusal(
        "schedule", "add", "b c", "--every", "1h", "-c", "true", code=2
    )
    for verb in ("show", "remove", "pause", "resume", "run"):
        assert "no schedule 'b'" in queuectl.refusal("schedule", verb, "b", code=3)
    assert [record["name"] for record in queuectl.json("schedule", "list")] == ["a"]
    (path / "schedules" / "bad.json").write_text("{")
    assert "bad.json" in queuectl.refusal("schedule", "run", "bad", code=1)
    assert "bad.json" in queuectl("doctor", code=1)


def test_whoever_adds_a_schedule_sees_its_next_ticks(queuectl):
    cron = ["--cron", "30 2 1 1 *", "--zone", "Asia/Kathmandu"]
    done = queuectl.run("schedule", "add", "a", *cron, "-c", "true")

    assert done.stdout == "a added\n"
    assert re.fullmatch(
        r"queuectl: next: (20\d\d-01-01T02:30:00\+05:45(, )?){3}", done.stderr.strip()
    )
    done = queuectl.run("schedule", "add", "b", "--every", "1h", "-c", "true")
    assert len(re.findall(r"20[-\dT:]+\+00:00", done.stderr)) == 3
    done = queuectl.run("schedule", "add", "c", "--every", "36000d", "-c", "true")
    assert len(re.findall(r"21[-\dT:]+\+00:00", done.stderr)) == 1


def test_pausing_resuming_and_removing_are_said(queuectl, path):
    queuectl("schedule", "add", "a", "--every", "1h", "-c", "true")
    assert queuectl("schedule", "pause", "a") == "a paused\n"
    assert queuectl("schedule", "pause", "a") == "a was paused already\n"
    assert queuectl("schedule", "resume", "a") == "a resumed\n"
    assert queuectl("schedule", "resume", "a") == "a was not paused\n"
    assert queuectl("schedule", "remove", "a") == "a removed\n"
    assert queuectl("doctor") == "healthy\n"


def test_two_supervisors_make_up_what_was_missed_together(queuectl, path, tmp_path):
    queuectl(
        "schedule",
        "add",
        "often",
        "--every",
        "1m",
        "--catch-up",
        "all",
        "-c",
        f"echo $QUEUECTL_JOB_ID >> {tmp_path}/ran",
    )
    file = path / "schedules" / "often.json"
    record = json.loads(file.read_text())
    began = instant(record["created_at"]) - 200 * 60
    file.write_text(json.dumps({**record, "created_at": iso(began)}))
    with Workers(path, "--count", "2") as one, Workers(path, "--count", "2") as other:
        until(lambda: len(ids_in(path, "completed")) >= 200)
        queuectl("schedule", "pause", "often")
        until(lambda: not ids_in(path, "pending") and not ids_in(path, "processing"))
        ids = ids_in(path, "completed")
        assert times(ids) == [began + 60 * number for number in range(1, len(ids) + 1)]
        assert sorted((tmp_path / "ran").read_text().split()) == ids
        assert one.events("warning") == other.events("warning") == []
        assert one.events("missed") == other.events("missed") == []
