"""The schemas in docs/ say what the program says: what the parser accepts, and what it writes."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl import job as parser
from queuectl.errors import InvalidJob
from queuectl.job import IGNORED, from_dict
from queuectl.retry import Outcome
from tests.unit.test_job import REFUSED, jobs, texts

DOCS = Path(__file__).parents[2] / "docs"
JOB = json.loads((DOCS / "job.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(JOB)

#: Cases of REFUSED in which only the text is at fault: whatever reads JSON less strictly sees a value that the schema accepts.
TEXTS = {
    "NaN", "infinity", "a number of 5000 digits", "duplicate keys", "duplicate keys below", "200 levels", "100,000 levels",
    "half a surrogate", "UTF-16", "UTF-16 without a mark", "Latin-1", "an empty file", "no JSON", "JSON cut off", "two objects",
    "letters of four bytes", "7 MiB of words", "7 MiB of variables", "7 MiB of empty words",
    "a delay beyond all times",  # no schema can add
}  # fmt: skip


def test_the_schemas_are_schemas():
    for file in DOCS.glob("*.schema.json"):
        schema = json.loads(file.read_text())
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        jsonschema.Draft202012Validator.check_schema(schema)


def test_the_schema_has_every_field_and_no_other():
    assert set(JOB["properties"]) == set(parser._READERS) | IGNORED
    assert all(field.get("description") for field in JOB["properties"].values())


def test_the_format_describes_every_field_of_the_schema():
    table = (DOCS / "format.md").read_text().partition("## A job's file")[2].partition("\n## ")[0]

    assert [field for field in JOB["properties"] if f"`{field}`" not in table] == []


@given(jobs())
def test_the_schema_accepts_what_queuectl_writes(job):
    VALIDATOR.validate(job.to_dict())


spans = (
    st.integers(0, 10**6)
    | st.floats(0, 1e6)
    | st.from_regex(r" ?[0-9]{1,4}(\.[0-9]{1,3})? ?", fullmatch=True)
    | st.from_regex(r"( ?[0-9]{1,2}(\. ?[0-9])? ?([sSmMhHdDwW]|m ?S) ?){1,3}", fullmatch=True)
    | st.from_regex(r"[0-9 .smhdw]{1,6}", fullmatch=True)
)
times = (
    st.datetimes().map(str)
    | st.datetimes(timezones=st.timezones()).map(lambda when: when.isoformat())
    | st.from_regex(
        r"\s?(19[67][0-9]|20[0-9]{2})-?((0[1-9]|1[0-2])-?[0-2][0-9]|W[0-4][0-9](-?[1-7])?)([T _][0-2][0-9](:?[0-5][0-9])?)?Z?\s?",
        fullmatch=True,
    )
)
ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", fullmatch=True) | texts
keys = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:@+=,-]{0,160}", fullmatch=True)
codes = st.lists(st.integers(-1, 256) | st.integers(0, 300).map(str)) | st.from_regex(
    r"[ ,]?([0-9]{1,3}[ ,]{1,2}){0,3}", fullmatch=True
)
delays = st.dictionaries(st.integers(0, 256).map(str), spans) | st.from_regex(
    r"[ ,]?([0-9]{1,3}=[0-9]{1,3}[smh]?[ ,]{1,2}){0,3}", fullmatch=True
)
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)

#: For each field, what may well be right in it.
PLAUSIBLE = {
    "command": texts | st.lists(texts, max_size=3),
    "id": ids,
    "priority": st.integers(-1, 10),
    "max_retries": st.integers(-1, 1001),
    "cwd": texts.map(lambda text: "/" + text) | texts,
    "env": st.dictionaries(texts, texts, max_size=3),
    "stdin": st.text(),
    "name": st.text(),
    "submitted_by": texts,
    "meta": anything,
    **dict.fromkeys(("delay", "timeout"), spans),
    **dict.fromkeys(("run_at", "created_at"), times),
    **dict.fromkeys(("batch", "limit", "unique"), keys),
    **dict.fromkeys(("after", "after_any", "after_failed"), ids | st.lists(ids, max_size=3)),
    **dict.fromkeys(("success_codes", "no_retry_codes"), codes),
    "retry_after_codes": delays,
    **dict.fromkeys(sorted(IGNORED), anything),
}


@pytest.mark.parametrize("field", PLAUSIBLE)
@given(data=st.data())
def test_what_the_parser_accepts_in_a_field_the_schema_accepts(field, data):
    record = {"command": "true", field: data.draw(PLAUSIBLE[field] | st.none() | anything)}
    try:
        from_dict(record)
    except InvalidJob:
        return

    VALIDATOR.validate(record)


@given(
    st.fixed_dictionaries(
        {"command": PLAUSIBLE["command"]},
        optional={field: PLAUSIBLE[field] for field in PLAUSIBLE if field != "command"},
    )
)
def test_what_the_parser_accepts_the_schema_accepts(record):
    try:
        from_dict(record)
    except InvalidJob:
        return

    VALIDATOR.validate(record)


def test_every_field_is_tried():
    assert set(PLAUSIBLE) == set(JOB["properties"])


@pytest.mark.parametrize("case", sorted(set(REFUSED) - TEXTS))
def test_what_the_parser_refuses_for_its_value_the_schema_refuses(case):
    assert not VALIDATOR.is_valid(json.loads(REFUSED[case][0]))


@pytest.mark.parametrize(
    "case",
    sorted(
        {
            "NaN",
            "infinity",
            "duplicate keys",
            "duplicate keys below",
            "200 levels",
            "half a surrogate",
        }
    ),
)
def test_what_only_the_text_has_a_schema_cannot_refuse(case):
    VALIDATOR.validate(json.loads(REFUSED[case][0]))


#: Values that the parser and the schema refuse, by field, besides REFUSED.
BAD = {
    "command": [None, 1, True, {}, [], [None], " \n\t", ["", "x"], ["x\0"]],
    "id": [None, 1, "", ".x", "-x", "a b", "a/b", "ä", "x" * 129],
    "priority": [None, -1, 10, "5", 2.5, False],
    "run_at": [0, 1795350000, "tomorrow", "12:00", "1969-01-01", "2300-01-01", True],
    "delay": [-1, -0.5, True, "10 minutes", "1h30", "m", "-1s", [], 3153600001],
    "max_retries": [0, 1001, "3", True],
    "timeout": [-1, "5 years", True],
    "cwd": ["", "src", "~/src", 1, "/a\0"],
    "env": [None, [], {"": "x"}, {"A=B": "x"}, {"A": None}, {"A": "\0"}, {"A\0": "x"}],
    "stdin": [1, ["x"]],
    "name": [1, "x\0", {}],
    "created_at": [0, "yesterday"],
    "submitted_by": [0, "x\0"],
    "batch": ["", "_x", "a b", "a:b", "x" * 101, 1],
    "limit": ["", ":x", "a b", "a@b", "x" * 65, 1],
    "unique": ["", "=x", "a b", "a/b", "x" * 151, 1],
    **{
        key: [None, "", "a b", ["x", ""], [1], {}] for key in ("after", "after_any", "after_failed")
    },
    **{
        key: [0, [256], [-1], [True], ["x"], "0;1", {}, "256"]
        for key in ("success_codes", "no_retry_codes")
    },
    "retry_after_codes": [75, ["75"], {"256": "1m"}, {"x": "1m"}, {"75": "soon"}, {"75": -1}, "75"],
}


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field, values in BAD.items() for value in values],
    ids=repr,
)
def test_what_is_wrong_in_a_field_both_refuse(field, value):
    record = {"command": "true", field: value}

    assert not VALIDATOR.is_valid(record)
    with pytest.raises(InvalidJob):
        from_dict(record)


#: The last values that both accept.
GOOD = {
    "id": ["x" * 128, "0._-"],
    "priority": [0, 9],
    "max_retries": [1, 1000, None],
    "run_at": [
        "1970-01-01",
        "2199-12-31T23:59:59Z",
        "2200-01-01T01:00+02:00",
        "1969-12-31T23:00-02:00",
        "2026-W47-7",
        "20261122T101502Z",
    ],
    "delay": [0, 3153600000, 0.5, "1h30m", " 1 H 30 m ", "100ms", "1.5", "90"],
    "batch": ["x" * 100],
    "limit": ["x" * 64, "a:b"],
    "unique": ["x" * 150, "a:@+=,"],
    "after": [[], "x", ["x", "x"]],
    "success_codes": [[], [0, 255], ["7", "255"], "", "0,99", " 0, 255 "],
    "retry_after_codes": [{}, "", {"255": 0}, "75=10m,76=1h", "75=1m 76=2m"],
}


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field, values in GOOD.items() for value in values],
    ids=repr,
)
def test_what_is_just_right_in_a_field_both_accept(field, value):
    record = {"command": "true", field: value}

    VALIDATOR.validate(record)
    from_dict(record)


#: What the schema lets pass and the parser refuses, though it is the value that is wrong: docs/format.md says so.
LOOSE = [
    {"command": "true", "priority": 5.0},
    {"command": "true", "run_at": "2026-02-31"},
    {"command": "true", "delay": "9999999999w"},
    {"command": "true", "name": "\ud800"},
    {"command": "\v"},
]


@pytest.mark.parametrize("record", LOOSE, ids=repr)
def test_what_a_schema_cannot_say_only_the_parser_refuses(record):
    VALIDATOR.validate(record)
    with pytest.raises(InvalidJob):
        from_dict(record)


def test_the_examples_of_the_format_are_jobs():
    text = (DOCS / "format.md").read_text()
    records = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
    found = [record for record in records if "command" in record]
    assert found

    for record in found:
        VALIDATOR.validate(record)
        from_dict(record)


def test_the_schema_of_a_run_has_the_outcomes():
    run = json.loads((DOCS / "run.schema.json").read_text())

    assert set(run["properties"]["outcome"]["enum"]) == set(Outcome.__args__)
