"""Who may run what: modes, owners, root, secrets."""

import json
import os
import subprocess
import sys

import pytest

from tests.support import Workers, environment, ids_in, names, until

NOBODY = 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be somebody else")


@pytest.mark.parametrize("name", ["", "pending", "processing", "failed", "workers"])
@pytest.mark.parametrize("mode", [0o722, 0o770, 0o1733])
def test_workers_refuse_a_spool_that_others_can_write_to(queuectl, path, name, mode):
    queuectl("init")
    (path / name).chmod(mode)

    assert "doctor --fix" in queuectl.refusal("worker", "start", code=1)
    queuectl("doctor", "--fix")
    queuectl("worker", "start", "--drain")


@needs_root
def test_root_does_not_run_the_jobs_of_others_unless_told_to(queuectl, path):
    queuectl("enqueue", "--id", "a", "-c", "true")
    for place in [path, *path.rglob("*")]:
        os.chown(place, NOBODY, NOBODY)

    assert "--allow-root" in queuectl.refusal("worker", "start", code=1)
    queuectl("worker", "start", "--drain", "--allow-root")
    assert ids_in(path, "completed") == ["a"]


@needs_root
def test_files_of_others_are_rejected_and_never_run(queuectl, path, tmp_path):
    queuectl("init")
    command = json.dumps({"command": f"touch {tmp_path}/ran"})
    for name in ("drop.json", "20260101T000000.000000Z-p5-a0-full.json"):
        (path / "pending" / name).write_text(command)
        os.chown(path / "pending" / name, NOBODY, NOBODY)

    with Workers(path):
        until(lambda: len(names(path, "rejected")) == 4)

    assert not (tmp_path / "ran").exists()
    reasons = [
        (path / "rejected" / name).read_text()
        for name in names(path, "rejected")
        if name.endswith(".reason")
    ]
    assert all("belongs to user 65534" in reason for reason in reasons)


def test_the_values_of_variables_are_shown_only_when_asked_for(queuectl, path):
    queuectl("enqueue", "--id", "a", "--export", "none", "--env", "TOKEN=hunter2", "-c", "true")
    with Workers(path) as workers:
        until(lambda: ids_in(path, "completed") == ["a"])

    said = (
        queuectl("show", "a")
        + queuectl("show", "a", "--json")
        + queuectl("list")
        + queuectl("list", "--json")
        + queuectl("status", "--json")
    )
    assert "TOKEN" in said
    assert "hunter2" not in said + workers.log_path.read_text()
    assert "TOKEN=hunter2" in queuectl("show", "a", "--show-env")
    assert queuectl.json("show", "a")["env"] == {"TOKEN": None}
    assert queuectl.json("show", "a", "--show-env")["env"] == {"TOKEN": "hunter2"}


def test_everything_in_a_spool_is_for_its_owner_alone(queuectl, path):
    subprocess.run(
        ["sh", "-c", f"umask 000; {sys.executable} -m queuectl enqueue --id a -c 'echo out; echo err >&2; exit 1'; {sys.executable} -m queuectl config set max_retries 1; {sys.executable} -m queuectl worker start --drain"],
        env=environment(path), check=True, capture_output=True,
    )  # fmt: skip

    open_to_others = [str(place) for place in path.rglob("*") if place.lstat().st_mode & 0o077]
    assert open_to_others == []
    assert path.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("id", ["../../etc/x", "/etc/passwd", "..", "a/../b", "x\ny", "-rf"])
def test_an_id_that_points_elsewhere_touches_nothing(queuectl, path, tmp_path, id):
    queuectl("enqueue", "--id", "a", "-c", "true")
    before = sorted(tmp_path.rglob("*"))
    for verb in (
        ["show"],
        ["logs"],
        ["cancel"],
        ["remove"],
        ["wait"],
        ["dlq", "retry"],
        ["dlq", "purge", "--yes"],
        ["dlq", "show"],
    ):
        queuectl.refusal(*verb, "--", id, code=3)
    queuectl.refusal("enqueue", "--id=" + id, "-c", "true", code=2)

    assert sorted(tmp_path.rglob("*")) == before
