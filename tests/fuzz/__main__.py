"""Fuzz what reads bytes from outside, guided by coverage: python -m tests.fuzz {name|job|config} [-max_total_time=600]

Needs `pip install atheris`. Promises that no input makes a reader do anything but answer or refuse: any other exception is a
crash, and so is an answer that does not come back from its own bytes.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["queuectl", "json"]):
    from queuectl import config, filename, job
    from queuectl.errors import ConfigDamaged, InvalidJob

CORPUS = Path(__file__).parent / "corpus"


def name(data: bytes) -> None:
    """Names: what decode accepts, encode says again."""
    text = os.fsdecode(data)
    found = filename.decode(text)
    if found is not None:
        assert filename.encode(found) == text
        assert filename.has_shape(text)
    filename.is_drop(text)
    filename.fitted("20261122T101502.123456Z-", text)


def parse(data: bytes) -> None:
    """Jobs: a job comes back from its bytes, everything else is refused in one line."""
    try:
        found = job.parse(data)
    except InvalidJob as error:
        assert "\n" not in str(error) or b"\\n" in data
        return
    assert job.parse(found.to_bytes()) == found


def settings(data: bytes) -> None:
    """Settings: in range, or the file is called damaged."""
    path = os.path.join(tempfile.gettempdir(), f"fuzz-config-{os.getpid()}.json")
    with open(path, "wb") as file:
        file.write(data)
    try:
        values = config.load_file(path)
    except ConfigDamaged:
        return
    finally:
        os.unlink(path)
    json.dumps(config.shown(config.Settings(**values)))


TARGETS = {"name": name, "job": parse, "config": settings}

if __name__ == "__main__":
    target = TARGETS[sys.argv.pop(1)]
    # What is new goes into a directory of its own; the seeds stay as they are.
    atheris.Setup([*sys.argv, tempfile.mkdtemp(prefix="fuzz-"), str(CORPUS)], target)
    atheris.Fuzz()
