"""The columns of a terminal: cells and tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl import render
from queuectl.columns import NAMES, SENTENCES, cells, cut, folded, padded, shortened, table

HEAD = ("ID", "STATE", "PRI", "TRIES", "WHEN", "COMMAND")


def test_columns_are_counted_as_terminals_do():
    signs = ("a", "é", "e\u0301", "語", "\u200d")
    assert [cells(sign) for sign in signs] == [1, 1, 1, 2, 0]
    assert padded("日本語", 5) == "日本…"
    assert padded("ab", 4) == "ab  "
    assert cut("日本語", 5) == "日本"


@pytest.mark.parametrize(
    ("width", "shown"),
    [(9, "build-123"), (8, "buil…123"), (3, "b…3"), (2, "b…"), (1, "…"), (0, "")],
)
def test_a_name_keeps_its_beginning_and_its_end(width, shown):
    assert shortened("build-123", width) == shown


@given(st.text(), st.integers(0, 40))
def test_what_is_made_to_fit_does(text, width):
    assert cells(shortened(text, width)) <= width
    assert cells(padded(text, width)) == width
    shown = render.printable(text)
    assert all(cells(line) <= max(2, width) for line in folded(shown, max(2, width)))


@given(st.text(), st.integers(2, 40))
def test_a_folded_text_is_whole(text, width):
    text = render.printable(text)

    assert "".join(folded(text, width)).replace(" ", "") == text.replace(" ", "")


def test_columns_are_aligned_and_no_line_has_blanks_at_its_end():
    assert table(["A", "LONG"], [["1234", "x"], ["5", ""]]) == ["A     LONG", "1234  x", "5"]
    assert table(["A", "B"], [["日本", "x"], ["語", "y"]]) == ["A     B", "日本  x", "語    y"]


def test_a_pipe_gets_everything():
    row = ("i" * 128, "pending", "5", "0/3", "w" * 300, "c" * 100_000)

    head, line = table(HEAD, [row])

    assert line.split() == list(row)
    assert len(head) < 300


FIXED = ("processing", "5", "0/1000")
LONG = ("begin" + "x" * 118 + "end", *FIXED, "waits for " * 9, "command " * 30)
WIDE = ("始" + "日" * 60 + "終", *FIXED, "語" * 60, "本" * 60)


@pytest.mark.parametrize("row", [LONG, WIDE])
@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_long_name_hides_no_other_column(row, width):
    head, line = table(HEAD, [row], width)

    assert head.split() == list(HEAD)
    assert cells(head) <= width
    assert cells(line) <= width
    id, *fixed, when, command = line.split(None, 5)
    assert fixed == list(FIXED) or fixed == [*FIXED[:3]]
    assert (id[0], id[-1]) == (row[0][0], row[0][-1])
    assert when[0] == row[4][0]
    assert command.endswith("…") or cells(command) >= 6


def test_sentences_are_cut_before_names():
    id = "1k1ggpa5y21695z6p"
    for width in (60, 80, 120):
        [_, line] = table(HEAD, [(id, *LONG[1:])], width)
        assert line.startswith(f"{id}  processing")
    [_, line] = table(HEAD, [("short", "dead", "5", "0/3", "1s ago", "c" * 300)], 80)
    assert line.startswith("short  dead   5    0/3    1s ago  " + "c" * 45)


texts = st.text(max_size=90).map(render.printable)


@given(st.data(), st.lists(st.sampled_from(sorted(NAMES | SENTENCES)), min_size=1, max_size=6))
def test_a_table_is_no_wider_than_the_terminal(data, head):
    rows = data.draw(st.lists(st.tuples(*[texts] * len(head)), max_size=4))
    width = data.draw(st.integers(20, 130))
    whole = data.draw(st.booleans())

    shown = table(head, rows, width, whole=whole)

    assert len(shown) == len(rows) + 1
    lines = "\n".join(shown).split("\n")
    assert max(map(cells, lines)) <= width
    assert "\n" not in shown[0]


def test_a_sentence_may_get_more_lines():
    assert table(["WHAT", "CURE"], [["one two three", "x"]], 10, whole=True) == [
        "WHAT  CURE",
        "one   x\ntwo\nthre\ne",
    ]
