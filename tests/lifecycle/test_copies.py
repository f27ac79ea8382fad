"""A copy of a spool beside the original: backups made under load, opened, mended and worked off."""

import json
import os
import shutil
import subprocess

import pytest

from queuectl import Spool
from tests.support import PATIENCE, Command, Workers, ids_in, names, until


def by_cp(path, copy):
    done = subprocess.run(["cp", "-a", path, copy], stderr=subprocess.DEVNULL, check=False)
    assert done.returncode <= 1  # 1: a file went while the directory was read


def by_tar(path, copy):
    copy.mkdir()
    made = subprocess.run(["tar", "-C", path, "-c", "."], stdout=subprocess.PIPE, check=False)
    assert made.returncode <= 1  # 1: a file changed, or went, while it was read
    subprocess.run(["tar", "-C", copy, "-x"], input=made.stdout, check=True)


def by_rsync(path, copy):
    for _ in range(2):
        done = subprocess.run(["rsync", "-aH", f"{path}/", copy], check=False)
    assert done.returncode in (0, 24)  # 24: some files vanished before they could be read


def twice_without_links(path, copy):
    """Two passes, and each name becomes a file of its own."""
    for _ in range(2):
        subprocess.run(["cp", "-r", "-T", path, copy], stderr=subprocess.DEVNULL, check=False)


def attempts(path, id):
    """How often a job has begun, by its history."""
    file = path / "results" / f"{id}.jsonl"
    return [json.loads(line)["attempt"] for line in file.read_text().splitlines()]


WAYS = [
    by_cp,
    by_tar,
    pytest.param(by_rsync, marks=pytest.mark.skipif(not shutil.which("rsync"), reason="no rsync")),
    twice_without_links,
]


@pytest.mark.parametrize("duplicate", WAYS)
def test_a_copy_made_under_load_is_mended_and_worked_off_and_the_original_goes_on(
    queuectl, path, tmp_path, duplicate
):
    copy, ids = tmp_path / "copy", [f"job-{number}" for number in range(50)]
    gate, begun = tmp_path / "gate", tmp_path / "begun"
    begun.mkdir()
    long = f"touch {begun}/$QUEUECTL_JOB_ID; while [ ! -e {gate} ]; do sleep 0.05; done"
    lines = [json.dumps({"id": id, "command": "true"}) for id in ids]
    lines += [json.dumps({"command": "true"}) for _ in ids]
    lines += [json.dumps({"id": f"long-{n}", "command": long, "priority": 9}) for n in range(2)]
    queuectl("enqueue", "-", input="\n".join(lines))
    with Workers(path, "--count", "4") as workers:
        until(lambda: len(os.listdir(begun)) == 2 and len(names(path, "completed")) > 10)
        duplicate(path, copy)
        until(lambda: len(names(path, "completed")) == 2 * len(ids))

        restored = Command(copy)
        restored("doctor", "--fix")
        with Workers(copy, "--count", "2", "--drain") as others:
            until(lambda: ids_in(copy, "processing") == ["long-0", "long-1"])
            assert ids_in(path, "processing") == ["long-0", "long-1"]
            gate.touch()
            assert others.process.wait(PATIENCE) == 0
        until(lambda: len(names(path, "completed")) == 2 * len(ids) + 2)
    assert not workers.events("rescued") + workers.events("lost_claim")
    assert [attempts(path, id) for id in [*ids, "long-0", "long-1"]] == [[1]] * (len(ids) + 2)
    assert names(copy, "dead") == []
    assert {"long-0", "long-1"} <= known(copy) <= known(path)
    assert restored.json("doctor")["healthy"]


def test_a_copy_of_a_paused_spool_has_every_job_if_processing_is_copied_first(
    queuectl, path, tmp_path
):
    """As docs/operations.md says: the jobs that run may end meanwhile."""
    copy, gate = tmp_path / "copy", tmp_path / "gate"
    wait = f"while [ ! -e {gate} ]; do sleep 0.05; done"
    lines = [json.dumps({"id": f"long-{n}", "command": wait, "priority": 9}) for n in range(2)]
    lines += [json.dumps({"id": f"job-{n}", "command": "true"}) for n in range(20)]
    queuectl("enqueue", "-", input="\n".join(lines))
    with Workers(path, "--count", "2"):
        until(lambda: ids_in(path, "processing") == ["long-0", "long-1"])
        queuectl("pause")
        copy.mkdir()
        subprocess.run(["cp", "-a", path / "processing", copy], check=True)
        gate.touch()
        until(lambda: ids_in(path, "completed") == ["long-0", "long-1"])
        subprocess.run(["cp", "-a", f"{path}/.", copy], check=True)

    restored = Command(copy)
    restored("doctor", "--fix")
    assert ids_in(copy, "completed") == ["long-0", "long-1"]
    assert len(ids_in(copy, "pending")) == 20
    restored("resume")
    restored("worker", "start", "--drain")
    assert len(known(copy)) == 22


def known(path):
    """The ids of all jobs in a spool at rest; each has completed."""
    found = ids_in(path, "completed")
    assert len(found) == len(set(found)) == sum(1 for _ in Spool(path).jobs())
    return set(found)
