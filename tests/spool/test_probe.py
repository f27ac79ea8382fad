"""The probe: what a file system cannot do is told with its cure, and what cannot work is refused."""

import errno
import os
import shutil
import subprocess

import pytest

from queuectl import Spool, config, disk, host, liveness, probe
from queuectl.host import Mount
from tests.faults import image
from tests.support import Command, ids_in


def found(spool):
    return [(fault.check, fault.is_fatal) for fault in probe.probe(spool)]


def test_a_file_system_that_can_do_everything_has_no_fault_and_nothing_is_left(spool, path):
    assert found(spool) == []
    assert os.listdir(path / "tmp") == os.listdir(path / "pending") == []


@pytest.mark.parametrize(
    ("mount", "faults"),
    [
        (Mount("nfs4", frozenset({"rw", "hard", "vers=4.2", "local_lock=none"})), []),
        (Mount("nfs4", frozenset({"rw", "soft"})), [("mount", False)]),
        (Mount("nfs", frozenset({"rw", "nolock", "local_lock=all"})), [("mount", False)] * 2),
        (Mount("ext4", frozenset({"rw", "soft"})), []),
        (Mount("fuse.s3fs", frozenset({"rw"})), [("mount", True)]),
        (Mount("fuse.glusterfs", frozenset({"rw"})), []),
    ],
)
def test_mounts_that_are_risky_are_told_and_stores_of_objects_are_fatal(
    spool, monkeypatch, mount, faults
):
    monkeypatch.setattr(host, "mount", lambda path: mount)

    assert found(spool) == faults


def test_a_clock_that_is_off_is_told(spool, monkeypatch):
    real = disk.modified
    monkeypatch.setattr(disk, "modified", lambda path: real(path) + 3600)

    [fault] = probe.probe(spool)
    assert (fault.check, fault.is_fatal) == ("clock", False)
    assert "+3600" in fault.what.replace("3599.", "3600.")


def test_a_server_that_makes_us_somebody_else_is_told(spool, monkeypatch):
    monkeypatch.setattr(disk, "owner", lambda path: 65534)

    assert found(spool) == [("owner", False)]


def test_names_that_are_folded_are_told(spool, monkeypatch):
    real = disk.is_there
    monkeypatch.setattr(
        disk, "is_there", lambda path: real(path) or path.endswith(os.path.basename(path).upper())
    )

    assert ("case", False) in found(spool)


@pytest.mark.parametrize(("call", "check"), [("link", "file system"), ("sync", "file system")])
def test_what_cannot_be_done_without_is_fatal(spool, path, monkeypatch, call, check):
    monkeypatch.setattr(disk, call, refuse)

    assert found(spool) == [(check, True)]
    assert os.listdir(path / "tmp") == []


def test_locks_that_do_not_work_are_told(spool, monkeypatch):
    monkeypatch.setattr(disk, "is_held", refuse)

    assert found(spool) == [("locks", False)]


def refuse(*_, **__):
    raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))


def test_init_refuses_a_spool_on_two_file_systems_and_takes_back_what_it_made(queuectl, path):
    (path / "dead").mkdir(parents=True)
    if subprocess.run(
        ["mount", "-t", "tmpfs", "tmpfs", path / "dead"], capture_output=True, check=False
    ).returncode:
        pytest.skip("no mount of our own here")
    try:
        assert "one file system" in queuectl.refusal("init", code=1)
        assert os.listdir(path) == ["dead"]
    finally:
        subprocess.run(["umount", "-l", path / "dead"], check=True)


def test_init_makes_a_spool_and_says_where(queuectl, path):
    assert queuectl("init") == f"{path}\n"
    assert queuectl("init") == f"{path}\n"


@pytest.mark.parametrize(
    ("held", "faults"), [(None, []), (10.0, []), (50.0, []), (51.0, [("lease", False)])]
)
def test_a_lease_that_is_shorter_than_two_of_the_file_server_is_told(
    path, monkeypatch, held, faults
):
    monkeypatch.setattr(host, "server_lease", lambda path: held)

    assert found(Spool(path, {"worker_lost_after": 100.0}).make()) == faults


STATS = """device proc mounted on /proc with fstype proc
device server:/ mounted on /srv/some\\040jobs with fstype nfs4 statvers=1.1
\topts:\trw,vers=4.2
\tnfsv4:\tbm0=0xfdffbfff,acl=0x3,sessions,pnfs=not configured,lease_time=90,lease_expired=0
device server:/old mounted on /srv/old with fstype nfs statvers=1.1
\topts:\trw,vers=3
device server:/ mounted on /srv/jobs with fstype nfs4 statvers=1.1
\tnfsv4:\tbm0=0xfdffbfff,lease_time=15,lease_expired=0
"""


@pytest.mark.parametrize(
    ("point", "lease"),
    [
        ("/srv/jobs", 15.0),
        ("/srv/some jobs", 90.0),
        ("/srv/old", None),
        ("/", None),
        ("/proc", None),
    ],
)
def test_the_lease_of_the_file_server_is_in_the_statistics_of_the_mount(point, lease):
    assert host._lease_at(point, STATS) == lease


# -- one host, or several


@pytest.mark.parametrize(
    ("kind", "shared"),
    [
        *((kind, False) for kind in ("ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "fuseblk")),
        *(
            (kind, True)
            for kind in ("nfs4", "fuse", "fuse.sshfs", "wekafs", "panfs", "dvs", "ocfs2")
        ),
        *((kind, True) for kind in ("gfs2", "orangefs", "ecryptfs", "ext4x", "virtiofs", "")),
    ],
)
def test_only_what_is_known_to_be_local_is_taken_for_local(
    spool, path, monkeypatch, queuectl, kind, shared
):
    monkeypatch.setattr(host, "mount", lambda path: Mount(kind, frozenset()))

    assert spool.is_shared is liveness.Observer(spool).is_shared is shared
    assert spool.settings().worker_lost_after == (180 if shared else 60)
    said = str(probe.use(spool))
    assert (kind or "(unknown)") in said
    assert ("several hosts" in said, "shared no" in said) == (shared, shared)


@pytest.mark.parametrize(("setting", "shared"), [("yes", True), ("no", False)])
@pytest.mark.parametrize("kind", ["ext4", "nfs4"])
def test_the_setting_decides_otherwise(spool, path, monkeypatch, setting, shared, kind):
    monkeypatch.setattr(host, "mount", lambda path: Mount(kind, frozenset()))
    config.change(str(path / "config.json"), spool.temporary(), {"shared": setting})

    assert spool.is_shared is shared
    assert spool.settings().worker_lost_after == (180 if shared else 60)
    assert f"the setting 'shared' says ({setting})" in str(probe.use(spool))


def test_doctor_and_init_say_what_was_decided_and_why(queuectl, path):
    assert queuectl.run("init").stderr == ""
    done = queuectl.run("doctor")
    assert (done.returncode, done.stdout) == (0, "healthy\n")
    assert "this host alone" in done.stderr

    queuectl("config", "set", "shared", "yes")

    assert "several hosts, as the setting 'shared' says (yes)" in queuectl.run("doctor").stderr
    assert "several hosts" in queuectl.run("init").stderr
    assert (
        "this host alone"
        in queuectl.run("init", QUEUECTL_SHARED="no").stderr
        + queuectl.run("doctor", QUEUECTL_SHARED="no").stderr
    )
    report = queuectl.json("doctor")["file_system"]
    assert (report["shared"], report["type"]) == (True, host.mount(str(path)).kind)


def test_whether_a_spool_is_shared_is_no_matter_of_one_supervisor(queuectl):
    refusal = queuectl.refusal("worker", "start", "--set", "shared=yes", code=2)

    assert "whole spool" in refusal


def test_the_mount_of_a_path_that_is_not_there_yet_is_that_of_the_directory_above(tmp_path):
    assert host.mount(str(tmp_path / "a" / "b")) == host.mount(str(tmp_path))
    assert host.mount("/proc/self/fdinfo").kind == "proc"


@pytest.mark.skipif(image.obstacle("btrfs") is not None, reason="needs root and btrfs")
def test_a_subvolume_is_a_part_of_its_file_system(tmp_path):
    made = image.Image("btrfs", tmp_path / "image")
    made.make()
    with made.mounted(tmp_path / "mount") as there:
        image.run("btrfs", "subvolume", "create", there / "sub")

        assert host.mount(str(there / "sub")).kind == "btrfs"


@pytest.mark.skipif(not shutil.which("bindfs") or os.geteuid() != 0, reason="needs bindfs and root")
def test_a_mount_of_fuse_that_says_nothing_more_counts_as_shared(tmp_path, queuectl):
    (tmp_path / "below").mkdir()
    (tmp_path / "mount").mkdir()
    subprocess.run(
        ["bindfs", "-o", "attr_timeout=0", tmp_path / "below", tmp_path / "mount"], check=True
    )
    try:
        mounted = Command(tmp_path / "mount" / "spool")
        assert "file system fuse: used by several hosts" in mounted.run("init").stderr
        mounted("enqueue", "--id", "a", "-c", "true")
        mounted("worker", "start", "--drain")
        assert ids_in(mounted.spool, "completed") == ["a"]
    finally:
        subprocess.run(["umount", tmp_path / "mount"], check=True)
