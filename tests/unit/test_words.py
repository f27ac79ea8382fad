"""The words of the command line: every command, every option."""

import click
import pytest

from queuectl.cli import cli


def commands(command, words=()):
    """A command and those below it, each with the words that name it."""
    yield list(words), command
    if isinstance(command, click.Group):
        with click.Context(command) as ctx:
            for name in command.list_commands(ctx):
                yield from commands(command.get_command(ctx, name), (*words, name))


#: Every command that has options with values: its words, it, and these options.
COMMANDS = {
    " ".join(words): (
        words,
        command,
        [
            option
            for option in command.params
            if isinstance(option, click.Option) and not option.is_flag
        ],
    )
    for words, command in commands(cli)
}


@pytest.mark.parametrize("name", COMMANDS)
def test_an_option_with_one_value_is_refused_when_given_twice(path, name):
    words, _, options = COMMANDS[name]
    for option in options:
        for first in () if option.multiple else option.opts:  # -c and --command are one
            with pytest.raises(click.UsageError) as error:
                cli.main([*words, first, "1", option.opts[-1], "1"], standalone_mode=False)
            assert str(error.value) == f"{' or '.join(option.opts)} is given twice; give it once"
    assert not path.exists()


@pytest.mark.parametrize("name", COMMANDS)
def test_options_that_repeat_and_flags_may_be_given_twice(name):
    _, command, _ = COMMANDS[name]
    with click.Context(command) as ctx:
        for option in command.params:
            if isinstance(option, click.Option) and (option.multiple or option.is_flag):
                words = [option.opts[-1]] if option.is_flag else [option.opts[-1], "1"]
                command.make_parser(ctx).parse_args(words * 2)


def test_a_default_and_a_variable_are_no_second_value(queuectl, path):
    queuectl("--spool", str(path), "init")  # QUEUECTL_SPOOL names it, too
    queuectl("list", "--limit", "50")


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["enqueue", "--env", "A=1", "--env", "B=1", "--env", "A=2", "-c", "true"], "--env A"),
        (["worker", "start", "--set", "timeout=1", "--set", "timeout=2"], "--set timeout"),
        (["worker", "start", "--set", "max-retries=1", "--set", "max_retries=2"], "--set max_"),
        (["worker", "start", "--set", "poll_interval=1", "--set", "poll_interval_ms=99"], "--set"),
    ],
)
def test_one_name_in_an_option_that_repeats_has_one_value(queuectl, path, words, what):
    error = queuectl.refusal(*words, code=2)

    assert what in error
    assert "is given twice; give it once" in error
    assert not path.exists()
