"""Circumstances: clocks and users that are not as they should be; two more of the scenarios.

Promises
    As all scenarios: the lab is left as it was, its clocks right and root being root again.
Leaves to others
    workers, jobs, accounting (site).
Raises
    AssertionError for what is not as it must be; then the lab is of no use any more.
"""

from __future__ import annotations

import json

from tests.hosts.lab import Lab
from tests.hosts.load import LOG
from tests.hosts.site import GO, LEASE, LONG, QUICK, Rows, Site, Size, jobs

#: Seconds by which a clock is wrong.
HOUR = 3600

#: Somebody who is not root.
USER = 1000


def clocks(lab: Lab, size: Size) -> Rows:
    """One host's clock is an hour ahead: no job is rescued, run early or kept waiting for that, and doctor says what is wrong."""
    site = Site(lab, "clocks", lease=LEASE)
    site.command("b", "init")
    findings = {host: _doctor(site, host, skew) for host, skew in {"b": 0, "c": HOUR}.items()}
    assert "clock" in findings["c"], f"doctor saw no clock that is {HOUR} s off: {findings['c']}"
    assert "clock" not in findings["b"], (
        f"doctor saw a wrong clock where it is right: {findings['b']}"
    )
    lab.guests["c"].set_skew(0)
    for host in "bc":
        site.start(host)
    long = set(site.enqueue("b", jobs("long", 4, LONG)))
    site.until(lambda: len(site.ran(host="b")) == len(site.ran(host="c")) == 2)
    lab.guests["c"].set_skew(HOUR)  # it jumps while jobs run
    _outlive(site, LEASE)
    assert not site.seen("rescued"), site.seen("rescued")
    site.touch(GO, "b", "c")
    site.finish()
    [early] = site.enqueue("b", [{"command": QUICK, "delay": HOUR / 2}])
    site.stop("b")
    here = set(site.enqueue("b", jobs("by-c", 4)))
    site.until(lambda: site.ran(host="c") >= here)
    _outlive(site, LEASE)  # time to take what it must leave alone
    site.start("b")
    site.stop("c")
    there = set(site.enqueue("c", jobs("by-b", 4)))
    site.until(lambda: site.ran(host="b") >= there)
    assert early not in site.ran(), (
        f"a job that is due in {HOUR / 2} s ran on the host whose clock is ahead"
    )
    site.command("b", f"remove {early}")
    del site.accepted[early]
    site.finish()
    site.stop("b")
    lab.guests["c"].set_skew(0)
    found = site.judge()
    assert found["findings"]["runs"] == len(site.accepted) == len(long | here | there)
    return {
        "seconds ahead": HOUR,
        "jobs": len(site.accepted),
        "runs": found["findings"]["runs"],
        "jobs rescued": 0,
    }


def _doctor(site: Site, host: str, skew: float) -> dict[str, str]:
    """What doctor finds on a host whose clock is that much ahead, by check; it must say so in its exit code."""
    site.lab.guests[host].set_skew(skew)
    answer = site.ask(host, "doctor --json")
    report = json.loads(answer.out)
    assert answer.code == int(not report["healthy"]), f"exit {answer.code}: {report}"
    return {finding["check"]: finding["what"] for finding in report["findings"]}


def _outlive(site: Site, seconds: float) -> None:
    """Wait until every worker's heart has beaten for so many seconds more, by the clock of the file server."""
    guest, share = site.lab.truth

    def beats() -> dict[str, int]:
        lines = guest.run(f"stat -c '%n %Y' {share}/{site.name}/workers/*.json").splitlines()
        return {name: int(beaten) for name, beaten in map(str.split, lines)}

    first = beats()
    site.until(
        lambda: all(beaten >= first.get(name, 0) + seconds for name, beaten in beats().items())
    )
    assert beats().keys() == first.keys(), "a worker was replaced"


def squash(lab: Lab, size: Size) -> Rows:
    """Root of the clients is nobody on the share: another user's spool works, and root is told no in one line, and leaves nothing."""
    lab.squash(on=True)
    site = Site(lab, "squash", user=USER)
    guest, share = lab.truth
    guest.run(f"mkdir -m 700 {share}/{site.name} && chown {USER}:{USER} {share}/{site.name}")
    root = Site(lab, site.name, is_old=True)
    refusals = [_refusal(root, "init")]
    assert not guest.run(f"ls -A {share}/{site.name}"), "root was refused, and left something"
    site.command("b", "init")
    ids = [id for host in "bc" for id in site.enqueue(host, jobs(f"squashed-{host}", 10))]
    before = guest.run(f"cd {share}/{site.name} && find . | sort")
    refusals += [
        _refusal(root, words)
        for words in ("enqueue -c true", "worker start --drain", "status", "config set timeout 5")
    ]
    assert guest.run(f"cd {share}/{site.name} && find . | sort") == before, (
        "root was refused, and left something"
    )
    dropping = [site.drop(host, 10) for host in "bc"]
    for host in "bc":
        site.start(host)
    assert [waiting.join().code for waiting in dropping] == [0, 0]
    site.until(lambda: site.hear() or len(site.accepted) == len(ids) + 20)
    site.finish()
    site.stop("b", "c")
    found = site.judge()
    refusals.append(_as_nobody(lab))
    lab.squash(on=False)
    return {
        "jobs": len(site.accepted),
        "runs": found["findings"]["runs"],
        **{f"root is told {n}": why for n, why in enumerate(refusals, 1)},
    }


def _as_nobody(lab: Lab) -> str:
    """Where nobody may write root can make a spool, but runs nothing as root from what then belongs to somebody else."""
    site = Site(lab, "nobody")
    site.command("b", "init")
    ids = site.enqueue("b", jobs("nobody", 4))
    why = _refusal(site, "worker start --drain")
    site.command(
        "c", f"worker start --drain --allow-root --log-format json 2>> {lab.guests['c'].line(LOG)}"
    )
    site.until(lambda: site.ran(host="c") == set(ids))
    site.judge()
    return why


def _refusal(site: Site, words: str) -> str:
    """How queuectl refuses to do this: one line, and exit code 1."""
    answer = site.ask("b", words)
    lines = answer.out.strip().splitlines()
    assert answer.code == 1, f"{words}: exit {answer.code}: {answer.out}"
    assert len(lines) == 1, f"{words}: {answer.out}"
    return lines[0]
