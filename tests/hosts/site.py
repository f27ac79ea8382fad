"""A site: one spool on the share of a lab, workers on its clients, jobs that come from both, and the accounting.

Whatever happens is told on lines that lead out of each guest past the share: so it is known whatever the network does,
and nothing has to wait for what a cache shows.

Promises
    A job is accepted once the command printed its id, or once the rename of the drop was done.
    `runs` has a line "<id> <attempt> <host>" for each command that began, on whichever host.
Leaves to others
    what happens to the hosts (scenarios), the judgement of every file (look, tests.chaos.audit).
Raises
    AssertionError for what does not come, or is not as it must be; GuestFailed when a guest fails.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.hosts.guest import Answer, Guest, Pending
from tests.hosts.lab import SHARE, Lab, python
from tests.hosts.load import ACCEPTED, LOG, RUNS
from tests.hosts.look import Question
from tests.support import until

#: Seconds for anything to come: the lab is slow, and its machine may have other things to do.
PATIENCE = 240

#: What the workers run with: looks, heartbeats and waits between attempts are short, so that a test is short.
SETTINGS = {
    "QUEUECTL_HEARTBEAT_INTERVAL": "2",
    "QUEUECTL_POLL_INTERVAL": "0.5",
    "QUEUECTL_BACKOFF_BASE": "1",
    "QUEUECTL_BACKOFF_MAX": "0.5",
}

#: Seconds without a heartbeat after which a host is taken for lost where one is: the least that a network file system allows.
LEASE = 10

#: The commands of the jobs, files that every guest has: one that ends at once, one that lasts until its host has GO.
QUICK, LONG = ". /mnt/lab/quick", ". /mnt/lab/long"
BEGIN = 'echo "$QUEUECTL_JOB_ID $QUEUECTL_ATTEMPT $LAB_NAME" >> $LAB_RUNS\n'
GO, ENOUGH = "/tmp/go", "/tmp/enough"
LAST = f"while ! test -e {GO}; do sleep 0.2; done\n"

#: What a drop holds, for printf.
DROPPED = '{"id": "%s", "command": "' + QUICK + '"}\n'

#: A shell that drops so many jobs, or as many as it can until its host has ENOUGH, as examples/spool/drop.sh does it.
DROPS = f"""cd $1 || exit 1
number=0
while test $number -lt $3 -a ! -e {ENOUGH}; do
    number=$((number + 1)); id=$2-$number
    printf '{DROPPED}' $id > tmp/$id && sync tmp/$id && mv tmp/$id pending/$id.json && echo $id >> $4
done
sync pending
"""

#: Starts a command again whenever it ends, until it is told to stop: what systemd does with Restart=always. (A wait that a signal
#: interrupts says nothing of the command. What the shell itself says of a command that was killed is no log.)
UNIT = """stop=
trap 'stop=yes; kill -TERM $child' TERM
exec 3>&2 2> /dev/null
echo $$ > /tmp/unit
while test -z "$stop"; do
    "$@" 2>&3 & child=$!
    while kill -0 $child; do wait $child; code=$?; done
    test "$stop" || sleep 1
done
exit $code
"""

#: A drop for which `count` is no limit.
ENDLESS = 1 << 30

_serial = itertools.count(1)

#: What a scenario counted, for people.
Rows = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """How many jobs two hosts share, how often the server dies, and how many jobs one command brings in."""

    jobs: int
    crashes: int
    batch: int = 50


SMALL, FULL = Size(120, 1, 15), Size(5000, 4)


def jobs(series: str, count: int, command: str = QUICK) -> list[dict[str, Any]]:
    """So many jobs, every other one with an id that we choose."""
    return [
        {"command": command, **({"id": f"{series}-{number}"} if number % 2 else {})}
        for number in range(count)
    ]


@dataclass
class Site:
    """A spool on the share of `lab`, and its `name` there; `user` is who uses it there (0: root), `lease` is worker_lost_after.

    Unless it `is_old` its name gets a number: a scenario may be played again in the same lab.
    """

    lab: Lab
    name: str
    user: int = 0
    lease: int = 180
    is_old: bool = False
    accepted: dict[str, list[Any]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    ways: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.name += "" if self.is_old else f"-{next(_serial)}"
        self.spool = f"{SHARE}/{self.name}"
        self._read: dict[tuple[int, int], int] = {}
        self._guests: dict[int, Guest] = {}
        self._workers: dict[str, Pending] = {}
        self._lock = threading.RLock()
        for name, text in {
            "quick": BEGIN,
            "long": BEGIN + LAST,
            "drop": DROPS,
            "unit": UNIT,
        }.items():
            (self.lab.directory / name).write_text(text)
        for name in "bc":
            self._prepare(name)

    def _prepare(self, host: str) -> None:
        guest = self.lab.guests[host]
        if id(guest) not in self._guests:
            guest.forget()
            self._guests[id(guest)] = guest
            guest.run(
                f"rm -f {GO} {ENOUGH}; chmod 666 "
                + " ".join(guest.line(number) for number in (ACCEPTED, RUNS, LOG))
            )

    # -- commands

    def words(self, host: str, **settings: str) -> str:
        """The words with which a shell of a host runs queuectl on the spool."""
        ours = {
            "LAB_RUNS": self.lab.guests[host].line(RUNS),
            "QUEUECTL_WORKER_LOST_AFTER": str(self.lease),
        }
        variables = " ".join(
            f"{name}={value}" for name, value in {**SETTINGS, **ours, **settings}.items()
        )
        user = (
            f"setpriv --reuid {self.user} --regid {self.user} --clear-groups " if self.user else ""
        )
        return f"{user}env {variables} {python()} -m queuectl --spool {self.spool}"

    def ask(self, host: str, words: str, timeout: float = PATIENCE) -> Answer:
        """Run queuectl on a host, however it goes; never with a traceback."""
        answer = self.lab.guests[host].start(f"{self.words(host)} {words}", timeout).join()
        assert "Traceback" not in answer.out, f"{host}: {words}: {answer.out}"
        return answer

    def command(self, host: str, words: str) -> str:
        """Run queuectl on a host, where it must work: what it printed."""
        answer = self.ask(host, words)
        assert answer.code == 0, f"{host}: {words}: exit {answer.code}\n{answer.out}"
        return answer.out

    # -- workers

    def start(self, host: str, count: int = 2, **settings: str) -> None:
        """Start a supervisor on a host, as its init system would: again whenever it ends."""
        self._prepare(host)
        guest = self.lab.guests[host]
        command = f"exec sh /mnt/lab/unit {self.words(host, **settings)} worker start --count {count} --log-format json"
        before = self.starts(host)
        self._workers[host] = guest.start(f"{command} 2>> {guest.line(LOG)}", timeout=86400)
        self.until(lambda: self.starts(host) > before or self._workers[host].is_settled())

    def starts(self, host: str) -> int:
        """How many supervisors began on a host."""
        self.hear()
        return sum(event["event"] == "supervising" and event["on"] == host for event in self.events)

    def stop(self, *hosts: str) -> None:
        """Stop the supervisors of these hosts, and wait until all is told."""
        for host in hosts:
            self.lab.guests[host].run("kill -TERM $(cat /tmp/unit)")
        for host in hosts:
            answer = self._workers.pop(host).join()
            assert answer.code == 0, f"the supervisor of {host} ended: {answer}"
        self.hear()

    def running(self, host: str) -> list[str]:
        """The commands of this spool's jobs that run on a host, by process."""
        mark = f"QUEUECTL_SPOOL={self.spool}"
        look = f"grep -laszx '{mark}' /proc/[0-9]*/environ | xargs -r grep -lasz '^QUEUECTL_JOB_ID='; true"
        return self.lab.guests[host].run(look).split()

    def lose(self, host: str) -> None:
        """Cut the power of a host."""
        self._workers.pop(host, None)
        self.lab.guests[host].kill()

    def touch(self, path: str, *hosts: str) -> None:
        """Make a file on each of these hosts, not on the share."""
        for host in hosts:
            self.lab.guests[host].run(f"touch {path}")

    # -- jobs

    def enqueue(self, host: str, jobs: list[dict[str, Any]]) -> list[str]:
        """Bring jobs in by the command, on a host: the ids of those that were accepted."""
        lines = self.lab.directory / f"jobs-{host}.jsonl"
        lines.write_text("".join(json.dumps(job) + "\n" for job in jobs))
        answer = self.ask(host, f"enqueue --file /mnt/lab/{lines.name} 2> /dev/null")
        ids = [line for line in answer.out.splitlines(keepends=True) if line.endswith("\n")]
        with self._lock:
            for id, job in zip(map(str.strip, ids), jobs, strict=answer.code == 0):
                self.accepted[id] = [job["command"], None]
                self.ways[f"enqueued on {host}"] += 1
        return [id.strip() for id in ids]

    def drop(self, host: str, count: int = ENDLESS) -> Pending:
        """Start a shell on a host that drops jobs."""
        guest = self.lab.guests[host]
        user = (
            f"setpriv --reuid {self.user} --regid {self.user} --clear-groups " if self.user else ""
        )
        words = f"{self.spool} {self.name}-sh-{host} {count} {guest.line(ACCEPTED)}"
        return guest.start(f"umask 077; exec {user}sh /mnt/lab/drop {words}", timeout=86400)

    # -- what is told

    def hear(self) -> None:
        """Take in what the guests told."""
        with self._lock:
            for guest in self._guests.values():
                for line in self._new(guest, ACCEPTED):
                    self.accepted[line] = [QUICK, DROPPED % line]
                    self.ways[f"dropped on {guest.name}"] += 1
                self.runs += self._new(guest, RUNS)
                self.events += _events(guest.name, self._new(guest, LOG))

    def _new(self, guest: Guest, number: int) -> list[str]:
        read, lines = self._read.get((id(guest), number), 0), guest.reports[number]
        new = lines[read:]
        self._read[id(guest), number] = read + len(new)
        return new

    def seen(self, event: str, *, host: str | None = None) -> dict[str, dict[str, Any]]:
        """The events of a kind, by their jobs, on a host or on any."""
        self.hear()
        return {
            found.get("job", ""): found
            for found in self.events
            if found["event"] == event and host in (None, found["on"])
        }

    def ran(self, *, host: str | None = None, attempt: int | None = None) -> set[str]:
        """The ids of the jobs that began to run on a host, or on any, as attempt number so and so, or as any."""
        self.hear()
        lines = [line.split() for line in self.runs]
        return {
            id
            for id, number, where in lines
            if host in (None, where) and attempt in (None, int(number))
        }

    def until(self, condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
        """Wait for a condition; say what the workers said last if it does not come."""
        try:
            return until(condition, seconds)
        except AssertionError as error:
            last = [
                event
                for host in "bc"
                for event in [event for event in self.events if event["on"] == host][-10:]
            ]
            raise AssertionError(
                "\n".join(
                    [str(error), f"{dict(self.ways)}, {len(self.runs)} runs", *map(str, last)]
                )
            ) from None

    def finish(self, seconds: float = PATIENCE) -> None:
        """Wait until all accepted jobs were completed, somewhere."""
        done = Completed(self)
        self.until(lambda: self.accepted.keys() <= done.ids(), seconds)

    # -- the accounting

    def look(self) -> dict[str, Any]:
        """What is on the share, by the eyes of one whom no cache deceives; nothing may move any more."""
        self.hear()
        guest, share = self.lab.truth
        question = Question(known=list(self.accepted), accepted=self.accepted, runs=self.runs)
        (self.lab.directory / "question.json").write_text(json.dumps(dataclasses.asdict(question)))
        return json.loads(
            guest.run(
                f"{python()} -m tests.hosts.look {share}/{self.name} /mnt/lab/question.json",
                timeout=1200,
            )
        )

    def judge(self, *lost: str) -> dict[str, Any]:
        """Look: every accepted job must be completed, whole, in one place, by one run that counts, and nothing half-made may be left.

        A supervisor on a host of `lost` could not tidy up; its file stays for a week.
        """
        found = self.look()
        excused = [re.compile(rf"workers/{host}-.*\.supervisor") for host in lost]
        left = [
            name
            for name in found["findings"]["leftovers"]
            if not any(pattern.fullmatch(name) for pattern in excused)
        ]
        wrong = {what: cases for what, cases in found["findings"]["failures"].items() if cases}
        wrong |= {
            what: found[what]
            for what in ("lost", "doubled", "torn", "rejected", "undone")
            if found[what]
        }
        wrong |= {"left over": left} if left else {}
        completed = found["findings"]["places"].get("completed", 0)
        assert not wrong, wrong
        assert completed == len(self.accepted), (
            f"{completed} of {len(self.accepted)} completed: {found}"
        )
        return found


def _events(host: str, logged: list[str]) -> list[dict[str, Any]]:
    """What a host logged; the one line of a command that was refused is an event, too."""
    odd = [line for line in logged if not line.startswith(("{", "queuectl: "))]
    assert not odd, "\n".join([f"{host} logged:", *odd])
    told = [
        json.loads(line) if line.startswith("{") else {"event": "refused", "reason": line}
        for line in logged
    ]
    return [{**event, "on": host} for event in told]


class Completed:
    """The ids of completed jobs, gathered as they come: thousands are asked for often."""

    def __init__(self, site: Site) -> None:
        self._site, self._at, self._ids = site, 0, set[str]()

    def ids(self) -> set[str]:
        """Those of now."""
        self._site.hear()
        events = self._site.events
        self._ids |= {event["job"] for event in events[self._at :] if event["event"] == "completed"}
        self._at = len(events)
        return self._ids
