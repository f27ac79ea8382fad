"""The supervisor: starts workers, hands them names, beats for them, replaces the dead.

One thread, one loop that sleeps in poll(2): a pipe to each worker, one to the watch,
one for signals. It scans the spool once for all its workers; a name that it hands out
is a hint, and the worker's rename is the claim.

Promises
    A dead worker's job goes on and a new worker takes its place.
    It wakes for a bell, for the next due time and for poll_interval, whatever comes first.
    TERM: workers finish the job they have. TERM again, or QUIT: they end it and give it back.
    Outcomes reach the disk within a second, off the path of the jobs.
Leaves to others
    the order (queue), the moves (spool), who is dead (liveness, recovery).
Raises
    SpoolError before the first worker starts.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module

from queuectl import disk, executor, host, liveness, recovery, watcher, wire, worker
from queuectl.errors import QueuectlError
from queuectl.filename import unstamp
from queuectl.log import Log
from queuectl.queue import Drops, Queue
from queuectl.spool import Spool

#: Seconds between two groups of outcomes that are made durable.
FLUSH = 0.5

#: Seconds for which a handed-out name is left alone: after that its worker is busy with another job.
HELD = 0.25

#: Seconds after which a list of names that still lasts is made anew: something more urgent may have come.
STALE = 1.0

#: Seconds until another try when a worker died young.
RESPAWN = 1.0

#: Seconds between two starts of a watch that dies.
REWATCH = 10.0

#: Seconds between two looks when only other supervisors still have work and this one waits for them.
DRAIN_PAUSE = 0.25

#: Seconds by which a directory's time must be older than the look that a later one relies on.
SETTLED = 0.05


@dataclass
class Hand:
    """One worker, as its supervisor sees it. `wants`: how many names it waits for; `held`: those it was given."""

    pid: int
    line: wire.Line
    started: float
    name: str = ""
    wants: int = 0
    held: set[str] = field(default_factory=set)
    held_since: float = 0.0


class Supervisor:
    """Runs `count` workers on a spool until it is told to stop, `duration` is over, or with `drain` all is done."""

    def __init__(self, spool: Spool, count: int, log: Log, *, drain: bool = False, duration: float | None = None) -> None:
        self.spool, self.count, self.log, self.drain = spool, count, log, drain
        self.ends = None if duration is None else time.monotonic() + duration
        self.name = f"{host.place().host}-{os.getpid()}-{host.nonce()}"
        self.observer = liveness.Observer(spool)
        self.hands: dict[int, Hand] = {}
        self.queue, self.drops = Queue(), Drops()
        self.watch: watcher.Watch | None = None
        self.flusher = 0
        self.stopping = 0
        self.cancels = False
        self.unseen = True  # something may be in the spool that the last scan did not show
        self.rang = False
        self.dirty = False
        self.scanned = self.beaten = self.flushed = self.polled = 0.0
        self.versions: tuple[object, object] = ((), ())
        self.respawn = self.rewatch = 0.0
        self.quiet = False

    # -- life

    def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Supervise until the end; `ready` is called once all workers are up."""
        self.settings = self.spool.settings()
        self._open_signals()
        self.spool.restore()
        self.spool.sweep()
        import_module("ctypes")  # once here, not in every child that flushes
        self.log.event("supervising", spool=self.spool.path, pid=os.getpid(), workers=self.count)
        self._rescue()
        gc.freeze()  # what exists now is shared with every worker, not copied
        try:
            while self._is_needed():
                self._staff()
                self._tend()
                self._deal()
                self._sleep()
                if all(hand.name for hand in self.hands.values()):
                    ready()
                    ready = lambda: None  # noqa: E731
        finally:
            self._close()
        self.log.event("stopped", pid=os.getpid())

    def _is_needed(self) -> bool:
        return bool(self.hands) or not self.stopping

    def _open_signals(self) -> None:
        self.wake, self.waker = executor.wake_pipe()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGUSR1, self._on_cancel)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def _on_stop(self, number: int, _: object) -> None:
        self.stopping = 2 if number == signal.SIGQUIT else self.stopping + 1
        self.quiet = False

    def _on_cancel(self, *_: object) -> None:
        self.cancels = True

    def _close(self) -> None:
        if self.watch:
            self.watch.close()
        self._flush(wait=True)

    # -- workers

    def _staff(self) -> None:
        """Start the workers that are missing; tell them to stop when it is time."""
        self._reap()
        if self.stopping and not self.quiet:
            self.quiet = True
            self.log.event("stopping", now=self.stopping > 1, workers=len(self.hands))
            for pid in self.hands:
                os.kill(pid, signal.SIGQUIT if self.stopping > 1 else signal.SIGTERM)
        while not self.stopping and len(self.hands) < self.count and time.monotonic() >= self.respawn:
            self._hire()
        if self.watch is None and not self.stopping and time.monotonic() >= self.rewatch:
            self.rewatch = time.monotonic() + REWATCH
            self.watch = watcher.start(self.spool.at("pending"), self._descriptors())

    def _descriptors(self) -> list[int]:
        """What a child must not keep open: a pipe ends only when every copy of it is closed."""
        ends = [self.wake, self.waker]
        for hand in self.hands.values():
            ends += [hand.line.reader, hand.line.writer]
        return ends

    def _hire(self) -> None:
        here, there = wire.pair()
        # RACE: a signal before the child has handlers of its own would reach ours there, and nobody.
        signal.pthread_sigmask(signal.SIG_BLOCK, worker.SIGNALS)
        pid = os.fork()
        if pid:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, worker.SIGNALS)
            there.close()
            self.hands[pid] = Hand(pid, here, time.monotonic())
            return
        code = 1
        try:
            here.close()
            if self.watch:
                self.watch.close()
            for fd in self._descriptors():
                os.close(fd)
            worker.main(self.spool, self.name, there, self.log)
            code = 0
        except BaseException as error:  # noqa: BLE001  whatever it is must end this process, not become a second supervisor
            self.log.event("worker_died", pid=os.getpid(), reason=f"{type(error).__name__}: {error}")
        finally:
            os._exit(code)

    def _reap(self) -> None:
        """Collect the children that have ended; move on what a worker left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid == self.flusher:
                self.flusher = 0
            elif self.watch and pid == self.watch.pid:
                self._lose_watch()
            elif pid in self.hands:
                self._bury(self.hands.pop(pid), status)

    def _bury(self, hand: Hand, status: int) -> None:
        hand.line.close()
        self.unseen = True
        if status and not self.stopping:
            self.log.event("worker_died", worker=hand.name, pid=hand.pid, code=os.waitstatus_to_exitcode(status))
        if time.monotonic() - hand.started < RESPAWN:
            self.respawn = time.monotonic() + RESPAWN
        if not hand.name:
            self.beaten = 0.0  # it died before it said who it was: the next look finds what it left
            return
        with self._complaining():
            record = liveness.read(self.spool, hand.name)
            self._report(recovery.rescue_worker(self.spool, hand.name, record))

    def _lose_watch(self) -> None:
        if self.watch:
            self.watch.close()
            self.watch = None
            self.unseen = True

    # -- what must be done from time to time

    def _tend(self) -> None:
        now = time.monotonic()
        if self.ends is not None and now >= self.ends and not self.stopping:
            self.stopping = 1
            self._staff()
        if now - self.beaten >= self.settings.heartbeat_interval:
            self.beaten = now
            self._beat()
            self._rescue()
            self.cancels = True
        if self.cancels:
            self.cancels = False
            self._relay_cancels()
        if self.dirty and now - self.flushed >= FLUSH:
            self._flush()

    def _beat(self) -> None:
        with self._complaining():
            self.settings = self.spool.settings()
        for hand in self.hands.values():
            if hand.name:
                with self._complaining():
                    liveness.beat(self.spool, hand.name)

    def _rescue(self) -> None:
        with self._complaining():
            ours = frozenset(hand.name for hand in self.hands.values())
            self._report(recovery.rescue(self.spool, self.observer, spare=ours))

    def _report(self, rescued: list[recovery.Rescued]) -> None:
        for job in rescued:
            self.unseen = self.dirty = True
            state = job.target.partition("/")[0]
            self.log.event("rescued", job=job.id, worker=job.worker, outcome=job.outcome, state=state)

    def _relay_cancels(self) -> None:
        """Wake those workers whose running job somebody wants cancelled."""
        for hand in self.hands.values():
            held = set(self.spool.held_by(hand.name)) if hand.name else set()
            for request in [name for name in held if name.endswith(recovery.CANCEL)]:
                if request.removesuffix(recovery.CANCEL) in held:
                    os.kill(hand.pid, signal.SIGUSR1)
                else:
                    disk.unlink(self.spool.at("processing", hand.name, request))

    @contextlib.contextmanager
    def _complaining(self) -> Iterator[None]:
        """Say what went wrong and go on: the next look may work."""
        try:
            yield
        except (QueuectlError, OSError) as error:
            self.log.event("warning", reason=str(error))

    def _flush(self, *, wait: bool = False) -> None:
        """Make what happened so far durable, in a child: this loop never waits for a disk."""
        if self.flusher:
            if not wait:
                return
            os.waitpid(self.flusher, 0)
            self.flusher = 0
        if not self.dirty:
            return
        self.dirty, self.flushed = False, time.monotonic()
        self.flusher = os.fork()
        if not self.flusher:
            try:
                disk.sync_all(self.spool.path)
            finally:
                os._exit(0)
        if wait:
            os.waitpid(self.flusher, 0)
            self.flusher = 0

    # -- names for workers

    def _deal(self) -> None:
        """Give names to the workers that wait for some; look for more when there are none."""
        if self.stopping:
            return
        waiting = [hand for hand in self.hands.values() if hand.wants]
        if not waiting:
            return
        self._look()
        for index, hand in enumerate(waiting):
            self._give(hand, among=len(waiting) - index)
        if any(hand.wants for hand in waiting):
            self._rest(waiting)

    def _look(self) -> None:
        """Scan if the list is used up or old, and something may have changed."""
        now, wall = time.monotonic(), time.time()
        if self.queue.next_due and unstamp(self.queue.next_due) <= wall:
            self.unseen = True
        if now - self.polled >= self._poll_interval():
            self.polled = now
            self.unseen = self.unseen or self._has_moved()
        stale = len(self.queue) > 0 and now - self.scanned > STALE
        if not (self.unseen or stale) or (len(self.queue) and not (stale or self.rang)):
            return
        self.versions = self._versions()
        held: set[str] = set()
        for hand in self.hands.values():
            if now - hand.held_since < HELD:
                held |= hand.held
        with self._complaining():
            self.queue.fill(
                self.spool.names("pending"), self.spool.names("failed"), wall, without=held, shared=self._is_shared()
            )
            self.drops.update([name for name in self.queue.drops if f"pending/{name}" not in held], rang=self.rang)
        self.unseen = self.rang = False
        self.scanned = self.polled = time.monotonic()

    def _poll_interval(self) -> float:
        interval = self.settings.poll_interval
        return min(interval, DRAIN_PAUSE) if self.drain else interval

    def _has_moved(self) -> bool:
        """Whether a timed look is worth while: on a local disk an untouched directory has nothing new."""
        versions = self._versions()
        return self.observer.is_shared or None in versions + self.versions or versions != self.versions

    def _versions(self) -> tuple[object, object]:
        """The times of pending/ and failed/; a time so young that a change could hide in it counts as none."""
        found = []
        for state in ("pending", "failed"):
            version = disk.version(self.spool.at(state))
            young = version is None or time.time() - version[1] / 1e9 < SETTLED
            found.append(None if young else version)
        return found[0], found[1]

    def _is_shared(self) -> bool:
        ours = sum(1 for hand in self.hands.values() if hand.name)
        return len(self.spool.workers()) > ours

    def _give(self, hand: Hand, *, among: int) -> None:
        """Hand out names: drops first, half of what is wanted; then jobs, a fair share of those left."""
        now = time.monotonic()
        drops = self.drops.take(max(1, hand.wants // 2), now)
        files = self.queue.take(min(hand.wants, -(-len(self.queue) // among))) if hand.wants > len(drops) else []
        if not (drops or files):
            return
        for verb, name in drops:
            hand.line.put_off(verb, name)
        for file in files[:-1]:
            hand.line.put_off("claim", file)
        hand.held, hand.held_since = {*files, *(f"pending/{name}" for _, name in drops)}, now
        hand.wants = 0
        self.unseen = True
        if files:
            hand.line.send("claim", files[-1])
        else:
            hand.line.flush()

    def _rest(self, waiting: list[Hand]) -> None:
        """Some workers have nothing to do: arm the watch when nothing is about to leave pending/, or be done."""
        if any(hand.held for hand in self.hands.values()):
            return
        if self.watch and not self.unseen:
            self.watch.arm()
        if self.drain and len(waiting) == len(self.hands) == self.count and self._is_drained():
            self.stopping = max(self.stopping, 1)

    def _is_drained(self) -> bool:
        if len(self.queue) or len(self.drops) or self.queue.next_due:
            return False
        return not any(self.spool.count(state) for state in ("processing", "pending", "failed"))

    # -- waiting

    def _sleep(self) -> None:
        """Wait until something happens, and take note of it."""
        if self.stopping and not self.quiet:
            return
        poll = select.poll()
        poll.register(self.wake, select.POLLIN)
        by_reader = {hand.line.reader: hand for hand in self.hands.values()}
        for reader in by_reader:
            poll.register(reader, select.POLLIN)
        if self.watch:
            poll.register(self.watch.reader, select.POLLIN)
        for fd, _ in poll.poll(self._pause() * 1000):
            if fd == self.wake:
                executor.drain(fd)
            elif fd in by_reader:
                self._listen(by_reader[fd])
            elif self.watch:
                self._hear(self.watch)

    def _pause(self) -> float:
        """Seconds until the next thing that must happen without anybody saying so."""
        now = time.monotonic()
        times = [self.beaten + self.settings.heartbeat_interval]
        if self.dirty:
            times.append(self.flushed + FLUSH)
        if self.ends is not None and not self.stopping:
            times.append(self.ends)
        if len(self.hands) < self.count and not self.stopping:
            times.append(self.respawn)
        if any(hand.wants for hand in self.hands.values()) and not self.stopping:
            times.append(self.polled + self._poll_interval())
            if self.queue.next_due:
                times.append(now + unstamp(self.queue.next_due) - time.time())
            if (look := self.drops.next_look()) is not None:
                times.append(look)
            if self.unseen and not any(hand.held for hand in self.hands.values()):
                times.append(now)
        return max(0.0, min(times) - now)

    def _listen(self, hand: Hand) -> None:
        messages = hand.line.receive()
        if messages is None:
            return  # its death comes through SIGCHLD as well
        for verb, text in messages:
            if verb == "want":
                self.dirty = self.dirty or bool(hand.name and hand.held_since)
                hand.wants, hand.held = int(text), set()
            elif verb == "took":
                self.dirty = True
                hand.held = set()
            elif verb == "lost":
                self.unseen = True
            elif verb == "admitted":
                self.queue.add(text, time.time())
            elif verb == "broken":
                mark, _, name = text.partition(" ")
                self.drops.broken(name, mark, time.monotonic())
            elif verb == "hello":
                hand.name = text

    def _hear(self, watch: watcher.Watch) -> None:
        said = watch.heard()
        if said is None:
            self._lose_watch()
            return
        self.unseen = True
        self.rang = self.rang or watcher.RANG in said
        if watcher.DEAF in said:
            self.log.event("warning", reason="the system has no watch left for pending/; new jobs are found by looking every poll_interval")


