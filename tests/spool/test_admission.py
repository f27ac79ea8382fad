"""Drops: what becomes a job, and what is set aside."""

import os
import shutil
import socket

import pytest

from queuectl import admission
from queuectl.admission import Admitted, Broken, Rejected
from queuectl.errors import IdTaken
from queuectl.filename import decode
from queuectl.job import Job
from tests.support import ids_in, names

ME = "me-1-abc"


@pytest.fixture
def pending(spool, path):
    (path / "processing" / ME).mkdir()
    return path / "pending"


@pytest.fixture
def admit(spool, pending):
    return lambda drop, last=False: admission.admit(spool, drop, ME, last=last)


def reason(path):
    [name] = [name for name in os.listdir(path / "rejected") if name.endswith(".reason")]
    return (path / "rejected" / name).read_text()


def test_a_good_drop_becomes_a_job_with_its_own_id_priority_and_time(path, pending, admit):
    data = b'{"command": "true", "id": "a", "priority": 8, "run_at": "2030-01-01T00:00:00Z"}'
    (pending / "x.json").write_bytes(data)

    answer = admit("x.json")

    assert answer == Admitted(
        "pending/20300101T000000.000000Z-p8-a0-a.json",
        decode("20300101T000000.000000Z-p8-a0-a.json"),
    )
    assert (path / answer.file).read_bytes() == data
    assert (path / "ids" / "a").samefile(path / answer.file)
    assert names(path, "processing") == []


def test_a_drop_without_an_id_gets_one(path, pending, admit):
    (pending / "x.json").write_text('{"command": "true"}')

    assert isinstance(admit("x.json"), Admitted)
    assert len(ids_in(path, "pending")[0]) == 17


def test_a_drop_that_is_being_written_stays_where_it_is(path, pending, admit):
    (pending / "x.json").write_text('{"command": "tr')

    first = admit("x.json")

    assert isinstance(first, Broken)
    assert admit("x.json") == first
    (pending / "x.json").write_text('{"command": "tru')
    assert admit("x.json").mark != first.mark
    assert os.listdir(pending) == ["x.json"]


def test_a_drop_that_is_still_broken_after_its_grace_is_rejected(path, pending, admit):
    (pending / "x.json").write_text('{"command": "tr')

    assert isinstance(admit("x.json", last=True), Rejected)
    [kept] = [name for name in os.listdir(path / "rejected") if not name.endswith(".reason")]
    assert kept.endswith("Z-x.json")
    assert (path / "rejected" / kept).read_text() == '{"command": "tr'
    assert "at column 13" in reason(path)


def test_a_drop_that_can_never_become_a_job_is_rejected_at_once(path, pending, admit):
    (pending / "x.json").write_text('{"comand": "true"}')

    assert isinstance(admit("x.json"), Rejected)
    assert "did you mean 'command'?" in reason(path)


def test_a_drop_whose_id_is_taken_is_rejected(spool, path, pending, admit):
    spool.enqueue({"command": "true", "id": "a"})
    (pending / "x.json").write_text('{"command": "false", "id": "a"}')

    assert isinstance(admit("x.json"), Rejected)
    assert "id 'a' is taken" in reason(path)
    assert ids_in(path, "pending") == ["a"]


def test_a_drop_that_is_gone_is_nobodys_fault(admit):
    assert admit("x.json") == "gone"


def _fifo(path):
    os.mkfifo(path)


def _socket(path):
    with socket.socket(socket.AF_UNIX) as one:
        here = os.open(path.parent, os.O_RDONLY)
        try:
            one.bind(f"/proc/self/fd/{here}/{path.name}")
        finally:
            os.close(here)


def _sparse(path):
    with path.open("wb") as file:
        file.truncate(10 * 1024**3)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (_fifo, "not a plain file"),
        (_socket, "socket"),
        (lambda path: path.mkdir(), "not a plain file"),
        (lambda path: path.symlink_to("/etc/passwd"), "symbolic link"),
        (lambda path: path.symlink_to(path), "symbolic link"),
        (lambda path: path.symlink_to("/nowhere"), "symbolic link"),
        (_sparse, "the limit is"),
    ],
    ids=[
        "fifo",
        "socket",
        "directory",
        "link to a secret",
        "link to itself",
        "dangling link",
        "10 GB",
    ],
)
def test_what_is_no_plain_file_is_set_aside_unopened(path, pending, admit, make, why):
    make(pending / "x.json")

    assert isinstance(admit("x.json"), Rejected)
    assert os.listdir(pending) == []
    assert why in reason(path)


def test_a_second_hard_link_is_allowed_for_a_moment_only(path, pending, admit):
    (path / "elsewhere").write_text('{"command": "true"}')
    os.link(path / "elsewhere", pending / "x.json")

    assert isinstance(admit("x.json"), Broken)
    (path / "elsewhere").unlink()
    assert isinstance(admit("x.json"), Admitted)


def test_a_second_hard_link_that_stays_is_refused(path, pending, admit):
    (path / "elsewhere").write_text('{"command": "true"}')
    os.link(path / "elsewhere", pending / "x.json")

    assert isinstance(admit("x.json", last=True), Rejected)
    assert "hard link" in reason(path)


def test_a_drop_whose_worker_died_while_admitting_it_is_admitted_by_the_next(
    spool, path, pending, admit
):
    taken = path / "processing" / ME / "x.json"
    taken.write_text('{"command": "true", "id": "a"}')
    assert spool.hold_id("a", str(taken))

    admission.give_back(spool, f"processing/{ME}/x.json")

    [name] = os.listdir(pending)
    assert name.startswith("x.")
    assert isinstance(admit(name), Admitted)
    assert ids_in(path, "pending") == ["a"]


def test_a_drop_that_is_given_back_never_replaces_a_newer_one(spool, path, pending):
    (path / "processing" / ME / "x.json").write_text("old")
    (pending / "x.json").write_text("new")

    admission.give_back(spool, f"processing/{ME}/x.json")

    assert sorted((pending / name).read_text() for name in os.listdir(pending)) == ["new", "old"]


@pytest.mark.parametrize(
    "name",
    [
        "20261399T000000.000000Z-p5-a0-x.json",
        "20270015T000000.000000Z-p5-a0-x.json",
        "20260101T000000.000000Z-p5-a0-my job.json",
        "99991231T000000.000000Z-p5-a0-x.json",
        "20261122T000000.000000Z-p5-a01-x.json",
    ],
)
def test_a_name_that_only_looks_like_a_full_one_is_rejected(path, pending, admit, name):
    (pending / name).write_text('{"command": "true"}')

    assert isinstance(admit(name), Rejected)
    assert "full name" in reason(path)


@pytest.mark.parametrize(
    "name",
    [
        b"a\nb.json",
        b"\xff\xfe.json",
        b"-rf.json",
        b"x" * 250 + b".json",
        b" .json",
        b"$(reboot).json",
    ],
)
def test_a_strange_name_is_no_obstacle(path, pending, admit, name):
    with open(os.path.join(os.fsencode(pending), name), "w") as file:
        file.write('{"command": "true"}')
    with open(os.path.join(os.fsencode(pending), b"2" + name[:-8] + b".json"), "w") as file:
        file.write("[]")

    for drop in os.listdir(pending):
        assert not isinstance(admit(drop), Broken)

    assert (
        sum(isinstance(decode(n), tuple) for n in names(path, "pending"))
        + len(os.listdir(path / "rejected")) // 2
        == 2
    )


# -- ids whose link is broken


def copied(spool, path):
    """By a program that copies a file once for each of its names."""
    return cut_off(spool, path)[0]


def held_outside(spool, path):
    """As in an overlay, or in a snapshot beside others: the link still has another name somewhere."""
    file, outside = cut_off(spool, path)
    os.link(path / "ids" / "a", outside)
    return file


def cut_off(spool, path):
    spool.enqueue({"command": "true", "id": "a"})
    file = path / "pending" / names(path, "pending")[0]
    data = file.read_bytes()
    (path / "ids" / "a").unlink()
    (path / "ids" / "a").write_bytes(data)
    return file, path.parent / "outside"


def claim_and_examine(spool, file):
    claimed = spool.claim(f"pending/{file.name}", ME, 1_795_342_502.5)
    return claimed, admission.examine(spool, claimed, spool.settings())


@pytest.mark.parametrize("broken", [copied, held_outside])
def test_a_job_whose_link_is_another_file_with_the_same_bytes_keeps_its_id(
    spool, path, pending, broken
):
    file = broken(spool, path)
    assert spool.is_taken("a")

    claimed, found = claim_and_examine(spool, file)

    assert isinstance(found, Job)
    assert (path / "ids" / "a").samefile(path / claimed.file)
    with pytest.raises(IdTaken):
        spool.enqueue({"command": "true", "id": "a"})


def other_bytes(spool, path, file):
    (path / "ids" / "a").write_text('{"command": "false"}')


def two_places(spool, path, file):
    shutil.copy(file, path / "dead" / file.name)


@pytest.mark.parametrize("change", [other_bytes, two_places])
def test_an_id_stays_taken_if_its_link_may_be_of_another_job(spool, path, pending, change):
    file = held_outside(spool, path)
    change(spool, path, file)

    _, found = claim_and_examine(spool, file)

    assert isinstance(found, Rejected)
    assert "taken" in found.why


def test_an_id_stays_with_the_drop_that_has_it_already_however_alike_another_is(
    spool, path, pending, admit
):
    first = path / "processing" / ME / "x.json"
    for file in (first, pending / "y.json"):
        file.write_text('{"id": "a", "command": "true"}')
    assert spool.hold_id("a", str(first))

    assert isinstance(admit("y.json"), Rejected)

    assert (path / "ids" / "a").samefile(first)
