"""The timetable on a real disk: adding, pausing, removing, and what is remembered; and the ticker that makes ticks into jobs."""

import json
import os
import stat
import time

import pytest

from queuectl import Spool, actions, disk, doctor, ids, lookup, timetable
from queuectl import schedule as rules
from queuectl.errors import (
    InvalidSchedule,
    NoSuchSchedule,
    ScheduleDamaged,
    ScheduleTaken,
    SpoolUnusable,
)
from queuectl.filename import is_id
from queuectl.log import Log
from queuectl.schedule import LONGEST_NAME, MOST, tick_id
from queuectl.ticker import BATCH, Ticker
from queuectl.timetable import ACTIVE, PAUSED, Kept
from queuectl.units import instant, iso
from tests.support import ids_in

NOON = instant("2026-11-22T12:00:00Z")

HOURLY = {"cron": "0 * * * *", "zone": "UTC", "job": {"command": "true"}}


class Timed(Spool):
    """A spool whose clock the test puts."""

    time = NOON

    def now(self):
        return self.time


@pytest.fixture
def spool(path):
    return Timed(path).make()


class Desk:
    """A ticker of one supervisor, and what it said."""

    def __init__(self, spool, path):
        self.log, self.warnings, self.moved, self.then = path, [], 0, lambda: None
        fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        self.ticker = Ticker(spool, Log(fd, "json"), self.warnings.append, self._move)

    def _move(self):
        self.moved += 1
        self.then()

    def look(self):
        self.ticker.tick()

    def events(self, what):
        return [
            event
            for line in self.log.read_text().splitlines()
            if (event := json.loads(line))["event"] == what
        ]


@pytest.fixture
def desk(spool, tmp_path):
    return Desk(spool, tmp_path / "log")


def ticked(path):
    return [id.rpartition("-")[2] for id in ids_in(path, "pending")]


# -- adding, pausing, removing


def test_a_spool_has_the_directory_with_its_first_schedule_and_it_is_private(spool, path):
    assert not (path / "schedules").exists()
    timetable.add(spool, "nightly", HOURLY)
    assert stat.S_IMODE((path / "schedules").stat().st_mode) == 0o700
    assert stat.S_IMODE((path / "schedules" / "nightly.json").stat().st_mode) == 0o600
    spool.guard(allow_root=True)
    (path / "schedules").chmod(0o770)
    with pytest.raises(SpoolUnusable, match="schedules"):
        spool.guard(allow_root=True)
    assert [(report.check, report.fixed) for report in doctor.examine(spool, fix=True)] == [
        ("modes", True)
    ]
    spool.guard(allow_root=True)


def test_a_directory_that_lost_its_spool_file_is_still_a_spool_with_schedules(spool, path):
    timetable.add(spool, "nightly", HOURLY)
    (path / "spool.json").unlink()
    Spool(path).make()


def test_a_schedule_that_was_added_stands_in_its_file(spool, path):
    timetable.add(spool, "nightly", HOURLY)
    record = json.loads((path / "schedules" / "nightly.json").read_text())
    assert record == {**HOURLY, "catch_up": "one", "created_at": "2026-11-22T12:00:00.000000Z"}


@pytest.mark.parametrize(
    ("variable", "expected"),
    [("Europe/Berlin", "Europe/Berlin"), (":America/New_York", "America/New_York"), ("", "UTC")],
)
def test_a_zone_that_nobody_named_is_that_of_this_machine(
    spool, path, monkeypatch, variable, expected
):
    monkeypatch.setenv("TZ", variable)
    timetable.add(spool, "nightly", {key: value for key, value in HOURLY.items() if key != "zone"})
    assert json.loads((path / "schedules" / "nightly.json").read_text())["zone"] == expected


def test_a_zone_without_a_name_must_be_named(spool, monkeypatch):
    monkeypatch.setenv("TZ", "CET-1CEST")
    with pytest.raises(InvalidSchedule, match="--zone"):
        timetable.add(
            spool, "nightly", {key: value for key, value in HOURLY.items() if key != "zone"}
        )


def test_a_name_is_one_schedule_also_while_it_is_paused(spool, path):
    timetable.add(spool, "nightly", HOURLY)
    before = (path / "schedules" / "nightly.json").read_bytes()
    with pytest.raises(ScheduleTaken):
        timetable.add(spool, "nightly", {**HOURLY, "cron": "@daily"})
    timetable.pause(spool, "nightly")
    with pytest.raises(ScheduleTaken):
        timetable.add(spool, "nightly", {**HOURLY, "cron": "@daily"})
    assert (path / "schedules" / "nightly.paused").read_bytes() == before
    assert os.listdir(path / "tmp") == []


def test_pausing_is_a_rename_and_resuming_is_the_way_back(spool, path):
    timetable.add(spool, "nightly", HOURLY)
    assert timetable.pause(spool, "nightly")
    assert not timetable.pause(spool, "nightly")
    assert os.listdir(path / "schedules") == ["nightly.paused"]
    assert timetable.resume(spool, "nightly")
    assert not timetable.resume(spool, "nightly")
    assert sorted(os.listdir(path / "schedules")) == ["nightly.json", "nightly.last"]


@pytest.mark.parametrize("end", [ACTIVE, PAUSED])
def test_removing_leaves_nothing_of_it(spool, path, end):
    timetable.add(spool, "nightly", HOURLY)
    timetable.remember(spool, "nightly", int(NOON))
    if end == PAUSED:
        timetable.pause(spool, "nightly")
    timetable.remove(spool, "nightly")
    assert os.listdir(path / "schedules") == []


def test_what_people_do_to_a_schedule_is_durable_when_it_is_done(spool, path, monkeypatch):
    synced, sync = {}, disk.sync

    def note(directory):
        synced[directory] = sorted(os.listdir(directory))
        sync(directory)

    monkeypatch.setattr(disk, "sync", note)
    schedules = str(path / "schedules")

    timetable.add(spool, "nightly", HOURLY)
    assert "schedules" in synced[str(path)]
    assert synced[schedules] == ["nightly.json"]
    for act in (timetable.pause, timetable.resume, timetable.remove):
        act(spool, "nightly")
        assert synced[schedules] == sorted(os.listdir(schedules))


@pytest.mark.parametrize(
    "act", [timetable.remove, timetable.pause, timetable.resume, timetable.run, timetable.find]
)
@pytest.mark.parametrize("name", ["other", "", "../nightly", "nightly.json"])
def test_a_name_that_no_schedule_has_is_refused(spool, act, name):
    with pytest.raises(NoSuchSchedule):
        act(spool, name)


@pytest.mark.parametrize("name", ["", "a/b", "../x", ".hidden", "n" * 112, "a b"])
def test_a_name_that_cannot_begin_an_id_is_refused(spool, path, name):
    with pytest.raises(InvalidSchedule, match="no name"):
        timetable.add(spool, name, HOURLY)
    assert not (path / "schedules").exists()


def test_a_schedule_that_is_none_is_refused_and_makes_nothing(spool, path):
    for wrong in (
        {**HOURLY, "corn": "x"},
        {**HOURLY, "job": {"command": "true", "stdin": "x" * 2**20}},
    ):
        with pytest.raises(InvalidSchedule):
            timetable.add(spool, "nightly", wrong)
    assert not (path / "schedules").exists()


def test_a_job_of_it_can_be_run_at_once_also_while_it_is_paused(spool, path):
    timetable.add(spool, "nightly", HOURLY)
    timetable.pause(spool, "nightly")
    id = timetable.run(spool, "nightly")
    assert ids.is_ours(id)
    record = lookup.record(spool, lookup.find(spool, id), spool.settings())
    assert (record["command"], record["name"]) == ("true", "nightly")


# -- ticking


def test_a_tick_becomes_a_job_when_it_is_due_and_once(spool, path, desk):
    timetable.add(spool, "nightly", HOURLY)
    desk.look()
    spool.time = NOON + 3599.9
    desk.look()
    assert ticked(path) == []
    for _ in range(3):
        spool.time = NOON + 3600
        desk.look()
        assert ticked(path) == ["20261122T130000Z"]
    [entry] = spool.entries("pending")
    assert entry.name.time == NOON + 3600
    assert timetable.last(spool, "nightly") == NOON + 3600
    assert [event["job"] for event in desk.events("ticked")] == ["nightly-20261122T130000Z"]
    assert desk.moved == 1


def test_it_wakes_for_the_next_tick(spool, desk):
    timetable.add(spool, "nightly", HOURLY)
    timetable.add(spool, "often", {"every": "5m", "job": {"command": "true"}})
    desk.look()
    assert 0 < desk.ticker.wakes_at - time.monotonic() <= 300


def test_a_job_of_a_tick_that_was_removed_is_not_made_again(spool, path, desk):
    timetable.add(spool, "nightly", {**HOURLY, "catch_up": "all"})
    spool.time = NOON + 2 * 3600
    desk.look()
    assert len(ticked(path)) == 2
    for entry in list(spool.entries("pending")):
        actions.remove(spool, entry)
    desk.look()
    Desk(spool, desk.log).look()
    assert ticked(path) == []


def test_a_clock_that_is_put_back_a_little_repeats_nothing(spool, path, desk):
    timetable.add(spool, "nightly", HOURLY)
    spool.time = NOON + 3600
    desk.look()
    for entry in list(spool.entries("pending")):
        actions.remove(spool, entry)
    for seconds in (-timetable.AHEAD, -1, 0):
        spool.time = NOON + 3600 + seconds
        desk.look()
    assert ticked(path) == desk.warnings == []
    spool.time = NOON + 2 * 3600
    desk.look()
    assert ticked(path) == ["20261122T140000Z"]


OFTEN = {"every": "2s", "job": {"command": "true"}}


@pytest.mark.parametrize("rule", [OFTEN, {**HOURLY, "catch_up": "all"}, HOURLY])
@pytest.mark.parametrize("hours", [0.5, 12, 12000])
def test_a_clock_that_is_put_back_silences_no_schedule(spool, path, desk, rule, hours):
    """Its ticks of the time that comes again are new jobs: those of the first time are still there."""
    timetable.add(spool, "often", rule)
    spool.time = NOON + 3600
    desk.look()
    before = set(ids_in(path, "pending"))
    assert before
    spool.time -= hours * 3600
    desk.look()
    assert set(ids_in(path, "pending")) == before
    [warning] = desk.warnings
    assert "often" in warning
    spool.time = timetable_next(spool, "often")
    desk.look()
    new = set(ids_in(path, "pending")) - before
    assert all(id.endswith("Z-2") for id in new)
    assert spool.time <= NOON + 3600 * (1 - hours) + 3600
    spool.time = NOON + 3 * 3600
    desk.look()
    assert len(desk.warnings) == 1


def timetable_next(spool, name):
    kept = timetable.find(spool, name)
    return instant(timetable.record(spool, kept)["next_at"])


def test_of_two_supervisors_that_see_a_clock_go_back_one_makes_each_job(
    spool, path, desk, tmp_path
):
    other = Desk(spool, tmp_path / "other")
    timetable.add(spool, "often", OFTEN)
    for shift in (2, -3 * 3600, 2, 2, 2, -3 * 3600, 2, 2):
        spool.time += shift
        desk.look()
        other.look()
    ids = [id.removeprefix("often-") for id in ids_in(path, "pending")]
    assert sorted(id[16:] for id in ids) == ["", "-2", "-2", "-2", "-3", "-3"]
    assert desk.moved + other.moved == len(ids)


@pytest.mark.parametrize(
    "rule", [OFTEN, {"cron": "* * * * * *", "zone": "UTC", "job": {"command": "true"}}]
)
def test_a_schedule_that_was_made_by_a_clock_that_was_ahead_ticks(spool, path, desk, rule):
    spool.time = NOON + 10 * 365 * 86400
    timetable.add(spool, "often", rule)
    spool.time = NOON
    desk.look()
    spool.time = NOON + 3
    desk.look()
    assert ticked(path)[-1] in ("20261122T120002Z", "20261122T120003Z")
    assert timetable_next(spool, "often") <= NOON + 5


def test_a_schedule_of_the_longest_name_has_ids_in_every_turn():
    name = "n" * LONGEST_NAME
    found = {tick_id(name, int(NOON), turn) for turn in (1, 2, 10)}
    assert len(found) == 3
    assert all(is_id(id) for id in found)


def test_the_doctor_lets_a_schedule_begin_anew_whose_last_tick_is_ahead(spool, path, desk):
    timetable.add(spool, "often", OFTEN)
    spool.time = NOON + 60
    desk.look()
    spool.time = NOON
    [report] = [found for found in doctor.examine(spool, fix=True) if found.check == "schedules"]
    assert report.fixed
    assert "often" in report.what
    assert not [found for found in doctor.examine(spool, fix=True) if found.check == "schedules"]
    spool.time = NOON + 2
    desk.look()
    assert "often-20261122T120002Z-2" in ids_in(path, "pending")


@pytest.mark.parametrize(
    ("catch_up", "expected", "missed"),
    [
        ("none", [], 1),
        ("one", ["20261122T150000Z"], 1),
        ("all", ["20261122T130000Z", "20261122T140000Z", "20261122T150000Z"], 0),
    ],
)
def test_what_was_missed_is_made_up_as_the_schedule_says(
    spool, path, desk, catch_up, expected, missed
):
    timetable.add(spool, "nightly", {**HOURLY, "catch_up": catch_up})
    spool.time = NOON + 3.5 * 3600
    for _ in range(3):
        desk.look()
    assert ticked(path) == expected
    assert len(desk.events("missed")) == missed
    spool.time = NOON + 4 * 3600
    desk.look()
    assert ticked(path) == [*expected, "20261122T160000Z"]


def test_very_many_are_made_up_in_many_looks_and_a_thousand_at_most(spool, path, desk):
    timetable.add(spool, "often", {"every": "1s", "catch_up": "all", "job": {"command": "true"}})
    spool.time = NOON + 5 * MOST
    desk.look()
    assert len(ticked(path)) == BATCH
    assert desk.ticker.wakes_at < float("inf")
    looks = 1
    while timetable.last(spool, "often") < spool.time:
        desk.look()
        looks += 1
    assert looks == MOST // BATCH
    assert len(ticked(path)) == MOST
    assert len(desk.events("missed")) == 1


def test_what_would_have_come_during_a_pause_is_not_made_up(spool, path, desk):
    timetable.add(spool, "nightly", {**HOURLY, "catch_up": "all"})
    timetable.pause(spool, "nightly")
    spool.time = NOON + 3.5 * 3600
    desk.look()
    timetable.resume(spool, "nightly")
    desk.look()
    assert ticked(path) == []
    spool.time = NOON + 4 * 3600
    desk.look()
    assert ticked(path) == ["20261122T160000Z"]


def test_a_schedule_that_is_resumed_by_a_clock_that_was_put_back_repeats_nothing(spool):
    timetable.add(spool, "nightly", HOURLY)
    timetable.remember(spool, "nightly", int(NOON) + 3600)
    timetable.pause(spool, "nightly")

    assert timetable.resume(spool, "nightly")

    assert timetable.last(spool, "nightly") == NOON + 3600


def test_a_schedule_that_was_removed_and_added_again_begins_anew(spool, path, desk):
    timetable.add(spool, "nightly", {**HOURLY, "catch_up": "all"})
    spool.time = NOON + 3600
    desk.look()
    timetable.remove(spool, "nightly")
    spool.time = NOON + 3.5 * 3600
    timetable.add(spool, "nightly", {**HOURLY, "catch_up": "all", "job": {"command": "false"}})
    desk.look()
    assert ticked(path) == ["20261122T130000Z"]
    spool.time = NOON + 4 * 3600
    desk.look()
    assert ticked(path) == ["20261122T130000Z", "20261122T160000Z"]
    assert (
        lookup.read(spool, lookup.find(spool, "nightly-20261122T160000Z").file).command == "false"
    )


def test_two_supervisors_make_one_job_of_a_tick(spool, path, desk, tmp_path):
    other = Desk(spool, tmp_path / "other")
    timetable.add(spool, "nightly", HOURLY)
    spool.time = NOON + 3600
    desk.look()
    other.look()
    assert ticked(path) == ["20261122T130000Z"]
    assert other.events("ticked") == []


def test_a_supervisor_that_was_overtaken_by_another_repeats_nothing(spool, path, desk, tmp_path):
    other = Desk(spool, tmp_path / "other")
    timetable.add(spool, "nightly", {**HOURLY, "catch_up": "all"})
    spool.time = NOON + 3 * 3600

    def overtake():
        desk.then = lambda: None
        timetable.remember(spool, "nightly", int(NOON) + 3600)
        other.look()
        for entry in list(spool.entries("pending")):
            actions.remove(spool, entry)

    desk.then = overtake
    desk.look()

    assert (len(desk.events("ticked")), len(other.events("ticked"))) == (1, 2)
    assert ticked(path) == []


def test_a_tick_is_skipped_while_a_job_with_its_key_waits_or_runs(spool, path, desk):
    timetable.add(spool, "nightly", {**HOURLY, "job": {"command": "true", "unique": "backup"}})
    for hours in (1, 2):
        spool.time = NOON + hours * 3600
        desk.look()
    assert ticked(path) == ["20261122T130000Z"]
    [event] = desk.events("skipped")
    assert (event["tick"], event["unique"], event["holder"]) == (
        "nightly-20261122T140000Z",
        "backup",
        "nightly-20261122T130000Z",
    )
    [entry] = spool.entries("pending")
    spool.move(entry, "completed", entry.name)
    desk.look()
    spool.time = NOON + 3 * 3600
    desk.look()
    assert ticked(path) == ["20261122T150000Z"]
    assert desk.warnings == []


def forgetful(spool, name):
    """As if the one who ticked had died before it could remember."""
    timetable.forget(spool, name)


def test_a_tick_that_nobody_remembers_is_not_doubled_while_its_job_is_there(spool, path, desk):
    timetable.add(spool, "nightly", HOURLY)
    spool.time = NOON + 3600
    desk.look()
    for state in ("pending", "completed", "dead"):
        forgetful(spool, "nightly")
        [entry] = spool.entries_of("nightly-20261122T130000Z")
        spool.move(entry, state, entry.name)
        desk.look()  # somebody else might be just doing it, and remember it soon
        assert timetable.last(spool, "nightly") is None
        assert desk.ticker.wakes_at - time.monotonic() <= 1
        desk.look()
        assert timetable.last(spool, "nightly") == NOON + 3600
    assert len(list(spool.entries_of("nightly-20261122T130000Z"))) == 1
    assert len(desk.events("ticked")) == 1


def test_a_tick_whose_creator_died_holding_its_id_is_made_by_the_next(spool, path, desk, tmp_path):
    timetable.add(spool, "nightly", HOURLY)
    # Another host's: nobody here can know whether it still runs.
    temporary = path / "tmp" / "4711~elsewhere~0a1b2c3d~4026531836~0abc"
    temporary.write_text('{"command": "true"}')
    os.link(temporary, path / "ids" / "nightly-20261122T130000Z")
    spool.time = NOON + 3600
    os.utime(temporary, (spool.time, spool.time))
    for _ in range(4):
        desk.look()
        assert ticked(path) == []
        assert timetable.last(spool, "nightly") is None
    os.utime(temporary, (1, 1))
    desk.look()
    assert ticked(path) == ["20261122T130000Z"]


# -- what is wrong


def broken(path):
    (path / "schedules" / "nightly.json").write_text("{")


def misspelt(path):
    record = json.loads((path / "schedules" / "nightly.json").read_text())
    (path / "schedules" / "nightly.json").write_text(json.dumps({**record, "catchup": "all"}))


def placeless(path):
    record = json.loads((path / "schedules" / "nightly.json").read_text())
    (path / "schedules" / "nightly.json").write_text(
        json.dumps({**record, "zone": "Europe/Atlantis"})
    )


def linked(path):
    os.rename(path / "schedules" / "nightly.json", path / "elsewhere")
    os.symlink(path / "elsewhere", path / "schedules" / "nightly.json")


def a_pipe(path):
    (path / "schedules" / "nightly.json").unlink()
    os.mkfifo(path / "schedules" / "nightly.json", 0o600)


def forgot(path):
    (path / "schedules" / "nightly.last").write_text("half a ti")


def without_a_turn(path):
    (path / "schedules" / "nightly.last").write_text(f"{iso(NOON)} x")


ILLS = [broken, misspelt, placeless, linked, a_pipe, forgot, without_a_turn]


@pytest.mark.parametrize("ill", ILLS, ids=lambda ill: ill.__name__)
def test_a_damaged_schedule_is_told_once_and_does_not_stop_the_others(spool, path, desk, ill):
    timetable.add(spool, "nightly", HOURLY)
    timetable.add(spool, "other", HOURLY)
    timetable.add(spool, "alike", HOURLY)
    ill(path)
    for hours in (1, 2):
        spool.time = NOON + hours * 3600
        desk.look()
        desk.look()
    assert sorted(set(ids_in(path, "pending"))) == [
        f"{name}-20261122T1{hour}0000Z" for name in ("alike", "other") for hour in (3, 4)
    ]
    [warning] = desk.warnings
    assert warning.startswith("schedule nightly: ")
    assert f"{path}/schedules/nightly." in warning
    assert [
        report.check for report in doctor.examine(spool, fix=False) if report.check != "links"
    ] == ["schedules"]
    states = {record["name"]: record["state"] for record in timetable.records(spool)}
    assert states == {"alike": "active", "nightly": "damaged", "other": "active"}


FAR = [
    {"every": "36500d", "job": {"command": "true"}},
    {"every": "1s", "created_at": "2199-12-31T23:59:59Z", "job": {"command": "true"}},
    {**HOURLY, "created_at": "2199-12-31T23:30:00Z"},
]


@pytest.mark.parametrize("record", FAR, ids=str)
def test_a_file_with_a_far_date_hangs_nothing_and_the_others_tick(spool, path, desk, record):
    timetable.add(spool, "other", HOURLY)
    (path / "schedules" / "far.json").write_text(json.dumps(record))
    os.utime(path / "schedules" / "far.json", (NOON, 7e9))
    spool.time = NOON + 3600

    desk.look()

    assert ids_in(path, "pending") == ["other-20261122T130000Z"]
    assert len(timetable.full_record(spool, Kept("far", ACTIVE), 5)["next"]) <= 5


@pytest.mark.parametrize("written", [-5e9, 1e12], ids=["before 1970", "after 9999"])
def test_a_file_may_have_any_time_of_its_own(spool, path, desk, written, monkeypatch):
    timetable.add(spool, "other", HOURLY)
    (path / "schedules" / "odd.json").write_text(json.dumps({**HOURLY, "catch_up": "none"}))
    real = disk.modified
    monkeypatch.setattr(
        disk, "modified", lambda file: written if file.endswith("odd.json") else real(file)
    )
    spool.time = NOON + 3600

    desk.look()

    assert "other-20261122T130000Z" in ids_in(path, "pending")
    assert [record["state"] for record in timetable.records(spool)] == ["active", "active"]


ODD = [
    ModuleNotFoundError("No module named 'cronsim'"),
    KeyError("x"),
    RecursionError(),
    OverflowError("x"),
]


@pytest.mark.parametrize("error", ODD, ids=lambda error: type(error).__name__)
def test_whatever_a_schedule_raises_is_told_once_and_the_others_tick(
    spool, path, desk, error, monkeypatch
):
    timetable.add(spool, "ill", {"every": "1h", "job": {"command": "true"}})
    timetable.add(spool, "other", HOURLY)
    real = rules.due

    def due(schedule, last, now):
        if schedule.every:
            raise error
        return real(schedule, last, now)

    monkeypatch.setattr(rules, "due", due)
    for hours in (1, 2):
        spool.time = NOON + hours * 3600
        desk.look()

    assert len(ids_in(path, "pending")) == 2
    [warning] = desk.warnings
    assert type(error).__name__ in warning


@pytest.mark.parametrize("ill", [forgot, without_a_turn], ids=lambda ill: ill.__name__)
def test_the_doctor_lets_a_schedule_begin_anew_that_cannot_know_what_it_did(spool, path, desk, ill):
    timetable.add(spool, "nightly", {**HOURLY, "catch_up": "all"})
    ill(path)
    spool.time = NOON + 3.5 * 3600
    assert [report.fixed for report in doctor.examine(spool, fix=True)] == [True]
    assert doctor.examine(spool, fix=True) == []
    desk.look()
    assert ticked(path) == []
    spool.time = NOON + 4 * 3600
    desk.look()
    assert ticked(path) == ["20261122T160000Z"]


def test_a_schedule_that_was_mended_ticks_and_may_be_damaged_again(spool, path, desk):
    timetable.add(spool, "nightly", HOURLY)
    good = (path / "schedules" / "nightly.json").read_bytes()
    for round in (1, 2):
        broken(path)
        desk.look()
        assert len(desk.warnings) == round
        (path / "schedules" / "nightly.json").write_bytes(good)
        desk.look()
    spool.time = NOON + 3600
    desk.look()
    assert ticked(path) == ["20261122T130000Z"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_schedule_of_another_user_never_ticks(spool, path, desk):
    timetable.add(spool, "nightly", HOURLY)
    os.chown(path / "schedules" / "nightly.json", 4711, 4711)
    spool.time = NOON + 3600
    desk.look()
    assert ticked(path) == []
    assert "belongs to user 4711" in desk.warnings[0]
    with pytest.raises(ScheduleDamaged):
        timetable.run(spool, "nightly")


def test_a_file_that_a_person_wrote_ticks_from_when_it_was_written(spool, path, desk):
    (path / "schedules").mkdir(mode=0o700)
    file = path / "schedules" / "nightly.json"
    file.write_text('{"cron": "0 * * * *", "catch_up": "all", "job": {"command": "true"}}')
    os.utime(file, (NOON, NOON))
    spool.time = NOON + 2 * 3600
    desk.look()
    assert len(ticked(path)) == 2


@pytest.mark.parametrize("name", [".nightly.json.swp", "nightly.json~", ".x.json", "notes.txt"])
def test_other_files_there_are_left_alone(spool, path, desk, name):
    timetable.add(spool, "nightly", HOURLY)
    (path / "schedules" / name).write_text("{")
    desk.look()
    assert desk.warnings == []
    assert doctor.examine(spool, fix=False) == []


def test_the_doctor_finds_a_memory_without_a_schedule_and_two_schedules_of_one_name(spool, path):
    timetable.add(spool, "nightly", HOURLY)
    timetable.remember(spool, "gone", int(NOON))
    (path / "schedules" / "nightly.paused").write_bytes(
        (path / "schedules" / "nightly.json").read_bytes()
    )
    assert sorted(report.fixed for report in doctor.examine(spool, fix=True)) == [False, True]
    assert sorted(os.listdir(path / "schedules")) == ["nightly.json", "nightly.paused"]
    assert not timetable.pause(spool, "nightly")
    assert sorted(os.listdir(path / "schedules")) == ["nightly.json", "nightly.paused"]


def test_a_disk_that_refuses_is_told_and_the_tick_comes_later(spool, path, desk):
    timetable.add(spool, "nightly", HOURLY)
    spool.time = NOON + 3600
    os.rename(path / "tmp", path / "away")
    (path / "tmp").write_text("in the way")
    desk.look()
    assert len(desk.warnings) == 1
    assert ticked(path) == []
    (path / "tmp").unlink()
    os.rename(path / "away", path / "tmp")
    desk.look()
    assert ticked(path) == ["20261122T130000Z"]


def test_a_schedule_is_found_by_its_name(spool):
    timetable.add(spool, "a.last", HOURLY)
    timetable.add(spool, "a", HOURLY)
    timetable.remember(spool, "a", int(NOON))
    assert sorted(timetable.files(spool)) == [Kept("a", ACTIVE), Kept("a.last", ACTIVE)]
    assert list(timetable.remembered(spool)) == ["a"]
