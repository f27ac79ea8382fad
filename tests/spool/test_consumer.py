"""Consuming in Python: what becomes of a job, who it is given to, and what others see meanwhile."""

import errno
import json
import os
import shutil
import threading

import pytest

from queuectl import (
    LostClaim,
    Spool,
    actions,
    admission,
    config,
    disk,
    limits,
    liveness,
    lookup,
    recovery,
    results,
    timetable,
)
from queuectl.errors import InvalidJob, WrongState
from tests.support import ids_in, names, until


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    for room in ("claimed", "consumer"):
        monkeypatch.setattr(f"queuectl.{room}.PATIENCE", 0.01)


def settings(spool, **values):
    config.change(spool.at("config.json"), spool.temporary(), values)


def take(spool, **options):
    """The next job, and the consumer that holds it."""
    consumer = spool.consume(wait=False, **options)
    return next(consumer), consumer


def record(spool, id):
    return results.read(spool.at("results"), id)[-1]


def nobody_is_left(path):
    return os.listdir(path / "workers") == os.listdir(path / "processing") == []


# -- how it ends


def test_leaving_the_block_completes_the_job(spool, path):
    spool.enqueue("resize", id="a")
    for job in spool.consume(wait=False):
        with job:
            assert ids_in(path, "processing") == ["a"]

    run = record(spool, "a")
    assert ids_in(path, "completed") == ["a"]
    assert (run["outcome"], run["exit_code"], run["reason"], run["stderr_tail"]) == (
        "completed",
        None,
        None,
        "",
    )
    assert run["cpu_seconds"] >= 0
    assert run["to"] == f"completed/{names(path, 'completed')[0]}"
    assert names(path, "logs") == []
    assert nobody_is_left(path)


def test_an_exception_is_a_failure_with_its_traceback_and_the_loop_goes_on(spool, path):
    spool.enqueue("resize", id="a", priority=9)
    spool.enqueue("resize", id="b")
    before = spool.now()
    for job in spool.consume(wait=False):
        with job:
            if job.id == "a":
                raise ValueError("no such picture\nand more")

    run = record(spool, "a")
    assert ids_in(path, "completed") == ["b"]
    assert (run["outcome"], run["reason"]) == ("failed", "ValueError: no such picture")
    assert run["stderr_tail"].startswith("Traceback (most recent call last):")
    assert 'raise ValueError("no such picture\\nand more")' in run["stderr_tail"]
    assert (path / "logs" / "a.1.err").read_text() == run["stderr_tail"]
    assert before + 2 <= spool.get("a").due <= spool.now() + 2.2, "the backoff is that of commands"


def test_a_job_that_always_fails_is_dead_after_max_retries(spool, path):
    settings(spool, backoff_max=0.0)
    spool.enqueue("resize", id="a", max_retries=3)
    attempts = []
    for job in spool.consume(wait=False):
        with job:
            attempts.append((job.attempt, job.max_retries))
            raise KeyError("x")

    assert attempts == [(1, 3), (2, 3), (3, 3)]
    assert ids_in(path, "dead") == ["a"]
    assert spool.wait("a").reason == "KeyError: 'x'"


@pytest.mark.parametrize(("most", "tail"), [(0, ""), (10, " é é é\n")])
def test_a_traceback_is_cut_to_output_tail(spool, most, tail):
    settings(spool, output_tail=most)
    spool.enqueue("resize", id="a")
    job, _ = take(spool)
    with job:
        raise TypeError("é é é")

    assert record(spool, "a")["stderr_tail"].endswith(tail)
    assert len(record(spool, "a")["stderr_tail"].encode()) <= most + 3


def test_an_exception_that_cannot_be_shown_is_a_failure_like_any_other(spool):
    class Nasty(Exception):
        def __str__(self):
            raise RuntimeError("not even this")

    spool.enqueue("resize", id="a")
    job, _ = take(spool)
    with job:
        raise Nasty

    assert record(spool, "a")["reason"] == "Nasty: <its text cannot be shown>"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_interrupts_the_program_gives_the_job_back_uncounted(spool, path, kind):
    spool.enqueue("resize", id="a")
    with pytest.raises(kind):  # noqa: PT012
        for job in spool.consume(wait=False):
            with job:
                raise kind

    assert "-a0-a.json" in names(path, "pending")[0]
    assert results.read(spool.at("results"), "a") == []


def test_a_job_can_fail_for_good(spool, path):
    spool.enqueue("resize", id="a")
    job, _ = take(spool)
    with job:
        try:
            job.fail("no picture will ever be there", retry=False)
        except Exception:  # what a careless program has around its work
            pytest.fail("went on")

    assert ids_in(path, "dead") == ["a"]
    assert (record(spool, "a")["reason"], record(spool, "a")["stderr_tail"]) == (
        "no picture will ever be there",
        "",
    )


def test_a_job_that_fails_for_a_reason_has_the_traceback_of_what_it_dealt_with(spool, path):
    spool.enqueue("resize", id="a")
    job, _ = take(spool)
    with job:
        try:
            _ = 1 / 0
        except ZeroDivisionError:
            job.fail("bad size")

    assert ids_in(path, "failed") == ["a"]
    assert record(spool, "a")["reason"] == "bad size"
    assert "ZeroDivisionError" in record(spool, "a")["stderr_tail"]


def test_a_job_can_say_when_it_wants_its_next_attempt(spool, path):
    spool.enqueue("resize", id="a", max_retries=2)
    job, _ = take(spool)
    before = spool.now()
    with job:
        job.retry(after="10m", reason="the server is busy")

    assert before + 600 <= spool.get("a").due <= spool.now() + 600
    assert record(spool, "a")["reason"] == "the server is busy"


def test_the_last_attempt_is_followed_by_none(spool, path):
    spool.enqueue("resize", id="a", max_retries=1)
    job, _ = take(spool)
    with job:
        job.retry(after=0)

    assert ids_in(path, "dead") == ["a"]


def test_how_a_job_ends_is_said_inside_its_block(spool, path):
    spool.enqueue("resize", id="a")
    job, consumer = take(spool)
    with pytest.raises(WrongState, match="not being worked on"):
        job.fail("x")
    with job:
        pass
    with pytest.raises(WrongState, match="worked on already"), job:
        pass
    assert list(consumer) == []


# -- giving back


def test_a_job_whose_block_was_forgotten_is_given_back_and_that_is_said(spool, path):
    for id in ("a", "b"):
        spool.enqueue("resize", id=id)

    with pytest.raises(WrongState, match="write 'with job:'"):
        for _ in spool.consume(wait=False):
            pass

    assert ids_in(path, "pending") == ["a", "b"]
    assert all("-a0-" in name for name in names(path, "pending"))
    assert nobody_is_left(path)


def test_who_breaks_out_of_the_loop_keeps_nothing(spool, path):
    for id in ("a", "b"):
        spool.enqueue("resize", id=id)
    for _ in spool.consume():
        break

    assert ids_in(path, "pending") == ["a", "b"]
    assert all("-a0-" in name for name in names(path, "pending"))
    assert nobody_is_left(path)


def test_a_job_that_was_worked_on_keeps_no_consumer_alive(spool, path):
    spool.enqueue("resize", id="a")
    for job in spool.consume():
        with job:
            pass
        break

    assert job.id == "a"
    assert nobody_is_left(path)


def test_the_next_job_cannot_be_taken_inside_of_a_block(spool, path):
    for id in ("a", "b"):
        spool.enqueue("resize", id=id)
    job, consumer = take(spool)
    with job, pytest.raises(WrongState, match="still being worked on"):
        next(consumer)

    assert ids_in(path, "completed") == ["a"]
    assert next(consumer).id == "b"
    consumer.close()


def test_closing_with_statement(spool, path):
    spool.enqueue("resize", id="a")
    with spool.consume() as consumer:
        next(consumer)
    assert nobody_is_left(path)
    assert list(consumer) == []


def test_an_outcome_that_was_written_counts_although_the_program_lost_patience(
    spool, path, monkeypatch
):
    """Ctrl+C while the move waits for a full disk."""
    spool.enqueue("resize", id="a")
    job, consumer = take(spool)

    def impatient(self, claim, target):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("queuectl.spool.Spool.file", impatient)
        with pytest.raises(KeyboardInterrupt), job:
            pass
    assert ids_in(path, "processing") == ["a"]
    consumer.close()

    assert ids_in(path, "completed") == ["a"]
    assert len(results.read(spool.at("results"), "a")) == 1


# -- fencing


def rescue_from(spool, worker):
    """As another host does that has not seen a sign of life for long enough."""
    assert recovery.rescue_worker(spool, worker, None)


def test_a_job_that_was_rescued_meanwhile_is_fenced_off(spool, path):
    spool.enqueue("resize", id="a")
    spool.enqueue("resize", id="b")
    workers, ids = [], []
    for job in spool.consume(wait=False):
        workers.append(job.worker)
        ids.append(job.id)
        if job.id == "b" or len(ids) > 1:
            with job:
                assert not job.is_lost()
            continue
        with pytest.raises(LostClaim) as caught, job:  # noqa: PT012
            rescue_from(spool, job.worker)
            assert job.is_lost()
        assert caught.value.id == "a"
        assert "no longer ours" in str(caught.value)

    assert ids.count("a") == 2, "it came again: a rescued job is due at once"
    assert workers[0] not in workers[1:], "who was taken for dead is another worker from then on"
    assert ids_in(path, "completed") == ["a", "b"]
    assert [run["outcome"] for run in results.read(spool.at("results"), "a")] == [
        "lost",
        "completed",
        "completed",
    ]
    assert nobody_is_left(path)


def test_a_failure_of_a_job_that_was_rescued_is_not_counted_twice(spool, path):
    spool.enqueue("resize", id="a")
    job, consumer = take(spool)
    with pytest.raises(LostClaim) as caught, job:  # noqa: PT012
        rescue_from(spool, job.worker)
        raise ValueError("too late")

    assert isinstance(caught.value.__context__, ValueError)
    assert "-a1-a.json" in names(path, "failed")[0]
    consumer.close()


def test_an_interrupted_job_that_was_rescued_does_not_hide_the_interruption(spool, path):
    spool.enqueue("resize", id="a")
    job, _ = take(spool)
    with pytest.raises(KeyboardInterrupt), job:  # noqa: PT012
        rescue_from(spool, job.worker)
        raise KeyboardInterrupt

    assert ids_in(path, "failed") == ["a"]


# -- cancelling


def test_a_request_to_cancel_is_seen_by_who_looks_and_kills_nobody(spool, path):
    spool.enqueue("resize", id="a")
    job, consumer = take(spool)
    with job:
        assert not job.is_cancelled()
        assert actions.cancel(spool, "a") == "asked"
        assert job.is_cancelled()

    assert spool.get("a").state == "dead"
    assert (record(spool, "a")["outcome"], record(spool, "a")["reason"]) == (
        "cancelled",
        "cancelled while it ran",
    )
    assert spool.wait("a").code == 130
    assert names(path, "processing") == []
    consumer.close()


def test_who_fails_after_a_request_is_cancelled_and_who_completes_without_looking_is_completed(
    spool, path
):
    for id in ("a", "b"):
        spool.enqueue("resize", id=id)
    for job in spool.consume(wait=False):
        with job:
            actions.cancel(spool, job.id)
            if job.id == "a":
                raise ValueError

    assert ids_in(path, "dead") == ["a"]
    assert record(spool, "a")["outcome"] == "cancelled"
    assert ids_in(path, "completed") == ["b"]
    assert nobody_is_left(path)


@pytest.mark.parametrize("ends", ["by an interruption", "by closing"])
def test_a_request_to_cancel_outlasts_the_end_of_the_program(spool, path, ends):
    spool.enqueue("resize", id="a")
    job, consumer = take(spool)
    actions.cancel(spool, "a")
    if ends == "by an interruption":
        with pytest.raises(KeyboardInterrupt), job:
            raise KeyboardInterrupt
    consumer.close()

    assert ids_in(path, "dead") == ["a"]
    assert (record(spool, "a")["outcome"], record(spool, "a")["reason"]) == (
        "cancelled",
        "cancelled while it ran",
    )
    assert nobody_is_left(path)


def test_a_program_that_ends_wakes_those_that_wait_for_a_job_that_it_had_just_ended(
    spool, path, monkeypatch
):
    """Ctrl+C between the move of the job and the look for those that wait."""
    spool.enqueue("resize", id="a")
    spool.enqueue("resize", id="b", after="a", priority=9)
    consumer = spool.consume()
    job = next(consumer)
    assert ids_in(path, "blocked") == ["b"]

    def impatient(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("queuectl.gate.Gate.ended", impatient)
        with pytest.raises(KeyboardInterrupt), job:
            pass
    consumer.close()

    assert (ids_in(path, "completed"), ids_in(path, "pending")) == (["a"], ["b"])


# -- which jobs


def test_higher_priorities_come_first_then_what_is_due_for_longest_and_nothing_that_is_not_due(
    spool, path
):
    spool.enqueue("later", id="later", priority=9, delay="1h")
    for id, priority in (("c", 1), ("a", 9), ("b", 5), ("b2", 5)):
        spool.enqueue("x", id=id, priority=priority)
    order = []
    for job in spool.consume(wait=False):
        with job:
            order.append(job.id)

    assert order == ["a", "b", "b2", "c"]
    assert ids_in(path, "pending") == ["later"]


def test_of_drops_the_highest_priority_comes_first(spool, path):
    for number, priority in enumerate((1, 9, 5, 0, 7, 3)):
        (path / "pending" / f"{number}.json").write_text(
            json.dumps({"command": "x", "priority": priority})
        )
    order = []
    for job in spool.consume(wait=False):
        with job:
            order.append(job.priority)

    assert order == [9, 7, 5, 3, 1, 0]


def test_a_consumer_that_admits_slowly_takes_a_waiting_job_before_it_admits_all(
    spool, path, monkeypatch
):
    real = admission.admit

    def admit(*words, **more):
        monkeypatch.setattr("queuectl.dealer.TURN", 0.0)  # the turn of the drops is over
        return real(*words, **more)

    monkeypatch.setattr(admission, "admit", admit)
    monkeypatch.setattr("queuectl.consumer.AHEAD", -1.0)
    for number in range(5):
        (path / "pending" / f"{number}.json").write_text('{"command": "x", "priority": 1}')
    spool.enqueue("x", id="a")
    for job in spool.consume(limit=1):
        with job:
            pass

    assert ids_in(path, "completed") == ["a"]
    assert len(spool.drops()) == 4


def test_a_drop_that_the_disk_refuses_holds_up_nobody_who_waits_for_jobs(
    spool, path, monkeypatch, caplog
):
    (path / "pending" / "x.json").write_text('{"command": "x"}')
    spool.enqueue("x", id="a")
    spool.enqueue("x", id="b")
    real = disk.rename

    def rename(old, new):
        if old.endswith("x.json"):
            raise OSError(errno.EIO, "input/output error", old)
        return real(old, new)

    monkeypatch.setattr(disk, "rename", rename)
    monkeypatch.setattr("queuectl.queue.DROP_PAUSE", 0.0)
    for job in spool.consume(limit=2):
        with job:
            pass

    assert ids_in(path, "completed") == ["a", "b"]
    assert names(path, "pending") == ["x.json"]
    assert [record.message.count("cannot admit x.json") for record in caplog.records] == [1]
    with pytest.raises(OSError, match="input/output"):
        list(spool.consume(wait=False))


def test_drops_are_admitted_and_what_is_no_job_is_rejected(spool, path):
    (path / "pending" / "x.json").write_text(
        json.dumps({"command": "x", "id": "dropped", "meta": [1]})
    )
    (path / "pending" / "bad.json").write_text('{"command": 1}')
    (path / "pending" / "20260101T000000.000000Z-p5-a0-named.json").write_text(
        '{"command": "x", "id": "other"}'
    )
    (path / "pending" / "20260231T000000.000000Z-p5-a0-never.json").write_text('{"command": "x"}')
    (path / "pending" / "half.json").write_text('{"command": ')
    found = []
    for job in spool.consume(wait=False):
        with job:
            found.append((job.id, job.meta))

    assert found == [("dropped", [1])]
    assert len(names(path, "rejected")) == 6
    assert any("-a0-named.json" in name for name in names(path, "rejected"))
    assert names(path, "pending") == ["half.json"], "one that is still being written has its grace"


def test_a_paused_spool_gives_nothing_away(spool, path):
    spool.enqueue("x", id="a")
    actions.pause(spool)
    assert list(spool.consume(wait=False)) == []
    actions.resume(spool)
    [job] = [job.__exit__(None, None, None) and job for job in spool.consume(wait=False)]
    assert job.id == "a"


def test_a_limit_is_a_limit(spool, path):
    for id in ("a", "b", "c"):
        spool.enqueue("x", id=id)
    for job in spool.consume(limit=2):
        with job:
            pass
    assert list(spool.consume(limit=0)) == []

    assert ids_in(path, "pending") == ["c"]
    assert nobody_is_left(path)


def in_thread(work):
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_who_waits_gets_what_comes_and_stops_when_told(spool, path):
    settings(spool, poll_interval=3600.0)
    seen, over = [], threading.Event()

    def work():
        for job in Spool(path).consume(stop=over.is_set):
            with job:
                seen.append(job.id)

    thread = in_thread(work)
    until(lambda: os.listdir(path / "workers"))
    spool.enqueue("x", id="a")
    until(lambda: ids_in(path, "completed") == ["a"])
    actions.pause(spool)
    spool.enqueue("x", id="b", delay="1ms")
    (path / "pending" / "x.json").write_text('{"command": "x", "id": "c"}')
    actions.resume(spool)
    until(lambda: len(ids_in(path, "completed")) == 3)
    over.set()
    thread.join(20)

    assert not thread.is_alive()
    assert sorted(seen) == ["a", "b", "c"]
    assert nobody_is_left(path)


def test_a_retry_is_taken_when_it_is_due(spool, path):
    settings(spool, poll_interval=3600.0)
    spool.enqueue("x", id="a")
    for number, job in enumerate(spool.consume(limit=2)):
        with job:
            if number == 0:
                job.retry(after="300ms")

    assert ids_in(path, "completed") == ["a"]
    assert spool.get("a").attempts == 2


def test_the_words_of_a_job_and_its_payload(spool):
    spool.enqueue(
        "resize --width 10 'my cat.png'",
        id="a",
        meta={"w": 10},
        env={"A": "1"},
        stdin="in",
        name="n",
        timeout="5m",
        cwd="/srv",
    )
    spool.enqueue(["resize", "x y"], id="b", meta=[1])
    spool.enqueue("resize", id="c")
    jobs = {}
    for job in spool.consume(wait=False):
        with job:
            jobs[job.id] = job
    a, b, c = jobs["a"], jobs["b"], jobs["c"]
    assert (a.task, a.args, a.payload) == ("resize", ("--width", "10", "my cat.png"), {"w": 10})
    assert (a.name, a.stdin, a.timeout, a.cwd, a.env, a.attempt) == (
        "n",
        "in",
        300.0,
        "/srv",
        {"A": "1"},
        1,
    )
    environ = a.environ()
    assert (environ["A"], environ["QUEUECTL_JOB_ID"], environ["QUEUECTL_WORKER"]) == (
        "1",
        "a",
        a.worker,
    )
    assert (b.task, b.args, c.args, c.payload, c.timeout) == ("resize", ("x y",), (), {}, 0)
    with pytest.raises(InvalidJob, match="no JSON object in job b"):
        _ = b.payload


def test_schedules_tick_where_only_programs_work(spool, path):
    rule = {"cron": "0 * * * *", "zone": "UTC", "catch_up": "all", "job": {"command": "report"}}
    timetable.add(spool, "hourly", rule)
    timetable.remember(spool, "hourly", int(spool.now()) - 2 * 3600)
    (path / "schedules" / "hourly.json").write_text(
        json.dumps({**rule, "created_at": "2026-01-01T00:00:00Z"})
    )
    seen = []
    for job in spool.consume(wait=False):
        with job:
            seen.append((job.command, job.id.startswith("hourly")))

    assert set(seen) == {("report", True)}
    assert len(seen) == len(ids_in(path, "completed")) >= 2


# -- what keeps a job from running


def test_a_limit_holds_for_consumers_and_its_token_comes_back_however_the_job_ends(spool, path):
    for id in ("a", "b", "c", "d"):
        spool.enqueue("x", id=id, limit="ffmpeg", max_retries=1)
    spool.enqueue("x", id="free", priority=1)
    job, consumer = take(spool)
    with job:
        assert limits.free(spool, "ffmpeg") == []
        for other in spool.consume(wait=False):
            with other:
                assert other.id == "free"
        raise ValueError
    assert limits.free(spool, "ffmpeg") == ["1"]
    with pytest.raises(KeyboardInterrupt), next(consumer) as job:
        raise KeyboardInterrupt
    assert limits.free(spool, "ffmpeg") == ["1"]
    next(consumer)
    assert limits.free(spool, "ffmpeg") == []
    consumer.close()
    assert limits.free(spool, "ffmpeg") == ["1"]

    for job in spool.consume(wait=False):
        with job:
            pass
    assert ids_in(path, "completed") == ["b", "c", "d", "free"]
    assert nobody_is_left(path)


def test_a_job_that_waits_for_another_comes_after_it_or_never(spool, path):
    spool.enqueue("x", id="a", max_retries=1)
    spool.enqueue("x", id="ok", max_retries=1)
    spool.enqueue("x", id="b", after="a", priority=9)
    spool.enqueue("x", id="c", after=["ok"], priority=9)
    order = []
    for job in spool.consume(wait=False):
        with job:
            order.append(job.id)
            assert job.id != "a"

    assert order == ["a", "ok", "c"]
    assert ids_in(path, "dead") == ["a", "b"]
    assert "job a" in spool.wait("b").reason


def test_what_is_success_for_a_command_is_nothing_to_a_program(spool, path):
    for id in ("a", "b"):
        spool.enqueue("x", id=id, success_codes=[99], no_retry_codes=[1], max_retries=2)
    for job in spool.consume(wait=False):
        with job:
            assert job.id == "a"

    assert ids_in(path, "completed") == ["a"]
    assert ids_in(path, "failed") == ["b"]


# -- as others see it


def test_it_beats_while_the_work_lasts_longer_than_the_lease(spool, path):
    settings(spool, heartbeat_interval=0.5, worker_lost_after=1.5)
    spool.enqueue("x", id="a")
    job, consumer = take(spool)
    file = path / "workers" / f"{job.worker}.json"
    seen, observer = set(), liveness.Observer(spool)
    with job:

        def look():
            seen.add(file.stat().st_mtime_ns)
            assert not observer.is_silent(job.worker)
            assert recovery.rescue(spool, observer) == []
            return len(seen) == 5

        until(look)
    assert ids_in(path, "completed") == ["a"]
    consumer.close()


def test_others_see_a_worker_with_its_job(spool, path):
    spool.enqueue("x", id="a")
    job, consumer = take(spool)
    [who] = lookup.workers(spool, liveness.Observer(spool))
    assert (who["name"], who["alive"], who["job"], who["pid"]) == (
        job.worker,
        True,
        "a",
        os.getpid(),
    )
    consumer.close()


def test_outcomes_reach_the_disk_within_a_second_though_the_next_job_lasts(
    spool, path, monkeypatch
):
    synced = threading.Event()
    monkeypatch.setattr(disk, "sync_all", lambda path: synced.set())
    for id in ("a", "b"):
        spool.enqueue("x", id=id)
    for job in spool.consume(wait=False):
        with job:
            if job.id == "b":
                assert synced.wait(30)


def test_a_full_disk_is_waited_for_and_the_outcome_is_kept(spool, path, monkeypatch):
    spool.enqueue("x", id="a")
    real, left = disk.append, [3]

    def full(*words, **more):
        if left[0]:
            left[0] -= 1
            raise OSError(errno.ENOSPC, "full", words[0])
        real(*words, **more)

    job, _ = take(spool)
    monkeypatch.setattr(disk, "append", full)
    with job:
        pass

    assert ids_in(path, "completed") == ["a"]
    assert len(results.read(spool.at("results"), "a")) == 1


def test_a_spool_that_fails_for_a_while_does_not_end_who_waits(spool, path, monkeypatch):
    spool.enqueue("x", id="a")
    real, left = disk.scan, [2]

    def failing(path, **options):
        if left[0] and path.endswith("/pending"):
            left[0] -= 1
            raise OSError(errno.EIO, "input/output error", path)
        return real(path, **options)

    monkeypatch.setattr(disk, "scan", failing)
    with pytest.raises(OSError, match="input/output"):
        list(spool.consume(wait=False))
    for job in spool.consume(limit=1):
        with job:
            pass

    assert ids_in(path, "completed") == ["a"]


@pytest.mark.parametrize("removed", ["processing", "workers"])
def test_directories_that_somebody_removed_stop_nobody(spool, path, removed):
    for id in ("a", "b"):
        spool.enqueue("x", id=id)
    for job in spool.consume(wait=False):
        with job:
            pass
        shutil.rmtree(path / removed, ignore_errors=True)

    assert ids_in(path, "completed") == ["a", "b"]


def test_settings_that_got_damaged_meanwhile_stop_nobody(spool, path):
    for id in ("a", "b"):
        spool.enqueue("x", id=id)
    for job in spool.consume(wait=False):
        with job:
            (path / "config.json").write_text("garbage")

    assert ids_in(path, "completed") == ["a", "b"]


def test_a_forked_child_ends_no_job_of_its_parent(spool, path):
    spool.enqueue("x", id="a")
    for job in spool.consume(wait=False):
        with job:
            pid = os.fork()
            if not pid:
                try:
                    # As an exception does that runs up through the block of the parent.
                    os._exit(bool(job.__exit__(SystemExit, SystemExit(), None)))
                finally:
                    os._exit(2)
            assert os.waitpid(pid, 0)[1] == 0
            assert ids_in(path, "processing") == ["a"]

    assert ids_in(path, "completed") == ["a"]
