"""The supervisor: starts workers, hands them names, beats for them, replaces the dead.

One thread, one loop that sleeps in poll(2): a pipe to each worker, one to the watch,
one for signals. It scans the spool once for all its workers; a name that it hands out
is a hint, and the worker's rename is the claim.

Promises
    A dead worker's job goes on and a new worker takes its place.
    It wakes for a bell, for the next due time and for poll_interval, whatever comes first.
    It goes on whatever one of its steps raises; what a signal or a request asks for is in `phase`.
    It ends, with an error, when another directory takes the place of its spool.
    Outcomes reach the disk within a second, off the path of the jobs.
Leaves to others
    which names, and when to look for more (dealer); who is dead (liveness, recovery).
Raises
    SpoolError before the first worker starts.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import time
from collections.abc import Callable

from queuectl import host, libc, life, phase, signals, wire
from queuectl.chores import Chores
from queuectl.crew import Crew, Hand
from queuectl.dealer import Dealer
from queuectl.errors import SpoolUnusable
from queuectl.flusher import Flusher
from queuectl.log import Log
from queuectl.phase import Phase
from queuectl.spool import Spool
from queuectl.turns import Turns
from queuectl.watcher import Sentry

#: Seconds in which a worker dies young, and until another try then; twice as long each time it happens again, up to five times.
RESPAWN, MOST_YOUNG = 1.0, 6

#: Seconds without a look at anything after one that failed.
BLIND = 1.0

#: What is said when the spool is paused.
PAUSED = "the spool is paused; nothing starts until 'queuectl resume'"

#: Seconds between two looks when only other supervisors still have work and this one waits for them.
DRAIN_PAUSE = 0.25


class Supervisor:
    """Runs `count` workers on a spool until it is told to stop, `duration` is over, or with `drain` all is done."""

    def __init__(
        self,
        spool: Spool,
        count: int,
        log: Log,
        *,
        drain: bool = False,
        duration: float | None = None,
        turns: Turns | None = None,
    ) -> None:
        self.turns = turns
        self.spool, self.count, self.log, self.drain = spool, count, log, drain
        self.ends = None if duration is None else time.monotonic() + duration
        self.name = f"{host.place().host}-{os.getpid()}-{host.nonce()}"
        self.crew = Crew()
        self.chores = Chores(spool, self.name, self.crew, log, self._moved)
        self.dealer = Dealer(spool, trusts_times=not self.chores.observer.is_shared, turns=turns)
        self.sentry = Sentry([spool.at("pending"), spool.at("inbox")], self.chores.warn)
        self.flusher = Flusher(spool.path, self.chores.warn)
        #: The phase that the workers have been told.
        self.told = Phase.RUNNING
        self.young, self.respawn = 0, 0.0
        self.is_paused = self.is_ready = False

    # -- life

    @property
    def phase(self) -> Phase:
        """What is asked of us."""
        return self.chores.requests.phase

    def run(self, ready: Callable[[], object] = lambda: None) -> None:
        """Supervise until the end; `ready` is called once all workers are up."""
        self.spool.complain = self.chores.warn
        self.wake, self.waker = signals.wake_pipe()
        phase.hear(self.chores.requests.by_signal)
        self.spool.pin()
        self.spool.restore()
        self.chores.begin()
        self.log.event("supervising", spool=self.spool.path, pid=os.getpid(), workers=self.count)
        libc.load()  # once, and not once in each worker
        gc.freeze()  # what exists now is shared with every worker, not copied
        try:
            while self._goes_on():
                self._go_round(ready)
        finally:
            self._close()
        self.log.event("stopped", pid=os.getpid())
        if self.chores.fatal:
            raise SpoolUnusable(
                f"stopped: {self.chores.fatal}; see the file system, then start again"
            )

    def _goes_on(self) -> bool:
        if self.crew.hands or not self.phase:
            return True
        return bool(self.chores.do(self.chores.is_busy, self.phase))

    def _go_round(self, ready: Callable[[], object]) -> None:
        """One turn of the loop; a step that fails is told and keeps no other from being done."""
        do = self.chores.do
        do(self._staff)
        if is_new := self.chores.is_new:
            do(self._deal)  # the first names come before the first chores
        do(self._tend)
        if not is_new:
            do(self._deal)
        elif not self.chores.is_new:
            do(self._reconsider)
        if not do(self._sleep):
            time.sleep(BLIND)
        if not self.is_ready:
            do(self._say_ready, ready)

    def _say_ready(self, ready: Callable[[], object]) -> None:
        if len(self.crew.known()) == self.count:
            self.is_ready = True
            self.chores.do(ready)
            self.chores.do(self.chores.notifier.ready)
            self.chores.hurry()

    def _close(self) -> None:
        for finish in (self.sentry.finish, self.flusher.finish, self.chores.end):
            self.chores.do(finish)

    # -- workers

    def _staff(self) -> None:
        """Start the workers that are missing; tell them to stop when it is time."""
        self._reap()
        if self.phase > self.told:
            self._tell_to_stop(self.phase)
        while (
            not self.phase
            and len(self.crew.hands) < self.count
            and time.monotonic() >= self.respawn
        ):
            self.respawn = time.monotonic() + RESPAWN  # should it fail
            self.crew.hire(self._work)
            self.respawn = 0.0

    def _tell_to_stop(self, asked: Phase) -> None:
        self.chores.do(self.chores.notifier.stopping)
        is_now = asked >= Phase.ENDING
        self.log.event("stopping", now=is_now, workers=len(self.crew.hands))
        self.crew.tell(signal.SIGQUIT if is_now else signal.SIGTERM)
        self.told = asked  # last: a call that failed is repeated

    def _private(self) -> list[int]:
        """What a child must not keep open: a pipe ends, and a lock is free, only when every copy of it is closed."""
        turns = self.turns.descriptors() if self.turns else []
        return [
            *turns,
            self.wake,
            self.waker,
            self.chores.lock,
            *self.chores.pulse.descriptors(),
            *self.crew.descriptors(),
        ]

    def _work(self, line: wire.Line) -> None:
        """The life of a worker, in the process that was just forked for it."""
        self.sentry.drop()
        for fd in self._private():
            os.close(fd)
        try:
            life.live(self.spool, self.name, line, self.log)
        except Exception as error:
            self.log.event(
                "worker_died", pid=os.getpid(), reason=f"{type(error).__name__}: {error}"
            )
            raise

    def _reap(self) -> None:
        """Collect the children that have ended; move on what a worker left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid == self.flusher.pid:
                self.flusher.ended(status)
            elif self.chores.pulse.ended(pid):
                self.chores.warn(
                    "somebody has ended the guard: commands will run on, should the spool not answer"
                )
            elif self.sentry.ended(pid):
                self.dealer.unseen = True
            elif pid in self.crew.hands:
                self._bury(self.crew.hands.pop(pid), status)
            else:
                self.chores.ended(pid)

    def _bury(self, hand: Hand, status: int) -> None:
        hand.line.close()
        self.dealer.unseen = True
        if not hand.wants:
            self.flusher.note()  # what it filed last it may not have told
        if self.turns:
            self.turns.end(hand.pid)
        if status and not self.phase:
            self.log.event(
                "worker_died",
                worker=hand.name,
                pid=hand.pid,
                code=os.waitstatus_to_exitcode(status),
            )
        young = status != 0 and time.monotonic() - hand.started < RESPAWN
        self.young = min(self.young + 1, MOST_YOUNG) if young else 0
        if young:
            self.respawn = time.monotonic() + RESPAWN * 2 ** (self.young - 1)
        if hand.name:
            self.chores.bury(hand.name)
        else:
            self.chores.hurry()  # it died before it said who it was: the next look finds what it left

    def _moved(self) -> None:
        """A job has come back into the spool."""
        self.dealer.unseen = True
        self.flusher.note()

    def _tend(self) -> None:
        """Do what must be done from time to time."""
        if self.ends is not None and time.monotonic() >= self.ends:
            self.chores.requests.ask(Phase.FINISHING)
        self.chores.tend()
        self.chores.do(self.flusher.flush)

    # -- names for workers

    def _deal(self) -> None:
        """Deal names; when some worker waits in vain, let the watch ring, or be done."""
        if not self.phase and not self.chores.do(self._deal_names):
            self.sentry.stand_down()

    def _deal_names(self) -> bool:
        """Deal names; whether the watch is wanted."""
        hands = self.crew.known()
        self.dealer.deal(list(self.crew.hands.values()), self._poll_interval())
        self._tell_of_pause()
        if self.drain and self.dealer.is_ending():
            self.flusher.hurry()  # while the last jobs run: less is left to be waited for at the end
        if self.drain and 0 < len(hands) == len(self.crew.hands) and self.dealer.is_drained(hands):
            if self.chores.is_new:
                self.dealer.unseen = True  # they come next, and may find something to do
            else:
                self.chores.requests.ask(Phase.FINISHING)
                self.flusher.hurry()  # while the workers leave
            return False
        if not self.dealer.is_idle(hands):
            return False
        self.sentry.arm(self._private)
        return True

    def _tell_of_pause(self) -> None:
        if self.dealer.is_paused == self.is_paused:
            return
        self.is_paused = self.dealer.is_paused
        if self.is_paused:
            self.log.event("paused", reason=PAUSED)
        else:
            self.log.event("resumed")

    def _reconsider(self) -> None:
        self.dealer.reconsider(list(self.crew.hands.values()))

    def _poll_interval(self) -> float:
        interval = self.chores.settings.poll_interval
        return min(interval, DRAIN_PAUSE) if self.drain else interval

    # -- waiting

    def _sleep(self) -> bool:
        """Wait until something happens, and take note of it. True: it worked."""
        if self.phase > self.told or not self._goes_on():
            return True
        poll = select.poll()
        poll.register(self.wake, select.POLLIN)
        by_reader = {hand.line.reader: hand for hand in self.crew.hands.values()}
        for reader in by_reader:
            poll.register(reader, select.POLLIN)
        if self.sentry.reader is not None:
            poll.register(self.sentry.reader, select.POLLIN)
        if self.turns:
            poll.register(self.turns.reader, select.POLLIN)
        for fd, _ in poll.poll(self._pause() * 1000):
            if fd == self.wake:
                signals.drain(fd)
            elif fd in by_reader:
                self._listen(by_reader[fd])
            elif self.turns and fd == self.turns.reader:
                if not self.turns.hear():
                    self.turns = None  # the fleet that started us is gone
                    self.chores.requests.ask(Phase.FINISHING)
            else:
                self._hear()
        return True

    def _pause(self) -> float:
        """Seconds until the next thing that must happen without anybody saying so."""
        times = [self.chores.wakes_at()]
        if (flush := self.flusher.wakes_at()) is not None:
            times.append(flush)
        if not self.phase:
            if self.ends is not None:
                times.append(self.ends)
            if len(self.crew.hands) < self.count:
                times.append(self.respawn)
            if (
                wakes := self.dealer.wakes_at(self.crew.known(), self._poll_interval())
            ) is not None:
                times.append(wakes)
            if (starts := self.sentry.wakes_at()) is not None:
                times.append(starts)
        return max(0.0, max(min(times), self.chores.rests_until()) - time.monotonic())

    def _listen(self, hand: Hand) -> None:
        messages = hand.line.receive()
        if messages is None:
            return  # its death comes through SIGCHLD as well
        for verb, text in messages:
            self.chores.do(self._understand, hand, verb, text)

    def _understand(self, hand: Hand, verb: str, text: str) -> None:
        if verb == "want":
            hand.wants, hand.held = int(text), set()
            if hand.held_since:
                self.flusher.note()
            if self.turns:
                self.turns.end(hand.pid)
        elif verb == "took":
            hand.held = set()
            self.flusher.note()
        elif verb == "filed":
            self.flusher.note()
        elif verb == "lost":
            self.dealer.lost(int(text))
        elif verb == "admitted":
            self.dealer.admitted(text)
        elif verb == "broken":
            mark, _, name = text.partition(" ")
            self.dealer.broken(name, mark)
        elif verb == "left":
            self.dealer.left(*text.split(" ", 1))
        elif verb == "hello":
            hand.name = text

    def _hear(self) -> None:
        if self.sentry.hear():
            self.dealer.rang()
            self.chores.rang()
        else:
            self.dealer.armed()
