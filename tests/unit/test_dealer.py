"""Dealing: who gets which names, and when to look again."""

import errno
import os
import re
import time
from pathlib import Path

import pytest

from queuectl import admission, inbox
from queuectl import dealer as room
from queuectl.crew import HELD, Hand
from queuectl.dealer import Dealer
from queuectl.queue import GRACE
from queuectl.wire import pair


@pytest.fixture
def hands():
    """Three workers that never read what they are told."""
    made = []
    for number in range(3):
        here, there = pair()
        made.append((Hand(number, here, 0.0, name=f"w{number}"), there))
    yield [hand for hand, _ in made]
    for hand, there in made:
        hand.line.close()
        there.close()


@pytest.fixture
def clock(monkeypatch):
    """A monotonic clock that the test sets."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

        time = staticmethod(time.time)

    clock = Clock()
    monkeypatch.setattr(room, "time", clock)
    monkeypatch.setattr("queuectl.crew.time", clock)
    return clock


@pytest.fixture
def dealer(spool):
    return Dealer(spool, trusts_times=True)


def test_names_are_shared_fairly_and_given_once(spool, dealer, hands, clock):
    spool.enqueue_all(["true"] * 6)
    for hand in hands:
        hand.wants = 64

    dealer.deal(hands, 3600)

    assert [len(hand.held) for hand in hands] == [2, 2, 2]
    assert len(set().union(*(hand.held for hand in hands))) == 6


def test_of_the_last_names_a_worker_gets_its_share_of_what_is_left_however_many_it_wants(
    spool, dealer, hands, clock
):
    spool.enqueue_all(["true"] * 30)
    give_one_each(dealer, hands)
    given = []
    for turn in range(6):
        hand = hands[turn % 3]
        hand.wants = 64
        dealer.deal(hands, 3600)
        given.append(len(hand.held))

    assert given == [9, 6, 4, 3, 2, 1]


def give_one_each(dealer, hands):
    for hand in hands:
        hand.wants = 1
    dealer.deal(hands, 3600)


def test_who_is_busy_with_a_long_job_gets_no_share_of_the_last_names(spool, dealer, hands, clock):
    spool.enqueue_all(["true"] * 30)
    give_one_each(dealer, hands)
    clock.now += HELD + 0.01
    hands[0].wants = 64
    dealer.deal(hands, 3600)

    assert len(hands[0].held) == 27


def test_names_are_given_as_wanted_while_more_wait_than_were_listed(
    spool, dealer, hands, clock, monkeypatch
):
    monkeypatch.setattr("queuectl.queue.SMALLEST", 20)
    spool.enqueue_all(["true"] * 21)
    hands[0].wants = 20
    dealer.deal(hands, 3600)

    assert len(hands[0].held) == 20


def test_the_first_look_is_taken_before_any_worker_wants_something(
    spool, dealer, hands, clock, monkeypatch
):
    spool.enqueue_all(["true"] * 3)
    scans = []
    real = spool.names
    monkeypatch.setattr(spool, "names", lambda state: scans.append(state) or real(state))
    dealer.deal(hands, 3600)
    assert "pending" in scans

    scans.clear()
    hands[0].wants = 1
    dealer.deal(hands, 3600)

    assert (len(hands[0].held), scans) == (1, [])


@pytest.fixture
def mixed(monkeypatch):
    """The lists whose order was loosened."""
    mixed = []
    monkeypatch.setattr("queuectl.queue.mix", lambda names: mixed.append(names) or names)
    return mixed


@pytest.mark.parametrize(
    ("names", "is_mixed"),
    [([], False), (["w0", "w1"], False), (["w0", "elsewhere"], True), (["elsewhere"], True)],
)
def test_the_order_is_loosened_only_for_other_supervisors_workers(
    spool, path, dealer, hands, clock, mixed, names, is_mixed
):
    spool.enqueue_all(["true"] * 3)
    for name in names:
        (path / "processing" / name).mkdir()
    dealer.deal(hands, 3600)

    assert bool(mixed) == is_mixed


def test_a_worker_of_ours_that_has_not_said_its_name_is_no_other_supervisors(
    spool, path, dealer, hands, clock, mixed
):
    spool.enqueue_all(["true"] * 3)
    hands[0].name = ""
    for name in ("w0", "w1", "w2"):
        (path / "processing" / name).mkdir()
    dealer.deal(hands, 3600)

    assert not mixed


@pytest.mark.parametrize("stays", [False, True])
def test_whom_the_first_look_finds_counts_only_if_it_is_still_there_after_the_first_chores(
    spool, path, dealer, hands, clock, mixed, stays
):
    spool.enqueue_all(["true"] * 3)
    other = path / "processing" / "other"
    other.mkdir()
    names, hands[0].name, hands[1].name, hands[2].name = [hand.name for hand in hands], "", "", ""
    dealer.deal(hands, 3600)
    assert not mixed

    for hand, name in zip(hands, names, strict=True):
        hand.name = name
    if not stays:
        other.rmdir()
    dealer.reconsider(hands)
    hands[0].wants = 1
    dealer.deal(hands, 3600)

    assert bool(mixed) == stays


def test_a_name_that_waits_behind_a_long_job_is_given_to_another(spool, dealer, hands, clock):
    spool.enqueue_all(["true"] * 4)
    busy, idle = hands[:2]
    busy.wants = 4
    dealer.deal([busy], 3600)
    assert len(busy.held) == 4

    idle.wants = 2
    dealer.deal([busy, idle], 3600)
    assert idle.held == set()
    assert dealer.wakes_at([busy, idle], 3600) == pytest.approx(clock.now + HELD)
    clock.now += HELD + 0.01
    dealer.deal([busy, idle], 3600)

    assert len(idle.held) == 2


def test_while_names_are_being_claimed_the_watch_stays_off(spool, dealer, hands, clock):
    spool.enqueue("true")
    busy, idle = hands[:2]
    busy.wants = 1
    dealer.deal([busy, idle], 3600)
    idle.wants = 1
    dealer.deal([busy, idle], 3600)
    assert not dealer.is_idle([busy, idle])

    busy.held = set()

    assert dealer.is_idle([busy, idle])


def test_a_look_that_fails_is_not_repeated_at_once(spool, path, dealer, hands, clock, monkeypatch):
    hands[0].wants = 1

    def fail(*_, **__):
        raise PermissionError(13, "no", str(path))

    monkeypatch.setattr(spool, "names", fail)
    with pytest.raises(PermissionError):
        dealer.deal(hands, 3600)

    assert dealer.wakes_at(hands, 3600) > clock.now + 0.5


def test_an_untouched_directory_is_not_scanned_again(
    spool, path, dealer, hands, clock, monkeypatch
):
    spool.enqueue({"command": "true", "delay": 3600})
    for state in ("pending", "failed"):
        os.utime(path / state, (1, 1))
    hands[0].wants = 1
    dealer.deal(hands, 1)
    scans = []
    monkeypatch.setattr(spool, "names", lambda state: scans.append(state) or iter(()))
    clock.now += 2
    dealer.deal(hands, 1)
    assert scans == []

    os.utime(path / "pending", (2, 2))
    clock.now += 2
    dealer.deal(hands, 1)

    assert scans == ["pending", "failed"]


@pytest.mark.parametrize(("age", "looks"), [(0.01, True), (0.2, False), (2.3, False)])
@pytest.mark.parametrize("fraction", [0.0, 0.5])
def test_a_directory_is_taken_for_untouched_only_if_a_change_would_show(
    spool, path, dealer, hands, clock, monkeypatch, age, looks, fraction
):
    """File systems that keep whole seconds show a change only seconds later."""
    stamp = int(time.time()) - 10 + fraction
    for state in ("pending", "failed"):
        os.utime(path / state, (stamp, stamp))
    clock.time = lambda: stamp + age
    hands[0].wants = 1
    dealer.deal(hands, 1)
    scans = []
    monkeypatch.setattr(spool, "names", lambda state: scans.append(state) or iter(()))
    clock.now += 2
    dealer.deal(hands, 1)

    assert bool(scans) == (looks or (fraction == 0.0 and age < 2))


def test_a_job_that_comes_while_a_look_is_taken_is_found_by_the_next(
    spool, path, dealer, hands, clock, monkeypatch
):
    for state in ("pending", "failed"):
        os.utime(path / state, (1, 1))
    names = spool.names

    def names_before(state):
        """What was there before the job came."""
        found = list(names(state))
        if state == "pending":
            monkeypatch.setattr(spool, "names", names)
            spool.enqueue("true")
            os.utime(path / "pending", (2, 2))  # long enough ago to be trusted
        return iter(found)

    monkeypatch.setattr(spool, "names", names_before)
    hands[0].wants = 1
    dealer.deal(hands, 1)
    assert hands[0].held == set()
    clock.now += 2
    dealer.deal(hands, 1)

    assert len(hands[0].held) == 1


@pytest.mark.parametrize("place", ["pending", "failed", "processing/other", "blocked/after.gone"])
def test_nothing_is_drained_while_a_job_is_left_that_may_run(
    spool, path, dealer, hands, clock, place
):
    for hand in hands:
        hand.wants = 1
    dealer.deal(hands, 3600)
    assert dealer.is_drained(hands)

    (path / place).mkdir(parents=True, exist_ok=True)
    (path / place / "20261122T101502.123456Z-p5-a0-a.json").write_text('{"command": "true"}')

    assert not dealer.is_drained(hands)


def test_the_next_due_time_wakes_the_dealer(spool, dealer, hands, clock):
    spool.enqueue({"command": "true", "delay": 7})
    hands[0].wants = 1
    dealer.deal(hands, 3600)

    assert dealer.wakes_at(hands, 3600) == pytest.approx(clock.now + 7, abs=5)


def test_nobody_waits_nobody_looks(dealer, hands):
    assert dealer.wakes_at(hands, 3600) is None


@pytest.mark.parametrize(
    ("lost", "looks"), [(0, False), (4, False), (5, False), (6, True), (20, True)]
)
def test_a_list_of_which_every_fourth_name_was_taken_by_others_is_made_anew(
    spool, dealer, hands, clock, monkeypatch, lost, looks
):
    spool.enqueue_all(["true"] * 40)
    hands[0].wants = 20
    dealer.deal(hands[:1], 3600)
    scans = []
    real = spool.names
    monkeypatch.setattr(spool, "names", lambda state: scans.append(state) or real(state))
    dealer.lost(lost)
    hands[1].wants = 1
    dealer.deal(hands, 3600)

    assert bool(scans) == looks


def test_a_look_that_fails_is_repeated_only_after_a_while(spool, dealer, hands, clock, monkeypatch):
    for name in ("is_paused", "names"):
        with monkeypatch.context() as patch:
            patch.setattr(spool, name, refuse)
            hands[0].wants = 1
            dealer.unseen = True
            with pytest.raises(OSError, match="stale"):
                dealer.deal(hands, 3600)
            assert dealer.wakes_at(hands, 3600) >= clock.now + room.PATIENCE
        clock.now += 10


def refuse(*_):
    raise OSError(errno.ESTALE, "stale")


@pytest.mark.parametrize(
    ("took", "waited", "looks"),
    [(0.001, 0.9, False), (0.001, 1.1, True), (2.0, 19.0, False), (2.0, 21.0, True)],
)
def test_a_list_lasts_ten_times_as_long_as_it_took_to_make(
    spool, dealer, hands, clock, monkeypatch, took, waited, looks
):
    spool.enqueue_all(["true"] * 40)
    real = spool.names
    scans = []

    def slow(state):
        scans.append(state)
        clock.now += took / 2
        return real(state)

    monkeypatch.setattr(spool, "names", slow)
    hands[0].wants = 1
    dealer.deal(hands, 3600)
    scans.clear()
    clock.now += waited
    hands[1].wants = 1
    dealer.deal(hands, 3600)

    assert bool(scans) == looks


def test_the_dealer_says_once_that_the_names_are_coming_to_an_end(spool, dealer, hands, clock):
    spool.enqueue_all(["true"] * 20)
    found = []
    for _ in range(4):
        hands[0].wants = 5
        dealer.deal(hands, 3600)
        found.append(dealer.is_ending())

    assert found == [False, False, False, True]


def test_the_names_do_not_come_to_an_end_while_there_are_drops(spool, path, dealer, hands, clock):
    spool.enqueue("true")
    (path / "pending" / "x.json").write_text('{"command": "true"}')

    def deal():
        hands[0].wants = 5
        dealer.deal(hands, 3600)
        return hands[0].held == {"pending/x.json"}, dealer.is_ending()

    assert deal() == (True, False)
    dealer.left("admit", "x.json")
    clock.now += room.TURN  # from now on jobs go first
    assert deal() == (False, False)
    assert deal() == (True, False)
    dealer.admitted("pending/20260101T000000.000000Z-p5-a0-x.json")
    assert deal() == (False, True)


def test_nothing_comes_to_an_end_where_there_is_nothing(dealer, hands, clock):
    hands[0].wants = 5
    dealer.deal(hands, 3600)

    assert not dealer.is_ending()


# -- drops


@pytest.fixture
def crew(spool, monkeypatch):
    """Two workers that admit what they are given; every message takes them a hundredth of a second."""

    class Crew:
        def __init__(self):
            self.lines, self.hands, self.portions = [], [], []
            for number in range(2):
                here, there = pair()
                self.lines += [here, there]
                self.hands.append(Hand(number, here, 0.0, name=f"w{number}"))
                (Path(spool.path) / "processing" / f"w{number}").mkdir()

        def turn(self, dealer, clock, hands=2):
            """Those that have nothing to do get something and do it; the verbs that each of them got."""
            for hand in self.hands[:hands]:
                hand.wants, hand.held = 8, set()
            dealer.deal(self.hands[:hands], 3600)
            given = []
            for hand, there in zip(self.hands[:hands], self.lines[1::2], strict=False):
                hints = there.receive() if hand.held else []
                given.append([hint.verb for hint in hints])
                for hint in hints:
                    self.follow(dealer, hand, hint)
            clock.now += 0.01
            self.portions += [verbs for verbs in given if verbs]
            return given

        def follow(self, dealer, hand, hint):
            if hint.verb == "claim":
                spool.claim(hint.text, hand.name, time.time())
                return
            act = inbox.accept if hint.text.startswith("inbox/") else admission.admit
            answer = act(spool, hint.text, hand.name, last=hint.verb == "settle")
            if isinstance(answer, admission.Broken):
                dealer.broken(hint.text, answer.mark)
            elif isinstance(answer, admission.Admitted):
                dealer.admitted(answer.file)

    crew = Crew()
    yield crew
    for line in crew.lines:
        line.close()


def drop(path, count, text='{{"command": "true", "id": "d{0}", "priority": {1}}}', place="pending"):
    for number in range(count):
        (path / place / f"{number}.json").write_text(text.format(number, number % 10))


def test_drops_are_admitted_before_any_of_them_runs_and_then_the_highest_priority_comes_first(
    spool, path, dealer, crew, clock
):
    drop(path, 30)
    crew.turn(dealer, clock)
    assert crew.portions == [["admit"] * 30]

    while crew.turn(dealer, clock, hands=1)[0]:
        pass

    claims = sorted(os.listdir(path / "processing" / "w0"))
    assert [name.split("-")[1] for name in claims] == [f"p{9 - n // 3}" for n in range(30)]


def test_jobs_and_a_flood_of_drops_have_half_of_the_time_each(
    spool, path, dealer, crew, clock, monkeypatch
):
    monkeypatch.setattr(room, "PORTION", 2)
    spool.enqueue_all(["true"] * 800)
    drop(path, 150)
    while len(crew.portions) < 120:
        crew.turn(dealer, clock)

    kinds = "".join(verbs[0][0] for verbs in crew.portions)
    assert max(map(len, re.findall("a+", kinds))) <= 2 * (room.TURN / 0.01 + 1)
    assert 50 <= kinds.count("a") <= 70


def test_a_flood_of_drops_is_not_listed_again_for_each_portion(
    spool, path, dealer, crew, clock, monkeypatch
):
    monkeypatch.setattr(room, "PORTION", 2)
    drop(path, 60, '{{"command": "true", "delay": "1h"}}')
    scans, real = [], spool.names
    monkeypatch.setattr(spool, "names", lambda state: scans.append(state) or real(state))
    while sum(map(len, crew.portions)) < 60:
        crew.turn(dealer, clock)

    assert scans.count("pending") == 1


@pytest.mark.parametrize("place", ["pending", "inbox"])
def test_a_flood_of_broken_drops_is_set_aside_soon_after_its_grace(
    spool, path, dealer, crew, clock, place
):
    spool.share(os.getgid())
    drop(path, 300, '{{"command": "tru', place)
    began = clock.now
    while len(os.listdir(path / "rejected")) < 600:
        crew.turn(dealer, clock)
        assert clock.now - began < GRACE + 3

    assert clock.now - began >= GRACE
    assert len(crew.portions) < 100


def test_what_a_worker_had_no_time_for_is_given_to_the_next_after_what_is_more_urgent(
    spool, path, dealer, hands, clock
):
    spool.enqueue_all(["true"] * 5)
    drop(path, 1)
    held = []
    for hand in hands[:2]:
        hand.wants = 5
        dealer.deal([hand], 3600)
        held.append(hand.held)
    assert held[0] == {"pending/0.json"}
    for file in held[1]:
        dealer.left("claim", file)
    urgent = "pending/20260101T000000.000000Z-p9-a0-x.json"
    dealer.admitted(urgent)
    given = []
    for _ in range(6):
        hands[2].wants = 1
        dealer.deal(hands[2:], 3600)
        given += hands[2].held
    assert given == [urgent, *sorted(held[1])]

    dealer.left("admit", "0.json")
    hands[2].wants = 1
    dealer.deal(hands[2:], 3600)

    assert hands[2].held == held[0]
