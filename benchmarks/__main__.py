"""python -m benchmarks: see the package."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import benchmarks
from benchmarks import arena, drain, durable, enqueue, growth, idle, image, kit, plot, start, waking
from benchmarks.figures import Part

#: Each part, and the options that it takes.
PARTS: dict[str, Callable[..., Part]] = {
    "drain": drain.run,
    "durable": durable.run,
    "waking": waking.run,
    "idle": idle.run,
    "enqueue": enqueue.run,
    "start": start.run,
    "growth": growth.run,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks",
        description=benchmarks.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="part", required=True, metavar="PART")
    commands.add_parser("setup", help="install the peers")
    plot = commands.add_parser("plot", help="draw the plots of a JSON file into docs/")
    plot.add_argument("file")
    plot.add_argument("--into", default=str(arena.ROOT / "docs"))
    for name in [*PARTS, "all"]:
        part = commands.add_parser(
            name,
            help="every part"
            if name == "all"
            else (sys.modules[PARTS[name].__module__].__doc__ or "").splitlines()[0],
        )
        part.add_argument(
            "--json",
            metavar="FILE",
            help="write what was found into FILE too; parts that it has already stay",
        )
        part.add_argument(
            "--place",
            help="a directory on the disk to measure, instead of an image or the temporary directory",
        )
        part.add_argument(
            "--python", help="an interpreter with queuectl, instead of a new wheel of this checkout"
        )
        part.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="such as count=200; the names are those of the part's run",
        )
        part.add_argument(
            "--only",
            action="append",
            default=[],
            metavar="WORD",
            help="only the peers with WORD in their name; ours always",
        )
    return parser


@contextlib.contextmanager
def _arena(place: str | None, python: str | None) -> Iterator[arena.Arena]:
    """The arena, on an image where that can be had."""
    with contextlib.ExitStack() as stack:
        directory = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="queuectl-bench-", dir=place))
        )
        if place is None:
            try:
                directory = stack.enter_context(image.mounted(directory))
            except image.CannotMount as error:
                print(f"no image of ext4 ({error}): measuring in {directory}", file=sys.stderr)
        yield arena.Arena(directory, python or kit.ours(), kit.BUILD, kit.peers())


def _options(part: Callable[..., Part], values: list[str], only: list[str]) -> dict[str, Any]:
    """Those options that a part takes; words with commas for what takes several."""
    known = part.__kwdefaults__ or {}
    given = {
        name: value for name, _, value in (text.partition("=") for text in values) if name in known
    }
    read = {
        name: value.split(",") if known[name] == () else type(known[name])(value)
        for name, value in given.items()
    }
    return {**read, **({"only": only} if only and "only" in known else {})}


def _measure(words: argparse.Namespace) -> list[str]:
    """Run the parts; those that failed."""
    file = Path(words.json) if words.json else None
    found = json.loads(file.read_text()) if file and file.exists() else {}
    failed = []
    with _arena(words.place, words.python) as place:
        found["machine"] = arena.machine(place.place)
        print("Measured on", ", ".join(found["machine"].values()) + ".\n")
        for name in PARTS if words.part == "all" else [words.part]:
            try:
                part = PARTS[name](place, **_options(PARTS[name], words.set, words.only))
            except (arena.Impossible, RuntimeError) as error:
                print(f"{name}: left out, because {error}.\n")
                failed += [name] if isinstance(error, RuntimeError) else []
                continue
            found[name] = part.data
            for table in part.tables:
                print(table.markdown(), flush=True)
            if file:
                file.write_text(json.dumps(found, indent=1) + "\n")
    return failed


def main() -> None:
    """Do what the command line says."""
    words = _parser().parse_args()
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit("told to stop")
    )  # by way of every finally: nothing stays mounted
    if words.part == "setup":
        kit.setup()
    elif words.part == "plot":
        for path in plot.write(json.loads(Path(words.file).read_text()), Path(words.into)):
            print(path)
    elif failed := _measure(words):
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
