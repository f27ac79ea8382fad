#!/usr/bin/env python3
"""A hook that posts what it is told to a web server, as JSON.

Put it into the directory `hooks/` of a spool, as `completed`, `failed`, `dead` or `batch-done`, readable and writable by you
alone, and the address into `hooks/webhook.url`:

    mkdir -m 700 ~/.queuectl/hooks
    install -m 700 webhook.py ~/.queuectl/hooks/dead
    echo https://example.org/jobs > ~/.queuectl/hooks/webhook.url

Other answers than 2xx are tried again, three times in all; after that the hook fails, which is in the log of the workers.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

#: Seconds to wait for the server, and between two tries: all of it is less than the minute that a hook has.
PATIENCE, PAUSE, TRIES = 10, 2, 3

#: What others may know of a job. Its command, its output and its variables are nobody's business.
KEYS = (
    "hook",
    "id",
    "name",
    "state",
    "attempts",
    "max_retries",
    "batch",
    "jobs",
    "completed",
    "dead",
    "gone",
    "dead_ids",
)


def main() -> int:
    """Post what is on stdin; the exit code."""
    told = json.load(sys.stdin)
    run = told.get("run") or {}
    message = {key: told[key] for key in KEYS if key in told} | {
        key: run.get(key) for key in ("outcome", "reason", "host", "finished_at")
    }
    url = (Path(os.environ["QUEUECTL_SPOOL"]) / "hooks" / "webhook.url").read_text().strip()
    data = json.dumps(message).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310
    for left in range(TRIES - 1, -1, -1):
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE):  # noqa: S310
                return 0
        except (urllib.error.URLError, OSError) as error:
            print(f"{url}: {error}", file=sys.stderr)
        if left:
            time.sleep(PAUSE)
    return 1


if __name__ == "__main__":
    sys.exit(main())
