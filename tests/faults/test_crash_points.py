"""Crash points: every kind of a job's life, ended before and after each call that changes the disk; and the same with lies.

After each death the next supervisor's recovery runs, and then: every job that was acknowledged is in exactly one place, whole,
with its bytes unchanged; nothing half-made is left; and it can be run to its end.
"""

import contextlib
import itertools
import json
import os
import random
import signal
import stat
import time

import pytest

from queuectl import (
    Spool,
    actions,
    admission,
    batches,
    blocked,
    calls,
    claimed,
    config,
    consumer,
    ids,
    inbox,
    janitor,
    limits,
    liveness,
    lookup,
    metrics,
    porter,
    recovery,
    renewal,
    schedule,
    timetable,
    unique,
)
from queuectl import worker as room
from queuectl.errors import KeyTaken
from queuectl.filename import decode
from queuectl.layout import STATES
from queuectl.log import Log
from queuectl.selection import Selection
from queuectl.signals import Listener
from queuectl.ticker import Ticker
from queuectl.wire import pair
from queuectl.worker import Worker
from tests.faults import seam
from tests.support import names

#: A life never has more calls than this; a test that comes here hangs in a loop.
ENDLESS = 400


class Life:
    """A kind of life. `prepare` runs undisturbed, `live` in a child whose disk dies or lies.

    `acknowledged` is what the child was promised before its end: ids that must be there. A tidy kind leaves nothing in tmp/
    when it is refused.
    """

    is_tidy = False

    def __init__(self, path, tmp_path):
        self.spool = Spool(path)
        self.path, self.acks = path, tmp_path / "acks"

    def prepare(self):
        self.spool.make()

    def live(self):
        raise NotImplementedError

    def acknowledge(self, *ids):
        """The caller has been told so: outside of the spool and of the seam."""
        with self.acks.open("a") as file:
            file.writelines(f"{id}\n" for id in ids)

    @property
    def acknowledged(self):
        return self.acks.read_text().split() if self.acks.exists() else []

    def put(self, id, **fields):
        """A job that was there before."""
        self.spool.enqueue({"command": ["true"], "id": id, **fields})
        self.acknowledge(id)

    def worker(self):
        """This process as a worker."""
        signal.signal(signal.SIGUSR1, lambda *_: None)
        room.PATIENCE = 0.01  # seconds until it tries again
        record, self.lock = liveness.enroll(self.spool, "super-1-abc", os.getppid())
        here, self.there = pair()
        return Worker(
            self.spool, record, here, Log(os.open(os.devnull, os.O_WRONLY), "json"), Listener()
        )

    @contextlib.contextmanager
    def enrolled(self):
        """A worker's place in the spool, for what a test does itself; nothing of it stays open."""
        record, lock = liveness.enroll(self.spool, "super-1-abc", os.getpid())
        try:
            yield record.worker
            assert liveness.dismiss(self.spool, record.worker)
        finally:
            os.close(lock)

    def claim(self, worker, id):
        [entry] = self.spool.entries_of(id)
        return self.spool.claim(entry.file, worker.name, time.time())

    def check(self, *, survived):
        """What this kind promises beside what all do."""


class Making(Life):
    is_tidy = True

    def prepare(self):
        pass

    def live(self):
        self.spool.make()


class Enqueue(Life):
    is_tidy = True

    def live(self):
        self.acknowledge(self.spool.enqueue("true"))


class EnqueueChosen(Life):
    is_tidy = True

    def live(self):
        self.acknowledge(self.spool.enqueue({"command": "true", "id": "chosen"}))

    def check(self, *, survived):
        # Whatever happened, the id can be used again if its job is not there.
        if not list(self.spool.entries_of("chosen")):
            self.spool.enqueue({"command": "true", "id": "chosen"})


class EnqueueBulk(Life):
    is_tidy = True

    def live(self):
        self.acknowledge(
            *self.spool.enqueue_all(
                [{"command": f"echo {i}", **({"id": f"j{i}"} if i % 2 else {})} for i in range(4)]
            )
        )


class EnqueueVoid(Life):
    """An enqueue of an id whose job was removed by hand."""

    def prepare(self):
        super().prepare()
        self.spool.enqueue({"command": "true", "id": "void"})
        [entry] = self.spool.entries_of("void")
        os.unlink(self.path / entry.file)

    def live(self):
        self.acknowledge(self.spool.enqueue({"command": "true", "id": "void"}))


class Admit(Life):
    fields = {"id": "dropped", "command": ["true"]}

    def prepare(self):
        super().prepare()
        (self.path / "pending" / "x.json").write_text(json.dumps(self.fields))

    def live(self):
        worker = self.worker()
        admission.admit(self.spool, "x.json", worker.name, last=False)

    def check(self, *, survived):
        self.finish_admission()
        assert len([*self.spool.entries("pending")]) == 1
        assert names(self.path, "rejected") == []

    def finish_admission(self):
        """What the next worker does with what is a drop again."""
        with self.enrolled() as worker:
            for drop in self.spool.drops():
                assert isinstance(
                    admission.admit(self.spool, drop, worker, last=True), admission.Admitted
                )


class AdmitWithoutId(Admit):
    fields = {"command": ["true"]}


class Submit(Life):
    """A file in the inbox of a shared spool becomes a job."""

    fields = {"command": ["true"]}

    def prepare(self):
        super().prepare()
        self.spool.share(os.getgid())
        (self.path / "inbox" / "x.json").write_text(json.dumps(self.fields))

    def live(self):
        inbox.accept(self.spool, "inbox/x.json", self.worker().name, last=False)

    def check(self, *, survived):
        with self.enrolled() as worker:
            for drop in self.spool.submissions():
                assert isinstance(
                    inbox.accept(self.spool, drop, worker, last=True), admission.Admitted
                )
        [entry] = self.spool.entries("pending")
        assert lookup.read(self.spool, entry.file).submitted_by
        assert os.listdir(self.path / "inbox") == names(self.path, "rejected") == []


class SubmitChosen(Submit):
    fields = {"command": ["true"], "id": "mine"}


class Reject(Life):
    def prepare(self):
        super().prepare()
        (self.path / "pending" / "x.json").write_text("garbage")

    def live(self):
        admission.admit(self.spool, "x.json", self.worker().name, last=True)

    def check(self, *, survived):
        kept = [name for name in names(self.path, "rejected") if not name.endswith(".reason")]
        places = [
            *(self.path / "rejected" / name for name in kept),
            *(self.path / "pending" / name for name in self.spool.drops()),
        ]
        assert [place.read_text() for place in places] == ["garbage"]
        assert all((self.path / "rejected" / f"{name}.reason").exists() for name in kept)


class Complete(Life):
    fields = {}
    ends = {"completed", "failed"}

    def prepare(self):
        super().prepare()
        self.put("a", **self.fields)

    def live(self):
        worker = self.worker()
        claim = self.claim(worker, "a")
        if claim:
            worker.take(claim)
            worker.gate.leave()

    def check(self, *, survived):
        [entry] = self.spool.entries_of("a")
        runs = lookup.runs(self.spool, entry)
        if entry.state != "pending" or runs:
            assert entry.state in self.ends
            assert runs[-1]["to"] == entry.file
            assert survived <= ("torn" not in (runs[-1]["reason"] or ""))
        # An attempt is counted before it starts: never fewer attempts than runs.
        assert entry.name.attempts >= len({run["claim"] for run in runs if run["claim"]})


class Retry(Complete):
    fields = {"command": ["false"]}
    ends = {"failed"}


class Bury(Complete):
    fields = {"command": ["false"], "max_retries": 1}
    ends = {"dead"}


class Speak(Complete):
    fields = {"command": "echo out; echo err >&2"}


class Release(Complete):
    def live(self):
        worker = self.worker()
        claim = self.claim(worker, "a")
        if claim:
            self.spool.release(claim)

    def check(self, *, survived):
        [entry] = self.spool.entries_of("a")
        assert entry.state == "pending" or (entry.state, entry.name.attempts) == ("failed", 1)


class Rescue(Life):
    """Rescuing what another worker left: one run with a record, one without, one drop, one request to cancel."""

    def prepare(self):
        super().prepare()
        for id in ("recorded", "lost", "wanted"):
            self.put(id)
        seam.live(self.leave, lambda _: None, self.path.parent / "note")
        (self.path / "processing" / "dead-1-abc" / "x.json").write_text(
            '{"command": "true", "id": "dropped"}'
        )

    def leave(self):
        """What a worker named dead-1-abc leaves when it dies."""
        (self.path / "processing" / "dead-1-abc").mkdir()
        record, _ = liveness.enroll(self.spool, "super-1-abc", os.getpid())
        for end in (".json", ".lock"):
            os.rename(
                self.path / "workers" / (record.worker + end),
                self.path / "workers" / ("dead-1-abc" + end),
            )
        os.rmdir(self.path / "processing" / record.worker)
        claims = {}
        for id in ("recorded", "lost", "wanted"):
            [entry] = self.spool.entries_of(id)
            claims[id] = self.spool.claim(entry.file, "dead-1-abc", time.time())
        target = self.spool.target(claims["recorded"], "completed", time.time())
        recovery.results.append(
            self.spool.at("results"),
            "recorded",
            recovery.blank(claims["recorded"], target) | {"outcome": "completed"},
        )
        (self.path / (claims["wanted"].file + ".cancel")).touch()

    def live(self):
        recovery.rescue(self.spool, liveness.Observer(self.spool))

    def check(self, *, survived):
        states = {
            entry.name.id: entry.state for state in STATES for entry in self.spool.entries(state)
        }
        assert states == {"recorded": "completed", "lost": "failed", "wanted": "dead"}
        assert len(self.spool.drops()) == 1
        assert len(lookup.runs(self.spool, lookup.find(self.spool, "lost"))) >= 1


class Revive(Life):
    def prepare(self):
        super().prepare()
        self.put("a")
        [entry] = self.spool.entries_of("a")
        self.spool.move(entry, "dead", entry.name)

    def live(self):
        actions.revive(self.spool, lookup.find(self.spool, "a"))

    def check(self, *, survived):
        assert self.spool.state_of("a") in ({"pending"} if survived else {"pending", "dead"})


class CancelWaiting(Life):
    def prepare(self):
        super().prepare()
        self.put("a")

    def live(self):
        actions.cancel(self.spool, "a")

    def check(self, *, survived):
        assert self.spool.state_of("a") in ({"dead"} if survived else {"pending", "dead"})


class CancelRunning(Complete):
    def live(self):
        worker = self.worker()
        self.claim(worker, "a")
        actions.cancel(self.spool, "a")

    def check(self, *, survived):
        # Recovery finds a dead worker with a request, or with none.
        assert self.spool.state_of("a") in ({"dead"} if survived else {"dead", "failed", "pending"})


class Remove(Life):
    def prepare(self):
        super().prepare()
        self.spool.enqueue({"command": "true", "id": "a"})
        (self.path / "results" / "a.jsonl").write_text('{"claim": "x", "attempt": 1}\n')
        (self.path / "logs" / "a.1.out").write_text("x")

    def live(self):
        actions.remove(self.spool, lookup.find(self.spool, "a"))

    def check(self, *, survived):
        if self.spool.state_of("a") is None:
            self.spool.enqueue({"command": "true", "id": "a"})


class Prune(Life):
    def prepare(self):
        super().prepare()
        self.put("kept")
        for id in ("a", "b"):
            self.spool.enqueue({"command": "true", "id": id})
            [entry] = self.spool.entries_of(id)
            self.spool.move(entry, "completed", entry.name._replace(time=1.0))
        self.spool.enqueue({"command": "true", "id": "waits", "after": "a"}, hold=True)

    def live(self):
        actions.prune(self.spool, config.Settings(), time.time())

    def check(self, *, survived):
        left = [entry.name.id for entry in self.spool.entries("completed")]
        assert left == ["a"] if survived else {"a"} <= set(left) <= {"a", "b"}


class Renew(Life):
    """A directory that once was huge is swapped for a new one."""

    drops = {"x.json": '{"command": "old"}', ".hidden.json": "partial", "note.txt": "text"}

    def prepare(self):
        super().prepare()
        for id in ("a", "b"):
            self.put(id)
        for name, text in self.drops.items():
            (self.path / "pending" / name).write_text(text)

    def live(self):
        renewal.renew(self.spool, "pending")

    def check(self, *, survived):
        found = {
            name: (self.path / "pending" / name).read_text()
            for name in names(self.path, "pending")
            if not decode(name)
        }
        assert found == self.drops
        assert stat.S_IMODE((self.path / "pending").stat().st_mode) == 0o700
        (self.path / "pending" / "x.json").unlink()


class Pause(Life):
    is_tidy = True

    def live(self):
        actions.pause(self.spool)

    def check(self, *, survived):
        assert self.spool.is_paused() or not survived


class Resume(Life):
    def prepare(self):
        super().prepare()
        actions.pause(self.spool)

    def live(self):
        actions.resume(self.spool)

    def check(self, *, survived):
        assert not (survived and self.spool.is_paused())


class EnqueueBatch(Life):
    """A batch that has a job already; one of the new ones has a chosen id."""

    is_tidy = True

    def prepare(self):
        super().prepare()
        self.put("first", batch="b")

    def live(self):
        jobs = [
            {"command": "true", "batch": "b", **({"id": "first2"} if i else {})} for i in range(2)
        ]
        self.acknowledge(*self.spool.enqueue_all(jobs))

    def check(self, *, survived):
        listed = batches.members(self.spool, "b")
        assert {entry.name.id for entry in self.spool.entries("pending")} <= listed.keys()
        assert len([id for id in listed if id in ("first", "first2") or ids.is_ours(id)]) == len(
            listed
        )


class EnqueueHeldBatch(Life):
    is_tidy = True

    def live(self):
        self.acknowledge(self.spool.enqueue({"command": "true", "batch": "b"}, hold=True))

    def check(self, *, survived):
        assert len(list(self.spool.entries("held"))) == 1 or not survived


class AdmitBatch(Admit):
    fields = {"command": ["true"], "batch": "b"}

    def check(self, *, survived):
        super().check(survived=survived)
        assert {entry.name.id for entry in self.spool.entries("pending")} <= batches.members(
            self.spool, "b"
        ).keys()


class PruneBatch(Prune):
    """The lists of three batches: one has lost its jobs, one has one, and one is young."""

    def prepare(self):
        super().prepare()
        self.put("c", batch="alive")
        for name in ("gone", "alive", "young"):
            with (self.path / "batches" / name).open("a") as file:
                file.write("nobody\n")
        for name in ("gone", "alive"):
            os.utime(self.path / "batches" / name, (1, 1))

    def check(self, *, survived):
        super().check(survived=survived)
        assert set(batches.names(self.spool)) - {"gone"} == {"alive", "young"}
        assert not (survived and (self.path / "batches" / "gone").exists())
        assert "c" in batches.members(self.spool, "alive")


class HoldMany(Life):
    """Jobs of each state in which one waits are put where the verb wants them, all together."""

    before = ("pending", "failed", "blocked")
    after = ("held",)

    def prepare(self):
        super().prepare()
        for state in self.before:
            self.put(state)
            [entry] = self.spool.entries_of(state)
            if state == "blocked":
                self.spool.need("blocked")
                (self.path / "blocked" / "after.pending").mkdir()
                os.rename(
                    self.path / entry.file,
                    self.path / "blocked" / "after.pending" / os.path.basename(entry.file),
                )
            elif state != "pending":
                assert self.spool.move(entry, state, entry.name)

    def live(self):
        with self.spool.together():
            for entry in list(Selection(self.spool, name=None).entries(self.before)):
                self.act(entry)

    def act(self, entry):
        actions.hold(self.spool, entry)

    def check(self, *, survived):
        for id in self.before:
            assert self.spool.state_of(id) in (self.after if survived else (id, *self.after))


class ReleaseMany(HoldMany):
    before, after = ("held",), ("pending",)

    def act(self, entry):
        actions.release(self.spool, entry)


class RetryMany(HoldMany):
    before, after = ("failed", "dead"), ("pending",)

    def act(self, entry):
        actions.retry(self.spool, entry)


class ChangeMany(HoldMany):
    before, after = ("held", "pending", "failed", "blocked"), ("held", "pending", "blocked")

    def act(self, entry):
        actions.change(self.spool, entry, priority=9, due=1e9)

    def check(self, *, survived):
        found = [entry for id in self.before for entry in self.spool.entries_of(id)]
        assert {entry.name.id: entry.state for entry in found if entry.name.priority == 9} == {
            entry.name.id: entry.name.id.replace("failed", "pending")
            for entry in found
            if survived or entry.name.priority == 9
        }


class ConfigSet(Life):
    is_tidy = True

    def prepare(self):
        super().prepare()
        config.change(self.spool.at("config.json"), self.spool.temporary(), {"timeout": 5.0})

    def live(self):
        config.change(self.spool.at("config.json"), self.spool.temporary(), {"max_retries": 7})

    def check(self, *, survived):
        settings = config.settle(self.spool.at("config.json"), {})
        assert settings.timeout == 5
        assert settings.max_retries in ({7} if survived else {3, 7})


class Limited(Complete):
    """A job with a limit runs: its token is taken, and comes back."""

    fields = {"limit": "x"}

    def check(self, *, survived):
        super().check(survived=survived)
        self.check_tokens("x")

    def check_tokens(self, limit):
        assert limits.free(self.spool, limit) == [
            str(n + 1) for n in range(self.spool.settings().limit(limit))
        ]
        with self.enrolled() as worker:
            assert limits.take(self.spool, limit, worker)
            [token] = self.spool.held_by(worker)
            limits.give_back(self.spool, worker, token)


class FullLimit(Limited):
    """A job finds its limit full and waits, until the one that has the token is found dead."""

    def prepare(self):
        super().prepare()
        seam.live(self.leave, lambda _: None, self.path.parent / "note")
        self.put("b", limit="x")

    def leave(self):
        """A worker takes the token and dies."""
        record, _ = liveness.enroll(self.spool, "super-1-abc", os.getpid())
        assert limits.take(self.spool, "x", record.worker)

    def check(self, *, survived):
        self.check_tokens("x")
        # Whoever gave the token back woke the one that waited; nobody sleeps beside a free token.
        assert [*self.spool.entries("blocked")] == []


class After(Complete):
    """A job that waits for another is claimed too early."""

    fields = {"after": ["b"]}

    def prepare(self):
        Life.prepare(self)
        self.put("b")
        self.put("a", **self.fields)

    def check(self, *, survived):
        [entry] = self.spool.entries_of("a")
        assert entry.name.attempts == 0 or entry.state == "failed"
        assert entry.state in (
            "blocked",
            "pending",
            "failed",
        )  # pending: the disk failed, and it was given back
        self.end("b")
        assert self.spool.state_of("a") in ("pending", "failed")

    def end(self, id):
        with self.enrolled() as worker:
            [entry] = self.spool.entries_of(id)
            claim = self.spool.claim(entry.file, worker, time.time())
            assert self.spool.file(claim, self.spool.target(claim, "completed", time.time()))
        blocked.sweep(self.spool)


class Before(Complete):
    """A job ends for which others wait."""

    def prepare(self):
        super().prepare()
        for id in ("b", "c"):
            self.put(id, after="a")
            [entry] = self.spool.entries_of(id)
            (self.path / "blocked" / "after.a").mkdir(parents=True, exist_ok=True)
            os.rename(
                self.path / entry.file,
                self.path / "blocked" / "after.a" / os.path.basename(entry.file),
            )

    def check(self, *, survived):
        super().check(survived=survived)
        ended = self.spool.state_of("a") == "completed"
        assert {self.spool.state_of(id) for id in ("b", "c")} == {"pending" if ended else "blocked"}


class InVain(Complete):
    """A job waits for another that died."""

    fields = {"after": ["b"]}
    ends = {"dead", "failed"}

    def prepare(self):
        Life.prepare(self)
        self.put("b")
        [entry] = self.spool.entries_of("b")
        self.spool.move(entry, "dead", entry.name)
        self.put("a", **self.fields)

    def check(self, *, survived):
        assert self.spool.state_of("a") in ("dead", "pending", "failed")


class Unique(Complete):
    """A job with a key ends: the key is free."""

    fields = {"unique": "key"}

    def check(self, *, survived):
        super().check(survived=survived)
        if self.spool.state_of("a") == "completed":
            self.acknowledge(self.spool.enqueue({"command": "true", "unique": "key"}))
        else:
            with pytest.raises(KeyTaken, match="job a"):
                self.spool.enqueue({"command": "true", "unique": "key"})


class EnqueueUnique(Life):
    is_tidy = True

    def live(self):
        self.acknowledge(self.spool.enqueue({"command": "true", "unique": "key"}))

    def check(self, *, survived):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                unique, "NEWBORN", 0.0
            )  # a key without a job counts as one that is being enqueued for so long
            if self.spool.count("pending"):
                with pytest.raises(KeyTaken):
                    self.spool.enqueue({"command": "true", "unique": "key"})
            else:
                self.acknowledge(self.spool.enqueue({"command": "true", "unique": "key"}))


class AdmitUnique(Admit):
    fields = {"command": ["true"], "unique": "key"}


class Hold(Life):
    states = {"held"}

    def prepare(self):
        super().prepare()
        self.put("a", delay=60)

    def live(self):
        actions.hold(self.spool, lookup.find(self.spool, "a"))

    def check(self, *, survived):
        assert self.spool.state_of("a") in (
            self.states if survived else self.states | {"pending", "held", "failed"}
        )


class EnqueueHeld(Hold):
    def prepare(self):
        Life.prepare(self)

    def live(self):
        self.acknowledge(self.spool.enqueue({"command": "true", "id": "a"}, hold=True))

    def check(self, *, survived):
        assert self.spool.state_of("a") in ({"held"} if survived else {"held", None})


class ReleaseHeld(Hold):
    states = {"pending"}

    def prepare(self):
        super().prepare()
        actions.hold(self.spool, lookup.find(self.spool, "a"))

    def live(self):
        actions.release(self.spool, lookup.find(self.spool, "a"))


class Change(Hold):
    states = {"pending"}

    def live(self):
        actions.change(self.spool, lookup.find(self.spool, "a"), priority=9, due=5.0)

    def check(self, *, survived):
        super().check(survived=survived)
        [entry] = self.spool.entries_of("a")
        assert (
            entry.name[:2] == (5.0, 9)
            if survived
            else entry.name[:2] == (5.0, 9) or entry.name.priority == 5
        )


class RetryNow(Hold):
    states = {"pending"}

    def prepare(self):
        super().prepare()
        [entry] = self.spool.entries_of("a")
        self.spool.move(entry, "failed", entry.name._replace(attempts=1))

    def live(self):
        actions.retry(self.spool, lookup.find(self.spool, "a"))


class Telling:
    """A kind of life that is told in events/: what becomes of the lines, the job does not suffer."""

    def prepare(self):
        self.spool.make()
        config.change(self.spool.at("config.json"), self.spool.temporary(), {"events": "on"})
        self.spool.settings()
        super().prepare()


class TellingComplete(Telling, Complete):
    pass


class TellingEnqueue(Telling, EnqueueChosen):
    pass


class TellingRescue(Telling, Rescue):
    pass


class TellingHold(Telling, Hold):
    pass


class SumUp(TellingComplete):
    """Adding up the events, and keeping the sums."""

    def live(self):
        metrics.totals(self.spool)

    def check(self, *, survived):
        events = metrics.totals(self.spool).counts
        assert events["enqueued"] == 1


class ScheduleAdd(Life):
    rule = {"cron": "0 * * * *", "zone": "UTC", "catch_up": "all", "job": {"command": ["true"]}}

    def live(self):
        timetable.add(self.spool, "hourly", self.rule)

    def check(self, *, survived):
        found = list(timetable.files(self.spool))
        assert len(found) == 1 if survived else len(found) <= 1
        if not found:
            timetable.add(self.spool, "hourly", self.rule)
        [kept] = timetable.files(self.spool)
        assert timetable.read(self.spool, kept).cron == "0 * * * *"


class ScheduleTick(ScheduleAdd):
    """Ticks that are due become jobs. Whoever looks next makes the others, and none again."""

    def prepare(self):
        super().prepare()
        timetable.add(self.spool, "hourly", self.rule)
        self.began = int(time.time()) - 2 * 3600
        timetable.remember(self.spool, "hourly", self.began)
        file = self.path / "schedules" / "hourly.json"
        file.write_text(json.dumps({**self.rule, "created_at": "2026-01-01T00:00:00Z"}))

    def live(self):
        self.look(1)

    def look(self, times=3):
        warnings = []
        ticker = Ticker(
            self.spool, Log(os.open(os.devnull, os.O_WRONLY), "json"), warnings.append, lambda: None
        )
        for _ in range(times):
            ticker.tick()
        return warnings

    def check(self, *, survived):
        audit_ids = {entry.name.id for entry in self.spool.entries("pending")}
        assert self.look() == []
        [kept] = timetable.files(self.spool)
        rule = timetable.read(self.spool, kept)
        until = timetable.last(self.spool, "hourly")
        expected = schedule.due(rule, self.began, until).ticks
        assert len(expected) >= 2
        assert sorted(entry.name.id for entry in self.spool.entries("pending")) == [
            schedule.tick_id("hourly", tick) for tick in expected
        ]
        assert audit_ids <= {entry.name.id for entry in self.spool.entries("pending")}


class ScheduleMissed(ScheduleTick):
    """Ticks that are not made up: that is remembered."""

    rule = {**ScheduleAdd.rule, "catch_up": "none"}

    def check(self, *, survived):
        assert self.look() == []
        assert timetable.last(self.spool, "hourly") > self.began


class SchedulePause(ScheduleAdd):
    state, other = timetable.ACTIVE, timetable.PAUSED

    def prepare(self):
        super().prepare()
        timetable.add(self.spool, "hourly", self.rule)

    def live(self):
        timetable.pause(self.spool, "hourly")

    def check(self, *, survived):
        [kept] = timetable.files(self.spool)
        assert kept.end in ({self.other} if survived else {self.state, self.other})
        assert timetable.read(self.spool, kept)


class ScheduleResume(SchedulePause):
    state, other = timetable.PAUSED, timetable.ACTIVE

    def prepare(self):
        super().prepare()
        timetable.pause(self.spool, "hourly")

    def live(self):
        timetable.resume(self.spool, "hourly")

    def check(self, *, survived):
        super().check(survived=survived)
        [kept] = timetable.files(self.spool)
        # What came during the pause is dealt with before it ticks again.
        assert kept.end == timetable.PAUSED or timetable.last(self.spool, "hourly")


class ScheduleRemove(SchedulePause):
    def prepare(self):
        super().prepare()
        timetable.remember(self.spool, "hourly", 1)

    def live(self):
        timetable.remove(self.spool, "hourly")

    def check(self, *, survived):
        assert len(list(timetable.files(self.spool))) <= (0 if survived else 1)
        if not list(timetable.files(self.spool)):
            timetable.add(self.spool, "hourly", self.rule)
            assert timetable.last(self.spool, "hourly") is None


class Consume(Complete):
    """A Python program takes a job and works on it."""

    def work(self, job):
        """What it does inside of the block."""

    def live(self):
        claimed.PATIENCE = consumer.PATIENCE = 0.01  # seconds until it tries again
        with contextlib.suppress(KeyboardInterrupt):
            for job in self.spool.consume(wait=False):
                with job:
                    self.work(job)


class ConsumeFailing(Consume):
    ends = {"failed"}

    def work(self, job):
        raise ValueError("no luck")


class ConsumeForGood(Consume):
    ends = {"failed", "dead"}

    def work(self, job):
        job.fail("no use", retry=False)


class ConsumeInterrupted(Consume):
    def work(self, job):
        raise KeyboardInterrupt

    def check(self, *, survived):
        [entry] = self.spool.entries_of("a")
        assert (entry.state, entry.name.attempts) == ("pending", 0) or (
            not survived and (entry.state, entry.name.attempts) == ("failed", 1)
        )


class ConsumeCancelled(Consume):
    ends = {"failed", "dead"}

    def work(self, job):
        actions.cancel(self.spool, "a")
        assert job.is_cancelled()


class ConsumeDrop(Consume):
    """The job is a drop that it admits first."""

    def prepare(self):
        self.spool.make()
        (self.path / "pending" / "x.json").write_text('{"id": "a", "command": ["true"]}')

    def check(self, *, survived):
        with self.enrolled() as worker:
            for drop in self.spool.drops():
                assert isinstance(
                    admission.admit(self.spool, drop, worker, last=True), admission.Admitted
                )
        super().check(survived=survived)


class ConsumeLimited(Consume, Limited):
    """The job has a limit: its token is taken, and comes back."""


class ConsumeAfter(Consume):
    """Another job waits for the one that is consumed."""

    def prepare(self):
        super().prepare()
        self.put("b", after=["a"], priority=9)

    def check(self, *, survived):
        states = {
            entry.name.id: entry.state for state in STATES for entry in self.spool.entries(state)
        }
        assert not survived or states == {"a": "completed", "b": "completed"}
        assert (states["a"], states["b"]) != ("completed", "blocked"), "nobody woke it"


class Hooked(Complete):
    """A job ends for which hooks wait; so does the last one of a batch."""

    fields = {"batch": "b"}
    state = "completed"

    def prepare(self):
        super().prepare()
        self.told = self.path.parent / "told"
        (self.path / "hooks").mkdir(mode=0o700)
        for name in ("completed", "dead", "batch-done"):
            hook = self.path / "hooks" / name
            hook.write_text(f'#!/bin/sh\necho "$QUEUECTL_HOOK" >> {self.told}\n')
            hook.chmod(0o700)
        (self.path / "batches").mkdir(mode=0o700, exist_ok=True)
        (self.path / "batches" / "b").write_text("a\n")
        os.utime(self.path / "batches" / "b", (0, 0))

    def call(self):
        calls.YOUNG = 0.0  # what never came did not come
        calls.Calls(self.spool, "super-1-abc", Log(os.open(os.devnull, os.O_WRONLY), "json")).run()

    def check(self, *, survived):
        super().check(survived=survived)
        seam.live(self.call, lambda _: None, self.path.parent / "note")
        has_ended = self.spool.state_of("a") == self.state
        told = set(self.told.read_text().split()) if self.told.exists() else set()
        wanted = {self.state, "batch-done"} if has_ended else set()
        # A disk that fails may cost a note, since no job is kept from its end for it; a death never does.
        assert told == wanted if self.dies else told <= wanted
        assert names(self.path, "hooks/due") == names(self.path, "hooks/running") == []


class HookedBury(Hooked):
    fields = {"command": ["false"], "max_retries": 1, "batch": "b"}
    ends = {"dead"}
    state = "dead"


class HookedRescue(HookedBury):
    """The worker has died, and so does who rescues its job."""

    def prepare(self):
        super().prepare()
        seam.live(self.leave, lambda _: None, self.path.parent / "note")

    def leave(self):
        self.claim(self.worker(), "a")

    def live(self):
        recovery.rescue(self.spool, liveness.Observer(self.spool))


class HookedConsume(Consume, Hooked):
    """A Python program works on the job."""


class Call(HookedBury):
    """Hooks are run for a job that has ended."""

    def prepare(self):
        super().prepare()
        seam.live(self.end, lambda _: None, self.path.parent / "note")
        recover(self)

    def end(self):
        worker = self.worker()
        worker.take(self.claim(worker, "a"))

    def live(self):
        self.call()


class PruneTurn(Life):
    """Of those who could prune the spool one does; if that one dies, the next in the next interval."""

    def prepare(self):
        super().prepare()
        janitor.take_turn(self.spool, 6)

    def live(self):
        janitor.take_turn(self.spool, 7)

    def check(self, *, survived):
        assert janitor.take_turn(self.spool, 8)
        assert [path.name for path in self.path.glob("pruned.*")] == ["pruned.8"]


KINDS = [
    kind
    for kind in globals().values()
    if isinstance(kind, type) and issubclass(kind, Life) and kind is not Life
]


def recover(life):
    """What the next start of a supervisor does, twice: a recovery must bear to be repeated."""
    for _ in range(2):
        if (life.path / "spool.json").exists():
            life.spool.restore()
            life.spool.sweep()
            recovery.rescue(life.spool, liveness.Observer(life.spool))
            liveness.sweep(life.spool)
            blocked.sweep(life.spool)
            porter.recover(life.spool, liveness.Observer(life.spool))


def audit(life):
    """What holds for every kind after every recovery."""
    if not (life.path / "spool.json").exists():
        assert life.acknowledged == []
        life.spool.make()
        return
    found = [entry for state in STATES for entry in life.spool.entries(state)]
    ids = [entry.name.id for entry in found]
    assert len(ids) == len(set(ids)), f"in two places: {sorted(ids)}"
    assert set(life.acknowledged) <= set(ids), f"lost: {set(life.acknowledged) - set(ids)}"
    for entry in found:
        assert lookup.read(life.spool, entry.file), f"not whole: {entry.file}"
    for name in os.listdir(life.path / "processing"):
        assert os.listdir(life.path / "processing" / name) == [], f"left with a dead worker: {name}"
    assert os.listdir(life.path / "tmp") == []
    for id in os.listdir(life.path / "ids"):
        file = life.path / "ids" / id
        assert id == ".lock" or file.stat().st_nlink <= 2
    assert all(
        decode(name)
        for state in ("failed", "completed", "dead")
        for name in names(life.path, state)
    )


def run_all(life):
    """Every job that is left can be claimed and completed, once."""
    with life.enrolled() as worker:
        for state in ("pending", "failed"):
            for entry in list(life.spool.entries(state)):
                claim = life.spool.claim(entry.file, worker, time.time())
                assert claim
                assert life.spool.file(claim, life.spool.target(claim, "completed", time.time()))


def each_point(kind, path_of, act, *, tidy=False):
    """Live a kind again and again with `act` at call 1, 2, ... until it has fewer calls than that."""
    for k in range(1, ENDLESS):
        tmp_path = path_of(k)
        life = kind(tmp_path / "spool", tmp_path)
        life.prepare()
        life.dies = act in (seam.die_before, seam.die_within, seam.die_after, *seam.INTERRUPTS)
        now = act if act in seam.ACTS else act(k)
        code, count = seam.live(
            life.live, lambda n, k=k, now=now: now if n == k else None, tmp_path / "note"
        )
        try:
            left = sorted(os.listdir(life.path / "tmp")) if (life.path / "tmp").exists() else []
            recover(life)
            audit(life)
            life.check(survived=code == 0 and (act not in seam.INTERRUPTS or count < k))
            run_all(life)
            assert not (tidy and code == 1 and kind.is_tidy and left), f"rubbish left: {left}"
        except AssertionError as error:
            raise AssertionError(f"{kind.__name__}, call {k}, exit {code}: {error}") from error
        if code != seam.KILLED and count < k:
            return k - 1
    raise AssertionError("no end")


@pytest.fixture
def path_of(tmp_path):
    numbers = itertools.count()

    def path_of(k):
        path = tmp_path / f"{next(numbers)}-{k}"
        path.mkdir()
        return path

    return path_of


@pytest.mark.parametrize("act", [seam.die_before, seam.die_within, seam.die_after])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_death_at_any_point_loses_and_doubles_nothing(kind, act, path_of):
    assert each_point(kind, path_of, act) > 1


@pytest.mark.parametrize("act", seam.INTERRUPTS)
@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if issubclass(kind, Consume)], ids=lambda kind: kind.__name__
)
def test_a_program_that_is_interrupted_at_any_point_clears_up_as_a_rescue_does(kind, act, path_of):
    assert each_point(kind, path_of, act) > 1


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_write_that_takes_only_half_is_finished(kind, path_of):
    each_point(kind, path_of, seam.write_less, tidy=True)


@pytest.fixture
def turns(request):
    """Which of `count` errors the first call gives: one of them, by the seed; all of them, one after the other, with --every-error."""
    every = request.config.getoption("every_error")
    return lambda count: range(count) if every else [random.randrange(count)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_call_that_worked_and_said_it_did_not_loses_and_doubles_nothing(kind, path_of, turns):
    """In which of the five ways a call lies changes from call to call."""
    for turn in turns(len(seam.LIES)):
        each_point(
            kind, path_of, lambda k, turn=turn: seam.lie(seam.LIES[(2 * k + turn) % len(seam.LIES)])
        )


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_call_that_failed_loses_and_doubles_nothing(kind, path_of, turns):
    """In which of the eight ways a call fails changes from call to call."""
    for turn in turns(len(seam.FAILURES)):
        each_point(
            kind,
            path_of,
            lambda k, turn=turn: seam.fail(seam.FAILURES[(2 * k + turn) % len(seam.FAILURES)]),
            tidy=True,
        )
