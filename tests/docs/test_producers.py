"""The programs of examples/spool drop jobs, each in its own language: whole, on disk, under names that nobody else uses."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from queuectl.filename import is_drop
from queuectl.job import parse
from tests.support import names

EXAMPLES = Path(__file__).parents[2] / "examples" / "spool"

#: How each is made, if it must be, and run; the first word that is no file of ours must be on the PATH.
PRODUCERS = {
    "drop.sh": ("sh {0}", None),
    "drop.py": (f"{sys.executable} {{0}}", None),
    "drop.mjs": ("node {0}", None),
    "drop.go": ("./drop", "go build -o drop {0}"),
    "drop.rs": ("./drop", "rustc -o drop {0}"),
    "drop.pl": ("perl {0}", None),
    "Drop.java": ("java {0}", None),
    "drop.c": ("./drop", "cc -Wall -Wextra -Werror -o drop {0}"),
    "drop.ps1": ("pwsh {0}", None),
}

#: Lines that are easy to get wrong in JSON, and in a shell: an empty one is no job, and the last has no end.
COMMANDS = [
    "echo \"one\" 'two' \\three",
    "printf '%s\t\x01\r' ä € 😀 \u2028",
    "true # <&> $HOME `id` %d \\u0041 {}",
    "true",
]
INPUT = "\n\n".join(COMMANDS)

pytestmark = pytest.mark.timeout(180)  # compilers, on a busy machine


@pytest.fixture
def producer(request, tmp_path):
    """The words that run a producer; skipped where its language is not."""
    run, make = PRODUCERS[request.param]
    for line in filter(None, (make, run)):
        tool = shlex.split(line)[0]
        if tool != "./drop" and shutil.which(tool) is None:
            pytest.skip(f"no {tool} here")
    source = str(EXAMPLES / request.param)
    if make:
        env = {**os.environ, "GOCACHE": str(tmp_path / "cache"), "GO111MODULE": "off"}
        subprocess.run(shlex.split(make.format(source)), cwd=tmp_path, env=env, check=True)
    return [
        word.replace("./drop", str(tmp_path / "drop")) for word in shlex.split(run.format(source))
    ]


every = pytest.mark.parametrize("producer", PRODUCERS, indirect=True)


def drop(*words, text=INPUT):
    return subprocess.run(
        list(map(str, words)), input=text.encode(), capture_output=True, timeout=100, check=False
    )


@every
def test_what_a_producer_drops_is_what_it_was_given_and_runs(queuectl, path, producer):
    queuectl("init")

    done = drop(*producer, path)

    assert done.returncode == 0, done.stderr
    drops = [json.loads((path / "pending" / name).read_bytes()) for name in names(path, "pending")]
    assert sorted(drops, key=str) == sorted(({"command": command} for command in COMMANDS), key=str)
    assert names(path, "tmp") == []
    queuectl("worker", "start", "--drain")
    assert queuectl.json("status")["jobs"]["completed"] == len(COMMANDS)


@every
def test_a_producers_job_is_on_disk_before_it_has_its_name(spool, path, producer, tmp_path):
    if shutil.which("strace") is None:
        pytest.skip("no strace here")
    trace = tmp_path / "trace"

    done = drop(
        "strace",
        "-f",
        "-y",
        "-o",
        trace,
        "-e",
        "trace=fsync,rename,renameat,renameat2",
        *producer,
        path,
    )

    assert done.returncode == 0, done.stderr
    steps = list(_steps(trace.read_text(), path))
    for name in names(path, "pending"):
        stem = name.removesuffix(".json")
        assert steps.index(f"fsync tmp/{stem}") < steps.index(f"rename {stem}")
    renamed = max(number for number, step in enumerate(steps) if step.startswith("rename"))
    assert steps[renamed + 1 :] == ["fsync tmp", "fsync pending"]


def _steps(trace, spool):
    """What of a trace matters, in order: "fsync tmp/NAME", "rename NAME", "fsync pending"."""
    for line in trace.splitlines():
        if synced := re.search(rf"fsync\(\d+<{re.escape(str(spool))}/([^>]+)>", line):
            yield f"fsync {synced[1].removesuffix('.json')}"
        elif moved := re.search(r'rename\w*\(.*"[^"]*pending/([^"/]+)\.json"', line):
            yield f"rename {moved[1]}"


@every
def test_a_producer_of_the_same_process_id_overwrites_no_drop(spool, path, producer):
    # Containers begin to count at 1 again and again.
    again = (
        ["unshare", "--pid", "--fork", *producer]
        if os.geteuid() == 0 and shutil.which("unshare")
        else producer
    )

    for _ in range(3):
        assert drop(*again, path).returncode == 0

    found = names(path, "pending")
    assert len(found) == 3 * len(COMMANDS)
    assert all(is_drop(name) and len(name) < 200 and name.isascii() for name in found)
    for name in found:
        parse((path / "pending" / name).read_bytes())


@every
def test_a_producer_that_cannot_drop_says_so(producer, tmp_path):
    without = drop(*producer)
    nowhere = drop(*producer, tmp_path / "nowhere")

    assert without.returncode
    assert nowhere.returncode
    assert b"usage" in without.stderr.lower() or b"mandatory" in without.stderr.lower()
    assert nowhere.stderr


@pytest.mark.parametrize("file", PRODUCERS)
def test_a_producer_is_short_and_says_how_to_run_it(file):
    text = (EXAMPLES / file).read_text()

    assert len(text.splitlines()) < 40
    assert "SPOOL < commands" in text[:250]


def test_every_producer_is_tried():
    assert {path.name for path in EXAMPLES.iterdir() if path.stem.lower() == "drop"} == set(
        PRODUCERS
    )
