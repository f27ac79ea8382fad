"""Work on the jobs of a spool, in this program: python consume.py SPOOL [--drain]

Ctrl+C or TERM gives the running job back, uncounted; `queuectl worker stop` lets it finish.
"""

import logging
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from queuectl import ClaimedJob, LostClaim, Spool


def thumbnail(job: ClaimedJob) -> None:
    """Make a small picture; written beside its place and renamed, so that a second run does no harm."""
    picture = Path(job.payload["picture"])
    if picture.suffix != ".txt":
        job.fail(f"cannot read pictures like {picture.name}", retry=False)  # dead at once
    if not picture.exists():
        job.retry(after="200ms", reason=f"{picture.name} has not come yet")
    new = picture.with_suffix(f".new-{job.id}")
    new.write_text(picture.read_text()[: job.payload["width"]])
    new.rename(picture.with_suffix(".thumb"))


def archive(job: ClaimedJob) -> None:
    """Run a program of the system. With this environment it is ended should this program be killed."""
    subprocess.run(
        ["tar", "-cf", *job.args], env=job.environ(), timeout=job.timeout or None, check=True
    )


def count(job: ClaimedJob) -> None:
    """Something long, in steps: between them it looks whether somebody has cancelled the job."""
    for _ in range(job.payload["steps"]):
        if job.is_cancelled() or job.is_lost():
            return


TASKS: dict[str, Callable[[ClaimedJob], None]] = {
    "thumbnail": thumbnail,
    "archive": archive,
    "count": count,
}


def stop(number: int, frame: FrameType | None) -> None:
    """TERM ends the program as Ctrl+C does."""
    sys.exit(0)


def main() -> None:
    """Take jobs until there are none, or for ever."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    signal.signal(signal.SIGTERM, stop)
    for job in Spool(sys.argv[1]).consume(wait="--drain" not in sys.argv):
        try:
            with job:
                if job.task not in TASKS:
                    job.fail(f"no task {job.task!r} here", retry=False)
                TASKS[job.task](job)
        except LostClaim as error:
            # This program was taken for dead (a laptop that slept, a network that was away): the job runs elsewhere.
            logging.warning("%s", error)


if __name__ == "__main__":
    main()
