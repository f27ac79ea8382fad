"""Metrics and events: what those see who watch over a spool."""

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest
from prometheus_client.parser import text_string_to_metric_families

from queuectl import actions, config, events, lookup, metrics
from tests.support import Workers, environment, until

MONITORING = Path(__file__).parents[2] / "examples" / "monitoring"

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs promtool: apt-get install prometheus"
)


@pytest.fixture
def telling(spool):
    """A spool that tells what happens."""
    config.change(spool.at("config.json"), spool.temporary(), {"events": "on"})
    return spool


def told(spool):
    return list(events.read(spool.at("events"), {}))


def run_all(path, *words):
    with Workers(path, "--drain", *words) as workers:
        assert workers.process.wait(50) == 0


def values(text):
    """The samples of metrics by name and labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


# -- events


def test_nothing_is_told_unless_the_setting_wants_it(spool, path):
    spool.enqueue("true")
    run_all(path)

    assert not (path / "events").exists()


def test_a_life_is_told_line_by_line(telling, path):
    telling.enqueue({"id": "one", "command": "exit 3", "max_retries": 2})
    run_all(path, "--set", "backoff_base=1", "--set", "backoff_max=0")
    actions.remove(telling, lookup.find(telling, "one"))

    lines = [(event["event"], event.get("state"), event.get("outcome")) for event in told(telling)]
    assert lines == [
        ("enqueued", "pending", None),
        ("claimed", "processing", None),
        ("failed", "failed", "failed"),
        ("claimed", "processing", None),
        ("dead", "dead", "failed"),
        ("removed", None, None),
    ]
    assert {event["job"] for event in told(telling)} == {"one"}


def test_every_way_a_job_can_go_is_told(telling, path, queuectl):
    queuectl("enqueue", "--id", "a", "--delay", "1h", "-c", "true")
    (path / "pending" / "drop.json").write_text('{"id": "dropped", "command": "true"}')
    (path / "pending" / "bad.json").write_text("[]")
    actions.hold(telling, lookup.find(telling, "a"))
    actions.release(telling, lookup.find(telling, "a"))
    actions.cancel(telling, "a")
    telling.enqueue_all(
        [
            {"id": "first", "command": "true"},
            {"id": "second", "command": "true", "after": "first", "priority": 9},
        ]
    )
    run_all(path)

    seen = {(event["event"], event["job"]): event for event in told(telling)}
    assert {
        ("enqueued", "a"),
        ("admitted", "dropped"),
        ("rejected", None),
        ("blocked", "second"),
        ("woken", "second"),
    } <= set(seen)
    assert [event["state"] for event in told(telling) if event["job"] == "a"] == [
        "pending",
        "held",
        "pending",
        "dead",
    ]
    assert seen["completed", "second"]["exit_code"] == 0


def test_a_rescued_job_is_told_of(telling, path):
    telling.enqueue({"id": "long", "command": "sleep 60"})
    with Workers(path) as workers:
        until(lambda: [event for event in told(telling) if event["event"] == "claimed"])
        workers.kill()
    with Workers(path, "--set", "backoff_max=100"):
        until(
            lambda: [
                event
                for event in told(telling)
                if event["event"] == "rescued" and event["outcome"] == "lost"
            ]
        )


def test_the_setting_can_be_changed_while_workers_run(spool, path, queuectl):
    with Workers(path):
        queuectl("config", "set", "events", "on")
        spool.enqueue("true")
        until(lambda: [event for event in told(spool) if event["event"] == "completed"])


def test_events_are_printed_and_followed(telling, path, queuectl):
    telling.enqueue({"id": "one", "command": "true"})

    assert re.fullmatch(r"\S+Z enqueued   one state=pending\n", queuectl("events"))
    assert json.loads(queuectl("events", "--json"))["job"] == "one"

    child = pexpect.spawn(
        sys.executable,
        ["-m", "queuectl", "events", "-f"],
        env=environment(path),
        timeout=30,
        encoding="utf-8",
    )
    numbers = itertools.count()
    until(
        lambda: (
            telling.enqueue({"id": f"more{next(numbers)}", "command": "true"})
            and child.expect(["more", pexpect.TIMEOUT], timeout=0.2) == 0
        )
    )
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_events_that_are_off_are_told_to_be_off(spool, queuectl):
    assert "the setting events is off" in queuectl.run("events").stderr


def test_a_full_disk_or_a_foreign_file_loses_lines_and_no_jobs(telling, path):
    (path / "events").mkdir(exist_ok=True)
    (path / "events").rmdir()
    (path / "events").write_text("somebody put a file here")
    telling.enqueue({"id": "one", "command": "true"})
    run_all(path)

    assert lookup.find(telling, "one").state == "completed"


def test_prune_removes_the_days_that_are_past(telling, path, queuectl):
    telling.enqueue("true")
    (path / "events" / "2020-01-01.jsonl").write_text(
        '{"time": "2020-01-01T00:00:00Z", "event": "enqueued", "job": "old"}\n'
    )

    assert queuectl("prune").endswith(", 1 days of events\n")
    assert [event["event"] for event in told(telling)] == ["enqueued"]


# -- metrics


def test_metrics_say_what_is_so(spool, path, queuectl):
    spool.enqueue_all(["true", {"command": "true", "delay": "1h"}])
    actions.pause(spool)

    found = values(queuectl("metrics"))

    assert (
        found["queuectl_jobs", "pending"],
        found["queuectl_jobs", "dead"],
        found[("queuectl_scheduled_jobs",)],
    ) == (2, 0, 1)
    assert found[("queuectl_paused",)] == 1
    assert found[("queuectl_workers_alive",)] == 0
    assert found[("queuectl_oldest_ready_seconds",)] > 0
    assert not any(key[0].startswith("queuectl_attempts") for key in found)


def test_sums_count_every_event_once_whoever_asks(telling, path, queuectl):
    telling.enqueue_all([{"command": "true"}] * 3 + [{"command": "false", "max_retries": 1}])
    run_all(path)
    first = values(queuectl("metrics"))
    again = values(queuectl("metrics"))
    telling.enqueue("true")
    run_all(path)
    last = values(queuectl("metrics"))
    fresh = metrics.totals(telling)

    for found in (first, again):
        assert (
            found["queuectl_attempts_total", "completed"],
            found["queuectl_attempts_total", "failed"],
        ) == (3, 1)
        assert found[("queuectl_run_seconds_count",)] == 4
        assert found["queuectl_wait_seconds_bucket", "+Inf"] == 4
        assert found["queuectl_claim_seconds_bucket", "+Inf"] == 4
        assert 0 < found[("queuectl_claim_seconds_sum",)] < 4
    assert last["queuectl_attempts_total", "completed"] == 4
    assert last[("queuectl_enqueued_total",)] == 5
    assert fresh.outcomes["completed"] == 4


def test_sums_do_not_fall_when_old_events_go(telling, path, queuectl):
    telling.enqueue("true")
    run_all(path)
    queuectl("metrics")
    for file in (path / "events").glob("*.jsonl"):
        file.unlink()
    telling.enqueue("true")
    run_all(path)

    assert values(queuectl("metrics"))["queuectl_attempts_total", "completed"] == 2


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "[]",
        '{"places": 3}',
        "nonsense",
        '{"places": {}, "counts": {}, "outcomes": {}, "run": {"counts": [1], "sum": 0}}',
    ],
)
def test_sums_that_are_damaged_are_made_again(telling, path, queuectl, damage):
    telling.enqueue("true")
    queuectl("metrics")
    (path / "events" / metrics.TOTALS).write_text(damage)

    assert values(queuectl("metrics"))[("queuectl_enqueued_total",)] == 1


def test_sums_of_before_something_was_measured_stay(telling, path, queuectl):
    telling.enqueue("true")
    queuectl("metrics")
    kept = json.loads((path / "events" / metrics.TOTALS).read_text())
    del kept["claim"]
    kept["counts"]["enqueued"] = 7
    (path / "events" / metrics.TOTALS).write_text(json.dumps(kept))
    run_all(path)

    found = values(queuectl("metrics"))

    assert found[("queuectl_enqueued_total",)] == 7
    assert found[("queuectl_claim_seconds_count",)] == 1


def test_what_went_wrong_is_counted(telling, path, queuectl):
    (path / "pending" / "wrong.json").write_text('{"command": 3}')
    run_all(path)
    telling.enqueue({"id": "one", "command": "sleep 600"})
    with Workers(path) as workers:
        [worker] = workers.up()
        until(lambda: list((path / "processing").glob("*/*-one.json")))
        os.kill(worker["pid"], signal.SIGKILL)
        until(lambda: workers.events("rescued"))
        telling.note("lost_claim", "one")

    found = values(queuectl("metrics"))

    assert found[("queuectl_rejected_total",)] == 1
    assert found[("queuectl_rescued_total",)] == 1
    assert found[("queuectl_lost_claims_total",)] == 1
    assert found["queuectl_scan_seconds", "pending"] > 0


def test_a_line_that_is_half_written_is_counted_when_it_is_whole(telling, path):
    telling.enqueue("true")
    file = next((path / "events").glob("*.jsonl"))
    with file.open("a") as lines:
        lines.write('{"time": "9999", "event": "enqu')
        lines.flush()
        assert metrics.totals(telling).counts["enqueued"] == 1
        lines.write('eued", "job": "x"}\n')

    assert metrics.totals(telling).counts["enqueued"] == 2


def test_a_torn_line_is_closed_by_the_next(telling, path):
    telling.enqueue("true")
    with next((path / "events").glob("*.jsonl")).open("a") as lines:
        lines.write('{"torn')
    type(telling)(path).enqueue("true")

    assert [event["event"] for event in told(telling)] == ["enqueued", "enqueued"]


def test_a_textfile_is_there_whole_and_others_can_read_it(spool, queuectl, tmp_path):
    target = tmp_path / "queuectl.prom"
    target.write_text("old")

    assert queuectl("metrics", "--textfile", str(target)) == ""

    assert values(target.read_text())["queuectl_jobs", "pending"] == 0
    assert target.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.iterdir() if "prom" in path.name] == ["queuectl.prom"]
    assert "name a file" in queuectl.refusal("metrics", "--textfile", str(tmp_path), code=2)


@needs_promtool
def test_promtool_has_nothing_to_say_against_the_metrics(telling, path, queuectl):
    telling.enqueue("true")
    run_all(path)

    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=queuectl("metrics"),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_promtool
@pytest.mark.parametrize(
    "words",
    [
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts_test.yml"),
        ("check", "config", "prometheus.yml"),
    ],
    ids=" ".join,
)
def test_promtool_accepts_the_examples(words):
    done = subprocess.run(
        ["promtool", *words], cwd=MONITORING, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_examples_ask_for_metrics_that_there_are(telling, path, queuectl):
    telling.enqueue("true")
    run_all(path)
    known = {key[0] for key in values(queuectl("metrics"))}

    board = json.loads((MONITORING / "grafana.json").read_text())
    asked = (
        " ".join(target["expr"] for panel in board["panels"] for target in panel["targets"])
        + (MONITORING / "alerts.yml").read_text()
    )

    assert set(re.findall(r"queuectl_\w+", asked)) <= known
