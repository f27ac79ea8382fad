"""The fleet: one supervisor for each of several spools, in processes of their own, with a common number of workers.

Promises
    The spools are served in turns: a busy one does not keep the jobs of another waiting longer than the jobs that run.
    A signal means to all of them what it means to one supervisor (phase).
    When one supervisor ends, because its spool was drained or somebody stopped it, the others go on.
Leaves to others
    everything that one spool needs (supervisor), whose turn it is (turns).
Raises
    QueuectlError at the end, if a supervisor ended with one.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

from queuectl import phase, signals, wire
from queuectl.errors import QueuectlError, complaint
from queuectl.notify import Notifier
from queuectl.phase import Phase, Requests
from queuectl.turns import Round, Turns

#: Seconds without a look at anything after one that failed.
BLIND = 1.0


class Fleet:
    """Runs supervisors, each by a call of one of `supervise` in its own process, with `count` turns among them."""

    def __init__(
        self, count: int, supervise: Sequence[Callable[[Turns, Callable[[], object]], None]]
    ) -> None:
        self._supervise = supervise
        self._pids: dict[int, int] = {}
        self._failed: list[int] = []
        self._requests = Requests()
        self._is_ready, self._complaints = False, set[str]()
        self._unready = set(range(len(supervise)))
        self._round = Round(count)
        self._notifier = Notifier()  # not for the supervisors: systemd listens to this process only

    def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Run until all supervisors have ended; `ready` is called once when all are up."""
        self._wake, self._waker = signals.wake_pipe()
        # RACE: a supervisor that has just ended may be given a turn; the command line dies of a closed pipe.
        phase.hear(self._on_stop)
        for number in range(len(self._supervise)):
            self._start(number)
        while self._pids:
            try:
                self._go_round(ready)
            except Exception as error:  # whatever it is, the supervisors go on
                self._complain(complaint(error))
                time.sleep(BLIND)
        if self._failed:
            raise QueuectlError(
                f"{len(self._failed)} of {len(self._supervise)} supervisors ended with an error; see above"
            )

    def _go_round(self, ready: Callable[[], None]) -> None:
        self._notifier.beat()
        self._sleep()
        self._reap()
        if not (self._unready or self._is_ready):
            self._is_ready = True
            self._notifier.ready()
            ready()

    def _complain(self, why: str) -> None:
        """Say it on stderr, once."""
        if why not in self._complaints:
            self._complaints.add(why)
            os.write(2, f"queuectl: {why}\n".encode(errors="backslashreplace"))

    def _start(self, number: int) -> None:
        with signals.deaf():
            if self._requests.phase:
                return
            here, there = wire.pair()
            pid = os.fork()
            if not pid:
                self._be_supervisor(number, there, here)
            self._pids[pid] = number  # whoever tells us to stop from here on tells it as well
            there.close()
            self._round.add(number, here)

    def _be_supervisor(self, number: int, line: wire.Line, other: wire.Line) -> None:
        """The life of the process that was just forked."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for fd in (self._wake, self._waker):
                os.close(fd)
            for end in (other, *self._round.lines.values()):
                end.close()
            for signum in signals.STOPS:
                # Ctrl+C and a closed terminal reach the whole group; the fleet says what they mean.
                signal.signal(
                    signum,
                    signal.SIG_IGN if signum in (signal.SIGINT, signal.SIGHUP) else signal.SIG_DFL,
                )
            # RACE: a TERM that came since the fork is still pending; it ends us as it would have ended the fleet.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, signals.STOPS)
            self._supervise[number](Turns(line), partial(line.send, "ready"))
            code = 0
        except Exception as error:  # whatever it is, somebody must hear of it
            self._complain(complaint(error))
        finally:
            sys.stdout.flush()
            os._exit(code)

    def _on_stop(self, number: int) -> None:
        self._notifier.stopping()
        self._requests.by_signal(number)
        is_now = self._requests.phase >= Phase.ENDING
        for pid in self._pids:
            os.kill(pid, signal.SIGQUIT if is_now else signal.SIGTERM)

    def _sleep(self) -> None:
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        by_reader = {line.reader: number for number, line in self._round.lines.items()}
        for reader in by_reader:
            poll.register(reader, select.POLLIN)
        for fd, _ in poll.poll(
            1000 * max(0.0, min(self._notifier.wakes_at() - time.monotonic(), signals.LONGEST))
        ):
            if fd == self._wake:
                signals.drain(fd)
            elif self._round.listen(by_reader[fd]):
                self._unready.discard(by_reader[fd])

    def _reap(self) -> None:
        for pid in list(self._pids):
            with signals.deaf():  # a pid that was collected is no longer one to tell
                done, status = os.waitpid(pid, os.WNOHANG)
                number = self._pids.pop(pid) if done else -1
            if done:
                self._unready.discard(number)
                code = os.waitstatus_to_exitcode(status)
                if code > 0 or (code and not self._requests.phase):
                    self._failed.append(number)
