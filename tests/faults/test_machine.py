"""A machine against a model: random enqueues, drops, claims, outcomes, crashes, zombies, rescues, cancels, holds and changes against a dict.

After every step every accepted job is in exactly one place, its bytes are unchanged, and no fewer attempts are counted than it had runs. No more
jobs of a limit run than it allows, one job of a key waits or runs, nothing runs before what it waits for has ended, and nothing sleeps that may go on.
"""

import os
import shutil
import signal
import tempfile
import time
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from queuectl import (
    Spool,
    actions,
    admission,
    blocked,
    config,
    gate,
    liveness,
    lookup,
    recovery,
    results,
)
from queuectl.errors import IdTaken, KeyTaken, WrongState
from queuectl.filename import decode
from queuectl.layout import ENDED, STATES

IDS = st.sampled_from([f"id{n}" for n in range(6)])
KEYS = st.none() | st.sampled_from(["k1", "k2"])
LIMITS = st.none() | st.sampled_from(["x", "y"])
OUTCOMES = st.sampled_from(["completed", "failed", "timeout"])


class Spools(RuleBasedStateMachine):
    """`jobs` is the model: id -> bytes. `runs` counts the runs since the attempts of a job began at 0.

    `gates` are the living workers: a worker has one job at a time, `busy` are those that have one.
    """

    @initialize()
    def make(self):
        # A request to cancel signals the worker that runs the job: here that is this very process.
        self.before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        self.directory = Path(tempfile.mkdtemp())
        self.spool = Spool(self.directory / "spool").make()
        self.path = Path(self.spool.path)
        self.jobs, self.runs, self.locks, self.claims = {}, {}, {}, []
        self.gates, self.busy = {}, set()
        self.drops = 0
        self.start_worker()
        self.start_worker()
        first, *_ = ids = self.spool.enqueue_all(
            [
                {"command": "true", "max_retries": 2, "limit": limit}
                for limit in (None, "x", "x", "x")
            ]
        )
        for id in [*ids, self.spool.enqueue({"command": "true", "after": first, "unique": "k1"})]:
            self.accept(id)
        for id in list(self.jobs)[1:]:
            if len(self.busy) < 2:
                self.claim_for(
                    self.entry(id), next(worker for worker in self.locks if worker not in self.busy)
                )

    def teardown(self):
        for lock in self.locks.values():
            os.close(lock)
        shutil.rmtree(self.directory)
        signal.signal(signal.SIGUSR1, self.before)

    def entry(self, id):
        [entry] = self.spool.entries_of(id)
        return entry

    def in_order(self, *states):
        """The jobs in these states, in the same order at every replay: that of a listing, and of times, is not."""
        return sorted(
            (entry for state in states for entry in self.spool.entries(state)),
            key=lambda entry: entry.name.id,
        )

    def accept(self, id):
        assert id not in self.jobs
        self.jobs[id] = (self.path / self.entry(id).file).read_bytes()
        self.runs[id] = 0

    # -- coming in

    @rule(
        id=st.none() | IDS,
        priority=st.integers(0, 9),
        max_retries=st.integers(1, 3),
        unique=KEYS,
        limit=LIMITS,
        hold=st.booleans(),
    )
    def enqueue(self, id, priority, max_retries, unique, limit, hold):
        job = {
            "command": "true",
            "priority": priority,
            "max_retries": max_retries,
            "unique": unique,
            "limit": limit,
        }
        try:
            made = self.spool.enqueue(job | ({"id": id} if id else {}), hold=hold)
        except IdTaken:
            assert id in self.jobs
            return
        except KeyTaken as error:
            assert error.holder in self.jobs
            assert self.entry(error.holder).state not in ENDED
            return
        self.accept(made)

    @precondition(lambda self: self.jobs)
    @rule(
        kind=st.sampled_from(["after", "after_any", "after_failed"]), limit=LIMITS, data=st.data()
    )
    def enqueue_after(self, kind, limit, data):
        others = data.draw(st.lists(st.sampled_from(sorted(self.jobs)), min_size=1, max_size=2))
        self.accept(self.spool.enqueue({"command": "true", kind: others, "limit": limit}))

    @rule(id=st.none() | IDS, whole=st.booleans())
    def drop(self, id, whole):
        self.drops += 1
        text = '{"command": "true"' + (f', "id": "{id}"' if id else "") + ("}" if whole else "")
        (self.path / "pending" / f"drop{self.drops}.json").write_text(text)

    @precondition(lambda self: self.locks and self.spool.drops())
    @rule(last=st.booleans(), data=st.data())
    def admit(self, last, data):
        drops = self.spool.drops()
        worker = data.draw(st.sampled_from(list(self.locks)))
        answer = admission.admit(self.spool, data.draw(st.sampled_from(drops)), worker, last=last)
        if isinstance(answer, admission.Admitted):
            self.accept(answer.name.id)

    # -- workers

    @precondition(lambda self: len(self.locks) < 3)
    @rule()
    def start_worker(self):
        record, lock = liveness.enroll(self.spool, "super-1-abc", os.getpid())
        # One process plays all of them: the nonce makes their names differ.
        self.locks[record.worker] = lock
        self.gates[record.worker] = gate.Gate(self.spool, record.worker)

    @precondition(lambda self: set(self.locks) - self.busy)
    @rule(data=st.data())
    def claim(self, data):
        waiting = self.in_order("pending", "failed")
        if not waiting:
            return
        entry = data.draw(st.sampled_from(waiting))
        self.claim_for(
            entry,
            data.draw(
                st.sampled_from([worker for worker in self.locks if worker not in self.busy])
            ),
        )

    def claim_for(self, entry, worker):
        claim = self.spool.claim(entry.file, worker, time.time())
        assert claim
        assert self.spool.claim(entry.file, worker, time.time()) is None
        job = admission.examine(self.spool, claim, self.spool.settings())
        if self.gates[worker].enter(claim, job) != "open":
            assert self.entry(entry.name.id).state != "processing"
            return
        for wanted, ids in (
            ({"completed"}, job.after),
            ({"completed", "dead"}, job.after_any),
            ({"dead"}, job.after_failed),
        ):
            assert all(self.entry(id).state in wanted for id in ids)
        self.busy.add(worker)
        self.runs[entry.name.id] += 1
        self.claims.append(claim)

    def leave(self, claim):
        """A worker is done with a job."""
        self.gates[claim.worker].leave()
        self.busy.discard(claim.worker)

    def some_claim(self, data):
        return self.claims.pop(data.draw(st.integers(0, len(self.claims) - 1)))

    @precondition(lambda self: self.claims)
    @rule(outcome=OUTCOMES, recorded=st.booleans(), data=st.data())
    def end(self, outcome, recorded, data):
        """A worker, or its zombie, comes to the end of a run: it records it and files the job if it is still its own."""
        claim = self.some_claim(data)
        there = (self.path / claim.file).exists()
        job = lookup.read(self.spool, claim.file) if there else None
        verdict = recovery.judge(
            claim, outcome, time.time(), self.spool.settings(), job and job.max_retries
        )
        target = self.spool.target(claim, *verdict)
        results.append(
            self.spool.at("results"),
            claim.name.id,
            recovery.blank(claim, target) | {"outcome": outcome},
        )
        if recorded:
            assert self.spool.file(claim, target) == there
            if there:
                self.gates[claim.worker].ended(claim.name.id, job, verdict.state)
                self.gates[claim.worker].tell()
            self.leave(claim)

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def release(self, data):
        claim = self.some_claim(data)
        if self.spool.release(claim):
            self.runs[claim.name.id] -= 1
        self.leave(claim)

    @precondition(lambda self: self.locks)
    @rule(data=st.data())
    def crash(self, data):
        """The kernel lets go of the lock of a dead worker; its claims stay with the zombie in `claims`."""
        worker = data.draw(st.sampled_from(list(self.locks)))
        os.close(self.locks.pop(worker))
        self.busy.discard(worker)

    @precondition(lambda self: set(self.spool.workers()) - set(self.locks))
    @rule()
    def rescue(self):
        recovery.rescue(self.spool, liveness.Observer(self.spool))
        for worker in self.spool.workers():
            assert worker in self.locks

    # -- people

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def cancel(self, data):
        try:
            actions.cancel(self.spool, data.draw(st.sampled_from(sorted(self.jobs))))
        except WrongState:
            pass  # it is over already

    @precondition(lambda self: list(self.spool.entries("dead")))
    @rule(data=st.data())
    def revive(self, data):
        entry = data.draw(st.sampled_from(self.in_order("dead")))
        try:
            assert actions.revive(self.spool, entry)
        except KeyTaken as error:
            assert self.entry(error.holder).state not in ENDED
            return
        self.runs[entry.name.id] = 0

    @precondition(lambda self: list(self.spool.entries("dead")))
    @rule(data=st.data())
    def move_back_by_hand(self, data):
        entry = data.draw(st.sampled_from(self.in_order("dead")))
        if lookup.read(self.spool, entry.file).unique:
            return  # a second job of a key: the next claim would reject it
        os.rename(self.path / entry.file, self.path / "pending" / os.path.basename(entry.file))

    @precondition(lambda self: self.jobs)
    @rule(act=st.sampled_from([actions.hold, actions.release, actions.retry]), data=st.data())
    def hold_release_or_retry(self, act, data):
        entry = self.entry(data.draw(st.sampled_from(sorted(self.jobs))))
        try:
            assert act(self.spool, entry)
        except WrongState:
            assert act is not actions.hold or entry.state in ("processing", *ENDED)
        except KeyTaken:
            assert entry.state == "dead"
        else:
            if entry.state == "dead":
                self.runs[entry.name.id] = 0

    @precondition(lambda self: self.jobs)
    @rule(priority=st.none() | st.integers(0, 9), due=st.none() | st.floats(0, 4e9), data=st.data())
    def change(self, priority, due, data):
        entry = self.entry(data.draw(st.sampled_from(sorted(self.jobs))))
        try:
            assert actions.change(self.spool, entry, priority=priority, due=due)
        except WrongState:
            assert entry.state in ("processing", *ENDED)

    @rule(limit=st.sampled_from(["x", "y"]), most=st.integers(0, 3))
    def set_limit(self, limit, most):
        """Only more: those that run already are not ended by a lower limit."""
        most = max(most, self.spool.settings().limit(limit))
        config.change(
            self.spool.at("config.json"), self.spool.temporary(), {f"limit.{limit}": most}
        )
        blocked.sweep(self.spool)

    @rule(id=IDS)
    def remove(self, id):
        if id not in self.jobs:
            return  # a drop that is not admitted may be found by its id, and is no job of the model
        try:
            actions.remove(self.spool, lookup.find(self.spool, id))
        except WrongState:
            return
        del self.jobs[id], self.runs[id]

    # -- what always holds

    @invariant()
    def every_job_is_in_one_place_unchanged(self):
        if not hasattr(self, "jobs"):
            return
        places = {}
        for state in STATES:
            for entry in self.spool.entries(state):
                places.setdefault(entry.name.id, []).append(entry)
        assert sorted(places) == sorted(self.jobs)
        for id, entries in places.items():
            [entry] = entries
            assert (self.path / entry.file).read_bytes() == self.jobs[id]
            assert entry.name.attempts >= self.runs[id]

    @invariant()
    def no_more_run_than_their_limit_allows(self):
        if not hasattr(self, "jobs"):
            return
        for limit in ("x", "y"):
            most = self.spool.settings().limit(limit)
            held = [
                name
                for worker in self.spool.workers()
                for name in self.spool.held_by(worker)
                if name.startswith(f"{limit}.")
            ]
            made = [name for name in self.spool.names(f"limits/{limit}") if name.startswith(".")]
            there = [name for name in self.spool.names(f"limits/{limit}") if name.isdigit()]
            running = [
                claim
                for claim in self.claims
                if claim.worker in self.busy and self.has_limit(claim, limit)
            ]
            assert len(running) <= len(held) <= most
            assert len(held) + len(there) == len(made)

    def has_limit(self, claim, limit):
        job = lookup.read(self.spool, claim.file)
        return job is not None and job.limit == limit

    @invariant()
    def one_job_of_a_key_waits_or_runs(self):
        if hasattr(self, "jobs"):
            entries = [
                entry
                for state in STATES
                if state not in ENDED
                for entry in self.spool.entries(state)
            ]
            keys = [key for entry in entries if (key := lookup.read(self.spool, entry.file).unique)]
            assert len(keys) == len(set(keys))

    @invariant()
    def nothing_sleeps_that_may_go_on(self):
        if hasattr(self, "jobs"):
            for key in self.spool.directories("blocked"):
                woken = [
                    entry
                    for entry in self.in_order("pending", "failed")
                    if f"limit.{lookup.read(self.spool, entry.file).limit}" == key
                ]
                assert blocked.is_open(self.spool, key) <= len(woken)

    @invariant()
    def nothing_else_lies_about(self):
        if hasattr(self, "jobs"):
            assert os.listdir(self.path / "tmp") == []
            assert all(
                decode(name)
                for state in ("failed", "completed", "dead")
                for name in self.spool.names(state)
            )


TestSpools = Spools.TestCase
TestSpools.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
