"""Ids of our own."""

from queuectl import ids
from queuectl.filename import is_id


def test_ids_of_ours_are_unique_and_sort_by_age():
    made = [ids.fresh() for _ in range(20_000)]

    assert len(set(made)) == len(made)
    assert made == sorted(made)


def test_ids_of_ours_have_a_shape_of_their_own():
    id = ids.fresh()

    assert ids.is_ours(id)
    assert is_id(id)
    assert len(id) == 17
    assert not any(
        ids.is_ours(other)
        for other in ("job1", "a" * 17, "1" * 16, "1" * 18, id.upper(), "1" + "u" * 16)
    )
