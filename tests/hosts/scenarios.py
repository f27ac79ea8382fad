"""The scenarios: what two hosts that share one spool must come through.

Each is given a lab and how large it shall be, and leaves the lab as it was: both hosts on the network, clocks right, nothing
of ours running. It answers what it counted, for people.

Promises
    No scenario asks how long something took: it waits for what must come, and judges what must never be.
Leaves to others
    workers, jobs, accounting (site).
Raises
    AssertionError for what is not as it must be; then the lab is of no use any more.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.hosts.circumstances import clocks, squash
from tests.hosts.lab import Lab
from tests.hosts.site import ENOUGH, GO, LEASE, LONG, Rows, Site, Size, jobs


def share(lab: Lab, size: Size) -> Rows:
    """Two hosts, a supervisor with 2 workers on each; jobs are enqueued and dropped on both: each runs exactly once."""
    site = Site(lab, "share")
    site.command("b", "init")
    each = size.jobs // 4
    begun = time.monotonic()

    def enqueue(host: str) -> None:
        for number, start in enumerate(range(0, each, size.batch)):
            site.enqueue(host, jobs(f"enqueued-{host}-{number}", min(size.batch, each - start)))

    dropping = [site.drop(host, each) for host in "bc"]
    for host in "bc":
        site.start(host)
    with ThreadPoolExecutor() as pool:
        list(pool.map(enqueue, "bc"))
    assert [waiting.join().code for waiting in dropping] == [0, 0]
    site.until(lambda: site.hear() or len(site.accepted) == 4 * each)
    site.finish(size.jobs)
    seconds = time.monotonic() - begun
    site.stop("b", "c")
    found = site.judge()
    hosts = Counter(line.split()[2] for line in site.runs)
    assert found["findings"]["runs"] == 4 * each, (
        f"{found['findings']['runs']} runs of {4 * each} jobs"
    )
    assert set(hosts) == {"b", "c"}, f"one host ran everything: {hosts}"
    assert not found["findings"]["again"]
    lost = len(site.seen("rescued"))
    assert not lost, f"{lost} jobs were rescued from hosts that lived"
    return {
        **site.ways,
        "runs": found["findings"]["runs"],
        **{f"runs on {host}": hosts[host] for host in "bc"},
        "seconds": round(seconds),
    }


def guard(lab: Lab, size: Size) -> Rows:
    """A host is off the network past its lease while it runs jobs: it has ended them when the other begins, and works again when it is back."""
    site = Site(lab, "guard", lease=LEASE)
    long, taken = _taken_over(site)
    running = site.running("c")
    assert not running, (
        f"they run on the other host, and still on the one that is cut off: {running}"
    )
    site.finish()
    lab.heal("c")
    begun = time.monotonic()
    site.until(lambda: site.starts("c") > 1)
    after = _alone(site, "c")
    back = time.monotonic() - begun
    site.stop("c")
    found = site.judge("c")
    _once_each(site, long)
    return {
        "jobs taken over": len(long),
        "seconds from the cut until they ran on the other host, and on no other": round(taken, 1),
        "seconds from the network's return until jobs ran there again": round(back, 1),
        "jobs after that": len(after),
        "runs lost with their worker": found["findings"]["lost_runs"],
    }


def fence(lab: Lab, size: Size) -> Rows:
    """A host that was cut off ends its jobs after the other has run them: its late outcomes are dropped.

    It believes in a longer lease than the other, or it would have ended its commands before the other began.
    """
    site = Site(lab, "fence", lease=LEASE)
    long, taken = _taken_over(site, QUEUECTL_WORKER_LOST_AFTER="3600")
    site.finish()
    site.touch(GO, "c")  # what still runs there ends, cut off as it is
    lab.heal("c")
    begun = time.monotonic()
    site.until(lambda: site.seen("lost_claim", host="c").keys() == long)
    back = time.monotonic() - begun
    _alone(site, "c")
    site.stop("c")
    found = site.judge()
    _once_each(site, long)
    return {
        "jobs taken over and fenced off": len(long),
        "seconds from the cut until they ran on the other host": round(taken, 1),
        "seconds from the network's return until the late outcomes were dropped": round(back, 1),
        "runs lost with their worker": found["findings"]["lost_runs"],
    }


def _taken_over(site: Site, **settings: str) -> tuple[set[str], float]:
    """Cut c off while it runs jobs until b has begun them: their ids, and after how many seconds."""
    site.command("b", "init")
    site.start("c", **settings)
    long = set(site.enqueue("b", jobs("long", 2, LONG)))
    site.until(lambda: site.ran(host="c") == long)
    site.touch(GO, "b")
    site.start("b")
    site.enqueue("b", jobs("more", 8))
    assert site.running("c"), "nobody sees the commands that run there"
    site.lab.cut("c")
    begun = time.monotonic()
    site.until(lambda: site.ran(host="b", attempt=2) >= long)
    return long, time.monotonic() - begun


def _alone(site: Site, host: str) -> list[str]:
    """Let this host run jobs alone: their ids."""
    site.stop("b")
    ids = site.enqueue(host, jobs(f"after-{host}", 4))
    assert len(ids) == 4, f"{host} does not take jobs"
    site.until(lambda: site.ran(host=host) >= set(ids))
    site.finish()
    return ids


def _once_each(site: Site, taken: set[str]) -> None:
    """Those that were taken over ran once more, and no other job ran twice."""
    again = {
        id for id, count in Counter(line.split()[0] for line in site.runs).items() if count > 1
    }
    assert again == taken, f"ran again: {again ^ taken}"


def power(lab: Lab, size: Size) -> Rows:
    """A host loses its power while it runs jobs: they run on the other within its lease, and it comes back and works."""
    site = Site(lab, "power", lease=LEASE)
    site.command("b", "init")
    site.start("c")
    long = set(site.enqueue("b", jobs("long", 2, LONG)))
    site.until(lambda: site.ran(host="c") == long)
    site.touch(GO, "b")
    site.start("b")
    site.enqueue("b", jobs("more", 8))
    site.lose("c")
    begun = time.monotonic()
    site.until(lambda: site.ran(host="b", attempt=2) == long)
    taken = time.monotonic() - begun
    site.finish()
    rescued = site.seen("rescued", host="b")
    assert {rescued[id]["outcome"] for id in long} == {"lost"}, rescued
    lab.bring_back("c")
    site.start("c")
    _alone(site, "c")
    site.stop("c")
    found = site.judge("c")
    _once_each(site, long)
    return {
        "jobs taken over": len(long),
        "supervisors that began on the other host (more than one: its own heartbeats failed)": site.starts(
            "b"
        ),
        f"seconds from the power cut until they ran on the other host (lease: {LEASE})": round(
            taken, 1
        ),
        "runs lost with their worker": found["findings"]["lost_runs"],
    }


def server(lab: Lab, size: Size) -> Rows:
    """The server is killed and started again under load: nothing that was acknowledged is lost."""
    site = Site(lab, "server")
    site.command("b", "init")
    dropping = [site.drop(host) for host in "bc"]
    for host in "bc":
        site.start(host)
    stop = False

    def enqueue(host: str) -> None:
        for number in itertools.count():
            if stop:
                return
            site.enqueue(host, jobs(f"enqueued-{host}-{number}", size.batch // 5))

    slowest = 0.0
    with ThreadPoolExecutor() as pool:
        feeding = pool.map(enqueue, "bc")
        try:
            for _ in range(size.crashes):
                _flows(site)
                begun = time.monotonic()
                lab.restart()
                _flows(site)
                slowest = max(slowest, time.monotonic() - begun)
        finally:
            stop = True
            site.touch(ENOUGH, "b", "c")
        list(feeding)
    assert all(waiting.join().code == 0 for waiting in dropping)
    site.finish()
    site.stop("b", "c")
    found = site.judge()
    return {
        "crashes of the server": size.crashes,
        "jobs acknowledged": len(site.accepted),
        **site.ways,
        "runs": found["findings"]["runs"],
        "jobs run again (allowed)": found["findings"]["again"],
        "most seconds from a crash until jobs came and went on both hosts": round(slowest, 1),
        "jobs there that were never acknowledged (allowed)": found["strange"],
    }


def _flows(site: Site) -> None:
    """Wait until on each host more jobs come in by both ways and more are completed."""

    def told() -> Counter[str]:
        site.hear()
        return site.ways + Counter(
            f"completed on {event['on']}" for event in site.events if event["event"] == "completed"
        )

    before = told()
    ways = [f"{way} on {host}" for way in ("enqueued", "dropped", "completed") for host in "bc"]
    site.until(lambda: not [way for way in ways if told()[way] <= before[way]])


SCENARIOS: dict[str, Callable[[Lab, Size], Rows]] = {
    scenario.__name__: scenario for scenario in (share, guard, fence, power, server, clocks, squash)
}
