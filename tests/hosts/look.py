"""A look at the spool, in the guest, while nothing works there: is every job that was acknowledged where it must be?

`python -m tests.hosts.look SPOOL QUESTION`: both are files; the answer is JSON on stdout.

Promises
    Of all jobs the names are looked at; of those in `accepted` the bytes, too, and of those that nobody heard of.
Leaves to others
    the accounting (tests.chaos.audit); what is allowed after a power cut (powercut).
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from queuectl import Spool
from tests.chaos.audit import examine, is_whole, places
from tests.chaos.producer import Accepted


@dataclass
class Question:
    """`known`: the ids of all jobs; `accepted`: those to read; `ended`: those that were logged as ended, and how; `runs`: the ledger."""

    known: list[str] = field(default_factory=list)
    accepted: dict[str, list[Any]] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)


def answer(spool: Spool, question: Question) -> dict[str, Any]:
    """What the accounting finds, and what only a power cut does."""
    found = examine(
        spool, {id: _promise(*words) for id, words in question.accepted.items()}, question.runs
    )
    where, known = places(spool), set(question.known)
    strange = [file for id, files in where.items() if id not in known for file in files]
    return {
        "findings": vars(found),
        "lost": [id for id in question.known if id not in where],
        "doubled": [f"{id} {files}" for id, files in where.items() if len(files) > 1],
        "torn": [file for file in strange if not is_whole(spool, file, None)],
        "strange": len(strange),
        "rejected": os.listdir(spool.at("rejected")),
        "empty": sum(
            not os.path.getsize(spool.at("results", name))
            for name in os.listdir(spool.at("results"))
        ),
        "undone": [
            id
            for id, state in question.ended.items()
            if not any(f.startswith(f"{state}/") for f in where.get(id, []))
        ],
    }


def _promise(command: str, data: str | None) -> Accepted:
    return Accepted(command, None if data is None else data.encode())


def main() -> None:
    """Answer the question."""
    spool, question = Spool(sys.argv[1]), Question(**json.loads(Path(sys.argv[2]).read_text()))
    print(json.dumps(answer(spool, question)))


if __name__ == "__main__":
    main()
