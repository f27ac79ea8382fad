"""The benchmarks run: each part with tiny counts. How fast anything is, no test says."""

import json
import os
import shutil
import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest

from benchmarks import __main__ as command
from benchmarks import (
    arena,
    drain,
    durable,
    enqueue,
    figures,
    growth,
    idle,
    peers,
    plot,
    start,
    waking,
)
from benchmarks.arena import Arena

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not any(map(shutil.which, ("cc", "gcc", "clang"))),
    reason="needs Linux and a C compiler",
)

PARTS = {
    "drain": (drain, {"count": 6, "rounds": 1, "only": ["xargs", "files in"]}),
    "durable": (durable, {"count": 4, "rounds": 1}),
    "waking": (waking, {"count": 2, "enqueues": 2, "peers": 0}),
    "idle": (idle, {"seconds": 0.1, "backlog": 20, "rest": 0.0}),
    "enqueue": (enqueue, {"count": 2, "backlog": 20, "bulk": 5, "rounds": 1}),
    "start": (start, {"rounds": 1, "commands": ["config get", "show ID"]}),
    "growth": (
        growth,
        {"sizes": "20,40", "rounds": 1, "fewest": 1, "jobs": 8, "looks": 1, "drops": 0},
    ),
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv(
        "PYTHONPATH", str(arena.ROOT)
    )  # this checkout, whatever the environment has installed
    (tmp_path / "place").mkdir()
    return Arena(tmp_path / "place", sys.executable, tmp_path / "build")


def test_the_limit_says_how_long_its_commands_took(place):
    said = subprocess.run(
        [place.program("limit"), "3", "2"], capture_output=True, text=True, check=True
    ).stdout

    assert 0 < float(said) < 60


def test_the_mark_says_when_it_ran(place, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    reader = os.open(tmp_path / "fifo", os.O_RDWR)

    subprocess.run([place.program("mark"), tmp_path / "fifo"], check=True)

    assert int(os.read(reader, 64)) > 0
    os.close(reader)


@pytest.mark.parametrize("name", PARTS)
def test_each_part_runs(place, name, monkeypatch):
    monkeypatch.setattr(waking, "REST", 0)
    module, options = PARTS[name]

    part = module.run(place, **options)

    assert json.loads(json.dumps(part.data))
    for table in part.tables:
        assert {len(row) for row in table.rows} == {len(table.head)}
        assert table.title in table.markdown()


def test_every_part_is_one_of_the_command():
    assert set(command.PARTS) == set(PARTS)
    assert {name: module.run for name, (module, _) in PARTS.items()} == command.PARTS


def test_the_command_writes_what_it_found(place, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [
        "benchmarks", "durable", "--place", str(place.place), "--python", sys.executable,
        "--json", str(tmp_path / "found"), "--set", "count=2", "--set", "rounds=1", "--set", "of_another_part=1",
    ])  # fmt: skip
    monkeypatch.setattr(command.signal, "signal", lambda *_: None)

    command.main()

    assert "| the durable default" in capsys.readouterr().out
    assert json.loads((tmp_path / "found").read_text())["durable"]["count"] == 2
    assert os.listdir(place.place) == []


def test_a_cost_counts_the_whole_tree_with_its_orphans(place):
    spin = f"{sys.executable} -c 'import time\nwhile time.process_time() < 0.2: pass'"

    cost = place.cost(["/bin/sh", "-c", f"({spin} &) ; exit 0"])

    assert cost.cpu > 0.15


def test_a_consumer_that_never_ends_is_ended_when_its_tally_is_full(place, tmp_path):
    cost = place.cost(
        ["/bin/sh", "-c", f"printf .. > {tmp_path}/tally; exec sleep 1000"],
        tally=(tmp_path / "tally", 2),
    )

    assert cost.wall < 60


def test_a_peer_that_is_not_there_is_left_out_with_the_reason(place):
    without = [peer for peer in peers.PEERS if "python:" in str(peer.needs)]

    assert without
    assert all("is not installed" in peer.obstacle(place) for peer in without)


def test_the_plots_are_drawn(tmp_path):
    found = {"of_limit": [0.7, 0.8, 0.9], "cpu": [1.2, 1.3, 1.4], "rate": [1, 1, 1]}
    data = {
        "drain": {"count": 6, "contestants": {drain.OURS: found, "another <one>": found}},
        "growth": {"claim_complete": {"1000": [100, 110], "1000000": [150.5]}},
    }

    written = plot.write(data, tmp_path)

    assert [path.name for path in written] == ["drain.svg", "growth.svg"]
    for path in written:
        assert ET.parse(path).getroot().tag.endswith("svg")


def test_a_spread_shows_the_median_and_the_middle():
    assert figures.spread([1, 2, 3, 4, 100]) == "3.00 (1.00..100.00)"
    assert figures.spread([1, 2, 3, 4, 100], 0, most=0.6) == "3 (2..4)"
