"""Selections: which jobs a verb is about."""

import os

import pytest

from queuectl import ids, lookup, selection
from queuectl.errors import AmbiguousId, NoSuchBatch, NoSuchJob
from queuectl.selection import Selection


@pytest.fixture
def jobs(spool):
    """Jobs of two batches in several states; two with names."""
    spool.enqueue_all([
        {"command": "true", "id": "a-1", "batch": "a", "name": "nightly-1"},
        {"command": "true", "id": "a-2", "batch": "a"},
        {"command": "true", "id": "b-1", "batch": "b", "name": "nightly-2"},
        {"command": "true", "id": "free", "name": "daily"},
    ])  # fmt: skip
    [entry] = spool.entries_of("a-2")
    spool.move(entry, "dead", entry.name)
    [entry] = spool.entries_of("free")
    spool.move(entry, "held", entry.name)
    return spool


def chosen(spool, **said):
    return sorted(entry.name.id for entry in Selection(spool, **said).entries())


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({}, ["a-1", "a-2", "b-1", "free"]),
        ({"batch": "a"}, ["a-1", "a-2"]),
        ({"batch": "a", "states": ["dead"]}, ["a-2"]),
        ({"states": ["dead", "held"]}, ["a-2", "free"]),
        ({"name": "nightly-*"}, ["a-1", "b-1"]),
        ({"name": "nightly-*", "batch": "b"}, ["b-1"]),
        ({"name": "NIGHTLY-?"}, []),
        ({"name": "*"}, ["a-1", "a-2", "b-1", "free"]),
        ({"ids": ["free", "a-1"]}, ["a-1", "free"]),
        ({"ids": ["free", "a-1"], "batch": "a"}, ["a-1"]),
        ({"ids": ["free", "a-1"], "states": ["held"]}, ["free"]),
        ({"ids": ["free", "a-1"], "name": "d*"}, ["free"]),
    ],
)
def test_what_is_said_narrows(jobs, said, found):
    assert chosen(jobs, **said) == found
    assert sorted(entry.name.id for entry in Selection(jobs, **said).listed(0)) == found


def test_a_verb_sees_only_jobs_in_the_states_on_which_it_can_act(jobs):
    assert [entry.name.id for entry in Selection(jobs, batch="a").entries(("dead", "failed"))] == [
        "a-2"
    ]


def test_a_list_of_some_is_ordered_and_limited_as_a_list_of_all(spool):
    spool.enqueue_all(
        [
            {"command": "true", "id": f"j{number}", "batch": "b", "priority": number}
            for number in range(9)
        ]
    )
    spool.enqueue({"command": "true", "id": "other", "priority": 9})

    assert [entry.name.id for entry in Selection(spool, batch="b").listed(3)] == ["j8", "j7", "j6"]
    assert [entry.name.id for entry in Selection(spool).listed(2)] == ["other", "j8"]


def test_a_blocked_job_is_listed(spool, path):
    spool.enqueue({"command": "true", "id": "a"})
    [entry] = spool.entries_of("a")
    (path / "blocked" / "limit.x").mkdir(parents=True)
    os.rename(path / entry.file, path / "blocked" / "limit.x" / os.path.basename(entry.file))

    assert [
        entry.file.rpartition("/")[0] for entry in Selection(spool, states=["blocked"]).listed(5)
    ] == ["blocked/limit.x"]


def test_drops_are_chosen_by_name_and_state_and_not_by_batch(spool, path):
    (path / "pending" / "x.json").write_text(
        '{"command": "true", "id": "x", "name": "n", "batch": "b"}'
    )
    spool.enqueue({"command": "true", "id": "y", "batch": "b"})

    assert chosen(spool, name="n") == ["x"]
    assert chosen(spool, states=["pending"]) == ["x", "y"]
    assert chosen(spool, batch="b") == ["y"]


def test_an_id_that_came_again_for_another_job_is_not_in_the_batch_of_the_first(jobs):
    [entry] = jobs.entries_of("a-1")
    jobs.remove(entry)
    jobs.enqueue({"command": "true", "id": "a-1"})

    assert chosen(jobs, batch="a") == ["a-2"]
    assert chosen(jobs, ids=["a-1"], batch="a") == []


@pytest.mark.parametrize("batch", ["nobody", "", ".lock", "../pending", "a/b"])
def test_a_batch_that_is_not_there_is_refused(jobs, batch):
    with pytest.raises(NoSuchBatch, match="no batch"):
        chosen(jobs, batch=batch)


@pytest.mark.parametrize(
    ("id", "listed"),
    [("nobody", NoSuchJob), ("a-", AmbiguousId), ("fr", ["free"]), ("", NoSuchJob)],
)
def test_a_beginning_is_enough_for_a_list_and_for_nothing_else(jobs, id, listed):
    with pytest.raises(NoSuchJob):
        chosen(jobs, ids=[id])
    if isinstance(listed, list):
        assert [entry.name.id for entry in Selection(jobs, ids=[id]).listed(0)] == listed
    else:
        with pytest.raises(listed):
            Selection(jobs, ids=[id]).listed(0)


# -- last


def test_last_is_the_newest_job_with_an_id_of_ours_whatever_became_of_it(spool):
    first, last = spool.enqueue("true"), spool.enqueue("true")
    [entry] = spool.entries_of(last)
    spool.move(entry, "dead", entry.name._replace(time=1.0))

    assert selection.last(spool).name.id == last
    assert chosen(spool, ids=["last"]) == [last]
    assert first != last


def test_last_is_the_newest_job_also_between_ids_of_ours_and_of_callers(spool, path):
    spool.enqueue({"command": "true", "id": "mine"})
    os.utime(path / "ids" / "mine", (1, 1))
    ours = spool.enqueue("true")
    assert selection.last(spool).name.id == ours

    spool.enqueue({"command": "true", "id": "new"})
    os.utime(path / "ids" / "new", (ids.time_of(ours) + 1, ids.time_of(ours) + 1))
    assert selection.last(spool).name.id == "new"

    # An id whose job is gone does not count.
    [entry] = spool.entries_of("new")
    os.unlink(path / entry.file)
    assert selection.last(spool).name.id == ours


def test_a_job_whose_id_is_last_comes_first_and_an_empty_spool_has_none(spool):
    with pytest.raises(NoSuchJob):
        selection.last(spool)
    spool.enqueue({"command": "true", "id": "last"})
    spool.enqueue("true")

    assert selection.last(spool).name.id == "last"
    assert lookup.find(spool, "last").name.id == "last"


def test_the_time_of_an_id_of_ours_is_when_it_was_made():
    assert ids.time_of(ids.derived(1_795_342_502_123_456, 7)) == 1_795_342_502.123456
