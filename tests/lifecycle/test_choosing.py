"""The same words choose jobs in every command; hold, release, set, retry, cancel, remove and wait obey them."""

import json
import sys

import pexpect
import pytest

from queuectl import Spool
from tests.faults.test_races import together
from tests.support import Workers, environment, ids_in, names, until

CHANGING = [
    "hold",
    "release",
    "retry",
    "cancel",
    "remove",
    "wait",
    "set --priority 1",
    "set --delay 0",
]


@pytest.mark.parametrize("verb", CHANGING)
def test_a_verb_that_is_told_no_jobs_is_refused(queuectl, path, verb):
    queuectl("enqueue", "--id", "a", "-c", "true")

    assert "which jobs?" in queuectl.refusal(*verb.split(), code=2)
    assert ids_in(path, "pending") == ["a"]


@pytest.mark.parametrize("verb", CHANGING)
def test_options_that_fit_no_job_are_said_and_no_fault_and_a_batch_that_is_not_there_is_one(
    queuectl, path, verb
):
    queuectl("enqueue", "--id", "a", "--batch", "b", "-c", "true")

    done = queuectl.run(*verb.split(), "--name", "nobody")
    assert (done.returncode, done.stdout) == (0, "")
    assert "no job is left to do this to" in done.stderr or "0 completed, 0 dead" in done.stderr
    assert "no batch 'nobody'" in queuectl.refusal(*verb.split(), "--batch", "nobody", code=3)


@pytest.mark.parametrize("verb", CHANGING)
def test_an_id_that_is_not_there_is_refused(queuectl, verb):
    queuectl("init")

    assert "no job 'nobody'" in queuectl.refusal(*verb.split(), "nobody", code=3)


@pytest.mark.parametrize("verb", [*CHANGING, "dlq retry", "dlq purge --yes"])
def test_a_beginning_of_a_chosen_id_changes_nothing_and_waits_for_nothing(queuectl, path, verb):
    queuectl("enqueue", "--id", "build-10", "-c", "true")

    said = queuectl.refusal(*verb.split(), "build-1", code=3)

    assert "no job 'build-1'" in said
    assert "did you mean 'build-10'?" in said
    assert ids_in(path, "pending") == ["build-10"]


def test_the_first_characters_of_an_id_that_queuectl_made_are_enough_if_they_are_many(queuectl):
    id = queuectl("enqueue", "-c", "true").strip()

    assert queuectl("hold", id[:12]) == f"{id} held\n"
    assert f"did you mean '{id}'" in queuectl.refusal("release", id[:11], code=3)
    assert queuectl.json("show", id[:3])["id"] == id


def test_hold_and_release(queuectl, path):
    queuectl("enqueue", "--hold", "--id", "a", "-c", "true")
    queuectl("enqueue", "--id", "b", "-c", "true")
    assert queuectl("hold", "last", "a") == "b held\na held\n"
    queuectl("worker", "start", "--drain")
    assert ids_in(path, "held") == ["a", "b"]
    assert queuectl.json("status")["jobs"]["held"] == 2

    assert queuectl("release", "a") == "a pending\n"
    queuectl("worker", "start", "--drain")

    assert (ids_in(path, "held"), ids_in(path, "completed")) == (["b"], ["a"])
    assert "is completed; only one that waits can be held" in queuectl.refusal("hold", "a", code=1)
    assert "not held" in queuectl.refusal("release", "a", code=1)


def test_a_released_job_wakes_a_worker_that_rests(queuectl, path):
    queuectl("config", "set", "poll_interval", "3600")
    queuectl("enqueue", "--hold", "--id", "a", "-c", "true")
    with Workers(path) as workers:
        workers.up()
        queuectl("release", "a")
        until(lambda: ids_in(path, "completed") == ["a"])


def test_set_changes_the_name_and_not_the_file(queuectl, path):
    queuectl("enqueue", "--id", "a", "--priority", "2", "-c", "true")
    [before] = names(path, "pending")
    data = (path / "pending" / before).read_bytes()

    assert (
        queuectl("set", "a", "--priority", "9", "--run-at", "2036-01-02T03:04:05Z")
        == "a priority 9, due 2036-01-02T03:04:05.000000Z\n"
    )

    assert names(path, "pending") == ["20360102T030405.000000Z-p9-a0-a.json"]
    assert (path / "pending" / names(path, "pending")[0]).read_bytes() == data
    record = queuectl.json("show", "a")
    assert (record["priority"], record["run_at"]) == (9, "2036-01-02T03:04:05.000000Z")
    queuectl("set", "a", "--delay", "0")
    queuectl("worker", "start", "--drain")
    assert ids_in(path, "completed") == ["a"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "what shall change?"),
        (["--delay", "1", "--run-at", "2036-01-01"], "give one of them"),
        (["--delay", "soon"], "--delay: 'soon' is no duration"),
        (["--run-at", "soon"], "--run-at: 'soon' is no time"),
        (["--priority", "10"], "10 is not in the range"),
    ],
)
def test_a_change_that_is_none_is_refused(queuectl, words, reason):
    queuectl("enqueue", "--id", "a", "-c", "true")

    assert reason in queuectl.refusal("set", "a", *words, code=2)


@pytest.fixture
def failed(queuectl, path):
    """`a` has failed and would wait for an hour, `b` is dead, `c` is completed; `d` was cancelled."""
    queuectl("config", "set", "backoff_base", "1000")
    queuectl("enqueue", "--id", "a", "--batch", "x", "-c", f"test -e {path}/ok")
    queuectl(
        "enqueue", "--id", "b", "--batch", "x", "--max-retries", "1", "-c", f"test -e {path}/ok"
    )
    queuectl("enqueue", "--id", "c", "--batch", "x", "-c", "true")
    queuectl("enqueue", "--id", "d", "--batch", "y", "--delay", "1h", "-c", "true")
    queuectl("cancel", "d")
    with Workers(path):
        until(
            lambda: (
                (ids_in(path, "failed"), ids_in(path, "dead"), ids_in(path, "completed"))
                == (["a"], ["b", "d"], ["c"])
            )
        )
    (path / "ok").touch()


def test_retry_lets_a_failed_job_run_now_and_brings_a_dead_one_back(queuectl, path, failed):
    assert queuectl("retry", "a", "b") == "a pending\nb pending\n"
    assert {entry.name.id: entry.name.attempts for entry in Spool(path).entries("pending")} == {
        "a": 1,
        "b": 0,
    }

    queuectl("worker", "start", "--drain")

    assert ids_in(path, "completed") == ["a", "b", "c"]


def test_retry_runs_a_completed_job_again_only_if_told_so(queuectl, path, failed):
    assert "'queuectl retry c --state completed' runs it again" in queuectl.refusal(
        "retry", "c", code=1
    )
    assert sorted(
        queuectl("retry", "--batch", "x", "--state", "completed", "--state", "dead").splitlines()
    ) == ["b pending", "c pending"]
    assert {entry.name.id: entry.name.attempts for entry in Spool(path).entries("pending")} == {
        "b": 0,
        "c": 0,
    }

    with Workers(path):
        until(lambda: ids_in(path, "completed") == ["b", "c"])
    assert [run["outcome"] for run in queuectl.json("show", "c")["runs"]] == [
        "completed",
        "completed",
    ]


def test_retry_all_failed_leaves_the_dead_alone(queuectl, path, failed):
    assert queuectl("retry", "--all-failed") == "a pending\n"
    assert "leave the ids and --state away" in queuectl.refusal(
        "retry", "--all-failed", "a", code=2
    )
    assert queuectl("retry", "--all-failed") == ""


def test_a_batch_is_retried_cancelled_and_removed_where_that_can_be_done(queuectl, path, failed):
    assert queuectl("retry", "--batch", "x") == "a pending\nb pending\n"
    assert sorted(queuectl("cancel", "--batch", "x").split("\n")) == [
        "",
        "a cancelled",
        "b cancelled",
    ]
    assert queuectl("cancel", "--batch", "x") == ""
    assert queuectl("remove", "--batch", "x", "--state", "completed", "--yes") == "c removed\n"
    assert sorted(queuectl("remove", "--batch", "x", "--yes").split("\n")) == [
        "",
        "a removed",
        "b removed",
    ]
    assert queuectl("wait", "--batch", "y", code=1) == ""
    assert ids_in(path, "dead") == ["d"]


def test_list_and_show_and_logs_take_the_same_words(queuectl, failed):
    assert [
        record["id"]
        for record in queuectl.json("list", "--batch", "x", "--state", "dead", "--state", "failed")
    ] == ["a", "b"]
    assert [record["id"] for record in queuectl.json("list", "a", "d")] == ["a", "d"]
    assert queuectl.json("show", "last")["id"] == "d"
    assert queuectl.json("logs", "last")["id"] == "d"
    assert queuectl("list", "--name", "x") == ""


def test_one_refusal_does_not_stop_the_others(queuectl, path):
    for id in ("a", "b"):
        queuectl("enqueue", "--id", id, "-c", "true")

    done = queuectl.run("hold", "a", "nobody", "b")

    assert (done.returncode, done.stdout) == (3, "a held\nb held\n")
    assert "no job 'nobody'" in done.stderr


def test_more_jobs_than_are_made_durable_at_once_are_all_changed(queuectl, path):
    Spool(path).enqueue_all([{"command": "true", "batch": "b"} for _ in range(250)])

    assert len(queuectl("hold", "--batch", "b").splitlines()) == 250
    assert len(queuectl("set", "--batch", "b", "--priority", "7").splitlines()) == 250
    assert len(queuectl("release", "--state", "held").splitlines()) == 250
    assert {entry.name.priority for entry in Spool(path).entries("pending")} == {7}


def test_changing_jobs_beside_two_workers_loses_and_doubles_none(queuectl, path, tmp_path):
    jobs = [
        {"command": f"echo x >> {tmp_path}/{number}", "id": f"j{number}", "batch": "b"}
        for number in range(200)
    ]
    Spool(path).enqueue_all(jobs)

    def meddle(*verbs):
        for verb in verbs * 3:
            queuectl.run(*verb, "--batch", "b")

    with Workers(path, "--count", "1"), Workers(path, "--count", "1"):
        together(
            lambda: meddle(("hold",), ("release",)),
            lambda: meddle(("set", "--priority", "7"), ("set", "--delay", "0")),
        )
        queuectl("release", "--batch", "b")
        until(lambda: len(ids_in(path, "completed")) == 200)
    assert [(tmp_path / str(number)).read_text() for number in range(200)] == ["x\n"] * 200


# -- removing what options choose


@pytest.mark.parametrize(
    "choice", ["--batch b", "--state pending", "--name n", "--batch b --name n"]
)
def test_removing_by_a_choice_wants_a_yes_and_says_how_many_jobs(queuectl, path, choice):
    for id in ("a", "b"):
        queuectl("enqueue", "--id", id, "--batch", "b", "--name", "n", "-c", "true")

    said = queuectl.refusal("remove", *choice.split(), code=2)
    assert "this removes 2 jobs for good; say --yes" in said
    assert ids_in(path, "pending") == ["a", "b"]

    assert queuectl("remove", "a") == "a removed\n"
    assert queuectl("remove", *choice.split(), "--yes") == "b removed\n"


@pytest.mark.parametrize(("answer", "left"), [("y", []), ("n", ["a", "b"])])
def test_removing_by_a_choice_asks_on_a_terminal(queuectl, path, answer, left):
    for id in ("a", "b"):
        queuectl("enqueue", "--id", id, "--batch", "b", "-c", "true")
    terminal = pexpect.spawn(
        sys.executable,
        ["-m", "queuectl", "remove", "--batch", "b"],
        env=environment(path),
        timeout=30,
    )
    terminal.expect("Remove 2 jobs for good")
    terminal.sendline(answer)
    terminal.expect(pexpect.EOF)

    assert ids_in(path, "pending") == left


def test_removing_a_job_says_how_many_waited_for_it(queuectl, path):
    queuectl("enqueue", "--hold", "--id", "a", "-c", "true")
    for id in ("b", "c"):
        queuectl("enqueue", "--id", id, "--after", "a", "-c", "true")
    with Workers(path):
        until(lambda: ids_in(path, "blocked") == ["b", "c"])
        done = queuectl.run("remove", "a")
        until(lambda: ids_in(path, "dead") == ["b", "c"])

    assert done.stdout == "a removed\n"
    assert "2 jobs waited for a and can never run now" in done.stderr


# -- waiting for a batch


def test_wait_for_a_batch_sums_up_and_takes_in_what_comes_meanwhile(queuectl, path):
    queuectl("enqueue", "--array", "1-3", "--batch", "b", "-c", "true")
    queuectl("enqueue", "--batch", "b", "--max-retries", "1", "-c", "false")
    queuectl("enqueue", "--batch", "b", "--hold", "--id", "late", "-c", "true")
    with Workers(path):
        assert "of 5 jobs have not ended within 0.2" in queuectl.refusal(
            "wait", "--batch", "b", "--timeout", "0.2", code=124
        )
        queuectl("release", "late")
        done = queuectl.run("wait", "--batch", "b", "--timeout", "50")
    assert done.returncode == 1
    assert done.stderr.startswith("batch b: 4 completed, 1 dead, took ")
    counts = json.loads(queuectl("wait", "--batch", "b", "--json", code=1))
    seconds = counts.pop("seconds")
    assert seconds == json.loads(queuectl("wait", "--batch", "b", "--json", code=1))["seconds"] > 0
    assert counts == {"batch": "b", "completed": 4, "dead": 1, "gone": 0, "left": 0}


def test_wait_for_jobs_chosen_otherwise_means_those_that_fit_now(queuectl, path):
    queuectl("enqueue", "--name", "n1", "-c", "true")
    queuectl("enqueue", "--name", "m", "-c", "false")
    with Workers(path):
        assert (
            "1 completed, 0 dead" in queuectl.run("wait", "--name", "n*", "--timeout", "50").stderr
        )


def test_drops_can_be_listed_and_removed_and_are_left_alone_otherwise(queuectl, path):
    queuectl("init")
    (path / "pending" / "x.json").write_text('{"command": "true", "name": "n"}')

    for verb in ("hold", "cancel", "set --priority 1", "wait"):
        assert queuectl(*verb.split(), "--name", "n") == ""
    assert [record["id"] for record in queuectl.json("list", "--name", "n")] == ["x.json"]
    assert queuectl("remove", "--name", "n", "--yes") == "x.json removed\n"
    assert names(path, "pending") == []


def test_a_progress_bar_is_shown_on_a_terminal(queuectl, path):
    queuectl(
        "enqueue", "--array", "1-4", "--batch", "film", "--max-retries", "1", "-c", "test {} -ne 3"
    )
    env = {**environment(path), "TERM": "xterm-256color"}
    terminal = pexpect.spawn(
        sys.executable,
        ["-m", "queuectl", "wait", "--batch", "film"],
        env=env,
        timeout=30,
        encoding="utf-8",
    )
    terminal.expect("film")
    terminal.expect("0/4")
    with Workers(path):
        terminal.expect("batch film: 3 completed, 1 dead, took")
        terminal.expect(pexpect.EOF)
    terminal.close()

    assert terminal.exitstatus == 1
