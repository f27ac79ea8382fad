"""Draw docs/top.svg, what `queuectl top` shows of a spool made up for it: python docs/make_top.py"""

import io
import re
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from queuectl import picture
from queuectl.picture import Mood, Row, View, Worker

TARGET = Path(__file__).parent / "top.svg"

WIDTH, HEIGHT = 112, 25

NOW = 1_800_000_000.0

STYLES = {
    "title": "bold",
    "dim": "dim",
    "chosen": "reverse",
    "good": "green",
    "warn": "yellow",
    "bad": "red",
    "busy": "cyan",
}


def view() -> View:
    """A spool in the middle of its work."""

    def row(
        state: str,
        id: str,
        ago: float,
        what: str,
        why: str = "",
        attempts: int = 0,
        priority: int = 5,
    ) -> Row:
        return Row(state, id, NOW - ago, priority, attempts, 3, "", None, what, why)

    counts = {
        "held": 1,
        "pending": 5,
        "processing": 3,
        "blocked": 2,
        "failed": 1,
        "completed": 1_204_311,
        "dead": 1,
        "rejected": 0,
    }
    workers = [
        Worker("mars-4711-0a1b2c", "mars", is_alive=True, age=3.0, job="scene-041"),
        Worker("mars-4712-9f03d1", "mars", is_alive=True, age=3.0, job="scene-042"),
        Worker("venus-871-55aa01", "venus", is_alive=True, age=8.0, job="train-7"),
        Worker("pluto-99-77be10", "pluto", is_alive=False, age=412.0, job=None),
    ]
    rows = [
        row("processing", "train-7", 11_645, "python train.py --epochs 90", attempts=1, priority=7),
        row(
            "processing",
            "scene-041",
            254,
            "film: ffmpeg -i 041.mov -c:v libx264 041.mp4",
            attempts=1,
        ),
        row(
            "processing", "scene-042", 7, "film: ffmpeg -i 042.mov -c:v libx264 042.mp4", attempts=2
        ),
        row("pending", "report", 2, "date > report.txt", priority=9),
        row("pending", "scene-043", 251, "film: ffmpeg -i 043.mov -c:v libx264 043.mp4"),
        row("pending", "scene-044", 251, "film: ffmpeg -i 044.mov -c:v libx264 044.mp4"),
        row("pending", "scene-045", 251, "film: ffmpeg -i 045.mov -c:v libx264 045.mp4"),
        row("pending", "backup-0230", -7_500, "make backup", "due in 2h"),
        row("blocked", "cut", 251, "melt film.xml", "waits for scene-045"),
        row("blocked", "train-8", 90, "python train.py --epochs 90 --seed 8", "limit gpu is full"),
        row("held", "deploy", 1_800, "make deploy", "held"),
        row(
            "failed",
            "mirror",
            -340,
            "rsync -a src/ backup:",
            "due in 5m (attempt 3 of 3)",
            attempts=2,
        ),
        row("dead", "upload", 4_000, "make upload", "exit code 7", attempts=3),
    ]
    minutes = [12, 14, 11, 15, 18, 17, 21, 25, 22, 19, 16, 13, 9, 12, 14, 6]
    return View(
        "/srv/spool",
        NOW,
        counts,
        ["completed"],
        2,
        NOW - 251,
        is_paused=False,
        workers=workers,
        rows=rows,
        minutes=minutes,
        part=25,
    )


def lines() -> list[picture.Line]:
    """The picture."""
    return picture.jobs(view(), Mood(chosen="scene-043"), WIDTH, HEIGHT)


def svg() -> str:
    """The picture as SVG that needs nothing from elsewhere."""
    console = Console(
        record=True,
        width=WIDTH,
        file=io.StringIO(),
        force_terminal=True,
        color_system="standard",
        legacy_windows=False,
    )
    for line in lines():
        console.print(
            Text.assemble(*((span.text, STYLES.get(span.style, "")) for span in line)),
            no_wrap=True,
            overflow="crop",
        )
    drawn = re.sub(
        r"@font-face \{.*?\}",
        "",
        console.export_svg(title="queuectl top", theme=MONOKAI, unique_id="top"),
        flags=re.DOTALL,
    )
    return "\n".join(line.rstrip() for line in drawn.splitlines()) + "\n"


if __name__ == "__main__":
    TARGET.write_text(svg())
