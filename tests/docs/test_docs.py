"""What the documents say is so."""

import html
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from queuectl.cli import COMMANDS as FAMILIES
from queuectl.cli import cli
from queuectl.errors import QueuectlError
from queuectl.layout import LATER, MADE
from queuectl.picture import KEYS
from tests.support import environment

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
README = (ROOT / "README.md").read_text()


def maker(name="make_cli"):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_manual_page_is_made_from_the_help_and_has_no_faults(tmp_path):
    subprocess.run(
        [sys.executable, ROOT / "docs" / "make_man.py", tmp_path / "queuectl.1"],
        check=True,
        timeout=50,
    )

    assert (ROOT / "docs" / "queuectl.1").read_text() == (tmp_path / "queuectl.1").read_text(), (
        "run: python docs/make_man.py"
    )
    if shutil.which("groff"):
        done = subprocess.run(
            ["groff", "-man", "-Tutf8", "-ww", tmp_path / "queuectl.1"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""


def test_the_page_of_commands_is_their_help():
    # In a process of its own: click remembers in which context a command was first asked for its help.
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'docs')!r}); import make_cli; print(make_cli.text(), end='')"
    made = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout

    assert (ROOT / "docs" / "cli.md").read_text() == made, "run: python docs/make_cli.py"


def test_the_picture_of_the_terminal_is_what_it_shows():
    drawn = html.unescape(
        re.sub(
            r"<style.*?</style>|<[^>]+>",
            "",
            (ROOT / "docs" / "top.svg").read_text(),
            flags=re.DOTALL,
        )
    )
    shown = ["".join(span.text for span in line) for line in maker("make_top").lines()]

    assert "".join("".join(shown).split()) in "".join(drawn.split()), "run: python docs/make_top.py"


def moments(path):
    """The lines of a recording, without what differs from one run to the next; two workers write in either order."""
    lines = [
        html.unescape(re.sub(r"<[^>]+>", "", line))
        for line in re.findall(r"<text.*?</text>", path.read_text())
    ]
    plain = [re.sub(r"\d{4}-\d\d-\d\d[ T][\d:.]+Z?", "TIME", line) for line in lines]
    return sorted(
        likeness(re.sub(r"(pid=|duration=|mars-)[\w.-]+", r"\1X", line)) for line in plain
    )


def test_the_recording_is_what_happens(tmp_path):
    subprocess.run(
        [sys.executable, ROOT / "docs" / "make_recording.py", tmp_path / "new.svg"],
        check=True,
        timeout=50,
    )

    assert moments(ROOT / "docs" / "recording.svg") == moments(tmp_path / "new.svg"), (
        "run: python docs/make_recording.py"
    )
    assert "docs/recording.svg" in README


def test_every_key_of_the_terminal_is_in_its_chapter():
    keys = re.findall(r"^\| (.+?) \| ", (ROOT / "docs" / "top.md").read_text(), re.MULTILINE)

    assert [
        names
        for names, _ in KEYS
        if not any(set(names.split()) <= set(key.replace(",", "").split()) for key in keys)
    ] == []


COMMANDS = maker().commands(cli, "queuectl")


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[path for path, _ in COMMANDS])
def test_the_help_of_every_command_has_two_examples_that_parse(path, command):
    examples = re.findall(
        r"^ *((?:\S+ \| )?(?:[A-Z_]+=\S+ )?queuectl.*?)(?:  +.*| \|\| .*| && .*)?$",
        command.help,
        re.MULTILINE,
    )
    assert len(examples) >= 2

    for example in examples:
        words = shlex.split(example.partition("queuectl")[2])
        parse(words)


def parse(words):
    """Have click parse words without running anything; QueuectlErrors would come later."""
    command, ctx = cli, click.Context(cli)
    while words and isinstance(command, click.Group):
        rest = command.make_context("x", words, parent=None, resilient_parsing=True)
        protected = [*rest._protected_args, *rest.args]
        if not protected:
            return
        _, below, words = command.resolve_command(ctx, protected)
        command = below
    command.make_context("x", list(words))


def consoles(text):
    """(command, expected output) for each `$ ` line of the console blocks."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


def likeness(text):
    """`text` without what differs from one run to the next."""
    text = re.sub(r"\d{8}T\d{6}(\.\d{6}Z)?", "TIME", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME", text)
    text = re.sub(r"workers-[\w.-]+-TIME-\d+\.log", "LOG", text)
    text = re.sub(r"ready \d+s", "ready 0s", text)
    text = re.sub(r"^(stopped )?\d+", r"\1PID", text)
    text = re.sub(r"took [\d.ms]+", "took 0s", text)
    return re.sub(r"/\S*/\.queuectl", "~/.queuectl", text)


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", ROOT / "docs" / "tutorial.md", ROOT / "docs" / "jobs.md"],
    ids=lambda page: page.name,
)
def test_the_commands_of_a_page_print_what_it_says(tmp_path, page):
    env = {
        **environment(tmp_path / "home" / ".queuectl"),
        "HOME": str(tmp_path / "home"),
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
    }
    (tmp_path / "home").mkdir()
    (tmp_path / "my files").mkdir()
    for command, expected in consoles(page.read_text()):
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        printed = done.stdout + (done.stderr if "wait" in command else "")
        assert done.returncode == 0, done.stderr
        assert likeness(printed) == likeness(expected), command


def test_the_job_that_the_readme_drops_runs(queuectl, path, tmp_path):
    [line] = re.findall(r"^echo '\{.*$", README, re.MULTILINE)
    queuectl("init")
    subprocess.run(
        ["sh", "-ec", line.replace("~/.queuectl", str(path)).replace("make nightly", "true")],
        check=True,
    )

    queuectl("worker", "start", "--drain")

    assert queuectl.json("status")["jobs"]["completed"] == 1


def test_the_python_of_the_readme_enqueues(path, queuectl):
    code, _ = re.findall(r"```python\n(.*?)```", README, re.DOTALL)

    subprocess.run([sys.executable, "-c", code.replace("~/.queuectl", str(path))], check=True)

    assert queuectl.json("list")[0]["priority"] == 9


def test_the_python_of_the_schedules_adds_one(path, queuectl):
    [code] = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "schedules.md").read_text(), re.DOTALL
    )

    subprocess.run([sys.executable, "-c", code.replace("~/.queuectl", str(path))], check=True)

    [record] = queuectl.json("schedule", "list")
    assert (record["name"], record["cron"], record["zone"]) == (
        "nightly",
        "30 2 * * *",
        "Europe/Berlin",
    )


def test_the_commands_of_the_schedules_are_commands(queuectl):
    [block] = re.findall(
        r"```sh\n(.*?)```", (ROOT / "docs" / "schedules.md").read_text(), re.DOTALL
    )

    for line in block.splitlines():
        queuectl(*shlex.split(line, comments=True)[1:])

    assert sorted(record["state"] for record in queuectl.json("schedule", "list")) == [
        "active",
        "paused",
    ]


PROMISE = """At least once. A job is safe once `enqueue` has returned (or once your rename into `pending/` is on disk): no crash
of a worker, of the machine or of a disk that is full loses it. A job whose worker died runs again."""


def plain(text):
    return " ".join(text.replace("> ", " ").split())


@pytest.mark.parametrize(
    "place", ["README.md", "queuectl/spool.py", "queuectl/cli/__init__.py", "docs/cli.md"]
)
def test_the_promise_is_the_same_sentence_everywhere(place):
    assert plain(PROMISE) in plain((ROOT / place).read_text())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())

    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_directory_of_a_spool_is_in_the_format():
    text = (ROOT / "docs" / "format.md").read_text()

    assert [name for name in (*MADE, *LATER) if f"`{name}/" not in text] == []


def test_every_kind_of_error_is_in_the_tree_of_errors():
    from queuectl import errors

    kinds = [
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, QueuectlError)
    ]

    assert [name for name in kinds if name not in errors.__doc__] == []


def test_the_version_stands_in_one_place():
    from queuectl import __version__

    assert __version__ in (ROOT / "CHANGELOG.md").read_text()
    assert 'dynamic = ["version"]' in (ROOT / "pyproject.toml").read_text()


def test_the_demo_runs_from_a_checkout(tmp_path):
    done = subprocess.run(
        ["sh", ROOT / "examples" / "spool" / "demo.sh"],
        env={**environment(tmp_path), "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin", "TMPDIR": str(tmp_path)},
        capture_output=True, text=True, timeout=55, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert "600 outputs are equal; 301 jobs completed, 1 dead, none lost" in done.stdout
    assert list(tmp_path.iterdir()) == []


CLAIMS = re.findall(
    r"^\| (\d+) \| .+ \| (tests/\S+\.py)::(test_\w+) \|$",
    (ROOT / "docs" / "reliability.md").read_text(),
    re.MULTILINE,
)


def test_every_fault_has_a_claim():
    assert {int(number) for number, _, _ in CLAIMS} == set(range(1, 48))


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim[0]}-{claim[2]}")
def test_every_claim_has_its_test(claim):
    _, file, name = claim

    assert f"def {name}(" in (ROOT / file).read_text()


def test_the_list_of_commands_says_what_each_command_says():
    for name, (_, line) in FAMILIES.items():
        assert cli.get_command(None, name).get_short_help_str(300) == line
