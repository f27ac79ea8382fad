"""Jobs that wait: held, for a token of a limit, for other jobs; jobs with a key; and what they say of it."""

import os
import time

import filelock
import pytest

from queuectl import (
    actions,
    admission,
    blocked,
    config,
    disk,
    gate,
    limits,
    lookup,
    recovery,
    unique,
    waiting,
)
from queuectl.errors import InvalidJob, KeyTaken, WrongState
from tests.support import ids_in, names

ME = "me-1-abc"


@pytest.fixture
def enter(spool, path):
    """Claim a job for a worker and let it through its gate: what the gate says."""
    (spool.make() and path / "processing" / ME).mkdir()

    def enter(id, worker=ME):
        (path / "processing" / worker).mkdir(exist_ok=True)
        [entry] = spool.entries_of(id)
        claim = spool.claim(entry.file, worker, time.time())
        job = admission.examine(spool, claim, spool.settings())
        return gate.Gate(spool, worker).enter(claim, job)

    return enter


def end(spool, id, state="completed"):
    """End a job without running it."""
    [entry] = spool.entries_of(id)
    assert spool.move(entry, state, entry.name._replace(time=time.time()))
    blocked.ended(spool, id)


def why(spool, id):
    return lookup.record(
        spool, lookup.find(spool, id), spool.settings(), waiting.Reasons(spool).of
    )["waits"]


# -- limits


def test_a_limit_that_no_setting_names_is_one(spool, path, enter):
    spool.enqueue_all([{"command": "true", "id": id, "limit": "x"} for id in "ab"])

    assert [enter("a"), enter("b")] == ["open", "blocked"]

    assert ids_in(path, "blocked") == ["b"]
    assert os.listdir(path / "blocked") == ["limit.x"]
    assert names(path, "processing")[1:] == ["x.1.token"]


def test_a_blocked_job_keeps_its_attempts_and_its_place(spool, path, enter):
    spool.enqueue_all([{"command": "true", "id": id, "limit": "x"} for id in "abc"])
    enter("a")
    enter("c")
    enter("b")

    blocked.wake(spool, "limit.x", 1)

    [entry] = spool.entries("pending")
    assert (entry.name.id, entry.name.attempts) == ("b", 0)


@pytest.mark.parametrize(
    ("settings", "most"),
    [
        ({}, 1),
        ({"gpu:0": 3}, 3),
        ({"gpu:": 2}, 2),
        ({"gpu:": 2, "gpu:0": 5}, 5),
        ({"g:": 9}, 1),
        ({"gpu:": 0}, 0),
    ],
)
def test_a_limit_is_as_its_setting_says_or_that_of_its_prefix(settings, most):
    assert config.Settings(limits=settings).limit("gpu:0") == most


def test_a_token_that_is_given_back_wakes_the_best_of_those_that_wait(spool, path, enter):
    spool.enqueue_all(
        [
            {"command": "true", "id": f"j{priority}", "limit": "x", "priority": priority}
            for priority in (5, 1, 9, 3)
        ]
    )
    first = gate.Gate(spool, ME)
    [entry] = spool.entries_of("j5")
    claimed = spool.claim(entry.file, ME, time.time())
    assert first.enter(claimed, admission.examine(spool, claimed, spool.settings())) == "open"
    for id in ("j1", "j9", "j3"):
        assert enter(id, "other") == "blocked"

    first.leave()

    assert ids_in(path, "pending") == ["j9"]
    assert os.listdir(path / "limits" / "x").count("1") == 1


def test_a_raised_limit_lets_more_go_on_and_a_lowered_one_fewer(spool, path, enter):
    def set_limit(most):
        config.change(spool.at("config.json"), spool.temporary(), {"limit.x": most})

    spool.enqueue_all([{"command": "true", "id": id, "limit": "x"} for id in "abcde"])
    assert [enter(id) for id in "abc"] == ["open", "blocked", "blocked"]

    set_limit(3)
    assert blocked.sweep(spool) == 2
    assert [enter(id) for id in "bcd"] == ["open", "open", "blocked"]

    set_limit(1)
    for token in [name for name in spool.held_by(ME) if name.endswith(".token")]:
        limits.give_back(spool, ME, token)
    assert limits.free(spool, "x") == ["1"]
    assert blocked.sweep(spool) == 1
    assert [enter("d"), enter("e")] == ["open", "blocked"]


def test_a_token_that_vanished_is_issued_again_and_one_that_is_held_is_not(spool, path, enter):
    spool.enqueue_all([{"command": "true", "id": id, "limit": "x"} for id in "ab"])
    enter("a")

    assert limits.mend(spool) == 0
    os.unlink(path / "processing" / ME / "x.1.token")
    assert limits.mend(spool) == 1

    assert limits.free(spool, "x") == ["1"]


def test_a_token_that_another_issued_and_took_meanwhile_is_not_issued_twice(
    spool, path, enter, overtake
):
    (path / "processing" / "other").mkdir()
    overtake(lambda: limits.take(spool, "x", "other"))

    assert not limits.take(spool, "x", ME)
    assert names(path, "processing") == ["x.1.token"]
    assert os.listdir(path / "limits" / "x") == [".1"]


def test_a_token_is_issued_under_the_lock_of_the_limits(spool, path, enter, monkeypatch):
    held = under_lock(monkeypatch, "link", path / "limits" / ".lock")

    assert limits.take(spool, "x", ME)

    assert held == [True]


def under_lock(monkeypatch, name, lock):
    """Whether `lock` was held at each call of this function of the disk: a list that grows."""
    real, held = getattr(disk, name), []

    def act(*paths):
        held.append(disk.is_held(str(lock)))
        return real(*paths)

    monkeypatch.setattr(disk, name, act)
    return held


def test_a_token_that_another_has_issued_again_and_taken_meanwhile_stays_one(
    spool, path, enter, overtake
):
    assert limits.take(spool, "x", ME)
    os.unlink(path / "processing" / ME / "x.1.token")
    overtake(lambda: limits.mend(spool) and limits.take(spool, "x", ME))

    limits.mend(spool)

    assert names(path, "processing") == ["x.1.token"]
    assert limits.free(spool, "x") == []


def test_a_token_that_a_power_cut_left_under_both_names_is_given_back_once(spool, path, enter):
    spool.enqueue({"command": "true", "id": "a", "limit": "x"})
    enter("a")
    os.link(path / "processing" / ME / "x.1.token", path / "limits" / "x" / "1")

    limits.give_back(spool, ME, "x.1.token")

    assert "x.1.token" not in os.listdir(path / "processing" / ME)
    assert limits.free(spool, "x") == ["1"]


@pytest.mark.parametrize(("most", "woken"), [(1, ["b", "c"]), (2, ["b", "c", "d"])])
def test_who_wakes_some_wakes_another_for_one_that_somebody_else_has_woken(
    spool, path, enter, monkeypatch, most, woken
):
    spool.enqueue_all([{"command": "true", "id": id, "limit": "x"} for id in "abcd"])
    assert [enter(id) for id in "abcd"] == ["open", "blocked", "blocked", "blocked"]
    rename = disk.rename

    def rename_late(source, target):
        """Another has chosen the same job, and is quicker."""
        monkeypatch.setattr(disk, "rename", rename)
        assert blocked.wake(spool, "limit.x", 1) == 1
        return rename(source, target)

    monkeypatch.setattr(disk, "rename", rename_late)
    assert blocked.wake(spool, "limit.x", most) == most

    assert ids_in(path, "pending") == woken


def test_a_limit_of_zero_lets_nothing_run(spool, enter):
    config.change(spool.at("config.json"), spool.temporary(), {"limit.x": 0})
    spool.enqueue({"command": "true", "id": "a", "limit": "x"})

    assert enter("a") == "blocked"
    assert blocked.sweep(spool) == 0


# -- others


@pytest.mark.parametrize(
    ("field", "state", "passage"),
    [
        ("after", "completed", "open"),
        ("after", "dead", "buried"),
        ("after_any", "completed", "open"),
        ("after_any", "dead", "open"),
        ("after_failed", "completed", "buried"),
        ("after_failed", "dead", "open"),
    ],
)
def test_what_an_end_means_for_those_that_wait_for_it(spool, path, enter, field, state, passage):
    spool.enqueue({"command": "true", "id": "a"})
    spool.enqueue({"command": "true", "id": "b", field: ["a"]})
    assert enter("b") == "blocked"
    assert os.listdir(path / "blocked") == ["after.a"]

    end(spool, "a", state)

    assert ids_in(path, "pending") == ["b"]
    assert os.listdir(path / "blocked") == []
    assert enter("b") == passage
    if passage == "buried":
        run = lookup.last_run(spool, lookup.find(spool, "b"))
        assert run["outcome"] == "cancelled"
        assert run["reason"].startswith("job a, after which it was to run, ")


def test_who_begins_to_wait_after_a_worker_saw_nobody_wait_is_woken_when_it_tells(
    spool, path, enter
):
    first, _ = spool.enqueue_all(
        [{"command": "true", "id": "a"}, {"command": "true", "id": "b", "after": "a"}]
    )
    assert enter(first) == "open"
    mine = gate.Gate(spool, ME)
    mine.tell()

    assert enter("b", "other-1-abc") == "blocked"
    [entry] = spool.entries("processing")
    os.rename(spool.at(entry.file), path / "completed" / os.path.basename(entry.file))
    mine.ended(first, lookup.read(spool, f"completed/{os.path.basename(entry.file)}"), "completed")
    mine.tell()

    assert ids_in(path, "pending") == ["b"]


def let_go_of_the_token(spool):
    limits.give_back(spool, ME, "x.1.token")
    blocked.offer(spool, "x")


@pytest.mark.parametrize(
    ("fields", "come"),
    [({"after": "a"}, lambda spool: end(spool, "a")), ({"limit": "x"}, let_go_of_the_token)],
)
def test_what_a_job_waits_for_may_come_while_it_is_parked(
    spool, path, enter, monkeypatch, fields, come
):
    spool.enqueue_all(
        [{"command": "true", "id": "a"}, {"command": "true", "id": "first", "limit": "x"}]
    )
    spool.enqueue({"command": "true", "id": "b", **fields})
    assert enter("first") == "open"
    park = blocked.park

    def park_late(*what):
        come(spool)
        return park(*what)

    monkeypatch.setattr(blocked, "park", park_late)
    assert enter("b") == "blocked"

    assert "b" in ids_in(path, "pending")
    assert os.listdir(path / "blocked") == []


def test_who_waits_for_a_job_whose_file_somebody_removed_by_hand_is_woken_by_the_sweep(
    spool, path, enter
):
    spool.enqueue_all(
        [{"command": "true", "id": "a"}, {"command": "true", "id": "b", "after": "a"}]
    )
    enter("b")
    [entry] = spool.entries_of("a")
    os.unlink(spool.at(entry.file))

    assert blocked.sweep(spool) == 1

    assert ids_in(path, "pending") == ["b"]


def test_who_waits_for_a_job_whose_worker_died_before_it_told_is_woken_by_the_rescue(
    spool, path, enter
):
    spool.enqueue_all(
        [{"command": "true", "id": "a"}, {"command": "true", "id": "b", "after": "a"}]
    )
    enter("b")
    [entry] = spool.entries_of("a")
    assert spool.move(entry, "completed", entry.name)

    recovery.rescue_worker(spool, ME, None)

    assert ids_in(path, "pending") == ["b"]


def test_all_are_woken_although_more_wait_than_are_looked_at_once(spool, path, enter, monkeypatch):
    monkeypatch.setattr(blocked, "MOST", 2)
    spool.enqueue_all(
        [
            {"command": "true", "id": "a"},
            *({"command": "true", "id": id, "after": "a"} for id in "bcdef"),
        ]
    )
    assert {enter(id) for id in "bcdef"} == {"blocked"}

    end(spool, "a")

    assert ids_in(path, "pending") == list("bcdef")


def test_who_waits_for_a_job_that_another_took_away_before_it_could_be_buried_waits_on(
    spool, path, enter, monkeypatch
):
    spool.enqueue_all(
        [{"command": "true", "id": "a"}, {"command": "true", "id": "b", "after": "a"}]
    )
    spool.enqueue({"command": "true", "id": "c", "after": "b"})
    assert enter("c") == "blocked"
    end(spool, "a", "dead")

    monkeypatch.setattr(spool, "file", lambda claim, target: False)

    assert enter("b") == "lost"
    assert ids_in(path, "blocked") == ["c"]


def test_a_job_waits_for_all_of_several(spool, path, enter):
    spool.enqueue_all([{"command": "true", "id": id} for id in "abc"])
    spool.enqueue({"command": "true", "id": "z", "after": ["a", "b"], "after_any": "c"})
    for id in "bac":
        assert enter("z") == "blocked"
        end(spool, id)
        blocked.sweep(spool)
    assert enter("z") == "open"


def test_a_job_whose_predecessor_was_removed_is_buried_with_a_reason(spool, enter):
    spool.enqueue({"command": "true", "id": "a"})
    spool.enqueue({"command": "true", "id": "b", "after": "a"})
    enter("b")

    actions.remove(spool, lookup.find(spool, "a"))

    assert enter("b") == "buried"
    assert "not in the spool any more" in lookup.last_run(spool, lookup.find(spool, "b"))["reason"]


def test_a_job_that_waits_for_an_unknown_one_is_refused_and_nothing_is_enqueued(spool, path):
    with pytest.raises(InvalidJob, match="no job 'nobody'"):
        spool.enqueue_all([{"command": "true"}, {"command": "true", "after": "nobody"}])
    assert names(path, "pending") == os.listdir(path / "tmp") == []


@pytest.mark.parametrize(
    "circle", [{"a": "a"}, {"a": "b", "b": "a"}, {"a": "b", "b": "c", "c": "a"}]
)
def test_jobs_that_wait_for_each_other_in_a_circle_are_refused(spool, path, circle):
    with pytest.raises(InvalidJob, match="in a circle: . after ."):
        spool.enqueue_all(
            [{"command": "true", "id": id, "after": [other]} for id, other in circle.items()]
        )
    assert names(path, "pending") == os.listdir(path / "tmp") == os.listdir(path / "ids") == []


def test_jobs_that_come_together_may_wait_for_each_other_in_any_order(spool, path):
    ids = spool.enqueue_all(
        [
            {"command": "true", "id": "z", "after": ["y"]},
            {"command": "true", "id": "y", "after": "x"},
            {"command": "true", "id": "x"},
        ]
    )

    assert ids == ["z", "y", "x"]
    assert ids_in(path, "pending") == ["x", "y", "z"]


def test_a_drop_that_waits_for_a_job_that_is_not_there_is_given_time_then_rejected(
    spool, path, enter
):
    (path / "pending" / "x.json").write_text('{"command": "true", "id": "b", "after": "a"}')

    assert isinstance(admission.admit(spool, "x.json", ME, last=False), admission.Broken)
    spool.enqueue({"command": "true", "id": "a"})
    assert isinstance(admission.admit(spool, "x.json", ME, last=False), admission.Admitted)

    (path / "pending" / "y.json").write_text('{"command": "true", "after": "nobody"}')
    assert admission.admit(spool, "y.json", ME, last=True) == admission.Rejected(
        "waits for job 'nobody', which is not in the spool"
    )


# -- keys


def test_a_key_is_held_until_its_job_has_ended(spool, path):
    spool.enqueue({"command": "true", "id": "a", "unique": "key"})
    assert os.readlink(path / "unique" / "key") == "a"

    for state in ("pending", "failed", "held"):
        [entry] = spool.entries_of("a")
        spool.move(entry, state, entry.name)
        with pytest.raises(KeyTaken, match=f"held by job a, which is {state}"):
            spool.enqueue({"command": "true", "id": "b", "unique": "key"})
        assert os.listdir(path / "tmp") == []
        assert not spool.is_taken("b")

    end(spool, "a")
    spool.enqueue({"command": "true", "id": "b", "unique": "key"})
    assert os.readlink(path / "unique" / "key") == "b"


def test_a_key_that_a_quicker_one_takes_while_it_changes_hands_is_theirs(spool, path, monkeypatch):
    spool.enqueue({"command": "true", "id": "a", "unique": "key"})
    end(spool, "a")
    unlink = disk.unlink

    def be_quicker(file):
        unlink(file)
        return disk.point(file, "theirs")

    monkeypatch.setattr(disk, "unlink", be_quicker)
    with pytest.raises(KeyTaken, match="theirs"):
        unique.hold(spool, "key", "mine")

    assert os.readlink(path / "unique" / "key") == "theirs"


def test_a_key_that_another_takes_before_it_is_given_up_is_theirs(spool, path, overtake):
    spool.enqueue({"command": "true", "id": "a", "unique": "key"})
    end(spool, "a")
    overtake(lambda: unique.hold(spool, "key", "theirs"))

    unique.let_go(spool, "key", "a")

    assert os.readlink(path / "unique" / "key") == "theirs"


def test_a_key_changes_hands_under_the_lock_of_the_keys(spool, path, monkeypatch):
    spool.enqueue({"command": "true", "id": "a", "unique": "key"})
    end(spool, "a")
    held = under_lock(monkeypatch, "unlink", path / "unique" / ".lock")

    unique.hold(spool, "key", "b")

    assert held == [True]


def test_a_key_that_cannot_be_let_go_is_no_obstacle_to_an_end_and_void_all_the_same(
    spool, path, enter, monkeypatch
):
    job = lookup.read(
        spool,
        lookup.find(spool, spool.enqueue({"command": "true", "id": "a", "unique": "key"})).file,
    )
    spool.enqueue({"command": "true", "id": "b", "after": "a"})
    enter("b")
    [entry] = spool.entries_of("a")
    spool.move(entry, "completed", entry.name)
    with (
        monkeypatch.context() as patch,
        filelock.FileLock(path / "unique" / ".lock", is_singleton=False),
    ):
        patch.setattr(
            config,
            "locked",
            lambda path, real=config.locked, **_: real(path, shared=False, patience=0.05),
        )
        gate.Gate(spool, ME).ended("a", job, "completed")

    assert ids_in(path, "pending") == ["b"]
    spool.enqueue({"command": "true", "unique": "key"})


def test_of_many_that_come_together_with_one_key_none_comes_in(spool, path):
    with pytest.raises(KeyTaken):
        spool.enqueue_all([{"command": "true", "unique": "key"}] * 2)

    assert names(path, "pending") == os.listdir(path / "tmp") == []
    spool.enqueue({"command": "true", "unique": "key"})


@pytest.mark.parametrize("verb", ["cancel", "remove"])
def test_a_key_is_free_when_its_job_was_cancelled_or_removed(spool, verb):
    spool.enqueue({"command": "true", "id": "a", "unique": "key"})

    actions.cancel(spool, "a") if verb == "cancel" else actions.remove(
        spool, lookup.find(spool, "a")
    )

    assert unique.hold(spool, "key", "b") is None


def test_a_dead_job_comes_back_only_if_its_key_is_free(spool):
    spool.enqueue({"command": "true", "id": "a", "unique": "key"})
    end(spool, "a", "dead")
    spool.enqueue({"command": "true", "id": "b", "unique": "key"})

    with pytest.raises(KeyTaken):
        actions.revive(spool, lookup.find(spool, "a"))
    assert spool.state_of("a") == "dead"

    end(spool, "b")
    assert actions.revive(spool, lookup.find(spool, "a"))


def test_a_drop_with_a_key_that_is_taken_is_rejected_and_the_holder_named(spool, path, enter):
    spool.enqueue({"command": "true", "id": "a", "unique": "key"})
    (path / "pending" / "x.json").write_text('{"command": "true", "unique": "key"}')

    answer = admission.admit(spool, "x.json", ME, last=False)

    assert isinstance(answer, admission.Rejected)
    assert "job a" in answer.why


# -- held, changed, tried again


@pytest.mark.parametrize("state", ["pending", "failed"])
def test_a_held_job_comes_back_as_it_was(spool, path, state):
    spool.enqueue({"command": "true", "id": "a", "run_at": "2190-01-01"})
    [entry] = spool.entries_of("a")
    entry = spool.move(entry, state, entry.name._replace(attempts=2))

    assert actions.hold(spool, entry)
    [held] = spool.entries("held")
    assert actions.release(spool, held)

    [entry] = spool.entries("pending")
    assert entry.name == held.name
    assert entry.name.attempts == 2


def test_what_does_not_wait_cannot_be_held_changed_or_released(spool):
    spool.enqueue({"command": "true", "id": "a"})
    with pytest.raises(WrongState, match="pending, not held"):
        actions.release(spool, lookup.find(spool, "a"))
    end(spool, "a")
    for act in (
        lambda e: actions.hold(spool, e),
        lambda e: actions.change(spool, e, priority=1),
        lambda e: actions.retry(spool, e),
    ):
        with pytest.raises(WrongState, match="job a is completed; "):
            act(lookup.find(spool, "a"))


@pytest.mark.parametrize("state", ["pending", "held", "blocked", "failed"])
def test_a_job_that_waits_is_changed_by_its_name_where_it_is(spool, path, enter, state):
    spool.enqueue({"command": "true", "id": "b"})
    spool.enqueue({"command": "true", "id": "a", "after": "b"})
    if state == "blocked":
        enter("a")
    else:
        [entry] = spool.entries_of("a")
        spool.move(entry, state, entry.name)

    assert actions.change(spool, lookup.find(spool, "a"), priority=9)

    [entry] = spool.entries(state, "-a.json")
    assert entry.name.priority == 9


def test_a_failed_job_is_tried_now_with_the_attempts_it_had(spool):
    spool.enqueue({"command": "true", "id": "a"})
    [entry] = spool.entries_of("a")
    spool.move(entry, "failed", entry.name._replace(time=7e9, attempts=2))

    assert actions.retry(spool, lookup.find(spool, "a"))

    [entry] = spool.entries("pending")
    assert entry.name.attempts == 2
    assert entry.name.time <= time.time()


# -- why


def test_a_list_says_why_each_job_waits(spool, path, enter):
    spool.enqueue_all([{"command": "true", "id": id, "limit": "x"} for id in ("one", "two")])
    spool.enqueue_all(
        [{"command": "true", "id": "later", "delay": 7300}, {"command": "true", "id": "next"}]
    )
    spool.enqueue({"command": "true", "id": "heir", "after": "next"})
    spool.enqueue({"command": "true", "id": "kept"}, hold=True)
    spool.enqueue({"command": "true", "id": "again"})
    [again] = spool.entries_of("again")
    spool.move(again, "failed", again.name._replace(time=time.time() + 7300, attempts=1))
    enter("one")
    enter("two")

    assert why(spool, "one") is None
    assert why(spool, "two") == "limit x is full"
    assert why(spool, "later") == "due in 2h"
    assert why(spool, "again") == "due in 2h (attempt 2 of 3)"
    assert why(spool, "kept") == "held"
    assert why(spool, "next") == why(spool, "heir") == "no worker is alive"
    actions.pause(spool)
    assert why(spool, "next") == "paused"


def test_a_job_that_no_worker_has_looked_at_says_what_it_will_wait_for(spool, alive):
    spool.enqueue_all(
        [{"command": "true", "id": "a"}, {"command": "true", "id": "b", "after": "a"}]
    )

    assert [why(spool, "a"), why(spool, "b")] == [None, "waits for a"]


@pytest.fixture
def alive(spool):
    """A worker that is alive."""
    from queuectl import liveness

    spool.make()
    record, lock = liveness.enroll(spool, "super-1-abc", os.getpid())
    yield record.worker
    os.close(lock)


@pytest.mark.parametrize(
    "act",
    [
        lambda spool, entry: actions.cancel(spool, entry.name.id),
        actions.remove,
        actions.hold,
        lambda spool, entry: actions.change(spool, entry, due=7e9),
    ],
)
def test_who_was_woken_for_a_token_and_is_taken_away_leaves_it_to_the_next(spool, path, enter, act):
    spool.enqueue_all([{"command": "true", "id": id, "limit": "x"} for id in "abc"])
    assert [enter(id) for id in "abc"] == ["open", "blocked", "blocked"]
    limits.give_back(spool, ME, "x.1.token")
    assert blocked.offer(spool, "x") == 1
    assert ids_in(path, "blocked") == ["c"]

    act(spool, lookup.find(spool, "b"))

    assert ids_in(path, "blocked") == []
    assert "c" in ids_in(path, "pending")


def test_waking_makes_it_durable_that_jobs_left_a_directory_before_it_removes_that(
    spool, path, enter, monkeypatch
):
    spool.enqueue_all(
        [{"command": "true", "id": "a"}, {"command": "true", "id": "b", "after": "a"}]
    )
    enter("b")
    synced, sync = [], disk.sync

    def note(directory):
        synced.append((os.path.basename(directory), os.path.isdir(directory)))
        sync(directory)

    monkeypatch.setattr(disk, "sync", note)
    with spool.together():
        actions.cancel(spool, "a", lookup.find(spool, "a"))

    assert synced.index(("after.a", True)) < synced.index(("pending", True))
    assert os.listdir(path / "blocked") == []


def test_waking_bears_that_another_removes_the_empty_directory_first(
    spool, path, enter, monkeypatch
):
    spool.enqueue_all(
        [{"command": "true", "id": "a"}, {"command": "true", "id": "b", "after": "a"}]
    )
    enter("b")
    sync = disk.sync

    def sync_late(directory):
        """Make a directory durable that another waker removes just before."""
        if directory == str(path / "blocked" / "after.a"):
            os.rmdir(directory)
        sync(directory)

    monkeypatch.setattr(disk, "sync", sync_late)
    end(spool, "a")

    assert ids_in(path, "pending") == ["b"]
    assert os.listdir(path / "blocked") == []
