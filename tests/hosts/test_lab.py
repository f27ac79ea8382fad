"""The lab itself, and a short piece of what is done in it by hand: `python -m tests.hosts.powercut --cuts 100`."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hosts.lab import Lab, obstacle
from tests.hosts.powercut import Powercut
from tests.hosts.reaper import marked
from tests.support import until

pytestmark = [
    pytest.mark.skipif(bool(obstacle()), reason=str(obstacle())),
    pytest.mark.timeout(300),  # machines boot here, on a machine that is busy with other tests
]

#: Starts a lab, says where it is, and waits for its end.
DRIVER = """
import sys, threading
from tests.hosts.lab import Lab
with Lab("a", nfs=False) as lab:
    print(lab.directory, flush=True)
    threading.Event().wait()
"""


def test_a_rename_of_one_nfs_client_is_seen_by_the_other():
    with Lab() as lab:
        lab.b.run("echo here > /mnt/nfs/new; mv /mnt/nfs/new /mnt/nfs/moved")

        assert lab.c.run("cat /mnt/nfs/moved") == "here\n"
        assert lab.a.run("ls -A /srv/disk").split() == ["lost+found", "moved"]


def test_a_power_cut_of_a_machine_under_load_loses_no_job():
    run = Powercut(1, random.randrange(1 << 32))

    run.run()

    assert not run.has_failed, f"{run.table()}\n{dict(run.failures)}\n{run.evidence}"
    assert run.told.accepted


def test_without_syncs_it_loses_jobs():
    run = Powercut(1, random.randrange(1 << 32), unsynced=True)

    run.run()

    assert run.failures["lost"]


def test_a_lab_whose_driver_is_killed_leaves_nothing():
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as driver:
        directory = os.fsdecode(driver.stdout.readline().strip())
        mark = b"LAB_RUN=" + os.fsencode(directory)
        assert marked(mark)

        driver.send_signal(signal.SIGKILL)

    until(lambda: not marked(mark) and not os.path.exists(directory))
    assert (
        Path(directory).name[-8:]
        not in subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    )
