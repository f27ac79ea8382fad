"""Fuzz every route of the dashboard in this process: python -m tests.fuzz.routes [-seconds 600] [-count N] [-seed N]

Promises that every answer is a page, JSON or text with all headers of an answer, whole, no status 500,
and never shows what lies outside of the spool; a new route is fuzzed without editing this.
"""

import argparse
import asyncio
import collections
import json
import logging
import os
import random
import re
import shutil
import tempfile
import time
from pathlib import Path
from urllib.parse import quote, unquote, urlencode

from starlette.routing import Route

from queuectl import Spool, results
from queuectl.dashboard.app import application
from queuectl.dashboard.counter import Counter
from queuectl.dashboard.desk import Desk, Options
from queuectl.dashboard.door import HEADERS
from queuectl.dashboard.journal import fault
from queuectl.filename import Name, encode
from queuectl.layout import STATES

SECRET = "what-lies-outside"

#: Seconds in which any answer must come: far more than any needs.
SOON = 60

NUMBERS = ["0", "1", "-1", "²", "٣", "1e3", "9" * 23, "9" * 5000, "+1", " 1", "1_0", "nan", "0x1"]
TEXTS = [
    "", "a", "..", "../..", "%00", "\0", "a\0b", "\n", "\r\nx: y", "ä", "\udcff", "\ud800", "'\"<b>", "/", "//evil",
    "\\", "?", "#", "%", "%zz", "x" * 300, "x" * 20_000, "{{7*7}}", "2h", "-5h", "1e400d", "9999-12-31T23:59:59Z",
    "0001-01-01T00:00:00+14:00", "²h", "+²", "+" + "9" * 5000, "*", ".", "~", "\u202e", "\ufffd", "-" * 60, "[::1",
]  # fmt: skip
KEYS = [
    "state", "id", "batch", "text", "since", "until", "after", "limit", "at", "out", "err", "attempt", "token", "job",
    "act", "scope", "back", "sure", "value", "worker", "command", "priority", "name", "²", "", "\0",
]  # fmt: skip
METHODS = ["GET", "GET", "GET", "HEAD", "POST", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"]
BODIES = [
    b"", b"{", b"[]", b"null", b"\0", b"\xff", b'{"command":"true"}', b'{"command":"\\u0000"}', b'{"id":"\\ud800"}',
    b"[" * 5000, b'{"priority":' + b"9" * 5000 + b"}", b'{"priority":NaN}', b'{"at":"a\\u0000"}', b"x" * 2_000_000,
    b'{"priority":"\xc2\xb2","at":"processing/a\\u0000/x"}', b"&" * 5000, b"a=%ff&a=%00", b'{"at":{}}', b'{"priority":7}',
]  # fmt: skip
WRONG_HEADERS = [
    ("origin", "http://["), ("origin", "null"), ("origin", "\xff"), ("host", "["), ("host", ""), ("host", "\xe4"),
    ("content-type", "\xff"), ("content-length", "x"), ("content-length", "9" * 30), ("range", "bytes=9-1"),
    ("sec-fetch-site", "²".encode().decode("latin-1")), ("if-modified-since", "x"), ("range", "bytes=0-"),
]  # fmt: skip


def furnish(root: Path) -> Spool:
    """A spool with jobs in every state, and with all that others could put there."""
    (root / "secret").write_text(SECRET)
    spool = Spool(root / "spool")
    spool.enqueue({"id": "plain", "command": "true", "batch": "b", "meta": {"a": [1]}})
    spool.enqueue({"id": "later", "command": ["echo", "ä"], "delay": "2h", "name": "<b>"})
    spool.enqueue({"id": "asleep", "command": "true"}, hold=True)
    at = Path(spool.path)
    now = time.time()
    for number, state in enumerate(("processing/w-1-a", "completed", "dead", "failed")):
        (at / state).mkdir(exist_ok=True)
        name = encode(Name(now + number, 5, 1, f"job{number}"))
        (at / state / name).write_bytes(b'{"command": "true"}')
        line = {"claim": "x", "to": f"{state}/{name}", "attempt": 1, "duration": float("nan")}
        results.append(str(at / "results"), f"job{number}", line)
    bad = os.fsencode(at)
    for place in (b"pending/drop-\xff.json", b"pending/two\nlines.json", b"completed/\xff.json"):
        Path(os.fsdecode(bad + b"/" + place)).write_bytes(b'{"command": "true"}')
    os.mkdir(bad + b"/processing/w-\xff")
    (at / "pending" / "no.json").write_bytes(b"\xff{")
    (at / "logs" / "job0.1.out").write_bytes(b"\xff\0 printed")
    os.mkfifo(at / "logs" / "job1.1.out")
    (at / "logs" / "job2.1.out").symlink_to(root / "secret")
    (at / "logs" / "job2.1.err").symlink_to(root)
    (at / "logs" / "job3.1.out").mkdir()
    return spool


class Faults(logging.Handler):
    """What the dashboard would log."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        error = record.exc_info and record.exc_info[1]
        self.lines.append(f"{record.getMessage()}: {fault(error) if error else ''}")


class Answer:
    """What came back."""

    def __init__(self) -> None:
        self.status, self.headers, self.body = 0, {}, b""
        self.begun, self.ended = 0, 0
        self.first = asyncio.Event()

    async def send(self, message: dict) -> None:
        """As the server would take it."""
        if message["type"] == "http.response.start":
            self.begun += 1
            self.status = message["status"]
            self.headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in message["headers"]}
            return
        assert self.begun == 1, "a body before its head"
        self.body += message.get("body", b"")
        self.ended += not message.get("more_body", False)
        self.first.set()


async def ask(app, method, target, headers=(), body=b"", client=("127.0.0.1", 1)) -> Answer:
    """One request, as uvicorn would make it of these; its client goes away after the first bytes of a stream."""
    raw, _, query = target.partition("?")
    given = {"host": "127.0.0.1:1", **dict(headers)}
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": method,
        "scheme": "http", "path": unquote(raw), "raw_path": raw.encode(), "query_string": query.encode(), "root_path": "",
        "server": ("127.0.0.1", 1), "client": client, "state": {},
        "headers": [(k.encode(), v.encode("latin-1")) for k, v in given.items()],
    }  # fmt: skip
    answer, messages = Answer(), [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict:
        if messages:
            return messages.pop()
        await answer.first.wait()
        if answer.headers.get("content-type", "").startswith("text/event-stream"):
            return {"type": "http.disconnect"}
        await asyncio.Event().wait()
        raise AssertionError

    await asyncio.wait_for(app(scope, receive, answer.send), SOON)
    return answer


def check(method: str, answer: Answer) -> None:
    """Whether an answer is what every answer must be."""
    kind = answer.headers.get("content-type", "")
    assert answer.begun == 1
    assert answer.status not in (0, 500), answer.body[:500]
    assert HEADERS.keys() <= answer.headers.keys(), answer.headers
    if kind.startswith("text/event-stream"):
        return
    assert answer.ended == 1
    assert SECRET.encode() not in answer.body
    if method != "HEAD" and "content-length" in answer.headers:
        assert int(answer.headers["content-length"]) == len(answer.body)
    if method != "HEAD" and kind == "application/json":
        json.loads(answer.body)
    if kind.startswith("text/html"):
        assert b"</html>" in answer.body.decode().encode() or method == "HEAD"
    assert b"Traceback" not in answer.body


def text_of(dice: random.Random) -> str:
    """A nasty text, or a good one."""
    good = [
        "plain",
        "later",
        "asleep",
        "job0",
        "job1",
        "job2",
        "job3",
        *STATES,
        "out",
        "err",
        "hold",
    ]
    return dice.choice([*TEXTS, *NUMBERS, *good, *good])


def escaped(text: str, dice: random.Random) -> str:
    """It as a part of a path: percent-encoded, of which some texts are twice or not at all."""
    data = text.encode(errors="surrogatepass")
    if dice.random() < 0.1:
        return "".join(f"%{byte:02x}" for byte in data)
    return re.sub(r"[^\x21-\x7e]|\?", "", quote(data, safe="" if dice.random() < 0.7 else "/%\\."))


def target_of(path: str, dice: random.Random) -> str:
    """A path of this route, and a query."""
    path = re.sub(r"\{[^}]*\}", lambda _: escaped(text_of(dice), dice), path)
    if dice.random() < 0.1:
        path += dice.choice(["/", "/..", "%2f", "//", "/%00", "%ff"])
    words = [
        (dice.choice(KEYS), text_of(dice).encode(errors="surrogatepass"))
        for _ in range(dice.choice((0, 0, 1, 1, 2, 3)))
    ]
    return f"{path}?{urlencode(words)}" if words else path


def headers_of(dice: random.Random) -> list[tuple[str, str]]:
    """Headers that let a request through to its route, mostly."""
    kind = dice.choice(
        ["application/json", "application/json", "application/x-www-form-urlencoded"]
    )
    wrong = [dice.choice(WRONG_HEADERS)] if dice.random() < 0.1 else []
    return [("content-type", kind), *wrong]


def body_of(token: str, dice: random.Random) -> bytes:
    """A body: nasty bytes, or a form with the right token."""
    if dice.random() < 0.5:
        return dice.choice(BODIES)
    verbs = ["retry", "hold", "priority", "cancel", "stop", "pause", "resume", "no"]
    form = [("token", token), ("act", dice.choice(verbs)), ("job", f"plain {text_of(dice)}")]
    form += [(dice.choice(KEYS), text_of(dice)) for _ in range(dice.randrange(4))]
    return urlencode([(key, text.encode(errors="surrogatepass")) for key, text in form]).encode()


async def fuzz(spool: Spool, seed: int, count: int, seconds: float) -> collections.Counter:
    """Ask until so many requests were answered and so much time has gone; how many had each status."""
    faults = Faults()
    logging.getLogger("queuectl.dashboard").addHandler(faults)
    dice, statuses, asked = random.Random(seed), collections.Counter(), set()
    counter = Counter(spool)
    try:
        counter.receive()
        desks = [Desk(spool, Options(allow_actions=acts), counter) for acts in (False, True)]
        apps = [(application(desk), desk.token) for desk in desks]
        paths = [
            (route.path, sorted(route.methods) * 3)
            if isinstance(route, Route)
            else (f"{route.path}/{{path}}", ["GET"])
            for route in apps[0][0].routes
        ]
        ends, number = time.monotonic() + seconds, 0
        while number < count or time.monotonic() < ends:
            app, token = apps[number % 2]
            path, own = paths[number // 2 % len(paths)]
            method = dice.choice([*own, *own, *own, *METHODS])
            target, headers, body = target_of(path, dice), headers_of(dice), body_of(token, dice)
            try:
                answer = await ask(app, method, target, headers, body)
                check(method, answer)
                assert not faults.lines, faults.lines
            except BaseException:
                print(
                    f"seed {seed}, request {number}: {method} {target[:300]} {headers} {body[:200]}"
                )
                raise
            statuses[answer.status] += 1
            asked.add(path)
            number += 1
        assert asked == {path for path, _ in paths}
    finally:
        counter.close()
        logging.getLogger("queuectl.dashboard").removeHandler(faults)
    return statuses


def main() -> None:
    """Fuzz as the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-seconds", type=float, default=0.0)
    parser.add_argument("-count", type=int, default=0)
    parser.add_argument("-seed", type=int, default=random.randrange(1 << 32))
    words = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="fuzz-routes-"))
    try:
        found = asyncio.run(fuzz(furnish(root), words.seed, words.count, words.seconds))
    finally:
        shutil.rmtree(root)
    print(f"{found.total()} requests, seed {words.seed}: {dict(sorted(found.items()))}")


if __name__ == "__main__":
    main()
