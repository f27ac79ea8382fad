"""JSON, read strictly: what is said of a text that is none, and of a key that nobody knows."""

import json
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl.errors import InvalidJob
from queuectl.job import _READERS
from queuectl.strict import ALIASES, FAULTS, Unfinished, load, near, unknown

#: A text for each thing that json says of one, and what we say of it.
WRONG = {
    "{": "no key in double quotes at column 2; write",
    "{'a': 1}": "no key in double quotes at column 2; write",
    '{"a": 1,}': "at column",
    "[1,]": "at column",
    "[": "no value at column 2; put strings into double quotes",
    "hello": "no value at column 1; put strings into double quotes",
    '{"a" 1}': "no colon after a key at column 6; write",
    '{"a": 1 "b": 2}': "no comma after a value at column 9; add it",
    "[1 2]": "no comma after a value at column 4; add it",
    "{} {}": "more text after the value at column 4; give one JSON value",
    '{"a": "b': "a string without end at column 7; close it",
    '{"a": "b\x01"}': r"a control character in a string at column 9; write it as \n, \t or",
    '{"a": "b\n"}': "a control character in a string at line 1 column 9; write it",
    '{"a":\n "\\x"}': r"an unknown escape in a string at line 2 column 3; write \\",
    '{"a": "\\u12"}': r"\u without four hexadecimal digits at column",
}


def refusal(data):
    with pytest.raises(InvalidJob) as error:
        load(data)
    return str(error.value)


@pytest.mark.parametrize("text", WRONG)
def test_a_text_that_is_no_json_says_what_where_and_the_cure(text):
    said = refusal(text.encode())

    assert said.startswith("is not JSON: ")
    assert WRONG[text] in said
    with pytest.raises(Unfinished):
        load(text.encode())


def test_everything_that_json_says_has_words_of_ours():
    said = set()
    for text in WRONG:
        with pytest.raises(json.JSONDecodeError) as error:
            json.loads(text)
        [begin] = [begin for begin in FAULTS if error.value.msg.startswith(begin)]
        said.add(begin)

    assert said | {"Illegal trailing comma"} == set(FAULTS)  # Python 3.13 says that


OTHERS = [
    (b"", "is empty; "),
    (b"\xff", "is not UTF-8 (byte 0); save"),
    ("{}".encode("utf-16"), "is UTF-16 or UTF-32; save"),
    (b"[" * 200 + b"]" * 200, "is nested too deeply; use"),
    (b"[" * 100_000, "is nested too deeply; use"),
    (b'{"a": 1, "a": 2}', "key 'a' stands twice; keep"),
    (b"[NaN]", "is not JSON: it has no NaN; write"),
    (b"[1e999]", "number 1e999 is too large; write"),
    (b"9" * 5000, "has a number that is too long; write"),
    (b'["\\ud800"]', "has half a surrogate pair in a string; write"),
]


@pytest.mark.parametrize(("data", "said"), OTHERS)
def test_what_is_refused_says_how_to_mend_it(data, said):
    assert refusal(data).startswith(said)


@given(
    st.binary(max_size=60)
    | st.text(max_size=60).map(str.encode)
    | st.text(st.sampled_from('{}[]":,\\ \n\t\x00u1aNtrue'), max_size=40).map(str.encode)
)
def test_any_refusal_is_one_line_with_a_cure_and_no_word_twice(data):
    try:
        load(data)
    except InvalidJob as error:
        said = str(error)
        assert said.isprintable()
        assert said.count("; ") == 1
        words = re.sub(r"'.*'", "", said).split()
        assert [word for word, after in pairwise(words) if word == after] == []


# -- keys


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("cmd", "command"),
        ("shell", "command"),
        ("CMD", "command"),
        ("maxRetries", "max_retries"),
        ("max-retries", "max_retries"),
        ("retries", "max_retries"),
        ("working_directory", "cwd"),
        ("workingDirectory", "cwd"),
        ("environment", "env"),
        ("eta", "run_at"),
        ("timeoutSeconds", "timeout"),
        ("depends_on", "after"),
        ("comand", "command"),
        ("jobId", "id"),
    ],
)
def test_a_field_of_another_queue_leads_to_ours(key, meant):
    assert unknown(key, _READERS) == f"unknown field {key!r}; did you mean {meant!r}?"


def test_every_alias_leads_to_its_own_field_and_is_no_field_itself():
    for field in set(ALIASES) & set(_READERS):
        for alias in ALIASES[field].split():
            assert alias not in _READERS
            assert near(alias, _READERS) == field


def test_a_key_that_nobody_knows_gets_the_list():
    assert near("zzzzz", _READERS) is None
    assert "the fields are command, id" in unknown("z" * 10_000, _READERS)
    assert len(unknown("z" * 10_000, _READERS)) < 500
    assert unknown(5, ["command"]) == "unknown field '5'; the fields are command"
