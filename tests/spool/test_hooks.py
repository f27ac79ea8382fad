"""Hooks: which there are, what is noted for them, and what becomes of a note."""

import json
import os
import shutil
import signal
import time

import pytest

from queuectl import actions, closing, hooks, host, liveness, lookup, porter, recovery, results
from queuectl.calls import Calls
from queuectl.log import Log
from queuectl.spool import Spool
from tests.support import names, until


@pytest.fixture(autouse=True)
def look(monkeypatch):
    """Each look is a new one, and no list of a batch is too young."""
    monkeypatch.setattr(hooks, "LOOK", -1.0)
    monkeypatch.setattr(closing, "SETTLED", 0.0)
    monkeypatch.setattr(closing, "NEWBORN", 0.0)


@pytest.fixture
def put(path, tmp_path):
    """Put a hook there; by default it appends what it reads to a file, which is answered."""

    def put(name, text='cat >> "$OUT"', mode=0o700):
        (path / "hooks").mkdir(mode=0o700, exist_ok=True)
        file = path / "hooks" / name
        out = tmp_path / f"{name}.told"
        file.write_text(f"#!/bin/sh\nOUT={out}\n{text}\n")
        file.chmod(mode)
        return out

    return put


def told(out):
    return (
        [json.loads(line) for line in out.read_text().replace("}{", "}\n{").splitlines()]
        if out.exists()
        else []
    )


@pytest.fixture
def call(spool, tmp_path):
    """Run all that is due, in a child as a supervisor does; its log lines. It answers when that has ended."""

    def call(during=lambda pid: None):
        log = tmp_path / "log"
        pid = os.fork()
        if not pid:
            code = 1
            try:
                fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                Calls(spool, "super-1-abc", Log(fd, "json")).run()
                code = 0
            finally:
                os._exit(code)
        try:
            during(pid)
        finally:
            status = os.waitpid(pid, 0)[1]
        assert status == 0
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    return call


def finish(spool, id, state="completed", **fields):
    """A job that has come to a state by a run, without its note."""
    spool.enqueue({"command": "true", "id": id, **fields})
    return end(spool, id, state)


def end(spool, id, state="completed"):
    record, lock = liveness.enroll(spool, "super-1-abc", os.getpid())
    [entry] = spool.entries_of(id)
    claim = spool.claim(entry.file, record.worker, time.time())
    target = spool.target(claim, state, time.time())
    results.append(
        spool.at("results"), id, recovery.blank(claim, target) | {"outcome": "completed"}
    )
    assert spool.file(claim, target)
    liveness.dismiss(spool, record.worker)
    os.close(lock)
    return target


def due(path):
    return names(path, "hooks/due")


# -- which hooks there are


def test_without_hooks_nothing_is_noted(spool, path):
    hooks.note(spool, "completed/x", "batch")

    assert not (path / "hooks").exists()


def test_a_file_that_is_not_executable_is_no_hook(spool, put, path):
    put("dead", mode=0o600)
    (path / "hooks" / "failed").mkdir()

    hooks.note(spool, "dead/x")

    assert hooks.status(spool) == {}
    assert due(path) == []


@pytest.mark.parametrize("what", ["hooks", "hooks/dead"])
def test_a_hook_that_others_can_write_is_not_wanted_and_the_reason_is_known(spool, put, path, what):
    put("dead")
    (path / what).chmod(0o770)

    hooks.note(spool, "dead/x")

    assert hooks.status(spool) == {"dead": f"{path / what} can be written to by others (mode 770)"}
    assert due(path) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a file of somebody else")
@pytest.mark.parametrize("what", ["hooks", "hooks/dead"])
def test_a_hook_of_somebody_else_is_not_wanted(spool, put, path, what):
    put("dead")
    os.chown(path / what, 1, 1)

    assert "belongs to user daemon" in hooks.status(spool)["dead"]
    assert hooks.wanted(spool) == set()


def test_a_link_to_a_program_of_ours_is_a_hook(spool, put, path):
    put("dead")
    (path / "hooks" / "failed").symlink_to(path / "hooks" / "dead")

    assert hooks.wanted(spool) == {"dead", "failed"}


@pytest.mark.parametrize("error", [PermissionError(13, "no"), OSError(5, "no")])
def test_a_note_that_cannot_be_written_keeps_no_job(spool, put, monkeypatch, error):
    put("dead")

    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(hooks.disk, "point", refuse)

    hooks.note(spool, "dead/x")


def test_for_want_of_room_it_is_tried_again(spool, put, monkeypatch):
    put("dead")

    def refuse(*_, **__):
        raise OSError(28, "full")

    monkeypatch.setattr(hooks.disk, "point", refuse)

    with pytest.raises(OSError, match="full"):
        hooks.note(spool, "dead/x")


# -- who leaves notes


def test_a_job_that_is_cancelled_before_it_runs_is_noted(spool, put, path):
    put("dead")
    spool.enqueue({"command": "true", "id": "a"})

    actions.cancel(spool, "a")

    assert due(path) == [f"dead~{name}" for name in names(path, "dead")]


def test_a_rescue_notes_where_the_job_goes(spool, put, path):
    put("failed")
    put("batch-done")
    for id, fields in (("a", {}), ("b", {"max_retries": 1, "batch": "x"})):
        spool.enqueue({"command": "true", "id": id, **fields})
        [entry] = spool.entries_of(id)
        (path / "processing" / "gone-1-abc").mkdir(exist_ok=True)
        spool.claim(entry.file, "gone-1-abc", time.time())

    recovery.rescue_worker(spool, "gone-1-abc", None)

    assert due(path) == [
        *(f"batch-done~{name}" for name in names(path, "dead")),
        *(f"failed~{name}" for name in names(path, "failed")),
    ]


# -- what becomes of a note


def test_a_hook_is_told_the_job_and_the_run_that_ended_it(spool, put, path, call):
    out = put("completed")
    target = finish(spool, "a", meta={"k": "ü"}, env={"SECRET": "x"})
    hooks.note(spool, target)

    [event] = call()

    [record] = told(out)
    shown = lookup.full_record(spool, lookup.find(spool, "a"), spool.settings())
    assert record == {"hook": "completed", "spool": str(path), **shown, "run": shown["runs"][0]}
    assert record["env"] == {"SECRET": None}
    assert (event["event"], event["hook"], event["job"]) == ("hook", "completed", "a")
    assert due(path) == os.listdir(path / "hooks" / "running") == []


def test_a_note_waits_until_its_job_has_moved(spool, put, path, call):
    out = put("completed")
    spool.enqueue({"command": "true", "id": "a"})
    [entry] = spool.entries_of("a")
    (path / "processing" / "w").mkdir()
    claim = spool.claim(entry.file, "w", time.time())
    target = spool.target(claim, "completed", time.time())
    results.append(spool.at("results"), "a", recovery.blank(claim, target))
    hooks.note(spool, target)

    call()
    assert told(out) == []
    spool.file(claim, target)
    call()

    assert len(told(out)) == 1


def test_a_job_that_went_on_meanwhile_is_told_all_the_same(spool, put, path, call):
    out = put("dead")
    target = finish(spool, "a", "dead")
    hooks.note(spool, target)
    actions.revive(spool, lookup.find(spool, "a"))

    call()

    [record] = told(out)
    assert (record["hook"], record["state"], record["run"]["to"]) == ("dead", "pending", target)


def test_a_note_for_a_move_that_never_came_is_dropped(spool, put, path, call, monkeypatch):
    out = put("dead")
    spool.enqueue({"command": "true", "id": "a"})
    hooks.note(spool, "dead/20260101T000000.000000Z-p5-a0-a.json")
    call()
    assert len(due(path)) == 1
    monkeypatch.setattr("queuectl.calls.YOUNG", 0.0)

    call()

    assert due(path) == told(out) == []


def test_the_note_of_a_worker_that_lost_its_job_is_dropped(spool, put, path, call):
    """It was taken for dead; the rescue sent the job the other way."""
    out = put("completed")
    target = finish(spool, "a", "failed")
    claim = results.read(spool.at("results"), "a")[0]["claim"]
    zombie = "completed/" + os.path.basename(target)
    results.append(spool.at("results"), "a", {"claim": claim, "to": zombie})
    hooks.note(spool, zombie)

    call()

    assert due(path) == told(out) == []


def test_notes_for_a_hook_that_is_gone_are_dropped(spool, put, path, call):
    put("dead")
    hooks.note(spool, finish(spool, "a", "dead"))
    (path / "hooks" / "dead").unlink()

    call()

    assert due(path) == []


def test_a_hook_that_fails_is_told_to_the_log_and_not_tried_again(spool, put, path, call):
    put("dead", "echo so it goes; exit 3")
    hooks.note(spool, finish(spool, "a", "dead"))

    [event] = call()

    assert (event["event"], event["reason"], event["output"]) == (
        "hook_failed",
        "exit code 3",
        "so it goes\n",
    )
    assert due(path) == []


def test_a_hook_that_hangs_is_ended(spool, put, path, call, monkeypatch):
    monkeypatch.setattr("queuectl.calls.TIMEOUT", 0.1)
    put("dead", "sleep 60 & sleep 60")
    hooks.note(spool, finish(spool, "a", "dead"))

    [event] = call()

    assert event["reason"] == "took longer than 0.1 s"


def test_a_hook_that_prints_without_end_is_ended(spool, put, call, monkeypatch):
    put("dead", "exec yes")
    hooks.note(spool, finish(spool, "a", "dead"))

    [event] = call()

    assert event["reason"] == "printed more than 1048576 bytes"
    assert set(event["output"]) == {"y", "\n"}


def test_a_hook_that_is_no_program_is_told_to_the_log(spool, put, path, call):
    put("dead")
    (path / "hooks" / "dead").write_text("neither this nor that\n")
    hooks.note(spool, finish(spool, "a", "dead"))

    [event] = call()

    assert "neither a program nor a script" in event["reason"]


def test_whoever_is_told_to_end_ends_the_hook_and_puts_the_note_back(
    spool, put, path, call, tmp_path
):
    put("dead", f"echo $$ > {tmp_path}/pid; exec sleep 60")
    hooks.note(spool, finish(spool, "a", "dead"))

    def during(pid):
        until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        os.kill(pid, signal.SIGTERM)

    assert call(during) == []
    assert len(due(path)) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_what_a_child_left_that_died_is_put_back_and_its_hook_ended(spool, put, path, tmp_path):
    put("dead", f"echo $$ > {tmp_path}/pid; exec sleep 60")
    hooks.note(spool, finish(spool, "a", "dead"))
    pid = os.fork()
    if not pid:
        os.setsid()
        Calls(spool, "super-1-abc", Log(2, "json")).run()
    until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert due(path) == []

    porter.recover(spool, liveness.Observer(spool))

    assert len(due(path)) == 1
    assert os.listdir(path / "hooks" / "running") == []
    hook = int((tmp_path / "pid").read_text())
    until(lambda: not host.is_running(hook))


def test_in_a_copy_of_a_spool_the_hook_that_runs_for_the_original_is_left_alone(
    spool, put, path, tmp_path
):
    put("dead", f"echo $$ > {tmp_path}/pid; exec sleep 60")
    hooks.note(spool, finish(spool, "a", "dead"))
    pid = os.fork()
    if not pid:
        os.setsid()
        Calls(spool, "super-1-abc", Log(2, "json")).run()
    try:
        until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        shutil.copytree(path, tmp_path / "copy", symlinks=True)
        copy = Spool(tmp_path / "copy")

        porter.recover(copy, liveness.Observer(copy))

        assert len(due(tmp_path / "copy")) == 1
        assert host.is_running(int((tmp_path / "pid").read_text()))
    finally:
        os.killpg(pid, signal.SIGKILL)
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
        os.waitpid(pid, 0)


def test_what_the_child_of_a_living_supervisor_has_is_left_alone(spool, path):
    fd = liveness.enroll_supervisor(spool, "super-1-abc")
    (path / "hooks" / "running" / "super-1-abc~7").mkdir(parents=True)

    porter.recover(spool, liveness.Observer(spool))
    assert os.listdir(path / "hooks" / "running") == ["super-1-abc~7"]
    os.close(fd)
    porter.recover(spool, liveness.Observer(spool))

    assert os.listdir(path / "hooks" / "running") == []


# -- batches


@pytest.fixture
def batch(spool, path):
    """A batch of jobs that wait, and its list."""

    def batch(*ids):
        (path / "batches").mkdir(exist_ok=True)
        spool.enqueue_all({"command": "true", "id": id, "batch": "b"} for id in ids)
        with (path / "batches" / "b").open("a") as file:
            file.writelines(f"{id}\n" for id in ids)

    return batch


def over(spool, id, state="completed"):
    """A job of the batch ends, with its note."""
    hooks.note(spool, end(spool, id, state), "b")


def test_the_end_of_a_batch_is_told_once_by_its_last_job(spool, put, batch, call, path):
    out = put("batch-done")
    batch("a", "b", "c")

    for id in ("b", "a"):
        over(spool, id)
        call()
    assert told(out) == []
    over(spool, "c", "dead")
    call()

    counts = {"jobs": 3, "completed": 2, "dead": 1, "gone": 0, "dead_ids": ["c"]}
    assert told(out) == [{"hook": "batch-done", "spool": str(path), "batch": "b", **counts}]
    hooks.note_batch(spool, os.path.basename(lookup.find(spool, "c").file), "b")
    call()
    assert len(told(out)) == 1


def test_a_retry_is_no_end(spool, put, batch, call):
    out = put("batch-done")
    batch("a")

    over(spool, "a", "failed")
    call()

    assert told(out) == []


def test_a_batch_with_more_jobs_ends_again(spool, put, batch, call):
    out = put("batch-done")
    batch("a")
    over(spool, "a")
    call()
    batch("b")
    over(spool, "b")
    call()

    assert [record["jobs"] for record in told(out)] == [1, 2]


def test_who_was_brought_back_is_waited_for(spool, put, batch, call):
    out = put("batch-done")
    batch("a", "b", "c")
    over(spool, "a", "dead")
    over(spool, "b")
    call()
    actions.revive(spool, lookup.find(spool, "a"))
    over(spool, "c")
    call()
    assert told(out) == []
    over(spool, "a")
    call()

    assert len(told(out)) == 1


def test_a_job_that_is_removed_is_not_waited_for(spool, put, batch, call):
    out = put("batch-done")
    batch("a", "b")
    over(spool, "a")
    call()
    actions.remove(spool, lookup.find(spool, "b"))
    call()

    assert [(record["completed"], record["gone"]) for record in told(out)] == [(1, 1)]


@pytest.fixture
def looks(monkeypatch, tmp_path):
    """The jobs because of which a child has looked whether a batch has ended."""
    real = closing.Look.has_ended

    def has_ended(look):
        with (tmp_path / "looks").open("a") as file:
            file.write(look._came + " ")
        return real(look)

    monkeypatch.setattr(closing.Look, "has_ended", has_ended)
    return lambda: (tmp_path / "looks").read_text().split()


@pytest.mark.parametrize("is_whole", [True, False])
def test_many_ends_of_one_batch_need_one_look(spool, put, batch, call, path, looks, is_whole):
    out = put("batch-done")
    batch(*(f"j{n}" for n in range(20)), *(() if is_whole else ("later",)))
    for n in range(20):
        over(spool, f"j{n}")
    call()

    assert len(looks()) == 1
    assert due(path) == names(path, "hooks/running") == []
    assert len(told(out)) == is_whole


def test_the_note_of_a_job_that_has_not_come_yet_is_kept_for_a_look_of_its_own(
    spool, put, batch, call, path, looks
):
    put("batch-done")
    batch("a", "b", "c")
    over(spool, "a")
    over(spool, "c")
    [entry] = spool.entries_of("b")
    (path / "processing" / "w").mkdir()
    claim = spool.claim(entry.file, "w", time.time())
    target = spool.target(claim, "completed", time.time())
    hooks.note(spool, target, "b")
    call()
    assert due(path) == [f"batch-done~{os.path.basename(target)}"]
    assert looks() == ["a"]

    spool.file(claim, target)
    call()

    assert looks() == ["a", "b"]
    assert due(path) == []


def test_an_end_costs_one_look_however_large_the_batch(spool, put, batch, monkeypatch):
    put("batch-done")
    batch(*(f"j{n:03}" for n in range(100)))
    for n in range(50):
        end(spool, f"j{n:03}")
    assert closing.Look(spool, "b", "j000").has_ended() == "no"
    looks = []
    real = lookup.at_last_record
    monkeypatch.setattr(
        lookup, "at_last_record", lambda spool, job: looks.append(job) or real(spool, job)
    )

    end(spool, "j070")
    assert closing.Look(spool, "b", "j070").has_ended() == "no"
    assert looks == []
    end(spool, "j050")
    assert closing.Look(spool, "b", "j050").has_ended() == "no"

    assert looks == ["j050", "j051"]


def test_a_list_that_still_grows_is_not_at_its_end(spool, put, batch, call, monkeypatch):
    out = put("batch-done")
    monkeypatch.setattr(closing, "SETTLED", 0.5)
    batch("a")
    over(spool, "a")

    call()

    assert time.time() - os.stat(spool.at("batches", "b")).st_mtime >= 0.5
    assert len(told(out)) == 1


def test_an_id_that_is_nowhere_yet_is_waited_for(spool, put, batch, call, path, monkeypatch):
    out = put("batch-done")
    monkeypatch.setattr(closing, "NEWBORN", 60.0)
    batch("a")
    with (path / "batches" / "b").open("a") as file:
        file.write("coming\n")
    over(spool, "a")
    call()
    assert (told(out), len(due(path))) == ([], 1)
    os.utime(path / "batches" / "b", (0, 0))
    call()

    assert len(told(out)) == 1


def test_two_notes_for_one_end_tell_it_once_and_a_death_tells_it_again(spool, put, batch, path):
    put("batch-done")
    batch("a")
    end(spool, "a")
    notes = [path / "hooks" / "one", path / "hooks" / "two"]
    for note in notes:
        note.symlink_to("b")
    looks = [closing.Look(spool, "b", "a") for _ in range(3)]
    assert [look.has_ended() for look in looks] == ["yes"] * 3

    assert looks[0].is_ours(str(notes[0]))
    assert not looks[1].is_ours(str(notes[1]))
    assert looks[2].is_ours(str(notes[0]))  # whoever takes up the note of one that died


def test_what_is_remembered_of_a_batch_goes_with_it(spool, put, batch, call, path):
    put("batch-done")
    batch("a", "b")
    over(spool, "a")
    call()
    over(spool, "b")
    call()
    assert len(os.listdir(path / "hooks" / "done")) == 2
    closing.sweep(spool)
    assert len(os.listdir(path / "hooks" / "done")) == 2
    (path / "batches" / "b").unlink()

    closing.sweep(spool)

    assert os.listdir(path / "hooks" / "done") == []


def test_another_spool_has_its_own_hooks(spool, put, tmp_path):
    put("dead")
    hooks.wanted(spool)

    assert hooks.wanted(Spool(tmp_path / "other").make()) == set()
