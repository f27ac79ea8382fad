"""Draw docs/recording.svg, a short session in a real terminal, as it went: python docs/make_recording.py [FILE]

Each line appears when it appeared. Whoever wants no motion sees the whole session at once.
"""

import math
import sys
import tempfile
import time
from html import escape
from pathlib import Path
from typing import NamedTuple

import pexpect

from queuectl import host

TARGET = Path(__file__).parent / "recording.svg"

#: What is typed.
COMMANDS = (
    "queuectl enqueue --id hello -c 'echo hello, spool'",
    "queuectl enqueue --id flaky --max-retries 2 -c 'echo no luck >&2; exit 3'",
    "ls ~/.queuectl/pending",
    "queuectl worker start --count 2 --drain",
    "queuectl logs hello",
    "queuectl dlq list",
    "ls ~/.queuectl/completed ~/.queuectl/dead",
)

#: Columns of the terminal; the height of a line and the width of a character, in units of the drawing.
COLUMNS, LINE, CHARACTER = 100, 19, 8.43

#: Seconds before each command, for reading, and after the last one.
PAUSE, REST = 1.4, 6.0

STYLE = """
rect { fill: #1e2127 } text { font: 14px ui-monospace, Menlo, Consolas, monospace; fill: #d7dae0; white-space: pre }
.typed { fill: #fff; font-weight: 600 } .prompt { fill: #7ec16e }
@media (prefers-reduced-motion: no-preference) { .late { animation: SECONDSs step-end infinite } }
"""


class Line(NamedTuple):
    """A line of the terminal, and when it came, in seconds from the beginning."""

    at: float
    text: str
    is_command: bool = False


def play(home: Path) -> list[Line]:
    """Type the commands into a shell in `home`, one after the other."""
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    env = {
        "HOME": str(home),
        "PATH": path,
        "LC_ALL": "C.UTF-8",
        "NO_COLOR": "1",
        "TERM": "dumb",
        "COLUMNS": str(COLUMNS),
    }
    found: list[Line] = []
    idle = 0.0
    began = time.monotonic()
    for command in COMMANDS:
        idle += PAUSE
        found.append(Line(time.monotonic() - began + idle, command, is_command=True))
        shell = pexpect.spawn(
            "/bin/sh",
            ["-c", command],
            cwd=str(home),
            env=env,
            dimensions=(50, COLUMNS),
            encoding="utf-8",
            timeout=30,
        )
        while text := shell.readline():
            found.append(Line(time.monotonic() - began + idle, _plain(text, home)))
        shell.wait()
    return found


def _plain(text: str, home: Path) -> str:
    """A line without what only this machine is called."""
    return text.rstrip().replace(str(home), "/home/you").replace(host.place().host + "-", "mars-")


def svg(lines: list[Line]) -> str:
    """The session as SVG that needs nothing from elsewhere."""
    seconds = lines[-1].at + REST
    rows, moments, drawn = 0, [], []
    for number, line in enumerate(lines):
        share = 100 * line.at / seconds
        moments.append(
            f"@keyframes l{number} {{ 0% {{ visibility: hidden }} {share:.2f}% {{ visibility: visible }} }}"
        )
        place = f'x="12" y="{(rows + 1) * LINE + 6}" style="animation-name: l{number}"'
        drawn.append(f'<text class="late" {place} xml:space="preserve">{_words(line)}</text>')
        rows += max(1, math.ceil(len(line.text) / COLUMNS))
    width, height = COLUMNS * CHARACTER + 24, rows * LINE + 24
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" role="img" aria-label="A session with queuectl">'
    style = (
        "<style>" + STYLE.replace("SECONDS", f"{seconds:.1f}") + "\n".join(moments) + "\n</style>"
    )
    return "\n".join(
        [head, style, f'<rect width="{width:.0f}" height="{height}" rx="8"/>', *drawn, "</svg>", ""]
    )


def _words(line: Line) -> str:
    """The inside of a line; a long one goes on below, as in a terminal."""
    if line.is_command:
        return f'<tspan class="prompt">$ </tspan><tspan class="typed">{escape(line.text, quote=False)}</tspan>'
    pieces = [
        escape(line.text[at : at + COLUMNS], quote=False)
        for at in range(0, len(line.text), COLUMNS)
    ]
    return f'<tspan x="12" dy="{LINE}">'.join(pieces) + "</tspan>" * (len(pieces) - 1)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        (Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET).write_text(svg(play(Path(home))))
