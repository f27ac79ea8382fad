"""`python -m tests.hosts.measure`: what a spool on NFS costs two hosts and their server, and how soon they see a job.

    rates       jobs a second, with 1, 2 and 4 workers on each of two hosts
    calls       calls to the server for each job, by kind: to bring it in, to run it; and each second while nothing is to be done
    sight       how long until a job that is dropped on one host runs on the other

Prints Markdown tables. The hosts are guests with one core each, all on this machine: the rates say what a job on NFS costs beside one
on the guest's own disk, not what your server can do. The calls are what they are everywhere.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
import sys
import threading
from collections import Counter
from collections.abc import Callable
from datetime import datetime

from tests.hosts import lab as nfs
from tests.hosts.lab import DISK, SHARE, Lab, python
from tests.hosts.site import Site

#: How supervisors run here: as they come.
AS_THEY_COME = {"QUEUECTL_HEARTBEAT_INTERVAL": "10", "QUEUECTL_POLL_INTERVAL": "2"}

#: The jobs: one that does nothing, one that prints a line, one that lasts a little, one that says when it began.
NOTHING, PRINTS, LASTS = ["true"], ["echo", "a line"], ["sleep", "0.1"]
SAYS = 'echo "$QUEUECTL_JOB_ID $(date +%s.%N)" >> $LAB_RUNS'

#: Workers on each host.
COUNTS = (1, 2, 4)

#: Seconds of idleness that are counted.
IDLE = 60

#: Brings jobs in by the library, one by one; the words: spool, how many.
LIBRARY = """
import sys
from queuectl import Spool
spool = Spool(sys.argv[1])
for _ in range(int(sys.argv[2])):
    spool.enqueue(["true"])
"""

#: Drops one job and says when; {spool}, {id}, {job}.
DROP = "cd {spool} && printf '%s' '{job}' > tmp/{id} && sync tmp/{id} && mv tmp/{id} pending/{id}.json && date +%s.%N && sync pending"


def show(title: str, heading: list[str], lines: list[list[object]]) -> None:
    """Print a Markdown table."""
    print(f"### {title}\n\n| {' | '.join(heading)} |\n|{'---|' * len(heading)}")
    for words in lines:
        print(f"| {' | '.join(map(str, words))} |")
    print(flush=True)


# -- jobs a second


def rates(lab: Lab, jobs: int) -> None:
    """Jobs a second, by workers."""
    places = {
        "one host, its own disk": ("b", True),
        "one host, NFS": ("b", False),
        "two hosts, NFS": ("bc", False),
    }
    lines = [
        [name, *(round(_rate(lab, jobs, count, *place), 1) for count in COUNTS)]
        for name, place in places.items()
    ]
    show("Jobs a second, by workers on each host", ["", *map(str, COUNTS)], lines)


def _rate(lab: Lab, jobs: int, count: int, hosts: str, is_local: bool) -> float:
    site = Site(lab, "rate")
    if is_local:
        site.spool = f"{DISK}/{site.name}"
    site.command("b", "init")
    site.command("b", "pause")
    site.enqueue("b", [{"command": NOTHING}] * jobs)
    for host in hosts:
        site.start(host, count, **{**AS_THEY_COME, "QUEUECTL_POLL_INTERVAL": "0.2"})
    site.command("b", "resume")
    site.finish(1200)
    times = {
        kind: [_seconds(event["time"]) for event in site.events if event["event"] == kind]
        for kind in ("started", "completed")
    }
    site.stop(*hosts)
    return jobs / (max(times["completed"]) - min(times["started"]))


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


# -- calls


def counted(lab: Lab) -> Counter[str]:
    """The calls that the clients have sent so far, by kind, and those that the server has had, by its own count."""
    found: Counter[str] = Counter()
    for host in "bc":
        text = lab.guests[host].run("cat /proc/self/mountstats")
        part = (
            text[text.index(f" mounted on {SHARE} ") :]
            .split("\ndevice ")[0]
            .partition("per-op statistics")[2]
        )
        found.update(
            {
                kind: int(count)
                for kind, count in re.findall(r"^\s+([A-Z0-9_]+): (\d+) ", part, re.MULTILINE)
            }
        )
    found["at the server"] = int(
        re.findall(r"^rpc (\d+)", lab.a.run("cat /proc/net/rpc/nfsd"), re.MULTILINE)[0]
    )
    return found


def _cost(lab: Lab, act: Callable[[int], Counter[str] | None], jobs: int) -> Counter[str]:
    """The calls of an act with so many jobs more than one; it may know better which they are."""
    costs = []
    for number in (1, 1 + jobs):
        before = counted(lab)
        known = act(number)
        after = counted(lab)
        after.subtract(before)
        costs.append(known or after)
    costs[1].subtract(costs[0])
    return costs[1]


def calls(lab: Lab, jobs: int) -> None:
    """Calls for each job, and those of an idle spool."""
    columns = {name: _cost(lab, act, jobs) for name, act in _acts(lab).items()}
    kinds = sorted(
        {
            kind
            for counts in columns.values()
            for kind, count in counts.items()
            if count >= jobs / 20
        }
    )
    kinds = [*(kind for kind in kinds if kind != "at the server"), "at the server"]
    lines = [
        [kind, *(f"{counts[kind] / jobs:.2f}" for counts in columns.values())] for kind in kinds
    ]
    show(f"Calls to the server for each job ({lab.mount})", ["call", *columns], lines)
    idle(lab)


def _acts(lab: Lab) -> dict[str, Callable[[int], Counter[str] | None]]:
    """What brings in or runs so many jobs, by a name for people."""
    site = Site(lab, "calls")
    site.command("b", "init")
    (lab.directory / "library.py").write_text(LIBRARY)

    def one_by_one(jobs: int) -> None:
        lab.b.run(f"{python()} /mnt/lab/library.py {site.spool} {jobs}", 600)

    def at_once(jobs: int) -> None:
        site.enqueue("b", [{"command": NOTHING}] * jobs)

    def drop(jobs: int) -> None:
        for number in range(jobs):
            lab.b.run(
                DROP.format(
                    spool=site.spool, id=f"d{jobs}-{number}", job=json.dumps({"command": NOTHING})
                )
            )

    return {
        "enqueue, one by one": one_by_one,
        "enqueue, all at once": at_once,
        "drop by sh": drop,
        "run": lambda jobs: _drained(Site(lab, "run"), jobs, NOTHING),
        "run, prints a line": lambda jobs: _drained(Site(lab, "print"), jobs, PRINTS),
    }


def _drained(site: Site, jobs: int, command: list[str]) -> Counter[str]:
    """Let one worker run so many jobs: the calls of that."""
    site.command("b", "init")
    site.enqueue("b", [{"command": command}] * jobs)
    before = counted(site.lab)
    site.command("b", "worker start --count 1 --drain 2> /dev/null")
    after = counted(site.lab)
    after.subtract(before)
    return after


def idle(lab: Lab) -> None:
    """Calls a second while there is nothing to do, by hosts, each with 2 workers."""
    lines: list[list[object]] = []
    for hosts in ("b", "bc"):
        site = Site(lab, "idle")
        site.command("b", "init")
        for host in hosts:
            site.start(host, **AS_THEY_COME)
        threading.Event().wait(IDLE / 4)  # until they look as rarely as they ever do
        before = counted(lab)
        threading.Event().wait(IDLE)
        after = counted(lab)
        after.subtract(before)
        site.stop(*hosts)
        kinds = ", ".join(
            f"{kind} {count / IDLE:.2f}"
            for kind, count in after.most_common(8)
            if kind != "at the server"
        )
        lines.append([len(hosts), f"{after['at the server'] / IDLE:.1f}", kinds])
    show(
        "Calls a second while there is nothing to do, 2 workers on each host",
        ["hosts", "at the server", "most of them"],
        lines,
    )


# -- sight


def sight(lab: Lab, samples: int) -> None:
    """How long until a drop of one host runs on the other."""
    lines = [
        [name, *_summary(act(lab, samples))]
        for name, act in {"idle": _idle_sight, "busy": _busy_sight}.items()
    ]
    show(
        "Seconds from a drop on one host to its command on the other",
        ["the other host is", "p50", "p90", "most", "drops"],
        lines,
    )


def _summary(delays: list[float]) -> list[object]:
    delays = sorted(delays)
    return [
        f"{statistics.median(delays):.2f}",
        f"{delays[int(0.9 * (len(delays) - 1))]:.2f}",
        f"{delays[-1]:.2f}",
        len(delays),
    ]


def _idle_sight(lab: Lab, samples: int) -> list[float]:
    site = Site(lab, "sight")
    site.command("b", "init")
    site.start("c", **AS_THEY_COME)
    delays = []
    for number in range(samples):
        threading.Event().wait(random.uniform(7, 9))  # until it looks as rarely as it ever does
        delays.append(_seen(site, f"idle-{number}"))
    site.stop("c")
    return delays


def _busy_sight(lab: Lab, samples: int) -> list[float]:
    """The other host has more to do than it can all the time; the drop is the most urgent."""
    site = Site(lab, "sight")
    site.command("b", "init")
    site.start("c", **AS_THEY_COME)
    delays = []
    for number in range(samples):
        site.enqueue("b", [{"command": LASTS}] * 50)
        threading.Event().wait(random.uniform(0, 1))
        delays.append(_seen(site, f"busy-{number}"))
    ended = sum(event["event"] == "completed" for event in site.events)
    assert ended < 51 * samples, "the backlog was worked off before the last drop"
    site.stop("c")
    return delays


def _seen(site: Site, id: str) -> float:
    """Drop a job on b: seconds until it runs on c. (The clocks are those of the guests, which agree to a few milliseconds.)"""
    job = json.dumps({"command": SAYS, "priority": 9, "id": id}).replace("'", "")
    dropped = float(site.lab.b.run(DROP.format(spool=site.spool, id=id, job=job)))

    def began() -> float:
        site.hear()
        return next(
            (float(line.split()[1]) for line in site.runs if line.startswith(f"{id} ")), 0.0
        )

    return site.until(began) - dropped


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.hosts.measure",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--mount", default="vers=4.2", help="NFS options of the clients (default: vers=4.2)"
    )
    parser.add_argument(
        "--jobs", type=int, default=400, help="jobs that are counted (default: 400)"
    )
    parser.add_argument(
        "--samples", type=int, default=20, help="drops that are timed (default: 20)"
    )
    parser.add_argument(
        "part", nargs="*", choices=["rates", "calls", "sight", []], help="which (default: all)"
    )
    words = parser.parse_args()
    if why := nfs.obstacle():
        print(why, file=sys.stderr)
        return 2
    parts: dict[str, tuple[Callable[[Lab, int], None], int]] = {
        "rates": (rates, words.jobs),
        "calls": (calls, words.jobs),
        "sight": (sight, words.samples),
    }
    with Lab(mount=words.mount, megabytes=1024) as lab:
        for name in words.part or parts:
            act, count = parts[name]
            act(lab, count)
    return 0


if __name__ == "__main__":
    sys.exit(main())
