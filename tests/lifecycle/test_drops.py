"""Files that any program drops into pending/, and how soon they run."""

import json
import os
import subprocess
from pathlib import Path

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
        until(lambda: len(names(path, "rejected")) == 800)
        events = until(lambda: workers.events("rejected"))
    assert {event["drop"] for event in events} == {f"broken{n}.json" for n in range(400)}
    assert "at column 13" in events[0]["reason"]
    assert queuectl.json("status")["jobs"]["rejected"] == 400


def test_of_drops_that_wait_for_a_worker_the_highest_priority_runs_first(queuectl, path, tmp_path):
    queuectl("init")
    for name, priority in zip("abcdef", (1, 9, 5, 0, 7, 3), strict=True):
        job = {"command": f"echo {priority} >> {tmp_path}/order", "priority": priority}
        (path / "pending" / f"{name}.json").write_text(json.dumps(job))

    queuectl("worker", "start", "--drain")

    assert (tmp_path / "order").read_text().split() == ["9", "7", "5", "3", "1", "0"]


def test_a_drop_under_a_full_name_skips_admission(queuectl, path):
    (path / "pending").mkdir(parents=True)
    (path / "pending/20261121T101502.123456Z-p9-a1-mine.json").write_text(
        '{"command": "exit 1", "max_retries": 2, "id": "mine"}'
    )

    queuectl("worker", "start", "--drain")

    assert ids_in(path, "dead") == ["mine"]
    assert (path / "ids" / "mine").stat().st_nlink == 2


def test_a_full_name_that_contradicts_the_id_inside_is_rejected_and_no_attempt_counts(
    queuectl, path
):
    queuectl("init")
    (path / "pending/20261121T101502.123456Z-p5-a0-mine.json").write_text(
        '{"command": "true", "id": "yours"}'
    )

    queuectl("worker", "start", "--drain")

    kept, reason = names(path, "rejected")
    assert kept.endswith("-a0-mine.json")
    assert "'yours'" in (path / "rejected" / reason).read_text()


def test_a_full_name_whose_id_is_taken_is_rejected_at_the_claim(queuectl, path):
    queuectl("enqueue", "--id", "mine", "--delay", "1h", "-c", "true")
    (path / "pending/20261121T101502.123456Z-p5-a0-mine.json").write_text('{"command": "true"}')

    with Workers(path):
        until(lambda: len(names(path, "rejected")) == 2)

    assert "taken" in (path / "rejected" / names(path, "rejected")[1]).read_text()
    assert ids_in(path, "pending") == ["mine"]


def test_what_is_no_job_under_a_full_name_is_rejected_at_the_claim(queuectl, path):
    queuectl("init")
    (path / "pending/20261121T101502.123456Z-p5-a0-mine.json").write_text("garbage")
    os.mkfifo(path / "pending/20261121T101502.123456Z-p5-a0-fifo.json")
    (path / "pending/20261121T101502.123456Z-p5-a0-link.json").symlink_to("/etc/passwd")

    with Workers(path):
        until(lambda: len(names(path, "rejected")) == 6)


def test_files_that_are_no_drops_are_left_alone(queuectl, path):
    queuectl("init")
    left = [".x.json", "x.json~", "x.json.tmp", ".nfs0001", ".DS_Store", "README"]
    for name in left:
        (path / "pending" / name).write_text('{"command": "true"}')

    queuectl("worker", "start", "--drain")

    assert sorted(os.listdir(path / "pending")) == sorted(left)


def test_a_flood_of_drops_is_worked_off(queuectl, path):
    with Workers(path, "--count", "2") as workers:
        workers.up(2)
        for number in range(300):
            (path / "pending" / f"{number}.json").write_text(
                json.dumps({"command": ["true"], "id": f"j{number}"})
            )
        until(lambda: len(names(path, "completed")) == 300)


def starts(tmp_path):
    return (
        [float(line) for line in (tmp_path / "starts").read_text().split()]
        if (tmp_path / "starts").exists()
        else []
    )


def test_an_idle_worker_wakes_at_once_also_for_the_second_of_two_drops(queuectl, path, tmp_path):
    """With poll_interval at an hour only the bell can wake it. A rename out of a watched directory would hold it back by half a second:
    that this never happens shows in the shortest of many waits, which a busy machine cannot spoil.
    """
    job = json.dumps({"command": ["true"]})
    with Workers(path, "--set", "poll_interval=3600") as workers:
        workers.up()
        until(lambda: is_watching(workers))
        waits = []
        for number in range(20):
            (tmp_path / "new").write_text(job)
            before = os.times().elapsed
            os.rename(tmp_path / "new", path / "pending" / f"{number}.json")
            until(lambda number=number: len(names(path, "completed")) > number)
            waits.append(os.times().elapsed - before)

    assert min(waits) < 0.4


def is_watching(workers):
    """Whether the supervisor's watch is armed: inotify watches show in /proc."""
    from tests.lifecycle.test_dying import child_pids

    for pid in child_pids(workers.process.pid):
        try:
            if any(
                "inotify wd" in path.read_text() for path in Path(f"/proc/{pid}/fdinfo").iterdir()
            ):
                return True
        except OSError:
            continue
    return False


def test_a_drop_without_any_event_is_found_by_looking(queuectl, path):
    with Workers(path, "--set", "poll_interval=0.1") as workers:
        [record] = workers.up()
        until(lambda: is_watching(workers))
        (path / "pending").rename(path / "elsewhere")
        (path / "pending").mkdir()
        (path / "pending" / "x.json").write_text('{"command": "true", "id": "a"}')
        until(lambda: ids_in(path, "completed") == ["a"])
        assert record in workers.records()


def test_pending_may_be_removed_and_made_again(queuectl, path):
    with Workers(path, "--set", "poll_interval=0.1") as workers:
        workers.up()
        until(lambda: is_watching(workers))
        (path / "pending").rmdir()
        queuectl("enqueue", "--id", "a", "-c", "true")
        until(lambda: ids_in(path, "completed") == ["a"])
        until(lambda: is_watching(workers))
