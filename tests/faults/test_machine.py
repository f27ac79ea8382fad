"""A machine against a model: random enqueues, drops, claims, outcomes, crashes, zombies, rescues and cancels against a dict.

After every step every accepted job is in exactly one place, its bytes are unchanged, and no fewer attempts are counted than it had runs.
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

from queuectl import Spool, actions, admission, liveness, lookup, recovery, results
from queuectl.errors import IdTaken, WrongState
from queuectl.filename import decode
from queuectl.layout import STATES

IDS = st.sampled_from([f"id{n}" for n in range(6)])
OUTCOMES = st.sampled_from(["completed", "failed", "timeout"])


class Spools(RuleBasedStateMachine):
    """`jobs` is the model: id -> bytes. `runs` counts the runs since the attempts of a job began at 0."""

    @initialize()
    def make(self):
        # A request to cancel signals the worker that runs the job: here that is this very process.
        self.before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        self.directory = Path(tempfile.mkdtemp())
        self.spool = Spool(self.directory / "spool").make()
        self.path = Path(self.spool.path)
        self.jobs, self.runs, self.locks, self.claims = {}, {}, {}, []
        self.drops = 0
        self.start_worker()
        for _ in range(2):
            self.accept(self.spool.enqueue({"command": "true", "max_retries": 2}))

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
        return sorted((entry for state in states for entry in self.spool.entries(state)), key=lambda entry: entry.name.id)

    def accept(self, id):
        assert id not in self.jobs
        self.jobs[id] = (self.path / self.entry(id).file).read_bytes()
        self.runs[id] = 0

    # -- coming in

    @rule(id=st.none() | IDS, priority=st.integers(0, 9), max_retries=st.integers(1, 3))
    def enqueue(self, id, priority, max_retries):
        job = {"command": "true", "priority": priority, "max_retries": max_retries, **({"id": id} if id else {})}
        try:
            made = self.spool.enqueue(job)
        except IdTaken:
            assert id in self.jobs
            return
        self.accept(made)

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

    @precondition(lambda self: self.locks)
    @rule(data=st.data())
    def claim(self, data):
        waiting = self.in_order("pending", "failed")
        if not waiting:
            return
        entry = data.draw(st.sampled_from(waiting))
        worker = data.draw(st.sampled_from(list(self.locks)))
        claim = self.spool.claim(entry.file, worker, time.time())
        assert claim
        assert self.spool.claim(entry.file, worker, time.time()) is None
        self.runs[entry.name.id] += 1
        self.claims.append(claim)

    def some_claim(self, data):
        return self.claims.pop(data.draw(st.integers(0, len(self.claims) - 1)))

    @precondition(lambda self: self.claims)
    @rule(outcome=OUTCOMES, recorded=st.booleans(), data=st.data())
    def end(self, outcome, recorded, data):
        """A worker, or its zombie, comes to the end of a run: it records it and files the job if it is still its own."""
        claim = self.some_claim(data)
        there = (self.path / claim.file).exists()
        retries = lookup.read(self.spool, claim.file).max_retries if there else None
        verdict = recovery.judge(claim, outcome, time.time(), self.spool.settings(), retries)
        target = self.spool.target(claim, *verdict)
        results.append(self.spool.at("results"), claim.name.id, recovery.blank(claim, target) | {"outcome": outcome})
        if recorded:
            assert self.spool.file(claim, target) == there

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def release(self, data):
        claim = self.some_claim(data)
        if self.spool.release(claim):
            self.runs[claim.name.id] -= 1

    @precondition(lambda self: self.locks)
    @rule(data=st.data())
    def crash(self, data):
        """The kernel lets go of the lock of a dead worker; its claims stay with the zombie in `claims`."""
        os.close(self.locks.pop(data.draw(st.sampled_from(list(self.locks)))))

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
        assert actions.revive(self.spool, entry)
        self.runs[entry.name.id] = 0

    @precondition(lambda self: list(self.spool.entries("dead")))
    @rule(data=st.data())
    def move_back_by_hand(self, data):
        entry = data.draw(st.sampled_from(self.in_order("dead")))
        os.rename(self.path / entry.file, self.path / "pending" / os.path.basename(entry.file))

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
    def nothing_else_lies_about(self):
        if hasattr(self, "jobs"):
            assert os.listdir(self.path / "tmp") == []
            assert all(decode(name) for state in ("failed", "completed", "dead") for name in os.listdir(self.path / state))


TestSpools = Spools.TestCase
TestSpools.settings = settings(max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))
