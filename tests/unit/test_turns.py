"""Turns of several spools."""

import pytest

from queuectl import wire
from queuectl.turns import Round, Turns


@pytest.fixture
def fleet():
    """A round of two turns, and the ends of three supervisors, a, b and c."""
    ours, theirs = Round(2), {}
    for number, name in enumerate("abc"):
        here, there = wire.pair()
        ours.add(number, here)
        theirs[name] = Turns(there)
    yield ours, theirs
    for line in ours.lines.values():
        line.close()
    for turns in theirs.values():
        turns._line.close()


def tell(ours, theirs):
    """Let everybody hear what was said."""
    import select

    while True:
        readable, _, _ = select.select([line.reader for line in ours.lines.values()], [], [], 0)
        for number in [number for number, line in ours.lines.items() if line.reader in readable]:
            ours.listen(number)
        heard = select.select([turns.reader for turns in theirs.values()], [], [], 0)[0]
        for turns in theirs.values():
            if turns.reader in heard:
                assert turns.hear()
        if not (readable or heard):
            return


def test_no_more_turns_are_taken_than_there_are(fleet):
    ours, theirs = fleet
    assert not any(turns.take(1, 4) for turns in theirs.values())
    tell(ours, theirs)

    taken = [name for name, turns in theirs.items() for pid in (1, 2, 3, 4) if turns.take(pid, 1)]

    assert len(taken) == 2


def test_a_turn_that_ends_goes_to_the_spool_with_the_fewest(fleet):
    ours, theirs = fleet
    assert not theirs["a"].take(1, 4)
    tell(ours, theirs)
    assert theirs["a"].take(1, 3)
    assert theirs["a"].take(2, 2)
    assert not theirs["b"].take(1, 1)
    tell(ours, theirs)
    assert not theirs["b"].take(1, 1)

    theirs["a"].end(1)
    tell(ours, theirs)

    assert theirs["b"].take(1, 1)
    assert not theirs["a"].take(1, 1)


def test_what_nobody_uses_goes_back(fleet):
    ours, theirs = fleet
    assert not theirs["a"].take(1, 2)
    tell(ours, theirs)

    theirs["a"].rest()
    theirs["a"].end(1)  # had none
    assert not theirs["b"].take(1, 2)
    tell(ours, theirs)

    assert theirs["b"].take(1, 2)
    assert theirs["b"].take(2, 1)


def test_with_a_supervisor_its_turns_come_back(fleet):
    ours, theirs = fleet
    assert not theirs["a"].take(1, 2)
    tell(ours, theirs)
    assert theirs["a"].take(1, 2)
    gone = theirs.pop("a")
    assert not theirs["b"].take(1, 2)

    gone._line.close()
    tell(ours, theirs)

    assert theirs["b"].take(1, 2)
    assert theirs["b"].take(2, 1)
    theirs["a"] = Turns(wire.pair()[1])


def test_who_is_asked_for_once_is_not_asked_for_twice(fleet):
    ours, theirs = fleet
    for _ in range(5):
        assert not theirs["a"].take(1, 1)
    tell(ours, theirs)

    assert theirs["a"].take(1, 1)
    assert not theirs["a"]._free
