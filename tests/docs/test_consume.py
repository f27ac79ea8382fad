"""A consumer that is not queuectl: examples/spool/consume.sh follows docs/format.md beside queuectl's own workers."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import jsonschema
import pytest

from queuectl import disk, host, liveness, processes
from queuectl.filename import decode
from tests.support import environment, ids_in, names, until

ROOT = Path(__file__).parents[2]
RUN = jsonschema.Draft202012Validator(json.loads((ROOT / "docs" / "run.schema.json").read_text()))

pytestmark = [
    pytest.mark.timeout(180),  # some twenty programs for each job, on a busy machine
    *(
        pytest.mark.skipif(shutil.which(tool) is None, reason=f"no {tool} here")
        for tool in ("jq", "flock", "setsid")
    ),
]


@pytest.fixture
def consume(path):
    """Start the consumer; what is still there at the end of the test is killed."""
    started = []

    def start():
        words = ["sh", ROOT / "examples" / "spool" / "consume.sh", path]
        started.append(
            subprocess.Popen(words, env=environment(path), stderr=subprocess.PIPE, text=True)
        )
        return started[-1]

    yield start
    for consumer in started:
        consumer.kill()
        consumer.wait()
        consumer.stderr.close()


def ended(consumer):
    """What it has said, at its end."""
    said = consumer.stderr.read()
    assert consumer.wait() == 0, said
    return said


def records(path, id):
    return [
        json.loads(line) for line in (path / "results" / f"{id}.jsonl").read_text().splitlines()
    ]


def test_it_runs_what_is_due_and_files_it_as_queuectl_does(
    spool, path, queuectl, consume, tmp_path
):
    queuectl("config", "set", "backoff_max", "0")
    spool.enqueue({"id": "words", "command": ["printf", "%s|", "a b", "c'd", "$HOME"]})
    spool.enqueue(
        {
            "id": "all",
            "command": "cat; pwd; echo $A $QUEUECTL_JOB_ID; echo no >&2",
            "stdin": "in\n",
            "cwd": str(tmp_path),
            "env": {"A": "b c"},
        }
    )
    spool.enqueue({"id": "bad", "command": "exit 3", "max_retries": 2})
    spool.enqueue({"id": "later", "command": "true", "delay": "1h"})

    ended(consume())

    assert sorted(ids_in(path, "completed")) == ["all", "words"]
    assert ids_in(path, "dead") == ["bad"]
    assert ids_in(path, "pending") == ["later"]
    [run] = records(path, "all")
    assert run["stdout_tail"] == f"in\n{tmp_path}\nb c all"
    assert (run["stderr_tail"], run["exit_code"]) == ("no", 0)
    assert records(path, "words")[0]["stdout_tail"] == "a b|c'd|$HOME|"
    assert [
        (run["attempt"], run["reason"], run["to"].split("/")[0]) for run in records(path, "bad")
    ] == [
        (1, "exit code 3", "failed"),
        (2, "exit code 3", "dead"),
    ]
    for id in ("all", "words", "bad"):
        for run in records(path, id):
            RUN.validate(run)
        assert (path / records(path, id)[-1]["to"]).exists()
    assert queuectl("logs", "all") == f"in\n{tmp_path}\nb c all\n"
    assert queuectl.json("show", "words")["runs"][0]["outcome"] == "completed"
    assert [os.listdir(path / name) for name in ("workers", "processing", "tmp")] == [[], [], []]
    assert queuectl.json("doctor")["findings"] == []


def test_it_takes_the_urgent_first_and_wakes_who_waited_for_a_job(
    spool, path, queuectl, consume, tmp_path
):
    spool.enqueue({"id": "first", "command": f"echo first >> {tmp_path}/out"})
    spool.enqueue({"id": "urgent", "command": f"echo urgent >> {tmp_path}/out", "priority": 9})
    spool.enqueue(
        {"id": "next", "command": f"echo next >> {tmp_path}/out", "after": "first", "priority": 9}
    )
    (path / "blocked" / "after.first").mkdir(parents=True)
    [waiting] = [name for name in names(path, "pending") if name.endswith("-next.json")]
    (path / "pending" / waiting).rename(path / "blocked" / "after.first" / waiting)

    ended(consume())

    assert (tmp_path / "out").read_text().split() == ["urgent", "first"]
    assert names(path, "pending") == [waiting]  # it does not know `after`: that is for others
    queuectl("worker", "start", "--drain")
    assert (tmp_path / "out").read_text().split() == ["urgent", "first", "next"]


HARD = {
    "limit": {"limit": "x"},
    "timeout": {"timeout": 5},
    "codes": {"success_codes": [1]},
    "unique": {"unique": "x"},
    "unheard-of": {"surprise": 1},
    "no-command": {"command": 5},
    "empty": {"command": []},
    "variable": {"command": ["a=b"]},
    "nul": {"stdin": "a\0b"},
    "another-id": {"id": "other"},
}


@pytest.mark.parametrize("id", HARD)
def test_what_it_cannot_do_it_leaves_as_it_is(spool, path, consume, id):
    file = path / "pending" / f"20261122T101502.123456Z-p5-a0-{id}.json"
    file.write_text(json.dumps({"command": "true", **HARD[id]}))
    (path / "pending" / "drop.json").write_text('{"command": "true"}')

    assert ended(consume()) == ""

    assert names(path, "pending") == [file.name, "drop.json"]
    assert os.listdir(path / "results") == []


def test_beside_workers_of_queuectl_each_job_runs_once(spool, path, queuectl, consume, tmp_path):
    many = [
        spool.enqueue({"command": f"echo $QUEUECTL_JOB_ID >> {tmp_path}/out"}) for _ in range(30)
    ]

    consumers = [consume(), consume()]
    until(lambda: len({records(path, id)[0]["worker"] for id in ids_in(path, "completed")}) == 2)
    queuectl("worker", "start", "--count", "2", "--drain")
    for consumer in consumers:
        ended(consumer)

    assert sorted((tmp_path / "out").read_text().split()) == sorted(many)
    assert len(ids_in(path, "completed")) == 30
    assert len({records(path, id)[0]["worker"] for id in many}) > 2


def test_hooks_are_called_for_what_it_has_run(spool, path, queuectl, consume, tmp_path):
    (path / "hooks").mkdir(mode=0o700)
    for hook in ("completed", "batch-done"):
        (path / "hooks" / hook).write_text(f"#!/bin/sh\necho {hook} >> {tmp_path}/out\n")
        (path / "hooks" / hook).chmod(0o700)
    spool.enqueue({"id": "x", "command": "true", "batch": "b"})

    ended(consume())

    [name] = names(path, "completed")
    due = path / "hooks" / "due"
    assert {note: os.readlink(due / note) for note in os.listdir(due)} == {
        f"completed~{name}": f"../../completed/{name}",
        f"batch-done~{name}": "b",
    }
    queuectl("worker", "start", "--drain")
    assert sorted((tmp_path / "out").read_text().split()) == ["batch-done", "completed"]


def running(path, tmp_path):
    """The worker that runs the only job, once its command has begun."""
    until((tmp_path / "began").exists)
    [worker] = os.listdir(path / "processing")
    return worker


def test_when_it_is_killed_its_job_runs_again_and_its_command_is_ended(
    spool, path, queuectl, consume, tmp_path
):
    queuectl("config", "set", "heartbeat_interval", "2")
    spool.enqueue(
        {
            "id": "x",
            "command": f"touch {tmp_path}/began; test $QUEUECTL_ATTEMPT = 2 || exec sleep 1000",
        }
    )
    consumer = consume()
    worker = running(path, tmp_path)
    [shown] = queuectl.json("worker", "list")
    assert (shown["name"], shown["alive"], shown["job"]) == (worker, True, "x")

    consumer.kill()
    consumer.wait()
    assert processes.of_worker(worker, ("x", 1)) != []
    until(lambda: disk.is_held(str(path / "workers" / f"{worker}.lock")) is False, seconds=1)
    queuectl("worker", "start", "--drain")

    assert [(run["outcome"], run["worker"] == worker) for run in records(path, "x")] == [
        ("lost", True),
        ("completed", False),
    ]
    assert ids_in(path, "completed") == ["x"]
    assert processes.of_worker(worker) == []
    assert os.listdir(path / "workers") == []


def test_a_worker_without_a_lock_is_alive_while_its_heart_beats(spool, path, queuectl):
    queuectl("config", "set", "heartbeat_interval", "0.5")
    queuectl("config", "set", "worker_lost_after", "1.5")
    place, mine = host.place(), path / "processing" / "mars-1-a"
    who = {
        "worker": "mars-1-a",
        **place._asdict(),
        "pid": 1,
        "supervisor": "",
        "supervisor_pid": 1,
        "started_at": 1795350000.5,
    }
    (path / "workers" / "mars-1-a.json").write_text(json.dumps(who))
    mine.mkdir()
    (mine / "20261122T101502.123456Z-p5-a1-x.json").write_text('{"command": "true"}')
    observer = liveness.Observer(spool)
    assert observer.is_alive("mars-1-a", liveness.read(spool, "mars-1-a"))

    queuectl("worker", "start", "--drain")

    assert [run["outcome"] for run in records(path, "x")] == ["lost", "completed"]


def test_a_job_that_was_rescued_meanwhile_is_not_filed_by_it(spool, path, consume, tmp_path):
    spool.enqueue(
        {
            "id": "x",
            "command": f"touch {tmp_path}/began; until test -e {tmp_path}/go; do sleep 0.05; done",
        }
    )
    consumer = consume()
    worker = running(path, tmp_path)
    [name] = os.listdir(path / "processing" / worker)
    elsewhere = path / "held" / "20261122T101502.123456Z-p5-a1-x.json"
    elsewhere.parent.mkdir()

    (path / "processing" / worker / name).rename(elsewhere)
    (tmp_path / "go").touch()

    assert "lost x: rescued meanwhile" in ended(consumer)
    assert elsewhere.exists()
    assert ids_in(path, "completed") == []
    [run] = records(path, "x")
    assert run["outcome"] == "completed"  # superseded: the job is not where this says


@pytest.mark.parametrize("how", ["TERM", "worker stop"])
def test_asked_to_stop_it_finishes_the_job_at_hand(spool, path, queuectl, consume, tmp_path, how):
    spool.enqueue(
        {
            "id": "x",
            "command": f"touch {tmp_path}/began; until test -e {tmp_path}/go; do sleep 0.05; done",
            "priority": 9,
        }
    )
    spool.enqueue({"id": "y", "command": "true"})
    consumer = consume()
    worker = running(path, tmp_path)

    if how == "TERM":
        consumer.send_signal(signal.SIGTERM)
    else:
        (path / "workers" / f"{worker}.stop").touch()
    (tmp_path / "go").touch()

    ended(consumer)
    assert (ids_in(path, "completed"), ids_in(path, "pending")) == (["x"], ["y"])
    assert os.listdir(path / "workers") == []


def test_a_job_that_somebody_cancels_is_ended(spool, path, queuectl, consume, tmp_path):
    queuectl("config", "set", "heartbeat_interval", "0.5")
    spool.enqueue(
        {"id": "x", "command": f"trap '' TERM; touch {tmp_path}/began; while :; do sleep 0.1; done"}
    )
    consumer = consume()
    running(path, tmp_path)

    queuectl("cancel", "x")

    ended(consumer)
    assert ids_in(path, "dead") == ["x"]
    assert records(path, "x")[0]["outcome"] == "cancelled"
    assert names(path, "processing") == []


@pytest.mark.parametrize(
    ("file", "text"),
    [("spool.json", '{"version": 2}'), ("config.json", '{"success_codes": [0, 1]}')],
)
def test_what_it_does_not_understand_it_does_not_touch(spool, path, consume, file, text):
    spool.enqueue("true")
    (path / file).write_text(text)

    consumer = consume()

    assert consumer.wait() == 1
    assert str(path) in consumer.stderr.read()
    assert len(names(path, "pending")) == 1
    assert os.listdir(path / "workers") == []


def test_its_names_are_full_names(spool, path, consume):
    spool.enqueue({"id": "a-b.c_d", "command": "false", "max_retries": 1})

    ended(consume())

    [name] = names(path, "dead")
    assert decode(name)[1:] == (5, 1, "a-b.c_d")
