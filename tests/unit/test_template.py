"""Templates: what is put in the place of {}, and that the shell sees exactly that."""

import re
import shlex
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queuectl import template
from queuectl.errors import InvalidJob


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1-3", [1, 2, 3]),
        ("7", [7]),
        ("1-10:5", [1, 6]),
        ("0-20:10,5", [0, 10, 20, 5]),
        ("1,3,7-9", [1, 3, 7, 8, 9]),
        ("3,1,3", [3, 1]),
        (" 1 , 2 ", [1, 2]),
        ("007", [7]),
    ],
)
def test_an_array_is_its_numbers_each_once(text, found):
    assert template.indices(text) == found


@pytest.mark.parametrize(
    "text", ["", "a", "9-1", "1-", "-1", "1-5:0", "1,,2", "1.5", "٣", "1-2-3", "1:2"]
)
def test_what_is_no_array_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="write 1-100"):
        template.indices(text)


@pytest.mark.parametrize("text", ["1-1000001", "0-999999,5000000", "1-999999999999999"])
def test_an_array_is_not_endless(text):
    with pytest.raises(ValueError, match="the most of one array"):
        template.indices(text)


def test_an_index_is_put_in_everywhere_and_into_the_environment():
    record = {
        "command": "echo '{}' {}",
        "id": "f-{}",
        "name": "frame {}",
        "after": ["a-{}"],
        "cwd": "/{}",
        "env": {"A": "{}"},
    }

    assert template.with_index(record, 7) == {
        "command": "echo '7' 7", "id": "f-7", "name": "frame 7", "after": ["a-7"], "cwd": "/{}", "env": {"A": "{}", "QUEUECTL_ARRAY_INDEX": "7"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("command", "line", "filled"),
    [
        (["cp", "{}", "{}.bak"], "a b", ["cp", "a b", "a b.bak"]),
        (["rm", "--"], "-rf", ["rm", "--", "-rf"]),
        ("cp {} {}.bak", "a b", "cp 'a b' 'a b'.bak"),
        ("wc -l", "it's", r"wc -l 'it'\''s'"),
        ('test "$QUEUECTL_LINE"', "x", 'test "$QUEUECTL_LINE"'),
        (r"find {} -exec ls \{} \;", "x", r"find 'x' -exec ls \{} \;"),
    ],
)
def test_a_line_is_a_word(command, line, filled):
    found = template.with_line({"command": command}, line)

    assert found["command"] == filled
    assert found["env"] == {"QUEUECTL_LINE": line}


NASTY = [
    "; rm -rf /",
    "$(touch x)",
    "`id`",
    "a\nb",
    "it's",
    '"',
    "\\",
    "-rf",
    "--",
    "~",
    "~root",
    "2",
    "if",
    "a=b",
    "*",
    "",
    " ",
    "#",
    "!!",
    "$'",
    "${x",
    "}",
]

#: Places in commands where a line may stand, with what prints the words that it became.
PLACES = [
    "printf '%s\\0' {}",
    "printf '%s\\0'",
    "x='q\"' ; printf '%s\\0' {}",
    'x="it\'s ${HOME} $HOME" && printf "%s\\0" {}',
    "printf '%s\\0' $(echo >&2; true) {}",
    "true {} {} | printf '%s\\0' {}",
    "if true; then printf '%s\\0' {}; fi",
    'printf "\\"%s\\0" {}',
    "printf '%s\\0' \\'{}",
    "printf '%s\\0' a#{}b",
]


def seen(place, line):
    """The words that a real shell passes on."""
    command = template.with_line({"command": place}, line)["command"]
    out = subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=True).stdout
    return out.decode()


def meant(place, line):
    last = re.findall(r"\S*\{\}\S*", place)[-1] if "{}" in place else "{}"
    quote = '"' if r'"\"%s' in place else ""
    return quote + last.rstrip(";").replace(r"\'", "'").replace("{}", line) + "\0"


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("line", NASTY)
def test_the_shell_sees_exactly_a_nasty_line(place, line):
    assert seen(place, line) == meant(place, line)


@settings(max_examples=150, deadline=None)
@given(
    place=st.sampled_from(PLACES),
    line=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60),
)
def test_the_shell_sees_exactly_any_line(place, line):
    assert seen(place, line) == meant(place, line)


@pytest.mark.parametrize(
    ("command", "where"),
    [
        ('echo "{}"', "inside double quotes"),
        ("echo '{}'", "inside single quotes"),
        ("echo `ls {}`", "after '`'"),
        ("cat <<X\n{}\nX", "after '<<'"),
        ("# don't\necho '{}'", "after '#'"),
        ("echo $((1+{}))", "after '(('"),
        ('echo "$(ls " {} ")"', r"after '$('"),
        ('echo "${x:-"{}"}"', "after '${'"),
        ("echo ${}", "after '${'"),
        ("[[ {} -gt 1 ]]", "after '[['"),
        ("echo $'a' {}", 'after "$\'"'),
        ('echo "$\\\n(ls " {} ")"', "after '\\\\\\n'"),
        ("ls # all of", "after '#'"),
    ],
)
def test_a_line_is_refused_where_quoting_it_is_not_certain(command, where):
    with pytest.raises(InvalidJob) as refusal:
        template.with_line({"command": command}, "x")

    assert where in str(refusal.value)
    assert '"$QUEUECTL_LINE"' in str(refusal.value)


@settings(max_examples=300, deadline=None)
@given(
    parts=st.lists(
        st.sampled_from(
            [*"'\"`#\\$ ;&|()\n", "{}", "${x}", "${", "$(", "$((", "<<", "a", "echo ", "printf %s "]
        ),
        min_size=1,
        max_size=12,
    )
)
def test_no_place_that_is_accepted_lets_a_line_run(parts, tmp_path_factory):
    """Commands made of the signs of the shell, most of them broken: whatever they do, the line never becomes a command."""
    command = "".join(parts).strip()
    trap = "';touch bad;'$(touch bad)`touch bad`\";touch bad;\"\ntouch bad\n"
    try:
        filled = template.with_line({"command": command}, trap)["command"]
    except InvalidJob:
        return
    here = tmp_path_factory.mktemp("here")

    subprocess.run(
        ["/bin/sh", "-c", filled],
        cwd=here,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=20,
        check=False,
    )

    assert not (here / "bad").exists(), shlex.quote(filled)
