"""The job parser."""

import copy
import json
import os
import pickle
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl.errors import InvalidJob
from queuectl.filename import Name, decode, encode
from queuectl.job import LONGEST_WORD, Job, from_dict, parse
from queuectl.strict import Unfinished

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
some = texts.filter(str.strip)
spans = st.integers(0, 10**6).map(float)
times = st.integers(0, 7 * 10**15).map(lambda micro: micro / 1_000_000)
names_of_variables = texts.filter(lambda text: text and "=" not in text)


@st.composite
def jobs(draw):
    when = draw(st.sampled_from([{}, {"run_at": draw(times)}, {"delay": draw(spans)}]))
    return Job(
        command=draw(some | st.lists(some, min_size=1, max_size=5).map(tuple)),
        id=draw(st.none() | st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)),
        priority=draw(st.integers(0, 9)),
        max_retries=draw(st.none() | st.integers(1, 1000)),
        timeout=draw(st.none() | spans),
        cwd=draw(st.none() | texts.map(lambda text: "/" + text)),
        env=draw(st.dictionaries(names_of_variables, texts, max_size=3)),
        stdin=draw(st.none() | texts),
        name=draw(st.none() | texts),
        meta=draw(
            st.none()
            | st.dictionaries(texts, st.integers() | texts | st.none() | st.booleans(), max_size=3)
        ),
        created_at=draw(st.none() | times),
        **when,
    )


@given(jobs())
def test_every_job_comes_back_from_its_bytes(job):
    assert parse(job.to_bytes()) == job


@given(jobs(), st.data())
def test_a_job_cut_short_is_unfinished_and_never_another_job(job, data):
    whole = job.to_bytes().rstrip()
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]

    with pytest.raises(Unfinished):
        parse(cut)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_job_or_are_refused(data):
    try:
        parse(data)
    except InvalidJob as error:
        assert str(error)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | texts,
        lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    )
)
def test_any_value_is_a_job_or_is_refused(value):
    try:
        from_dict({"command": "true", "meta": value, "delay": value})
    except InvalidJob as error:
        assert error.field in ("delay", "meta")


#: Times and durations at the edges of what there is, in JSON.
EDGES = st.sampled_from(
    [
        "2199-12-31T23:59:59Z", "2199-12-31T23:59:59.999999Z", "2200-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "1970-01-01T00:00:00Z",
        "1969-12-31T23:59:59.999999Z", "10000-01-01T00:00:00Z", "36500d", "36501d", "5214w", 100 * 365 * 86400,
        0, -0.0, -1, 1e-9, 1e15, 1e300, 1e999, float("-inf"), float("nan"), 10**30, 2**63, "", "-1s", True, None, [], {},
    ]
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["run_at", "delay", "timeout", "created_at"]), EDGES))
def test_a_job_that_is_accepted_has_a_time_that_its_name_can_say(fields):
    for data in ({"command": "true", **fields}, {"command": "true", **fields, "priority": 9}):
        try:
            job = from_dict(data, came=1.8e9)
        except InvalidJob as error:
            assert error.field in fields
            continue
        name = Name(job.due(job.created_at), job.priority, 0, "a")
        assert decode(encode(name)) == name._replace(time=pytest.approx(name.time, abs=1e-6))
        assert parse(job.to_bytes()) == job


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | texts | st.binary(),
        lambda inner: (
            st.lists(inner)
            | st.tuples(inner, inner)
            | st.dictionaries(st.none() | st.integers() | st.booleans() | texts, inner)
        ),
    )
)
def test_what_a_program_calls_meta_is_what_a_worker_reads(value):
    try:
        job = from_dict({"command": "true", "meta": value})
    except InvalidJob as error:
        assert error.field == "meta"
        return
    assert parse(job.to_bytes()) == job


def test_what_a_file_leaves_out_is_left_to_the_settings():
    job = parse(b'{"command": "true"}')

    assert (job.max_retries, job.timeout, job.cwd, job.id) == (None, None, None, None)
    assert job.priority == 5


def test_fields_that_other_queuectls_write_are_accepted_and_ignored():
    job = parse(
        b'{"id":"job1","command":"echo hi","state":"pending","attempts":7,"max_retries":3,"created_at":"2025-11-04T10:30:00Z","updated_at":"x"}'
    )

    assert job == Job("echo hi", id="job1", max_retries=3, created_at=1762252200.0)


def test_a_byte_order_mark_and_carriage_returns_do_no_harm():
    assert parse(b'\xef\xbb\xbf{\r\n"command": "true"\r\n}\r\n') == Job("true")


def test_durations_may_be_texts():
    job = from_dict({"command": "true", "delay": "10m", "timeout": "1h30m"})

    assert (job.delay, job.timeout) == (600, 5400)


def long(**fields):
    """The text of a job with these fields."""
    return json.dumps({"command": "true", **fields}, ensure_ascii=False).encode()


REFUSED = {
    "an empty file": (b"", "is empty"),
    "no JSON": (b"hello", "no value at column 1"),
    "JSON cut off": (b'{"command": "x"', "no comma after a value at column 16"),
    "two objects": (b'{"command":"x"}{"command":"y"}', "more text after the value at column 16"),
    "a list": (b"[1]", "not a list"),
    "null": (b"null", "not null"),
    "NaN": (b'{"command":"x","meta":NaN}', "is not JSON: it has no NaN"),
    "infinity": (b'{"command":"x","meta":1e999}', "too large"),
    "a number of 5000 digits": (b'{"command":"x","meta":' + b"9" * 5000 + b"}", "too long"),
    "duplicate keys": (b'{"command":"x","command":"y"}', "'command' stands twice"),
    "duplicate keys below": (b'{"command":"x","meta":{"a":1,"a":2}}', "'a' stands twice"),
    "200 levels": (b'{"command":"x","meta":' + b"[" * 200 + b"]" * 200 + b"}", "nested"),
    "100,000 levels": (b'{"command":"x","meta":' + b"[" * 100000 + b"]" * 100000 + b"}", "nested"),
    "UTF-16": ('{"command":"x"}'.encode("utf-16"), "UTF-8"),
    "UTF-16 without a mark": ('{"command":"x"}'.encode("utf-16-le"), "UTF-8"),
    "Latin-1": ('{"command":"é"}'.encode("latin-1"), "not UTF-8"),
    "half a surrogate": (b'{"command":"\\ud800"}', "surrogate"),
    "no command": (b'{"id":"x"}', "command: is missing"),
    "an empty command": (b'{"command":" "}', "command: must not be empty"),
    "an empty list": (b'{"command":[]}', "the list is empty"),
    "a list with a number": (b'{"command":["ls",1]}', "command: must be a string, not a number"),
    "an empty program": (b'{"command":[""]}', "first word is empty"),
    "NUL in a command": (b'{"command":"a\\u0000b"}', "NUL"),
    "a typo": (b'{"command":"x","priorty":1}', "did you mean 'priority'?"),
    "an unknown field": (b'{"command":"x","zzzzz":1}', "the fields are command, id"),
    "a boolean where a number belongs": (b'{"command":"x","priority":true}', "not a boolean"),
    "a priority of 10": (b'{"command":"x","priority":10}', "priority: must be from 0 to 9"),
    "a fraction": (b'{"command":"x","max_retries":1.5}', "max_retries: must be a whole number"),
    "no retries": (b'{"command":"x","max_retries":0}', "max_retries: must be from 1"),
    "a negative delay": (b'{"command":"x","delay":-1}', "delay: must be between"),
    "two times": (b'{"command":"x","delay":1,"run_at":"2026-01-01T00:00:00Z"}', "together with delay"),
    "a delay beyond all times": (b'{"command":"x","created_at":"2199-12-31T00:00:00Z","delay":"36500d"}', "delay: ends after the year 2199"),
    "codes of brackets": (b'{"command":"x","success_codes":"' + b"[" * 100000 + b'"}', "success_codes: is nested too deeply"),
    "delays of braces": (b'{"command":"x","retry_after_codes":"' + b'{\\"a\\":' * 100000 + b'"}', "is nested too deeply"),
    "no time": (b'{"command":"x","run_at":"soon"}', "run_at: 'soon' is no time"),
    "an id with a slash": (b'{"command":"x","id":"../../etc/x"}', "id: '../../etc/x' is no id"),
    "an empty id": (b'{"command":"x","id":""}', "is no id"),
    "a relative cwd": (b'{"command":"x","cwd":"src"}', "absolute"),
    "env of numbers": (b'{"command":"x","env":{"A":1}}', "env.A: must be a string"),
    "env with =": (b'{"command":"x","env":{"A=B":"1"}}', "no name for a variable"),
    "env as a list": (b'{"command":"x","env":["A=1"]}', "env: must be an object"),
    "a shell command of 128 KiB": (long(command="#" * 131_072), "command: has 131072 bytes"),
    "a word of 128 KiB": (long(command=["x", "y" * 131_072]), "command: a word has 131072 bytes"),
    "letters of four bytes": (long(command=["x", "\U0001f600" * 32_768]), "131072 bytes"),
    "a program of 4 KiB": (long(command=["x" * 4096]), "command: the program has 4096 bytes"),
    "a variable of 128 KiB": (long(env={"A": "x" * 131_070}), "env.A: has 131072 bytes"),
    "a name of a variable of 128 KiB": (long(env={"x" * 131_071: ""}), "has 131072 bytes"),
    "a directory of 4 KiB": (long(cwd="/" + "x" * 4095), "cwd: has 4096 bytes"),
    "7 MiB of words": (long(command=["x", *["y" * 100_000] * 70]), "command: takes 70"),
    "7 MiB of variables": (long(env={f"A{i}": "y" * 100_000 for i in range(70)}), "takes 70"),
    "7 MiB of empty words": (long(command=["x", *[""] * 800_000]), "command: takes 72"),
    "stdin as a number": (b'{"command":"x","stdin":5}', "stdin: must be a string"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_job_is_refused_with_a_reason(case):
    data, reason = REFUSED[case]

    with pytest.raises(InvalidJob) as refusal:
        parse(data)

    assert reason in str(refusal.value)
    assert "\n" not in str(refusal.value)


#: The largest that the system may start.
LARGEST = {
    "a shell command": {"command": "#" * 131_071},
    "a word": {"command": ["x", "y" * 131_071]},
    "letters of four bytes": {"command": ["x", "\U0001f600" * 32_767]},
    "a program": {"command": ["/" * 4095]},
    "a variable": {"env": {"AB": "x" * 131_068}},
    "a directory": {"cwd": "/" * 4095},
    "words": {"command": ["x", *["y" * 100_000] * 62]},
    "stdin": {"stdin": "x" * 10_000_000},
}


@pytest.mark.parametrize("case", LARGEST)
def test_what_the_system_may_start_is_accepted(case):
    fields = {"command": "true", **LARGEST[case]}

    assert parse(long(**fields)).to_dict().items() >= fields.items()


@pytest.mark.skipif(sys.platform != "linux", reason="Linux has these limits")
@pytest.mark.skipif(os.sysconf("SC_PAGE_SIZE") != 4096, reason="they are larger with larger pages")
def test_the_longest_word_is_the_one_that_linux_starts():
    subprocess.run(["true", "x" * LONGEST_WORD], check=True)
    with pytest.raises(OSError, match="Argument list too long"):
        subprocess.run(["true", "x" * (LONGEST_WORD + 1)], check=True)


def test_a_job_file_says_only_what_differs_from_the_defaults():
    assert json.loads(Job("true").to_bytes()) == {"command": "true"}


@pytest.mark.parametrize(
    "job",
    [
        Job("x", priority=10),
        Job(""),
        Job("\udcff"),
        Job("x", env={"A": "\udcff"}),
        Job("x", meta=object()),
        Job("x", meta=float("nan")),
        Job("x", id="../x"),
        Job("x", delay=1.0, run_at=1.0),
    ],
)
def test_a_job_that_a_program_made_is_checked_like_any_other(spool, job):
    with pytest.raises(InvalidJob):
        spool.enqueue(job)


def test_a_job_can_be_copied_and_pickled_and_shares_nothing_that_changes():
    job = Job("true")

    assert pickle.loads(pickle.dumps(job)) == copy.deepcopy(job) == job
    with pytest.raises(TypeError):
        job.env["A"] = "b"
    assert dict(Job("true").env) == {}
