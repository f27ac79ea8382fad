"""The systemd unit: what it says, what systemd thinks of it, and what is never overwritten."""

import os
import re
import shutil
import stat
import subprocess

import pytest

from tests.support import Command

ANALYZE = shutil.which("systemd-analyze")


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def queuectl(path, home):
    """The command, with a home of its own."""

    class AtHome(Command):
        def run(self, *words, **options):
            return super().run(*words, **{"HOME": str(home), "XDG_CONFIG_HOME": "", **options})

    return AtHome(path)


@pytest.fixture
def unit(home):
    return home / ".config" / "systemd" / "user" / "queuectl.service"


def lines(text, key):
    return re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)


def test_the_unit_starts_these_workers_and_the_commands_are_said(queuectl, path, unit):
    queuectl("init")
    done = queuectl.run("worker", "install", "--user", "--count", "3", "--set", "max-retries=7")

    assert done.stdout == f"{unit}\n"
    assert (
        "systemctl --user daemon-reload && systemctl --user enable --now queuectl.service"
        in done.stderr
    )
    assert "loginctl enable-linger" in done.stderr
    [command] = lines(unit.read_text(), "ExecStart")
    assert command.endswith(
        f" -P -m queuectl --spool {path} worker start --count 3 --log-format text --set max-retries=7"
    )
    assert lines(unit.read_text(), "RequiresMountsFor") == [str(path)]
    assert lines(unit.read_text(), "WantedBy") == ["default.target"]
    assert lines(unit.read_text(), "User") == []
    assert stat.S_IMODE(unit.stat().st_mode) == 0o644
    assert os.listdir(unit.parent) == ["queuectl.service"]


def test_the_command_of_the_unit_works(queuectl, path, unit, tmp_path):
    queuectl("init")
    queuectl("enqueue", "--id", "a", "-c", "true")
    queuectl("worker", "install", "--user")
    [command] = lines(unit.read_text(), "ExecStart")

    subprocess.run(["sh", "-c", f"exec {command} --drain"], check=True, cwd=tmp_path, timeout=50)

    assert queuectl.json("status")["jobs"]["completed"] == 1


def test_for_the_machine_it_runs_as_the_owner_of_the_spool(queuectl, path, tmp_path):
    queuectl("init")
    if os.geteuid() == 0:
        os.chown(path, 1, 1)  # daemon on every Unix

    text = queuectl("worker", "install", "--system", "--print")

    import pwd

    assert lines(text, "User") == [pwd.getpwuid(path.stat().st_uid).pw_name]
    assert lines(text, "WantedBy") == ["multi-user.target"]
    assert not list(tmp_path.glob("home"))


@pytest.mark.parametrize("kind", ["--user", "--system"])
@pytest.mark.parametrize("name", ["plain", 'a b"c', "50% $HOME ${x} %i", "back\\slash", "naïve"])
def test_any_printable_path_comes_through_as_it_is(tmp_path, kind, name):
    queuectl = Command(tmp_path / name)
    queuectl("init")
    units = tmp_path / "units"
    queuectl("worker", "install", kind, "--directory", str(units), "--set", "max_retries=7")
    text = (units / "queuectl.service").read_text()

    [command] = lines(text, "ExecStart")
    words = [
        re.sub(r"\\(.)", r"\1", word[1:-1] if word[0] == '"' else word)
        for word in re.findall(r'"(?:\\.|[^"\\])*"|\S+', command)
    ]
    assert words[words.index("--spool") + 1].replace("%%", "%").replace("$$", "$") == str(
        tmp_path / name
    )
    if ANALYZE and kind == "--system":  # for --user it needs a session
        done = subprocess.run(
            [ANALYZE, "verify", str(units / "queuectl.service")],
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        complaints = [line for line in done.stderr.splitlines() if "queuectl.service" in line]
        assert (done.returncode, complaints) == (0, [])


def test_a_path_that_no_unit_can_hold_is_refused(tmp_path):
    queuectl = Command(tmp_path / "new\nline")
    queuectl("init")

    assert "cannot be written into a unit" in queuectl.refusal(
        "worker", "install", "--user", "--directory", str(tmp_path), code=1
    )
    assert not (tmp_path / "queuectl.service").exists()


def test_a_unit_that_says_other_things_is_replaced_by_force_only(queuectl, unit):
    queuectl("init")
    queuectl("worker", "install", "--user")
    first = unit.read_text()
    assert queuectl.run("worker", "install", "--user").stderr.startswith("it was there already")

    assert "--force replaces it" in queuectl.refusal(
        "worker", "install", "--user", "--count", "2", code=1
    )
    assert unit.read_text() == first
    queuectl("worker", "install", "--user", "--count", "2", "--force")
    assert "--count 2 " in unit.read_text()


def test_a_unit_of_somebody_else_is_left_alone(queuectl, unit):
    queuectl("init")
    unit.parent.mkdir(parents=True)
    unit.write_text("[Unit]\n")

    assert "not written by queuectl" in queuectl.refusal(
        "worker", "install", "--user", "--force", code=1
    )
    assert "not written by queuectl" in queuectl.refusal("worker", "uninstall", "--user", code=1)
    assert unit.read_text() == "[Unit]\n"


def test_uninstall_removes_what_install_wrote(queuectl, unit):
    queuectl("init")
    queuectl("worker", "install", "--user", "--name", "lab")
    named = unit.with_name("queuectl-lab.service")
    assert named.exists()

    done = queuectl.run("worker", "uninstall", "--user", "--name", "lab")

    assert done.stdout == f"removed {named}\n"
    assert (
        "systemctl --user disable --now queuectl-lab.service && systemctl --user daemon-reload"
        in done.stderr
    )
    assert not named.exists()
    assert "there is no" in queuectl.refusal(
        "worker", "uninstall", "--user", "--name", "lab", code=1
    )


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (["--name", "a/b", "--user"], 2, "name of a unit"),
        ([], 2, "say either --user"),
        (["--user", "--system"], 2, "say either --user"),
        (["--user", "--set", "nonsense=1"], 2, "no setting"),
    ],
)
def test_wrong_words_write_nothing(queuectl, home, words, code, why):
    queuectl("init")

    assert why in queuectl.refusal("worker", "install", *words, code=code)
    assert not home.exists()


def test_without_a_spool_there_is_nothing_to_install(queuectl, home):
    assert "no spool" in queuectl.refusal("worker", "install", "--user", code=1)
    assert not home.exists()


def test_now_runs_systemctl_and_says_what_failed(queuectl, unit, tmp_path):
    """A script stands in for systemctl: the real one wants a systemd that runs here."""
    queuectl("init")
    bin = tmp_path / "bin"
    bin.mkdir()
    (bin / "systemctl").write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n! [ -e {tmp_path}/fail ]\n'
    )
    (bin / "systemctl").chmod(0o755)
    found = f"{bin}:{os.environ['PATH']}"

    queuectl("worker", "install", "--user", "--now", PATH=found)
    queuectl("worker", "uninstall", "--user", "--now", PATH=found)

    assert (tmp_path / "calls").read_text().splitlines() == [
        "--user daemon-reload", "--user enable --now queuectl.service", "--user disable --now queuectl.service", "--user daemon-reload",
    ]  # fmt: skip
    (tmp_path / "fail").touch()
    done = queuectl.run("worker", "install", "--user", "--now", PATH=found)
    assert done.returncode == 1
    assert "systemctl --user daemon-reload failed (exit code 1" in done.stderr
    assert unit.exists()
