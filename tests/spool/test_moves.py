"""One verb, one rename."""

import errno
import os
import time

import pytest

from queuectl import actions, lookup
from queuectl.errors import NoSuchJob, WrongState
from queuectl.filename import Name
from queuectl.layout import NESTED, STATES
from tests.support import ids_in, names

ME = "me-1-abc"


@pytest.fixture
def claim(spool, path):
    """Claim a job for a worker that has no record: nobody is signalled for it."""
    (path / "processing" / ME).mkdir()

    def claim(id="a", now=None):
        [entry] = spool.entries_of(id)
        return spool.claim(entry.file, ME, now or time.time())

    return claim


def test_a_claim_counts_the_attempt_and_takes_the_time(spool, path, claim):
    spool.enqueue({"command": "true", "id": "a"})

    claimed = claim(now=1_795_342_502.5)

    assert claimed.file == f"processing/{ME}/20261122T101502.500000Z-p5-a1-a.json"
    assert names(path, "processing") == [os.path.basename(claimed.file)]


def test_a_claim_that_lost_its_race_is_none(spool, path, claim):
    spool.enqueue({"command": "true", "id": "a"})
    [entry] = spool.entries_of("a")
    claim()

    assert spool.claim(entry.file, ME, time.time()) is None


def test_a_claim_without_a_directory_to_take_it_to_is_an_error_and_no_lost_race(spool):
    spool.enqueue({"command": "true", "id": "a"})
    [entry] = spool.entries_of("a")

    with pytest.raises(FileNotFoundError):
        spool.claim(entry.file, "nobody", time.time())


@pytest.mark.parametrize("code", [errno.ESTALE, errno.EIO, errno.ETIMEDOUT])
def test_a_claim_of_which_the_disk_does_not_say_whether_it_worked_is_an_error_and_not_won(
    spool, path, claim, monkeypatch, code
):
    """The rename failed, and so does the look at where it should have led to."""
    spool.enqueue({"command": "true", "id": "a"})

    def fail(path, *_):
        raise OSError(code, os.strerror(code), path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", fail)
        patch.setattr(os, "open", fail)
        with pytest.raises(OSError, match=os.strerror(code)):
            claim()

    assert ids_in(path, "pending") == ["a"]


@pytest.mark.parametrize("state", ["completed", "failed", "dead"])
def test_filing_moves_the_job_with_its_attempts_and_the_given_time(spool, path, claim, state):
    spool.enqueue({"command": "true", "id": "a", "priority": 3})
    claimed = claim()

    assert spool.file(claimed, spool.target(claimed, state, 1_795_342_502.5))
    assert names(path, state) == ["20261122T101502.500000Z-p3-a1-a.json"]
    assert names(path, "processing") == []


def test_filing_a_job_that_was_rescued_meanwhile_is_refused(spool, path, claim):
    spool.enqueue({"command": "true", "id": "a"})
    claimed = claim()
    os.rename(path / claimed.file, path / "failed" / os.path.basename(claimed.file))

    assert not spool.file(claimed, spool.target(claimed, "completed", time.time()))
    assert names(path, "completed") == []


def test_a_released_job_is_pending_again_and_the_attempt_does_not_count(spool, path, claim):
    spool.enqueue({"command": "true", "id": "a"})
    claimed = claim(now=1_795_342_502.5)

    assert spool.release(claimed)
    assert names(path, "pending") == ["20261122T101502.500000Z-p5-a0-a.json"]


def test_the_bytes_that_were_dropped_are_the_bytes_in_the_end(spool, path, claim):
    spool.enqueue({"command": "true", "id": "a"})
    before = (path / "pending" / names(path, "pending")[0]).read_bytes()
    claimed = claim()
    spool.file(claimed, spool.target(claimed, "dead", time.time()))

    assert (path / "dead" / names(path, "dead")[0]).read_bytes() == before


def test_a_revived_job_starts_again_at_no_attempts(spool, path, claim):
    spool.enqueue({"command": "true", "id": "a"})
    claimed = claim()
    spool.file(claimed, spool.target(claimed, "dead", time.time()))

    assert actions.revive(spool, lookup.find(spool, "a"))
    assert "-a0-" in names(path, "pending")[0]


def test_a_job_that_is_not_dead_is_not_revived(spool):
    spool.enqueue({"command": "true", "id": "a"})

    with pytest.raises(WrongState, match="pending"):
        actions.revive(spool, lookup.find(spool, "a"))


def test_a_removed_job_leaves_nothing_and_frees_its_id(spool, path, claim):
    spool.enqueue({"command": "true", "id": "a"})
    for stream in ("out", "err"):
        open(spool.log("a", 1, stream), "x").close()
    (path / "results" / "a.jsonl").write_text('{"claim": "x", "attempt": 2}\n')
    open(spool.log("a", 2, "out"), "x").close()

    assert actions.remove(spool, lookup.find(spool, "a"))
    assert all(
        os.listdir(path / name) == [] for name in ("pending", "logs", "results", "tmp", "ids")
    )
    spool.enqueue({"command": "true", "id": "a"})


def test_a_running_job_is_not_removed(spool, claim):
    spool.enqueue({"command": "true", "id": "a"})
    claim()

    with pytest.raises(WrongState, match="cancel"):
        actions.remove(spool, lookup.find(spool, "a"))


def test_a_cancelled_job_is_dead_with_its_reason(spool, path):
    spool.enqueue({"command": "true", "id": "a"})

    assert actions.cancel(spool, "a") == "cancelled"
    [run] = lookup.runs(spool, lookup.find(spool, "a"))
    assert (run["outcome"], run["reason"]) == ("cancelled", "cancelled before it ran")
    with pytest.raises(WrongState, match="dead already"):
        actions.cancel(spool, "a")


def test_asking_twice_to_cancel_a_running_job_is_asking_once(spool, path, claim):
    spool.enqueue({"command": "true", "id": "a"})
    claimed = claim()

    assert [actions.cancel(spool, "a"), actions.cancel(spool, "a")] == ["asked", "asked"]
    assert (path / (claimed.file + ".cancel")).exists()


def test_prune_removes_what_is_old_and_what_is_too_many(spool, path):
    for day in range(10):
        for state in ("completed", "dead"):
            (path / state / f"202611{10 + day}T000000.000000Z-p5-a1-{state}{day}.json").write_text(
                '{"command":"true"}'
            )
        (path / "rejected" / f"202611{10 + day}T000000.000000Z-x.json").touch()
        (path / "rejected" / f"202611{10 + day}T000000.000000Z-x.json.reason").touch()
    now = 1_795_046_400.0  # 2026-11-19
    spool._flags = {
        "keep_completed": 5 * 86400.0,
        "keep_completed_count": 3,
        "keep_dead": 2 * 86400.0,
    }

    pruned = actions.prune(spool, spool.settings(), now)

    assert pruned == {"completed": 7, "dead": 7, "rejected": 7, "logs": 0, "events": 0}
    assert ids_in(path, "completed") == ["completed7", "completed8", "completed9"]
    assert ids_in(path, "dead") == ["dead7", "dead8", "dead9"]
    assert len(os.listdir(path / "rejected")) == 6


# -- finding


def test_a_job_is_found_by_its_id_in_every_state(spool, path):
    spool.enqueue({"command": "true", "id": "a"})
    for state in STATES:
        [entry] = spool.entries_of("a")
        target = path / state / (ME if state in NESTED else "") / os.path.basename(entry.file)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(path / entry.file, target)
        assert lookup.find(spool, "a").state == state


@pytest.mark.parametrize("id", ["../../etc/x", "/etc/passwd", "", "a\nb", "..", "*"])
def test_an_id_that_is_none_finds_nothing(spool, id):
    with pytest.raises(NoSuchJob):
        lookup.find(spool, id)


def test_a_drop_is_listed_and_found_before_a_worker_admitted_it(spool, path):
    (path / "pending" / "x.json").write_text('{"command": "true", "id": "a"}')
    (path / "pending" / "y.json").write_text("half")

    assert {entry.name.id for entry in lookup.select(spool, ("pending",), 0)} == {"a", "y.json"}
    assert (
        lookup.record(spool, lookup.find(spool, "a"), spool.settings())["file"] == "pending/x.json"
    )


@pytest.mark.parametrize("stranger", ["~", "notes.txt", "99999999T999999.999999Z-p5-a1-x.json.swp"])
def test_the_latest_jobs_are_listed_whatever_else_lies_among_them(spool, path, stranger):
    for number in range(4):
        spool.move(
            lookup.find(spool, spool.enqueue("true")),
            "completed",
            Name(1000.0 + number, 5, 1, f"j{number}"),
        )
    for number in range(3):
        (path / "completed" / f"{stranger}{number}").touch()

    assert [entry.name.id for entry in lookup.select(spool, ("completed",), 2)] == ["j3", "j2"]
