"""The flows that people know from the other queuectls, typed as they are."""

import json
import os
from pathlib import Path

import pytest

from tests.support import Workers, ids_in, names, until


def test_enqueue_json_run_and_see_it_completed(queuectl, path):
    assert queuectl("enqueue", '{"id":"job1","command":"echo done"}') == "job1\n"

    queuectl("worker", "start", "--drain")

    assert queuectl.json("status")["jobs"] == {
        "held": 0, "pending": 0, "processing": 0, "blocked": 0, "failed": 0, "completed": 1, "dead": 0, "rejected": 0,
    }  # fmt: skip
    assert queuectl("logs", "job1") == "done\n"
    assert ids_in(path, "completed") == ["job1"]


def test_a_job_that_always_fails_is_dead_after_max_retries(queuectl):
    queuectl("config", "set", "max-retries", "2")
    queuectl("config", "set", "backoff-base", "1")
    queuectl("enqueue", '{"id":"bad","command":"echo oops >&2; exit 1"}')

    queuectl("worker", "start", "--drain", "--set", "backoff_max=0.1")

    [dead] = queuectl.json("dlq", "list")
    assert (dead["id"], dead["attempts"], dead["outcome"], dead["reason"], dead["stderr_tail"]) == (
        "bad",
        2,
        "failed",
        "exit code 1",
        "oops\n",
    )
    assert "oops" in queuectl("dlq", "list")
    assert [run["attempt"] for run in queuectl.json("show", "bad")["runs"]] == [1, 2]


def test_a_dead_job_is_retried_with_all_its_attempts(queuectl, tmp_path):
    flag = tmp_path / "flag"
    queuectl("enqueue", "--id", "a", "--max-retries", "1", "-c", f"test -e {flag}")
    queuectl("worker", "start", "--drain")
    flag.touch()

    assert queuectl("dlq", "retry", "a") == "a pending\n"
    queuectl("worker", "start", "--drain")

    record = queuectl.json("show", "a")
    assert (record["state"], record["attempts"]) == ("completed", 1)
    assert [run["outcome"] for run in record["runs"]] == ["failed", "completed"]


def test_three_workers_run_jobs_side_by_side(queuectl, path, tmp_path):
    for name in "abc":
        queuectl(
            "enqueue",
            "--id",
            name,
            "-c",
            f"touch {tmp_path}/{name}; until test -e {tmp_path}/go; do sleep 0.01; done",
        )

    with Workers(path, "--count", "3"):
        until(lambda: all((tmp_path / name).exists() for name in "abc"))
        assert sorted(worker["job"] for worker in queuectl.json("worker", "list")) == [
            "a",
            "b",
            "c",
        ]
        (tmp_path / "go").touch()
        until(lambda: ids_in(path, "completed") == ["a", "b", "c"])


def test_jobs_are_still_there_after_stop_and_start(queuectl, path):
    with Workers(path) as workers:
        workers.up()
        queuectl("worker", "stop")
        assert workers.process.wait(20) == 0
    queuectl("enqueue", "--id", "a", "-c", "true")
    assert queuectl.json("list")[0]["state"] == "pending"

    with Workers(path):
        until(lambda: ids_in(path, "completed") == ["a"])


def test_the_short_form_of_worker_works(queuectl, path):
    queuectl("enqueue", "--id", "a", "-c", "true")

    queuectl("worker", "--count", "1", "--duration", "1")

    assert ids_in(path, "completed") == ["a"]


def test_the_bare_command_is_status(queuectl):
    queuectl("init")

    assert queuectl() == queuectl("status")
    assert all(
        state in queuectl() for state in ("pending", "processing", "failed", "completed", "dead")
    )


def test_a_thousand_jobs_on_four_workers_run_once_each(queuectl, path, tmp_path):
    ledger = tmp_path / "ledger"
    lines = "".join(
        json.dumps({"id": f"j{i}", "command": f"echo {i} >> {ledger}"}) + "\n" for i in range(1000)
    )
    assert len(queuectl("enqueue", "-", input=lines).split()) == 1000

    with Workers(path, "--count", "4", "--drain") as workers:
        workers.process.wait(50)

    assert sorted(map(int, ledger.read_text().split())) == list(range(1000))
    assert ids_in(path, "completed") == sorted(f"j{i}" for i in range(1000))
    assert len(names(path, "results")) == 1000
    assert all(
        len((path / "results" / name).read_text().splitlines()) == 1
        for name in names(path, "results")
    )
    assert workers.events("lost_claim") == []


def test_two_supervisors_share_a_spool_and_run_each_job_once(queuectl, path, tmp_path):
    ledger = tmp_path / "ledger"
    queuectl(
        "enqueue",
        "-",
        input="".join(json.dumps({"command": f"echo {i} >> {ledger}"}) + "\n" for i in range(300)),
    )

    with (
        Workers(path, "--count", "2", "--drain") as one,
        Workers(path, "--count", "2", "--drain") as other,
    ):
        one.process.wait(50)
        other.process.wait(50)

    assert sorted(map(int, ledger.read_text().split())) == list(range(300))


def test_moving_a_dead_job_back_by_hand_gives_it_one_more_run(queuectl, path):
    queuectl("enqueue", "--id", "a", "--max-retries", "1", "-c", "exit 3")
    queuectl("worker", "start", "--drain")
    [name] = names(path, "dead")

    os.rename(path / "dead" / name, path / "pending" / name)
    queuectl("worker", "start", "--drain")

    assert "-a2-a.json" in names(path, "dead")[0]
    assert len(queuectl.json("show", "a")["runs"]) == 2


def test_a_job_that_fails_twice_and_then_works_is_completed_after_three_runs(queuectl, tmp_path):
    queuectl(
        "enqueue", "--id", "a", "-c", f"echo x >> {tmp_path}/n; test $(wc -l < {tmp_path}/n) -ge 3"
    )

    queuectl("worker", "start", "--drain", "--set", "backoff_max=0.05")

    runs = queuectl.json("show", "a")["runs"]
    assert [run["outcome"] for run in runs] == ["failed", "failed", "completed"]


def test_the_retry_time_is_in_the_name_and_follows_the_backoff(queuectl, path):
    queuectl("config", "set", "backoff_base", "300")
    queuectl("config", "set", "backoff_jitter", "0")
    queuectl("enqueue", "--id", "a", "-c", "false")

    with Workers(path):
        until(lambda: ids_in(path, "failed") == ["a"])
        [run] = queuectl.json("show", "a")["runs"]
        due = queuectl.json("list", "--state", "failed")[0]["run_at"]

    from queuectl.units import instant

    assert instant(due) - instant(run["finished_at"]) == pytest.approx(300, abs=0.001)


def test_an_idle_worker_wakes_for_a_due_time_without_looking(queuectl, path):
    queuectl("enqueue", "--id", "a", "--delay", "0.7", "-c", "true")

    with Workers(path, "--set", "poll_interval=3600"):
        until(lambda: ids_in(path, "completed") == ["a"], 20)


def test_higher_priority_runs_first_and_lower_last(queuectl, path, tmp_path):
    for priority in (1, 9, 5):
        queuectl(
            "enqueue", "--priority", str(priority), "-c", f"echo {priority} >> {tmp_path}/order"
        )

    queuectl("worker", "start", "--drain")

    assert (tmp_path / "order").read_text().split() == ["9", "5", "1"]


def test_workers_pick_up_settings_without_a_restart(queuectl, path):
    with Workers(path) as workers:
        workers.up()
        queuectl("config", "set", "max_retries", "1")
        queuectl("enqueue", "--id", "a", "-c", "exit 1")
        until(lambda: ids_in(path, "dead") == ["a"])


def test_a_damaged_config_is_reported_and_workers_go_on_with_the_last_good_one(queuectl, path):
    with Workers(path, "--set", "heartbeat_interval=0.5") as workers:
        workers.up()
        (path / "config.json").write_text("{")
        assert "damaged" in queuectl.refusal("config", "set", "max_retries", "2", code=1)
        (path / "pending" / "x.json").write_text('{"id":"a","command":"true"}')
        until(lambda: ids_in(path, "completed") == ["a"])
        until(lambda: any("damaged" in event["reason"] for event in workers.events("warning")))
    assert (path / "config.json").read_text() == "{"
    assert workers.events("worker_died") == []


def test_drain_waits_for_delayed_jobs_and_for_the_jobs_of_others(queuectl, path, tmp_path):
    queuectl("enqueue", "--id", "long", "-c", f"until test -e {tmp_path}/go; do sleep 0.01; done")
    with Workers(path):
        until(lambda: ids_in(path, "processing") == ["long"])
        queuectl("enqueue", "--id", "later", "--delay", "0.5", "-c", "true")
        with Workers(path, "--drain") as draining:
            until(lambda: ids_in(path, "completed") == ["later"])
            assert draining.process.poll() is None
            (tmp_path / "go").touch()
            assert draining.process.wait(30) == 0


def test_duration_ends_after_the_running_job(queuectl, path, tmp_path):
    queuectl("enqueue", "--id", "a", "-c", f"touch {tmp_path}/started; sleep 1.2")

    with Workers(path, "--duration", "0.3") as workers:
        assert workers.process.wait(30) == 0

    assert (tmp_path / "started").exists() == (ids_in(path, "completed") == ["a"])


def test_a_daemon_says_its_pid_and_log_and_stop_finds_it(queuectl, path):
    pid, log = queuectl("worker", "start", "--daemon", "--count", "2").split()
    try:
        assert {worker["supervisor_pid"] for worker in queuectl.json("worker", "list")} == {
            int(pid)
        }
        queuectl("enqueue", "--id", "a", "-c", "true")
        until(lambda: ids_in(path, "completed") == ["a"])
    finally:
        out = queuectl("worker", "stop")
    assert out == f"stopped {pid}\n"
    assert "completed" in Path(log).read_text()
    assert queuectl.json("worker", "list") == []


def test_stop_without_workers_says_so_and_is_no_error(queuectl):
    queuectl("init")

    assert "no workers" in queuectl.run("worker", "stop").stderr


def test_both_modules_are_the_same_program(path):
    import subprocess
    import sys

    from tests.support import environment

    outs = [
        subprocess.run(
            [sys.executable, "-m", module, "--version"],
            capture_output=True,
            text=True,
            env=environment(path),
            check=True,
        ).stdout
        for module in ("queuectl", "queuectl.cli")
    ]

    assert outs[0] == outs[1]
    assert outs[0].startswith("queuectl, version ")
