"""The house: rooms, their size, their doors."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import queuectl

HOUSE = Path(queuectl.__file__).parent
TESTS = Path(__file__).parents[1]
ROOMS = sorted(path for path in HOUSE.rglob("*.py") if path.name != "__main__.py")

#: From the ground up: a room may use those on lower floors only.
FLOORS = [
    ["errors"],
    ["units", "host", "libc", "notify", "paths", "signals", "strict", "build"],
    ["codes", "phase"],
    ["filename", "retry", "render", "cron"],
    ["columns"],
    ["job", "disk", "processes", "log", "template", "picture"],
    [
        "ids",
        "results",
        "config",
        "queue",
        "wire",
        "executor",
        "watcher",
        "flusher",
        "guard",
        "schedule",
        "logfile",
        "service",
    ],
    ["events"],
    ["outcome", "capture", "crew", "precedence", "turns"],
    ["layout"],
    ["batches", "moves", "renewal", "probe", "unique", "hooks", "errand"],
    ["intake"],
    ["spool"],
    ["liveness", "admission", "attempt", "limits"],
    ["cancellation", "lookup", "inbox", "timetable"],
    ["blocked", "selection", "tally", "closing", "census"],
    ["recovery"],
    ["gate", "waiting"],
    ["filing"],
    ["worker", "actions", "stopping", "doctor", "metrics", "sight"],
    ["calls", "janitor"],
    ["dealer", "pulse", "ticker", "heart", "porter", "lookout", "life"],
    ["chores", "claimed"],
    ["consumer"],
    ["supervisor", "fleet"],
    ["dashboard"],
    ["cli", "api"],
    ["testing"],
    ["pytest_plugin"],
]


def room(path):
    parts = path.relative_to(HOUSE).with_suffix("").parts
    return "cli" if parts[0] == "cli" else parts[0]


def tree(path):
    return ast.parse(path.read_text())


def imports(path):
    """(name of a room of ours or of a foreign package, whole module) for each import."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and node.module == "queuectl":
            yield from ((alias.name, f"queuectl.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield (
                (
                    node.module.split(".")[1]
                    if node.module.startswith("queuectl.")
                    else node.module.split(".")[0]
                ),
                node.module,
            )
        elif isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], alias.name) for alias in node.names)


def is_inside(name, path):
    """Whether this is another module of the same room."""
    return name == room(path) and len(path.relative_to(HOUSE).parts) > 1


def functions(path):
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            yield node, (body[-1].end_lineno - body[0].lineno + 1 if body else 0)


def test_every_room_is_on_a_floor():
    listed = {name for floor in FLOORS for name in floor}

    assert {room(path) for path in ROOMS} - {"__init__"} == listed


def test_no_name_of_a_package_hides_one_of_its_modules():
    for package in (path for path in ROOMS if path.name == "__init__.py"):
        modules = {path.stem for path in package.parent.glob("*.py")}
        defined = {
            node.name
            for node in tree(package).body
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
        }

        assert defined & modules == set(), package


@pytest.mark.parametrize("path", [p for p in ROOMS if room(p) not in ("__init__", "cli")], ids=room)
def test_imports_go_down_only(path):
    height = {name: floor for floor, names in enumerate(FLOORS) for name in names}

    above = [
        name
        for name, _ in imports(path)
        if height.get(name, -1) >= height[room(path)] and not is_inside(name, path)
    ]

    assert above == []


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("click", {"cli"}),
        ("watchdog", {"watcher"}),
        ("filelock", {"config"}),
        ("rich", {"cli"}),
        ("cronsim", {"cron"}),
        ("zoneinfo", {"cron", "host"}),
        ("subprocess", {"processes", "testing"}),
        ("threading", {"heart", "claimed", "intake"}),
        ("curses", {"cli"}),
        ("pytest", {"pytest_plugin"}),
        ("multiprocessing", set()),
        ("starlette", {"dashboard"}),
        ("uvicorn", {"dashboard"}),
        ("jinja2", {"dashboard"}),
        ("prometheus_client", {"metrics"}),
    ],
)
def test_each_package_has_one_room(package, allowed):
    users = {room(path) for path in ROOMS if any(name == package for name, _ in imports(path))}

    assert users <= allowed


def test_only_the_command_line_prints():
    printing = {
        room(path)
        for path in ROOMS
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
    }

    assert printing <= {"cli"}


DISK_CALLS = {
    "rename",
    "replace",
    "link",
    "unlink",
    "remove",
    "mkdir",
    "makedirs",
    "rmdir",
    "fsync",
    "utime",
    "scandir",
    "listdir",
    "truncate",
    "symlink",
    "chmod",
    "sync",
}


def test_only_the_disk_changes_the_disk():
    users = {
        (room(path), node.func.attr)
        for path in ROOMS
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and getattr(node.func.value, "id", "") == "os"
        and node.func.attr in DISK_CALLS
    }

    assert {name for name, _ in users} - {"disk"} <= {"processes"}  # /proc is no disk


def test_nobody_takes_a_call_out_of_the_disk():
    takers = [
        path.name
        for path in ROOMS
        for name, module in imports(path)
        if module == "queuectl.disk" and name != "disk"
    ]

    assert takers == []


@pytest.mark.parametrize("path", ROOMS, ids=lambda path: str(path.relative_to(HOUSE)))
def test_a_module_opens_with_its_manual(path):
    assert ast.get_docstring(tree(path))


@pytest.mark.parametrize("path", ROOMS, ids=lambda path: str(path.relative_to(HOUSE)))
def test_no_function_is_long(path):
    most = 120 if path.name == "openapi.py" else 50  # that one writes a document down as a literal
    assert {node.name: lines for node, lines in functions(path) if lines > most} == {}


def test_most_functions_are_short():
    lengths = sorted(lines for path in ROOMS for _, lines in functions(path))

    assert lengths[len(lengths) // 2] <= 8
    assert lengths[len(lengths) * 9 // 10] <= 25


@pytest.mark.parametrize("path", ROOMS, ids=lambda path: str(path.relative_to(HOUSE)))
def test_what_is_public_has_a_docstring(path):
    public = [
        node
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    ]
    inner = {
        child
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef)
        for child in [
            n.name for n in ast.walk(node) if n is not node and isinstance(n, ast.FunctionDef)
        ]
    }

    bare = {node.name for node in public if not ast.get_docstring(node)} - inner

    assert bare - {"list_commands", "get_command", "parse_args"} == set()


def test_no_test_sleeps():
    sleepers = [
        str(path.relative_to(TESTS))
        for path in TESTS.rglob("*.py")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "sleep"
        and getattr(node.func.value, "id", "") == "time"
    ]

    assert sleepers == ["support.py"]


@pytest.mark.parametrize("word", ["TO" + "DO", "FIX" + "ME", "X" + "XX"])
def test_nothing_is_left_for_later(word):
    assert [path.name for path in [*ROOMS, *TESTS.rglob("*.py")] if word in path.read_text()] == []


def loaded(code):
    out = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return set(out.split())


def test_the_command_line_imports_little():
    modules = loaded("import queuectl.cli, queuectl.cli.enqueue, queuectl.cli.look")

    assert not modules & {
        "rich",
        "watchdog",
        "filelock",
        "asyncio",
        "subprocess",
        "difflib",
        "hypothesis",
        "urllib",
        "typing_extensions",
    }


def test_a_supervisor_knows_cron_only_when_there_is_a_schedule():
    modules = loaded("import queuectl.supervisor, queuectl.cli.worker")

    assert not modules & {"cronsim", "zoneinfo"}


def test_the_library_imports_without_click():
    modules = loaded("from queuectl import Spool, Job; Spool, Job")

    assert not modules & {"click", "rich", "watchdog", "filelock"}
