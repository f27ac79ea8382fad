"""The dealer: which names go to which worker, and when to look for more.

It scans the spool once for all workers of its supervisor. The list of names is looked
through again when it is used up, when a bell rings, when it gets old and when the
next due time has come; and always after poll_interval, whatever rang or did not.

Promises
    No worker gets more names than it asked for, nor a name that another one was just given.
    When it says that it may sleep, a scan has shown nothing since the watch was armed.
Leaves to others
    the order (queue), the claim (worker), the loop (supervisor).
Raises
    OSError from the disk.
"""

from __future__ import annotations

import math
import time

from queuectl import blocked, disk
from queuectl.crew import HELD, Hand
from queuectl.filename import unstamp
from queuectl.queue import Drops, Queue
from queuectl.spool import Spool
from queuectl.turns import Turns

#: Seconds until another look after one that failed.
PATIENCE = 1.0

#: Seconds after which a list of names that still lasts is made anew: something more urgent may have come.
STALE = 1.0

#: Seconds between two looks at a file system of several hosts while there is work, and the most there are when there is none.
QUICK, SLOWEST = 0.2, 86400.0

#: A list that took long to make lasts so many times as long: of a million names it takes a second.
SHARE = 10

#: The most drops that a worker gets at a time; those that it cannot admit soon it gives back.
PORTION = 64

#: Seconds for which drops go first, and then jobs, while there are both.
TURN = 0.25

#: Names of one list that may be gone before it is made anew.
MOST_LOST = 4

#: Seconds by which a directory's time must be older than the look that a later one relies on.
SETTLED = 0.05

#: The same where times seem to be whole seconds, or every other one.
SETTLED_COARSE = 2.05


class Dealer:
    """Deals names to hands, to each in its turn if there are `turns`.

    `unseen`: there may be what the last scan did not show; `is_paused`: whether the spool was paused at the last deal.
    """

    def __init__(self, spool: Spool, *, trusts_times: bool, turns: Turns | None = None) -> None:
        self._spool, self._trusts_times, self._turns = spool, trusts_times, turns
        self._starves = False
        self._queue, self._drops = Queue(), Drops()
        self._versions: tuple[object, ...] = (None,)
        self._scanned = self._polled = self._not_before = 0.0
        self._skipped_until: float | None = None
        self.unseen, self._rang = True, False
        self.is_paused = False
        self._lost = self._dealt = 0
        self._is_ending: bool | None = False
        self._is_shared = False
        self._took = 0.0
        self._pace, self._paused_until = QUICK, 0.0
        self._turned = -math.inf

    # -- what others tell

    def rang(self) -> None:
        """Something came into pending/."""
        self._rang = True
        self.armed()

    def armed(self) -> None:
        """The watch is armed: what came before that is still to be seen, and whether the spool is paused."""
        self.unseen, self._paused_until = True, 0.0

    def lost(self, count: int) -> None:
        """So many names that were dealt had been taken by others."""
        self.unseen = True
        self._lost += count

    def admitted(self, file: str) -> None:
        """A drop became the job in `file`."""
        self._queue.add(file, self._clock())

    def broken(self, drop: str, mark: str) -> None:
        """A worker could not read a drop yet."""
        self._drops.broken(drop, mark, time.monotonic())

    def left(self, verb: str, name: str) -> None:
        """A worker gives back a name that it had no time for: by now another may be more urgent."""
        if verb == "claim":
            self._queue.add(name, self._clock())
        else:
            self._drops.left(name)

    # -- dealing

    def deal(self, hands: list[Hand], poll_interval: float) -> None:
        """Give names to those of all our hands that want some; look for more when there are none.

        The first look is taken at once: the workers are still being born.
        """
        waiting = [hand for hand in hands if hand.wants]
        if (not waiting and self._scanned) or time.monotonic() < max(
            self._not_before, self._paused_until
        ):
            return
        self._not_before = time.monotonic() + PATIENCE  # should it fail
        self.is_paused = self._spool.is_paused()
        self._not_before = 0.0
        if self.is_paused:
            self._paused_until = time.monotonic() + poll_interval
            self._queue, self._drops = Queue(), Drops()
            self.unseen = True
            return
        self._paused_until = 0.0
        self._note_time(hands, self._interval(poll_interval))
        if self._must_look():
            self._not_before = time.monotonic() + PATIENCE  # should it fail
            self._look(hands)
            self._not_before = 0.0
        self._starves = False
        sharing = self._sharing(hands, waiting)
        for index, hand in enumerate(waiting):
            if self._turns is None or self._is_turn(hand, len(waiting) - index, self._turns):
                self._give(hand, among=sharing - index)

    def _sharing(self, hands: list[Hand], waiting: list[Hand]) -> int:
        """Among how many hands the names are shared: those that wait; if the names are the last, all that soon will."""
        if self._turns or not self._queue.is_whole:
            return len(waiting)
        return sum(hand.wants > 0 or hand.is_quick() for hand in hands)

    def _is_turn(self, hand: Hand, hungry: int, turns: Turns) -> bool:
        """Whether a hand may have names now; a turn is asked for if there are any."""
        if not (len(self._queue) or self._drops.has_work(time.monotonic())):
            turns.rest()
            return False
        self._starves = self._starves or not turns.take(hand.pid, hungry)
        return not self._starves

    def _clock(self) -> float:
        return time.time() + self._spool.skew()

    def _interval(self, longest: float) -> float:
        """Seconds between two looks of their own: where no bell tells of other hosts' changes, soon while there is work."""
        return longest if self._trusts_times else min(longest, self._pace)

    def _note_time(self, hands: list[Hand], poll_interval: float) -> None:
        if self._queue.next_due and unstamp(self._queue.next_due) <= self._clock():
            self.unseen = True
        if self._skipped_until is not None and time.monotonic() >= self._skipped_until:
            self._skipped_until = None
            self.unseen = self.unseen or any(hand.held for hand in hands)
        if time.monotonic() - self._polled >= poll_interval:
            self._polled = time.monotonic()
            self.unseen = self.unseen or self._has_moved()

    def _must_look(self) -> bool:
        if len(self._queue) or self._drops.has_work(time.monotonic()):
            # Where every fourth name is gone, another supervisor deals the same ones: a fresh look mixes them anew.
            is_taken = self._lost > MOST_LOST and 4 * self._lost > self._dealt
            return (
                self._rang
                or is_taken
                or time.monotonic() - self._scanned > max(STALE, SHARE * self._took)
            )
        return self.unseen

    def _look(self, hands: list[Hand]) -> None:
        began = time.monotonic()
        self._spool.check_itself()
        claiming = [hand for hand in hands if hand.is_claiming()]
        held = {name for hand in claiming for name in hand.held}
        # What was left out now is looked at again: its worker may turn out to be busy.
        self._skipped_until = min((hand.held_since + HELD for hand in claiming), default=None)
        self._is_shared = self._has_company(hands)
        self._versions = self._times()
        self._queue.fill(
            self._spool.names("pending"),
            self._spool.names("failed"),
            self._clock(),
            without=held,
            shared=self._is_shared,
        )
        self._drops.update(
            [*self._queue.drops, *self._spool.submissions()],
            rang=self._rang,
            held={name.removeprefix("pending/") for name in held},
        )
        if not self._trusts_times:
            import random  # only where there may be other hosts

            # Jittered, so that many hosts do not ask one server at once.
            self._pace = (
                QUICK
                if len(self._queue) or len(self._drops)
                else min(self._pace * random.uniform(1.3, 1.7), SLOWEST)
            )
        self.unseen = self._rang = False
        self._scanned = self._polled = time.monotonic()
        self._lost = self._dealt = 0
        self._is_ending = False
        self._took = self._scanned - began

    def _has_company(self, hands: list[Hand]) -> bool:
        """Whether there are workers beside ours. Before the first of ours is up nobody knows who is alive: see `reconsider`."""
        known = {hand.name for hand in hands if hand.name}
        others = sum(name not in known for name in self._spool.workers())
        return bool(known) and others > len(hands) - len(known)

    def reconsider(self, hands: list[Hand]) -> None:
        """Whoever is there now is alive: make the first list anew if it was made as if we were alone, and we are not."""
        if not self._is_shared and self._has_company(hands):
            self.rang()

    def _has_moved(self) -> bool:
        """Whether a timed look is worth while: on a local disk an untouched directory has nothing new."""
        times = self._times()
        return not self._trusts_times or None in times + self._versions or times != self._versions

    def _times(self) -> tuple[object, ...]:
        """The times of the directories that jobs come into; one so young that a change could hide in it counts as none."""
        found: list[object] = []
        for name in ("pending", "failed", "inbox"):
            version = disk.version(self._spool.at(name))
            if version is None and name == "inbox":
                continue
            found.append(version if version is not None and _is_settled(version[1]) else None)
        return tuple(found)

    def _give(self, hand: Hand, *, among: int) -> None:
        """Hand out drops to admit or jobs to run, never both: an admitted job takes its place among the others."""
        now = time.monotonic()
        are_drops = self._is_turn_of_drops(now)
        hints = self._drops.take(PORTION, now) if are_drops else self._jobs(hand.wants, among)
        if not hints:
            return
        for verb, name in hints:
            hand.line.put_off(verb, name)
        hand.held = {f"pending/{name}" if are_drops else name for _, name in hints}
        hand.held_since, hand.wants = now, 0
        self.unseen = True
        hand.line.flush()

    def _is_turn_of_drops(self, now: float) -> bool:
        """Whether drops go first now: half of the time if jobs wait, so that neither starve."""
        if not self._drops.has_work(now):
            return False
        if len(self._queue) and now - self._turned >= 2 * TURN:
            self._turned = now
        return not len(self._queue) or now - self._turned < TURN

    def _jobs(self, wanted: int, among: int) -> list[tuple[str, str]]:
        """The next jobs: as many as are wanted, at most a fair share of those left."""
        share = -(-len(self._queue) // among)
        is_last = self._queue.is_whole and not len(self._drops)
        if is_last and 0 < share <= wanted and self._is_ending is False:
            self._is_ending = True
        files = self._queue.take(min(wanted, share))
        self._dealt += len(files)
        return [("claim", file) for file in files]

    # -- resting

    def is_idle(self, hands: list[Hand]) -> bool:
        """Whether some hand waits in vain and nothing is on its way: time to watch for what comes."""
        rests = not self.unseen or self._paused_until > time.monotonic()
        return (
            rests
            and any(hand.wants for hand in hands)
            and not any(hand.is_claiming() for hand in hands)
        )

    def is_drained(self, hands: list[Hand]) -> bool:
        """Whether nothing is left to do, now or later, for us or for others."""
        if self._paused_until or not self.is_idle(hands) or not all(hand.wants for hand in hands):
            return False
        if len(self._queue) or len(self._drops) or self._queue.next_due:
            return False
        # A name in failed/ that only resembles ours is nobody's job. What is blocked by nothing that will ever end stays.
        return not (
            self._spool.count("processing")
            or self._spool.count("pending")
            or any(True for _ in self._spool.entries("failed"))
            or blocked.sweep(self._spool)
        )

    def is_ending(self) -> bool:
        """Whether the names have become too few for all who want some; True only once."""
        if self._is_ending:
            self._is_ending = None
            return True
        return False

    def wakes_at(self, hands: list[Hand], poll_interval: float) -> float | None:
        """When to deal again if nothing happens, by the monotonic clock; None: nobody waits."""
        if not any(hand.wants for hand in hands):
            return None
        now = time.monotonic()
        if self.unseen and not self._starves:
            return max(now, self._not_before, self._paused_until)
        times = [self._polled + self._interval(poll_interval)]
        if self._skipped_until is not None:
            times.append(self._skipped_until)
        if self._queue.next_due:
            times.append(now + unstamp(self._queue.next_due) - self._clock())
        if (look := self._drops.next_look()) is not None:
            times.append(look)
        return max(min(times), self._not_before)


def _is_settled(modified: int) -> bool:
    """Whether a change of a directory after now would get another time than this one, in nanoseconds."""
    settled = SETTLED if modified % 1_000_000_000 else SETTLED_COARSE
    return time.time() - modified / 1e9 >= settled
