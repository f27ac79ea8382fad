"""Enqueue thumbnails to make, wait for them, and say how each went: python submit.py SPOOL PICTURE..."""

import sys

from queuectl import Result, Spool, TimedOut


def submit(spool: Spool, picture: str) -> str:
    """Ask for a thumbnail; `command` names the task, `meta` is its payload."""
    return spool.enqueue(
        "thumbnail",
        name=picture,
        meta={"picture": picture, "width": 100},
        priority=7,
        max_retries=2,
    )


def line(result: Result) -> str:
    """One line about a job that has ended."""
    return f"{result.id}: done" if result.is_completed else f"{result.id}: {result.reason}"


def main() -> None:
    """Submit, wait, report."""
    spool = Spool(sys.argv[1])
    ids = [submit(spool, picture) for picture in sys.argv[2:]]
    try:
        results = spool.wait_all(ids, timeout=60)
    except TimedOut as error:
        sys.exit(f"still waiting for {', '.join(error.ids)}")
    for result in results:
        print(line(result))


if __name__ == "__main__":
    main()
