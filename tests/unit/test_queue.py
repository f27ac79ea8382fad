"""The order in which jobs run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl.filename import Name, encode
from queuectl.queue import DROP_PAUSE, GRACE, SMALLEST, Drops, Queue, mix, rank

NOW = 1_795_342_502.0


def name(id, *, due=-10.0, priority=5, attempts=0):
    return encode(Name(NOW + due, priority, attempts, id))


def order(pending, failed=(), **more):
    queue = Queue()
    queue.fill(pending, failed, NOW, without=more.get("without", set()))
    return [file.split("-")[-1].removesuffix(".json") for file in queue.take(10**6)]


def test_the_higher_priority_comes_first_then_what_has_been_due_for_longest():
    jobs = [
        name("low", priority=1, due=-99),
        name("new", due=-1),
        name("old", due=-5),
        name("high", priority=9, due=-1),
    ]

    assert order(jobs) == ["high", "old", "new", "low"]


def test_what_is_not_due_is_not_handed_out_and_says_when_it_is():
    queue = Queue()

    queue.fill(
        [name("later", due=30), name("soon", due=5)], [name("retry", due=2)], NOW, without=set()
    )

    assert queue.take(9) == []
    assert queue.next_due == name("retry", due=2)[:23]


def test_a_name_in_somebodys_hands_is_not_handed_out_again():
    held = name("held")

    assert order([held, name("free")], without={"pending/" + held}) == ["free"]


def test_retries_take_every_second_place_while_fresh_jobs_of_their_priority_wait():
    retries = [name(f"r{i}", due=-100 + i) for i in range(5000)]
    fresh = [name(f"f{i}", due=-1 + i / 1000) for i in range(500)]

    first = order(fresh, retries)[:1000]

    assert sum(id.startswith("f") for id in first) == 500
    assert first[:4] == ["r0", "f0", "r1", "f1"]


def test_retries_of_a_higher_priority_come_before_fresh_jobs():
    assert order([name("f", priority=1)], [name("a", priority=9), name("b", priority=9)]) == [
        "a",
        "b",
        "f",
    ]


def test_fresh_jobs_that_are_older_than_the_retries_are_not_held_up_by_them():
    assert order([name("f0", due=-9), name("f1", due=-8)], [name("r0", due=-1)]) == [
        "f0",
        "f1",
        "r0",
    ]


def test_of_a_long_backlog_the_best_are_held_and_the_others_come_with_the_next_look():
    jobs = [name(str(i), due=-i) for i in range(10 * SMALLEST)]
    queue = Queue()

    queue.fill(jobs, [], NOW, without=set())

    assert len(queue) == SMALLEST
    assert queue.take(1) == ["pending/" + jobs[-1]]
    queue.fill(jobs, [], NOW, without=set())
    assert len(queue) == 10 * SMALLEST // 8


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(-100, 100)), max_size=60), st.randoms())
def test_everything_due_is_handed_out_once_whatever_the_order_of_the_listing(jobs, random):
    names = [name(str(i), priority=p, due=d) for i, (p, d) in enumerate(jobs)]
    random.shuffle(names)
    due = [n for n in names if jobs[int(n.split("-")[-1][:-5])][1] <= 0]

    assert sorted(order(names), key=int) == sorted((n.split("-")[-1][:-5] for n in due), key=int)


@pytest.mark.parametrize(
    "bad",
    [
        "foo.json",
        "99991231T000000.000000Z-p5-a0-x.json",
        "20261399T000000.000000Z-p5-a0-x.json",
        "20261122T101502.123456Z-px-a0-x.json",
    ],
)
def test_a_name_that_is_none_of_ours_is_a_drop(bad):
    queue = Queue()

    queue.fill([bad, ".hidden.json", "x.tmp"], [], NOW, without=set())

    assert (queue.drops, queue.take(9), queue.next_due) == ([bad], [], "")


def test_an_admitted_job_takes_its_place_in_the_order():
    queue = Queue()
    queue.fill([name("b", due=-5), name("d", due=-3)], [], NOW, without=set())

    queue.add("pending/" + name("c", due=-4), NOW)
    queue.add("pending/" + name("a", priority=9), NOW)
    queue.add("pending/" + name("z", due=7), NOW)

    assert [f.split("-")[-1] for f in queue.take(9)] == ["a.json", "b.json", "c.json", "d.json"]
    assert queue.next_due == name("z", due=7)[:23]


def test_a_name_that_a_worker_gives_back_takes_its_place_again_and_only_once():
    queue = Queue()
    queue.fill([name("a", due=-5), name("c", due=-3)], [name("b", priority=9)], NOW, without=set())
    taken = queue.take(2)
    assert [f.partition("/")[0] for f in taken] == ["failed", "pending"]

    for file in (*taken, *taken):
        queue.add(file, NOW)

    assert queue.take(9) == [*taken, "pending/" + name("c", due=-3)]


def test_mixing_for_several_supervisors_keeps_the_priorities_and_loses_nothing():
    ranked = sorted(
        (rank(name(f"{p}x{i}", priority=p, due=-i)) for p in range(3) for i in range(1500)),
        reverse=True,
    )

    mixed = mix(ranked)

    assert mixed != ranked
    assert sorted(mixed) == sorted(ranked)
    assert [n[0] for n in mixed] == [n[0] for n in ranked]


def test_a_drop_is_looked_at_once_and_again_when_somebody_wrote():
    drops = Drops()
    drops.update(["a.json"], rang=False)

    assert drops.take(5, 0.0) == [("admit", "a.json")]
    drops.broken("a.json", "mark1", 0.0)
    drops.update(["a.json"], rang=False)
    assert drops.take(5, 0.5) == []
    drops.update(["a.json"], rang=True)
    assert drops.take(5, 0.5) == [("admit", "a.json")]


def test_a_drop_that_stays_broken_is_settled_after_the_grace():
    drops, now = Drops(), 0.0
    drops.update(["a.json"], rang=False)
    verbs = []
    while "settle" not in verbs:
        assert now <= GRACE + 1
        for verb, drop in drops.take(5, now):
            verbs.append(verb)
            drops.broken(drop, "same", now)
        now = drops.next_look()

    assert verbs[:-1] == ["admit"] * (len(verbs) - 1)
    assert verbs[-1] == "settle"


def test_a_drop_that_is_being_written_is_never_settled():
    drops, now = Drops(), 0.0
    drops.update(["a.json"], rang=False)
    for turn in range(30):
        assert drops.take(5, now) == [("admit", "a.json")]
        drops.broken("a.json", f"mark{turn}", now)
        now = drops.next_look()


def test_a_drop_that_is_gone_is_forgotten():
    drops = Drops()
    drops.update(["a.json"], rang=False)
    drops.update([], rang=False)

    assert drops.take(5, 99.0) == []
    assert len(drops) == 0


def test_the_grace_of_a_drop_goes_on_while_a_worker_looks_at_it():
    drops = Drops()
    drops.update(["a.json"], rang=False)
    for now in (0.0, GRACE - 1):
        drops.take(5, now)
        drops.broken("a.json", "same", now)
    drops.take(5, GRACE)
    drops.update(["a.json"], rang=False, held={"a.json"})
    assert drops.take(5, GRACE) == []

    drops.update(["a.json"], rang=False)

    assert drops.take(5, GRACE) == [("settle", "a.json")]


def test_a_drop_that_a_worker_gives_back_is_given_out_again():
    drops = Drops()
    drops.update(["a.json", "b.json"], rang=False)
    for _, drop in drops.take(5, 0.0):
        drops.left(drop)

    assert len(drops) == 2
    assert sorted(drops.take(5, 0.0)) == [("admit", "a.json"), ("admit", "b.json")]


def test_the_next_look_is_at_the_drop_that_was_broken_first():
    drops = Drops()
    drops.update(["a.json", "b.json"], rang=False)
    drops.take(5, 0.0)
    for at, drop in enumerate(["a.json", "b.json", "a.json"]):
        drops.broken(drop, "same", float(at))

    assert drops.next_look() == 1.0 + DROP_PAUSE
    assert [drop for _, drop in drops.take(5, 1.0 + DROP_PAUSE)] == ["b.json"]
    assert not drops.has_work(1.0 + DROP_PAUSE)
    assert drops.has_work(2.0 + DROP_PAUSE)
