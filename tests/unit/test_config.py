"""Settings."""

import errno
import json
import multiprocessing

import pytest

from queuectl import config
from queuectl.errors import ConfigDamaged, InvalidSetting


@pytest.fixture
def file(tmp_path):
    return tmp_path / "config.json"


def settle(file, environ=None, flags=None):
    return config.settle(str(file), environ or {}, flags)


def change(file, values, remove=()):
    config.change(
        str(file), str(file.parent / f"new{multiprocessing.current_process().pid}"), values, remove
    )


def test_the_defaults_are_those_of_the_table():
    assert {*config.SETTINGS, "limits"} == set(config.Settings._fields)
    assert config.shown(config.Settings()) == {
        "max_retries": 3, "backoff_base": 2, "backoff_max": 3600, "backoff_jitter": 0.1, "timeout": 0, "poll_interval": 2,
        "heartbeat_interval": 10, "worker_lost_after": 60, "shutdown_grace": 25, "output_tail": 4096,
        "max_output": 1024**3,
        "keep_completed": "7d", "keep_completed_count": 100000, "keep_dead": "180d", "max_job_size": 1048576, "durability": "safe", "log_size": 10485760, "prune_interval": "1h",
        "success_codes": [0], "no_retry_codes": [], "retry_after_codes": {}, "events": "off", "keep_events": "30d", "shared": "auto",
    }  # fmt: skip


def test_flags_beat_variables_beat_the_file_beat_the_defaults(file):
    file.write_text('{"max_retries": 4, "timeout": 10}')

    assert settle(file).max_retries == 4
    assert settle(file, {"QUEUECTL_MAX_RETRIES": "5"}).max_retries == 5
    assert settle(file, {"QUEUECTL_MAX_RETRIES": "5"}, {"max_retries": 6}).max_retries == 6
    assert settle(file).backoff_base == 2


@pytest.mark.parametrize(
    ("key", "value", "name", "result"),
    [
        ("max-retries", "5", "max_retries", 5),
        ("MAX_RETRIES", 5.0, "max_retries", 5),
        ("poll_interval_ms", "250", "poll_interval", 0.25),
        ("poll-interval-ms", "250", "poll_interval", 0.25),
        ("timeout", "5m", "timeout", 300),
        ("keep_completed", "2w", "keep_completed", 1209600),
        ("backoff_base", "1.5", "backoff_base", 1.5),
        ("durability", "strict", "durability", "strict"),
    ],
)
def test_hyphens_units_and_milliseconds_are_understood(key, value, name, result):
    assert config.read(key, value) == (name, result)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max_retries", "0"),
        ("max_retries", "1.5"),
        ("max_retries", "x"),
        ("max_retries", True),
        ("max_retries", None),
        ("backoff_base", "0.5"),
        ("backoff_base", "nan"),
        ("backoff_jitter", "2"),
        ("timeout", "-1"),
        ("timeout", "soon"),
        ("poll_interval", "0"),
        ("heartbeat_interval", "0.1"),
        ("durability", "hope"),
        ("keep_dead", "x"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(key, value):
    with pytest.raises(InvalidSetting, match=key):
        config.read(key, value)


def test_an_unknown_setting_is_answered_with_a_near_one():
    with pytest.raises(InvalidSetting, match="did you mean max_retries"):
        config.key("max-retrys")


def test_a_wrong_variable_is_named():
    with pytest.raises(InvalidSetting, match="QUEUECTL_MAX_RETRIES"):
        config.from_environment({"QUEUECTL_MAX_RETRIES": "many"})


def test_variables_that_are_no_settings_are_left_alone():
    assert config.from_environment({"QUEUECTL_SPOOL": "/x", "QUEUECTL_JOB_ID": "y"}) == {}


def test_a_change_keeps_the_other_settings_and_unset_removes_one(file):
    change(file, {"max_retries": 5, "keep_dead": 864000.0})
    change(file, {"timeout": 3.0})
    change(file, {}, remove=("max_retries",))

    assert json.loads(file.read_text()) == {"keep_dead": "10d", "timeout": 3}


@pytest.mark.parametrize(
    "text",
    [
        '{"max_retries": 5',
        "[]",
        "",
        '{"max_retries": 0}',
        '{"nonsense": 1}',
        '{"timeout": 1, "timeout": 2}',
    ],
)
def test_a_damaged_file_is_named_and_never_overwritten(file, text):
    file.write_text(text)

    with pytest.raises(ConfigDamaged, match=str(file)):
        settle(file)
    with pytest.raises(ConfigDamaged):
        change(file, {"max_retries": 5})

    assert file.read_text() == text


def test_two_changes_at_once_are_both_there(file):
    fork = multiprocessing.get_context("fork")
    changes = [
        fork.Process(target=change, args=(file, {name: 7}))
        for name in ("max_retries", "output_tail", "timeout", "backoff_base")
    ]

    for process in changes:
        process.start()
    for process in changes:
        process.join()

    assert json.loads(file.read_text()) == {
        "max_retries": 7,
        "output_tail": 7,
        "timeout": 7,
        "backoff_base": 7,
    }


def test_live_settings_follow_the_file_and_survive_its_damage(file):
    live = config.Live(str(file), {"timeout": 9.0})
    change(file, {"max_retries": 7})
    assert (live.look().max_retries, live.look().timeout) == (7, 9)

    file.write_text("{")
    with pytest.raises(ConfigDamaged):
        live.look()
    assert live.look().max_retries == 7

    file.write_text("{}")
    assert live.look().max_retries == 3


def test_settings_that_belong_to_somebody_else_are_not_to_be_corrected(monkeypatch):
    def refuse(path, most):
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(config.disk, "read", refuse)
    with pytest.raises(ConfigDamaged, match="give it to the owner of the spool"):
        config.load_file("config.json")
