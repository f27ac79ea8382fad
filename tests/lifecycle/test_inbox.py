"""A shared spool: members of a group submit jobs through its inbox, and can do nothing else."""

import grp
import json
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.support import Workers, ids_in, names, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be somebody else")

MEMBER = "games"  # a user of every Debian, Red Hat and their kin, with a group of its own
STRANGER = "nobody"


@pytest.fixture
def path():
    """Where others can reach a spool: pytest's own directories are shut, and tests that opened them would shut them on each other."""
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        os.chmod(place, 0o711)
        yield Path(place) / "spool"


@pytest.fixture
def shared(queuectl, path):
    """A spool that is shared with the group of MEMBER."""
    try:
        group = grp.getgrgid(pwd.getpwnam(MEMBER).pw_gid).gr_name
    except KeyError:
        pytest.skip(f"no user {MEMBER} here")
    queuectl("init", "--shared", group)
    return path


def as_user(user, script):
    who = pwd.getpwnam(user)
    return subprocess.run(
        [
            "setpriv",
            f"--reuid={who.pw_uid}",
            f"--regid={who.pw_gid}",
            "--clear-groups",
            "sh",
            "-c",
            script,
        ],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_job_of_a_member_runs_as_the_owner_stamped_with_the_members_name(queuectl, shared):
    with Workers(shared) as workers:
        workers.up()
        done = as_user(
            MEMBER,
            f'umask 077; echo \'{{"command": "id -un", "id": "a", "submitted_by": "root"}}\' > {shared}/inbox/x.json',
        )
        assert done.returncode == 0, done.stderr
        until(lambda: ids_in(shared, "completed") == ["a"])
    [name] = names(shared, "completed")
    assert (shared / "completed" / name).stat().st_uid == os.geteuid()
    assert json.loads((shared / "completed" / name).read_text())["submitted_by"] == MEMBER
    assert queuectl("logs", "a").strip() == pwd.getpwuid(os.geteuid()).pw_name
    assert os.listdir(shared / "inbox") == []


@pytest.mark.parametrize(
    "deed",
    [
        "ls {0}",
        "ls {0}/inbox",
        "cat {0}/spool.json",
        "touch {0}/pending/x.json",
        "touch {0}/x",
        "cat {0}/inbox/theirs.json",
        "rm -f {0}/inbox/theirs.json",
        "mv {0}/inbox/theirs.json {0}/inbox/y.json",
    ],
)
def test_a_member_can_do_nothing_but_submit(shared, deed):
    (shared / "inbox" / "theirs.json").write_text('{"command": "true"}')
    (shared / "inbox" / "theirs.json").chmod(0o600)

    assert as_user(MEMBER, deed.format(shared)).returncode != 0
    assert os.listdir(shared / "inbox") == ["theirs.json"]


def test_a_stranger_cannot_submit(shared):
    assert as_user(STRANGER, f"touch {shared}/inbox/x.json").returncode != 0


def test_a_file_of_a_stranger_in_the_inbox_is_rejected(shared):
    (shared / "inbox" / "x.json").write_text('{"command": "true"}')
    shutil.chown(shared / "inbox" / "x.json", STRANGER)
    with Workers(shared):
        until(lambda: len(names(shared, "rejected")) == 2)
    assert "not in the group" in (shared / "rejected" / names(shared, "rejected")[1]).read_text()


@pytest.mark.parametrize("text", ["garbage", '{"comand": "x"}', '{"command": "x", "id": "../x"}'])
def test_what_is_no_job_in_the_inbox_is_rejected(shared, text):
    (shared / "inbox" / "x.json").write_text(text)
    (shared / "inbox" / "link.json").symlink_to("/etc/shadow")
    with Workers(shared):
        until(lambda: len(names(shared, "rejected")) == 4)
    assert os.listdir(shared / "inbox") == []


def test_an_id_that_is_taken_is_refused_to_a_submitter_as_well(queuectl, shared):
    queuectl("enqueue", "--id", "a", "--delay", "1h", "-c", "true")
    (shared / "inbox" / "x.json").write_text('{"command": "true", "id": "a"}')
    with Workers(shared):
        until(lambda: len(names(shared, "rejected")) == 2)
    assert ids_in(shared, "pending") == ["a"]


def test_a_shared_spool_is_healthy_and_served(queuectl, shared):
    assert queuectl("doctor") == "healthy\n"
    queuectl("enqueue", "--id", "a", "-c", "true")
    queuectl("worker", "start", "--drain")
    assert ids_in(shared, "completed") == ["a"]


def test_a_group_that_is_not_there_is_named(queuectl, path):
    assert "no group 'no-such-group'" in queuectl.refusal(
        "init", "--shared", "no-such-group", code=2
    )
    assert not path.exists()
