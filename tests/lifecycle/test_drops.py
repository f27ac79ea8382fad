"""Files that any program drops into pending/, and how soon they run."""

import json
import subprocess

from tests.support import Workers, ids_in, names, until


def test_a_drop_in_any_manner_runs_once(queuectl, path, tmp_path):
    (tmp_path / "job.json").write_text(json.dumps({"command": f"echo x >> {tmp_path}/ledger"}))
    with Workers(path) as workers:
        workers.up()
        subprocess.run(["cp", tmp_path / "job.json", path / "pending/copied.json"], check=True)
        subprocess.run(["cp", tmp_path / "job.json", tmp_path / "moving"], check=True)
        subprocess.run(["mv", tmp_path / "moving", path / "pending/moved.json"], check=True)
        subprocess.run(
            [
                "sh",
                "-c",
                f"ln {tmp_path}/job.json {path}/pending/linked.json; rm {tmp_path}/job.json",
            ],
            check=True,
        )
        until(lambda: len(names(path, "completed")) == 3)
    assert (tmp_path / "ledger").read_text() == "x\n" * 3
    assert names(path, "rejected") == []


def test_a_drop_written_slowly_in_place_runs_once_when_it_is_whole(queuectl, path, tmp_path):
    text = json.dumps({"command": f"echo x >> {tmp_path}/ledger", "meta": "y" * 50})
    with Workers(path, "--set", "poll_interval=0.05") as workers:
        workers.up()
        with (path / "pending/slow.json").open("w") as file:
            for position, letter in enumerate(text):
                file.write(letter)
                file.flush()
                if position % 10 == 0:
                    until(lambda: True)
        until(lambda: len(names(path, "completed")) == 1)
    assert (tmp_path / "ledger").read_text() == "x\n"


def test_drops_that_stay_broken_are_rejected_after_their_grace_and_good_ones_go_on(queuectl, path):
    """So many that they are never done with if each of them has to wait for the others."""
    with Workers(path, "--count", "2") as workers:
        workers.up(2)
        for number in range(400):
            (path / f"pending/broken{number}.json").write_text('{"command": "tr')
        (path / "pending/good.json").write_text('{"command": "true", "id": "good"}')
        until(lambda: ids_in(path, "completed") == ["good"])
