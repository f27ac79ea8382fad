"""Mishaps: what hands, names, settings and terminals do to a queue that runs."""

import os
import shutil
import signal
import subprocess
import sys

import pytest

from queuectl.host import is_running
from tests import inotify
from tests.lifecycle.test_dying import pidfile_job, pids
from tests.support import Workers, environment, ids_in, names, until


@pytest.mark.parametrize(
    "name",
    [
        "20270015T000000.000000Z-p5-a0-x.json",
        "20260101T000000.000000Z-p5-a0-my job.json",
        "20260231T000000.000000Z-p5-a0-x.json",
        "20270231T000000.000000Z-p5-a0-x.json",
        "99991231T235959.000000Z-p5-a0-x.json",
        "20260101T000000.000000Z-p5-a007-x.json",
    ],
)
def test_a_name_that_is_almost_a_full_one_is_rejected_and_stops_nobody(queuectl, path, name):
    queuectl("init")
    (path / "pending" / name).write_text('{"command": "true"}')
    with Workers(path) as workers:
        until(lambda: len(names(path, "rejected")) == 2)
        (path / "pending" / "good.json").write_text('{"command": "true", "id": "good"}')
        until(lambda: ids_in(path, "completed") == ["good"])
    assert workers.events("worker_died") == workers.events("warning") == []


def test_a_name_in_failed_that_no_calendar_knows_is_rejected(queuectl, path):
    queuectl("init")
    (path / "failed" / "20260231T000000.000000Z-p5-a1-x.json").write_text('{"command": "true"}')
    with Workers(path):
        until(lambda: len(names(path, "rejected")) == 2)


def test_settings_that_are_damaged_while_a_job_runs_do_not_make_it_run_again(
    queuectl, path, tmp_path
):
    pidfile_job(queuectl, tmp_path)
    with Workers(path) as workers:
        until(lambda: pids(tmp_path))
        (path / "config.json").write_text("")
        (tmp_path / "go").touch()
        until(lambda: ids_in(path, "completed") == ["a"])
    assert len(pids(tmp_path)) == 1
    assert workers.events("worker_died") == []


def vanish(directory):
    """Remove a directory that others write into: moved away first, so that nothing new comes while it is emptied."""
    directory.rename(directory.parent.with_name("vanishing"))
    shutil.rmtree(directory.parent.with_name("vanishing"))


@pytest.mark.parametrize(
    "directory", ["logs", "results", "processing", "completed", "tmp", "failed", "ids"]
)
def test_a_directory_that_is_removed_under_running_workers_is_made_again(queuectl, path, directory):
    with Workers(path) as workers:
        workers.up()
        vanish(path / directory)
        (path / "pending" / "x.json").write_text('{"command": "echo hi", "id": "a"}')
        until(lambda: (path / "completed").exists() and ids_in(path, "completed") == ["a"])
    assert workers.events("worker_died") == []


def test_a_very_long_timeout_is_none_that_matters(queuectl, path):
    queuectl("enqueue", "--id", "a", "--timeout", "300d", "-c", "true")
    queuectl("worker", "start", "--drain")
    assert len(queuectl.json("show", "a")["runs"]) == 1
    assert ids_in(path, "completed") == ["a"]


def test_a_real_time_signal_is_a_failure_like_any_other(queuectl):
    queuectl("enqueue", "--id", "a", "--max-retries", "1", "-c", "kill -40 $$")
    queuectl("worker", "start", "--drain")
    [run] = queuectl.json("show", "a")["runs"]
    assert (run["outcome"], run["signal"]) == ("failed", 40)
    queuectl("wait", "a", code=168)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be somebody else")
def test_a_worker_may_be_started_where_it_must_not_read(tmp_path, queuectl, path):
    """Somebody starts workers with sudo from a directory that is closed to them."""
    closed = tmp_path / "closed"
    closed.mkdir()
    queuectl("enqueue", "--id", "a", "--cwd", "/", "-c", "true")
    closed.chmod(0o000)

    # Without the right to override modes, root is like anybody else.
    script = f"setpriv --bounding-set -dac_override,-dac_read_search --inh-caps -dac_override,-dac_read_search {sys.executable} -m queuectl worker start --drain"
    subprocess.run(
        ["sh", "-c", script],
        cwd=closed,
        env=environment(path),
        check=True,
        capture_output=True,
        timeout=50,
    )

    assert ids_in(path, "completed") == ["a"]


def test_a_stray_file_in_processing_hinders_no_rescue(queuectl, path, tmp_path):
    pidfile_job(queuectl, tmp_path)
    with Workers(path) as first:
        until(lambda: pids(tmp_path))
        (path / "processing" / ".DS_Store").touch()
        first.kill()
    (tmp_path / "go").touch()

    queuectl("worker", "start", "--drain")

    assert ids_in(path, "completed") == ["a"]
    assert queuectl.json("worker", "list") == []


def test_a_cancel_that_was_asked_for_before_everything_died_still_counts(queuectl, path, tmp_path):
    pidfile_job(queuectl, tmp_path)
    with Workers(path) as workers:
        until(lambda: pids(tmp_path))
        workers.kill()
    queuectl("cancel", "a")

    queuectl("worker", "start", "--drain")

    assert ids_in(path, "dead") == ["a"]
    assert queuectl.json("show", "a")["runs"][-1]["outcome"] == "cancelled"
    assert len(pids(tmp_path)) == 1


def test_a_cancel_during_the_grace_of_a_timeout_counts(queuectl, path, tmp_path):
    queuectl(
        "enqueue",
        "--id",
        "a",
        "--timeout",
        "0.3",
        "-c",
        f"trap 'touch {tmp_path}/term' TERM; while :; do sleep 0.02; done",
    )
    with Workers(path, "--set", "shutdown_grace=1.5"):
        until((tmp_path / "term").exists)
        queuectl("cancel", "a")
        until(lambda: ids_in(path, "dead") == ["a"])
    assert queuectl.json("show", "a")["runs"][-1]["outcome"] == "cancelled"


def test_a_worker_that_outlived_its_supervisor_can_be_cancelled_and_stopped(
    queuectl, path, tmp_path
):
    pidfile_job(queuectl, tmp_path)
    with Workers(path) as workers:
        until(lambda: pids(tmp_path))
        [record] = workers.up()
        os.kill(workers.process.pid, signal.SIGKILL)
        workers.process.wait(10)
        assert queuectl("worker", "stop", "--now") == f"stopped {record['pid']}\n"
        assert not is_running(record["pid"])
    assert ids_in(path, "pending") == ["a"]


def test_stop_finds_a_supervisor_that_has_no_worker_at_the_moment(queuectl, path):
    with Workers(path) as workers:
        [record] = workers.up()
        os.kill(record["pid"], signal.SIGKILL)
        until(lambda: workers.events("worker_died"))
        assert queuectl("worker", "stop") == f"stopped {workers.process.pid}\n"
    assert os.listdir(path / "workers") == []


def test_nohup_is_respected(queuectl, path):
    process = subprocess.Popen(
        ["nohup", sys.executable, "-m", "queuectl", "worker", "start"],
        env=environment(path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: list((path / "workers").glob("*.json")) if path.exists() else None)
        process.send_signal(signal.SIGHUP)
        (path / "pending" / "x.json").write_text('{"command": "true", "id": "a"}')
        until(lambda: ids_in(path, "completed") == ["a"])
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def test_the_log_may_go_to_a_pipe_that_closes(queuectl, path):
    queuectl("enqueue", "-", input='{"command":"true"}\n' * 30)
    command = f"{sys.executable} -m queuectl worker start --drain 2>&1 | head -1"
    subprocess.run(
        ["sh", "-c", command], env=environment(path), check=True, capture_output=True, timeout=50
    )
    until(lambda: len(names(path, "completed")) == 30)


def test_racing_first_enqueues_make_one_spool(path):
    racers = [
        subprocess.Popen(
            [sys.executable, "-m", "queuectl", "enqueue", "-c", "true"],
            env=environment(path),
            stderr=subprocess.PIPE,
        )
        for _ in range(12)
    ]
    errors = [racer.communicate(timeout=50)[1] for racer in racers]

    assert [error for error in errors if error] == []
    assert len(names(path, "pending")) == 12


def test_a_full_name_that_is_a_second_hard_link_holds_its_id(queuectl, path, tmp_path):
    queuectl("init")
    (tmp_path / "foo").write_text('{"command": "true"}')
    os.link(tmp_path / "foo", path / "pending" / "20260101T000000.000000Z-p5-a0-foo.json")
    queuectl("worker", "start", "--drain")

    assert ids_in(path, "completed") == ["foo"]
    queuectl.refusal("enqueue", "--id", "foo", "-c", "true", code=4)


@pytest.mark.parametrize("verb", [["show"], ["remove"], ["cancel"], ["dlq", "retry"]])
def test_an_empty_id_is_no_job(queuectl, path, verb):
    queuectl("enqueue", "--id", "only", "-c", "true")

    queuectl.refusal(*verb, "", code=3)
    queuectl.refusal(*verb, "a" * 300, code=3)
    assert ids_in(path, "pending") == ["only"]


def test_odd_drops_are_listed_like_others(queuectl, path):
    queuectl("init")
    (path / "pending" / "link.json").symlink_to("/etc/passwd")
    os.mkfifo(path / "pending" / "fifo.json")
    (path / "pending" / "dir.json").mkdir()
    with open(os.path.join(os.fsencode(path), b"pending", b"bad\xff\nname.json"), "w") as file:
        file.write('{"command": "true"}')

    for env in ({}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}):
        assert len(queuectl("list", **env).splitlines()) == 5
        assert len(queuectl.json("list", **env)) == 4


@pytest.mark.parametrize("redirection", ["1>&-", "2>&-", "0<&-", "0<&- 1>&- 2>&-"])
@pytest.mark.parametrize("words", ["enqueue -c 'echo hi'", "list", "status"])
def test_closed_descriptors_are_no_obstacle(queuectl, path, redirection, words):
    queuectl("init")
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m queuectl {words} {redirection}"],
        env=environment(path),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr.replace("no jobs\n", "")) == (0, "")
    assert len(names(path, "pending")) == words.startswith("enqueue")


def test_workers_may_be_started_with_closed_descriptors(queuectl, path):
    queuectl("enqueue", "--id", "a", "-c", "cat; echo out; echo err >&2")
    subprocess.run(
        ["sh", "-c", f"{sys.executable} -m queuectl worker start --drain 0<&- 1>&- 2>&-"],
        env=environment(path),
        check=True,
        timeout=50,
    )

    assert queuectl.json("logs", "a") == {
        "id": "a",
        "attempt": 1,
        "stdout": "out\n",
        "stderr": "err\n",
    }


def test_a_program_after_two_dashes_is_one_whatever_it_looks_like(queuectl):
    for program in ("./my script.sh", "-", '{"a": 1}'):
        id = queuectl("enqueue", "--", program).strip()
        assert queuectl.json("show", id)["command"] == [program]


def test_options_before_a_command_of_worker_are_refused_instead_of_forgotten(queuectl):
    assert "--count belongs behind 'start'" in queuectl.refusal(
        "worker", "--count", "3", "start", code=2
    )


def test_ctrl_c_while_it_loads_shows_no_traceback(queuectl, path):
    queuectl("init")
    for tenth in range(1, 12):
        command = (
            f"exec timeout -s INT 0.0{tenth:02} {sys.executable} -X importtime -m queuectl list"
        )
        done = subprocess.run(
            ["sh", "-c", command],
            env=environment(path),
            capture_output=True,
            text=True,
            check=False,
        )
        # Before our first line has run there is nothing that we could do.
        assert "queuectl/cli" not in done.stderr.partition("Traceback")[2]


def test_a_second_stop_hurries_the_end_of_a_commands_children(queuectl, path, tmp_path):
    queuectl(
        "enqueue",
        "--id",
        "a",
        "-c",
        f"trap 'touch {tmp_path}/told; exit 0' TERM; sh -c 'trap \"\" TERM; echo $$ > {tmp_path}/pids; while :; do sleep 0.02; done' & wait",
    )
    with Workers(path, "--set", "shutdown_grace=600") as workers:
        until(lambda: pids(tmp_path))
        queuectl("cancel", "a")
        until((tmp_path / "told").exists)
        workers.process.send_signal(signal.SIGQUIT)
        assert workers.process.wait(20) == 0
    assert not is_running(pids(tmp_path)[0])


def test_logs_follow_a_job_that_was_put_back_and_runs_again(queuectl, path, tmp_path):
    queuectl(
        "enqueue",
        "--id",
        "a",
        "-c",
        f"echo run $$; echo $$ >> {tmp_path}/pids; until test -e {tmp_path}/go; do sleep 0.02; done",
    )
    with Workers(path):
        until(lambda: pids(tmp_path))
        follow = subprocess.Popen(
            [sys.executable, "-m", "queuectl", "logs", "a", "-f"],
            stdout=subprocess.PIPE,
            env=environment(path),
        )
        first = follow.stdout.readline()
        queuectl("worker", "stop", "--now")
    with Workers(path):
        until(lambda: len(pids(tmp_path)) == 2)
        (tmp_path / "go").touch()
        rest = follow.communicate(timeout=30)[0]
    assert [first, rest] == [f"run {pid}\n".encode() for pid in pids(tmp_path)]


def test_workers_that_a_script_started_in_the_background_can_be_stopped_now(
    queuectl, path, tmp_path
):
    """A shell without job control starts them with SIGINT and SIGQUIT ignored."""
    pidfile_job(queuectl, tmp_path)
    script = f"{sys.executable} -m queuectl worker start >/dev/null 2>&1 & echo $!"
    pid = subprocess.run(
        ["sh", "-c", script], env=environment(path), capture_output=True, text=True, check=True
    ).stdout.strip()
    try:
        until(lambda: pids(tmp_path))
        assert queuectl("worker", "stop", "--now", "--timeout", "20") == f"stopped {pid}\n"
    finally:
        if is_running(int(pid)):
            os.kill(int(pid), signal.SIGQUIT)

    assert ids_in(path, "pending") == ["a"]


def test_what_an_ended_job_left_running_survives_the_death_of_its_worker(queuectl, path, tmp_path):
    queuectl("enqueue", "--id", "service", "-c", f"setsid sleep 600 & echo $! > {tmp_path}/service")
    with Workers(path) as workers:
        until(lambda: ids_in(path, "completed") == ["service"])
        service = int((tmp_path / "service").read_text())
        try:
            pidfile_job(queuectl, tmp_path)
            until(lambda: pids(tmp_path))
            os.kill(workers.records()[0]["pid"], signal.SIGKILL)
            until(lambda: len(pids(tmp_path)) == 2)
            assert is_running(service)
        finally:
            os.kill(service, signal.SIGKILL)


def test_racing_enqueues_of_ids_of_our_own_shape_have_one_winner_each(spool, path):
    from queuectl.errors import IdTaken
    from tests.faults.test_races import together

    ids = [f"2026112207{number:07}" for number in range(40)]

    def enqueue():
        won = 0
        for id in ids:
            try:
                spool.enqueue({"command": "true", "id": id})
                won += 1
            except IdTaken:
                pass
        return won

    assert sum(together(enqueue, enqueue, enqueue)) == len(ids)
    assert ids_in(path, "pending") == ids


@inotify.limited
def test_when_no_watch_is_left_jobs_are_found_by_looking_and_it_is_said_once(queuectl, path):
    queuectl("config", "set", "poll_interval", "0.2")
    with Workers(path, prefix=inotify.NAMESPACE) as workers:
        workers.up()
        inotify.allow_in(workers.process.pid, 0)
        for count in range(1, 4):
            (path / "pending" / f"{count}.json").write_text('{"command": "true"}')
            until(lambda count=count: len(names(path, "completed")) == count)
        [warning] = until(lambda: workers.events("warning"))
        assert "no watch left" in warning["reason"]
        # As soon as there is one again, it rings.
        inotify.allow_in(workers.process.pid, 100)
        queuectl("config", "set", "poll_interval", "3600")
        for count in range(4, 6):
            (path / "pending" / f"{count}.json").write_text('{"command": "true"}')
            until(lambda count=count: len(names(path, "completed")) == count)
    assert len(workers.events("warning")) == 1


def test_a_supervisor_whose_file_was_removed_makes_it_again_and_can_be_stopped(queuectl, path):
    queuectl("config", "set", "heartbeat_interval", "0.5")
    with Workers(path) as workers:
        workers.up()
        [file] = (path / "workers").glob("*.supervisor")
        file.unlink()
        until(file.exists)
        queuectl("worker", "stop")
        assert workers.process.wait(30) == 0
    assert not file.exists()


def put_in_the_way(directory):
    """Put a file in the place of a directory; False: the directory was made again before."""
    vanish(directory)
    try:
        directory.write_text("in the way")
    except IsADirectoryError:
        return False
    return True


def test_workers_is_removed_and_made_again_under_a_running_supervisor(queuectl, path):
    queuectl("config", "set", "heartbeat_interval", "0.5")
    with Workers(path) as workers:
        workers.up()
        until(lambda: put_in_the_way(path / "workers"))
        until(lambda: workers.events("warning"))
        (path / "workers").unlink()
        until(lambda: list((path / "workers").glob("*.supervisor")))
        queuectl("enqueue", "--id", "a", "-c", "true")
        until(lambda: ids_in(path, "completed") == ["a"])
