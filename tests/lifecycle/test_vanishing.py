"""A spool, or a directory of it, that vanishes or changes its place under a supervisor."""

import json
import os
import shutil

import pytest

from queuectl import Spool
from tests.support import Workers, ids_in, until

QUICK = ("--set", "heartbeat_interval=0.5")


def told(workers):
    return [event["reason"] for event in workers.events("warning")]


def removed(path, aside):
    path.rename(aside)  # at once: piece by piece, a drain may end before the rest is gone
    until(lambda: shutil.rmtree(aside, ignore_errors=True) or not aside.exists())


def moved(path, aside):
    path.rename(aside)


def replaced(path, aside):
    path.rename(aside)
    Spool(path).make()


def removed_and_made_again(path, aside):
    removed(path, aside)
    Spool(path).make()


def linked_elsewhere(path, aside):
    path.rename(aside)
    Spool(aside.parent / "third").make()
    path.symlink_to(aside.parent / "third")


DEEDS = [removed, moved, replaced, removed_and_made_again, linked_elsewhere]


@pytest.mark.parametrize("words", [(), ("--drain",)], ids=["start", "drain"])
@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__)
def test_a_supervisor_whose_spool_is_gone_or_another_says_so_and_ends(
    queuectl, path, tmp_path, deed, words
):
    queuectl("enqueue", "--id", "later", "--delay", "1h", "-c", "true")
    with Workers(path, *QUICK, *words) as workers:
        workers.up()
        deed(path, tmp_path / "aside")
        if path.exists():
            Spool(path).enqueue({"command": f"touch {tmp_path}/ran", "id": "of-others"})

        assert workers.process.wait(30) == 1

        why = f"{path} was removed, moved or replaced by another directory: ending the running commands and stopping"
        assert [other for other in told(workers) if "cannot sync" not in other] == [why]
        last = workers.log_path.read_text().splitlines()[-1]
        assert last.startswith(f"queuectl: stopped: {path} was removed, moved or replaced")
    assert not (tmp_path / "ran").exists()
    if path.exists():
        assert ids_in(path, "pending") == ["of-others"]
        assert os.listdir(path / "workers") == []


def test_the_commands_of_a_spool_that_is_gone_are_ended(queuectl, path, tmp_path):
    queuectl("enqueue", "--id", "a", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 600")
    with Workers(path, *QUICK) as workers:
        until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        path.rename(tmp_path / "aside")

        assert workers.process.wait(30) == 1
    pid = (tmp_path / "pid").read_text().strip()
    assert not os.path.exists(f"/proc/{pid}")
    # The next one finds the job where it was, and rescues it.
    assert ids_in(tmp_path / "aside", "processing") == ["a"]


def test_a_supervisor_of_several_spools_goes_on_with_those_that_are_there(path, tmp_path):
    spools = [path, tmp_path / "second"]
    for each in spools:
        Spool(each).make()
    words = [word for each in spools for word in ("--spool", str(each))]
    with Workers(path, *QUICK, *words) as workers:
        until(lambda: all(list((each / "workers").glob("*.json")) for each in spools))
        spools[1].rename(tmp_path / "aside")
        until(lambda: workers.events("stopped"))

        Spool(path).enqueue({"command": "true", "id": "a"})

        until(lambda: ids_in(path, "completed") == ["a"])


@pytest.fixture
def resting(queuectl, path):
    """A supervisor that looks by itself once in an hour, and watches."""
    queuectl("config", "set", "poll_interval", "3600")
    (path / "inbox").mkdir(0o700)
    with Workers(path, *QUICK) as workers:
        workers.up()
        drop(path, "first")
        until(lambda: ids_in(path, "completed") == ["first"])
        yield workers


def drop(path, id):
    (path / "tmp" / id).write_text(json.dumps({"command": "true", "id": id}))
    (path / "tmp" / id).rename(path / "pending" / f"{id}.json")


@pytest.mark.parametrize("name", ["pending", "inbox"])
def test_a_directory_that_was_moved_away_and_made_again_is_watched(path, tmp_path, resting, name):
    for times in (1, 2):
        (path / name).rename(tmp_path / f"aside-{times}")
        (path / name).mkdir(0o700)
        drop(path, f"job-{times}")
        until(lambda times=times: f"job-{times}" in ids_in(path, "completed"))
    note = f"{path}/{name} is another directory than before; watching this one"
    assert set(told(resting)) <= {note}  # it may have rested only after that


@pytest.mark.parametrize("name", ["pending", "failed", "completed", "results", "logs", "tmp"])
def test_a_directory_that_is_gone_is_made_again_and_that_is_said(path, tmp_path, resting, name):
    (path / name).rename(tmp_path / "aside")

    until((path / name).is_dir)

    until(lambda: f"{name} of the spool was removed or moved; made again" in told(resting))
    drop(path, "second")
    until(lambda: "second" in ids_in(path, "completed"))
    assert not any("no watch left" in reason for reason in told(resting))
