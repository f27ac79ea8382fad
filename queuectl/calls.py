"""Calls: the child of a supervisor that takes notes and runs the hooks for them, one after the other.

A note is taken by a rename into a directory of the child's own, and removed when its hook has ended:

    hooks/running/<supervisor>~<pid of the child>/<note>

Promises
    A note whose job has not moved yet waits; one whose job never came there is dropped.
    A hook gets TERM after its time, and KILL after a grace; how it ended is in the log.
    Told to end, the child ends its hook and puts the note back. Without its supervisor it takes no other.
Leaves to others
    when to call, and the notes of children that died (porter).
Raises
    OSError from the disk.
"""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any, Literal

from queuectl import closing, disk, executor, hooks, lookup, outcome, results
from queuectl.capture import Capture, Stream
from queuectl.errors import NoSuchJob
from queuectl.filename import decode
from queuectl.layout import ENDED, Entry
from queuectl.log import Log
from queuectl.signals import Listener
from queuectl.spool import Spool

#: Seconds that a hook may take, and has between TERM and KILL.
TIMEOUT, GRACE = 60.0, 2.0

#: Bytes that a hook may print, and characters of its end that the log shows if it fails.
MOST_OUTPUT, SHOWN = 1024 * 1024, 500

#: Seconds for which a job that a note is about may be on its way although its history does not say so.
YOUNG = 60.0

#: The variable that says which child runs a hook.
VARIABLE = "QUEUECTL_HOOK_RUN"

#: What a hook does not inherit: it is no job of whatever worker the supervisor may have been started from.
_NOT_OURS = ("QUEUECTL_WORKER", "QUEUECTL_JOB_ID", "QUEUECTL_ATTEMPT")

Fate = Literal["came", "coming", "never"]


class Calls:
    """Works as a child of `supervisor`; `run` returns when no note is left that can be dealt with now."""

    def __init__(self, spool: Spool, supervisor: str, log: Log) -> None:
        self._spool, self._log = spool, log
        self.name = f"{supervisor}~{os.getpid()}"
        self._own = f"hooks/running/{self.name}"
        self._stopping, self._boss = False, os.getppid()
        self._later: dict[str, float] = {}
        self._of_batch: dict[str, list[str]] = {}
        self._gone: set[str] = set()

    def run(self) -> None:
        """Deal with all notes; those that must wait a little are waited for."""
        self._listener = Listener()
        signal.signal(signal.SIGTERM, self._stop)
        while not self._stopping and os.getppid() == self._boss:
            now = time.monotonic()
            notes = [note for note in hooks.due(self._spool) if self._later.get(note, 0.0) <= now]
            waits = [
                at - now for at in self._later.values() if now < at < now + closing.SETTLED + 1
            ]
            if not notes and not waits:
                break
            self._of_batch, self._gone = self._by_batch(notes), set()
            for note in notes:
                if note not in self._gone and not self._stopping and os.getppid() == self._boss:
                    self._deal(note)
            if not notes:
                self._listener.hear(min(waits))
        disk.remove(self._spool.at(self._own))

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _by_batch(self, notes: list[str]) -> dict[str, list[str]]:
        """The notes of jobs that have ended in each batch."""
        found: dict[str, list[str]] = {}
        for note in notes:
            if note.startswith(hooks.BATCH + hooks.SIGN):
                batch = disk.pointed(self._spool.at("hooks", "due", note)) or ""
                found.setdefault(batch, []).append(note)
        return found

    # -- one note

    def _deal(self, note: str) -> None:
        hook, _, text = note.partition(hooks.SIGN)
        name = decode(text)
        fate = self._fate(hook, text) if name and hook in hooks.wanted(self._spool) else "never"
        if fate == "coming":
            self._put_off(note, float("inf"))
        elif fate == "never" or name is None:
            disk.unlink(self._spool.at("hooks", "due", note))
        elif self._take(note):
            if hook == hooks.BATCH:
                self._batch_ended(note, name.id)
            else:
                self._finish(note, done=self._call(hook, note, self._job(hook, text), name.id))

    def _put_off(self, note: str, seconds: float) -> None:
        self._later[note] = time.monotonic() + seconds

    def _take(self, note: str) -> bool:
        """Make a note ours. False: another was quicker."""
        own = self._spool.at(self._own, note)
        try:
            return disk.rename(self._spool.at("hooks", "due", note), own)
        except FileNotFoundError:
            disk.make(self._spool.at("hooks", "running"))
            disk.make(self._spool.at(self._own))
            return disk.rename(self._spool.at("hooks", "due", note), own)

    def _finish(self, note: str, *, done: bool) -> None:
        """The hook has ended, or must run another time."""
        own = self._spool.at(self._own, note)
        if done:
            # CRASH: dying before this runs the hook once more.
            disk.unlink(own)
        else:
            disk.rename(own, self._spool.at("hooks", "due", note))

    def _fate(self, hook: str, text: str) -> Fate:
        """Whether the job of a note has come to where the note says."""
        spool, name = self._spool, decode(text)
        if name is None:
            return "never"
        if hook == hooks.BATCH:
            has_ended = any(disk.is_there(spool.at(state, text)) for state in ENDED)
            return "came" if has_ended or spool.state_of(name.id) != "processing" else "coming"
        target = f"{hook}/{text}"
        if disk.is_there(spool.at(target)):
            return "came"
        runs = results.read(spool.at("results"), name.id)
        run = next((run for run in reversed(runs) if run.get("to") == target), None)
        if run is None:
            note = spool.at("hooks", "due", hook + hooks.SIGN + text)
            return "coming" if spool.age(note) < YOUNG else "never"
        if disk.is_there(spool.at(str(run["claim"]))):
            return "coming"
        # RACE: its worker was taken for dead, and wrote its record after whoever rescued the job: the job went the other way.
        others = [
            other
            for other in runs
            if other.get("claim") == run["claim"] and other.get("to") != target
        ]
        return "never" if others and not disk.is_there(spool.at(target)) else "came"

    # -- the hooks

    def _job(self, hook: str, text: str) -> dict[str, Any]:
        """The job as its hook is told: as `show --json` shows it now, and the run that brought it here."""
        spool, target = self._spool, f"{hook}/{text}"
        name = decode(text)
        assert name
        entry, settings = Entry(hook, name, target), spool.settings()
        try:
            record = lookup.view(spool, entry, lambda e: lookup.full_record(spool, e, settings))
        except NoSuchJob:
            # It was removed meanwhile; what its name says is known all the same.
            record = lookup.full_record(spool, entry, settings)
        run = next((run for run in reversed(record["runs"]) if run["to"] == target), None)
        return {**record, "run": run}

    def _batch_ended(self, note: str, id: str) -> None:
        """A job of a batch has ended: if it was the last, say so."""
        own = self._spool.at(self._own, note)
        batch = disk.pointed(own) or ""
        self._drop_others(note, batch)
        look = closing.Look(self._spool, batch, id)
        answer = look.has_ended()
        if answer == "soon":
            self._finish(note, done=False)
            self._put_off(note, look.pause)
        else:
            ours = answer == "yes" and look.is_ours(own)
            self._finish(note, done=not ours or self._call(hooks.BATCH, note, look.record(), batch))

    def _drop_others(self, note: str, batch: str) -> None:
        """Remove the other notes of a batch whose jobs have come: the look that follows is for all of them."""
        # CRASH: dying before that look leaves the note that is ours, which is put back.
        for other in self._of_batch.pop(batch, ()):
            if other != note and self._fate(hooks.BATCH, other.partition(hooks.SIGN)[2]) == "came":
                disk.unlink(self._spool.at("hooks", "due", other))
                self._gone.add(other)

    def _call(self, hook: str, note: str, record: dict[str, Any], about: str) -> bool:
        """Run a hook to its end. False: we were told to end first."""
        text = json.dumps({"hook": hook, "spool": self._spool.path, **record})
        output = Capture(Stream(1, 2))
        output.begin((None,), 4 * SHOWN, MOST_OUTPUT)
        try:
            order = self._order(hook, note, record, text, output)
            ended = executor.run(order, self._listener, self._asked)
            output.finish(order.env)
        finally:
            output.drop()
        if ended.cause == "interrupted":
            return False
        if ended.cause is None and output.is_over():
            ended = ended._replace(cause="output")
        said = output.tails()[0].decode(errors="replace")[-SHOWN:]
        what, why = outcome.meaning(ended)
        details = {
            "batch" if hook == hooks.BATCH else "job": about,
            "hook": hook,
            "duration": round(ended.finished_at - ended.started_at, 3),
        }
        if what == "completed":
            self._log.event("hook", **details)
        else:
            if what == "timeout":
                why = f"took longer than {TIMEOUT:g} s"
            elif ended.cause == "output":
                why = f"printed more than {MOST_OUTPUT} bytes"
            self._log.event("hook_failed", **details, reason=why, output=said)
        return True

    def _asked(self) -> executor.Cause | None:
        return "interrupted" if self._stopping else None

    def _order(
        self, hook: str, note: str, record: dict[str, Any], text: str, output: Capture
    ) -> executor.Order:
        own = {"QUEUECTL_SPOOL": self._spool.path, "QUEUECTL_HOOK": hook, VARIABLE: self.name}
        if hook == hooks.BATCH:
            own["QUEUECTL_BATCH"] = record["batch"]
        else:
            name = decode(note.partition(hooks.SIGN)[2])
            assert name
            own |= {
                "QUEUECTL_JOB_ID": name.id,
                "QUEUECTL_ATTEMPT": str(name.attempts),
                "QUEUECTL_STATE": hook,
            }
            own |= {"QUEUECTL_BATCH": record["batch"]} if record["batch"] else {}
        env = {
            name: value for name, value in os.environb.items() if os.fsdecode(name) not in _NOT_OURS
        }
        return executor.Order(
            command=(self._spool.at("hooks", hook),),
            cwd=self._spool.at("hooks"),
            env=env | {os.fsencode(name): os.fsencode(value) for name, value in own.items()},
            stdin=text,
            output=output,
            timeout=TIMEOUT,
            grace=GRACE,
            lasts=lambda: None,
        )
