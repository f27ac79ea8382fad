"""The name codec."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl.filename import (
    Name,
    decode,
    encode,
    fitted,
    has_shape,
    is_drop,
    is_id,
    stamp,
    unstamp,
)

ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", fullmatch=True)
times = st.integers(0, 7258118399 * 1_000_000).map(lambda micro: micro / 1_000_000)
all_names = st.builds(Name, times, st.integers(0, 9), st.integers(0, 999_999), ids)

EXAMPLE = "20261122T101502.123456Z-p5-a0-resize-42.json"


def test_the_name_in_the_documentation_says_what_the_documentation_says():
    name = decode(EXAMPLE)

    assert name == Name(1795342502.123456, 5, 0, "resize-42")
    assert encode(name) == EXAMPLE


@given(all_names)
def test_every_name_comes_back_from_its_text(name):
    text = encode(name)

    assert decode(text) == name
    assert encode(decode(text)) == text
    assert len(text.encode("ascii")) <= 200
    assert has_shape(text)
    assert is_drop(text)


@given(times, times)
def test_texts_of_times_sort_like_the_times(one, other):
    assert (stamp(one) < stamp(other)) == (one < other)
    assert unstamp(stamp(one)) == one


@given(st.text(max_size=80))
def test_no_text_has_two_spellings(text):
    name = decode(text)

    assert name is None or encode(name) == text


@pytest.mark.parametrize(
    "text",
    [
        "resize.json",
        EXAMPLE.replace("p5", "p10"),
        EXAMPLE.replace("a0", "a00"),
        EXAMPLE.replace("a0", "a1000000"),
        EXAMPLE.replace("20261122", "20261322"),
        EXAMPLE.replace("20261122", "20260230"),
        EXAMPLE.replace("20261122", "99991231"),
        EXAMPLE.replace("20261122", "19691231"),
        EXAMPLE.replace("T10", "T24"),
        EXAMPLE.replace("502", "560"),
        EXAMPLE.replace("Z", "z"),
        EXAMPLE.replace("resize", "-resize"),
        EXAMPLE.replace("resize", "re/size"),
        EXAMPLE.replace("resize", "ré"),
        EXAMPLE.replace("2026", "２０２６"),
        EXAMPLE.replace("resize-42", "x" * 129),
        EXAMPLE + "\n",
        EXAMPLE + ".reason",
        "",
    ],
)
def test_what_is_not_a_canonical_name_is_none(text):
    assert decode(text) is None


@pytest.mark.parametrize(
    "name",
    [
        Name(0, 10, 0, "a"),
        Name(0, 5, -1, "a"),
        Name(0, 5, 0, ""),
        Name(0, 5, 0, "a/b"),
        Name(-1, 5, 0, "a"),
        Name(1e11, 5, 0, "a"),
    ],
)
def test_what_no_name_can_say_is_refused(name):
    with pytest.raises(ValueError, match="."):
        encode(name)


@pytest.mark.parametrize(
    "text", ["a/b", "..", ".hidden", "-dash", "", "a b", "a\n", "é", "x" * 129, "../../etc/x"]
)
def test_what_could_leave_the_directory_is_no_id(text):
    assert not is_id(text)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("x.json", True),
        (EXAMPLE, True),
        (".x.json", False),
        (".nfs000.json", False),
        ("x.json~", False),
        ("x.json.tmp", False),
        ("x.tmp", False),
        (".DS_Store", False),
        ("x.JSON", False),
        ("x.json.swp", False),
    ],
)
def test_a_drop_is_a_file_whose_name_ends_in_json_and_is_not_hidden(text, is_one):
    assert is_drop(text) == is_one


@given(st.binary(min_size=1, max_size=255).map(os.fsdecode), st.integers(24, 200))
def test_a_fitted_name_keeps_its_prefix_and_fits(text, most):
    fit = fitted("20261122T101502.123456Z-"[:24], text, most)

    assert len(fit.encode("utf-8", "surrogateescape")) <= most
    assert fit.startswith("20261122T101502.123456Z-")
