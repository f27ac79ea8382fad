"""The streams: what changes, and what a running job prints, as server-sent events.

Promises
    A stream ends when its reader is gone or the server stops; there are never more than MOST.
    HEAD takes none.
    What a thousand readers ask for is looked up once.
Leaves to others
    counting (counter); the other ways to the same things (api, pages).
Raises
    nothing.
"""

from __future__ import annotations

import asyncio
import codecs
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from queuectl import disk
from queuectl.dashboard import answers, listing
from queuectl.dashboard.desk import Desk
from queuectl.errors import QueuectlError
from queuectl.layout import ENDED, STATES

#: Streams that are open at once.
MOST = 100

#: Seconds between two looks for a change, between two at a log, and between two signs of life.
LOOK, LOG_LOOK, ALIVE = 1.0, 0.25, 15.0

#: Bytes of a log that are sent at a time.
PIECE = 32768


class Streams:
    """The streams of one server; `open`: how many there are."""

    def __init__(self, desk: Desk) -> None:
        self._desk, self.open = desk, 0
        self._print: object = None
        self._looked, self._status = 0.0, ""

    def events(self, request: Request) -> Response:
        """/api/events: an event `change` with the status, at first and whenever something has changed."""
        return _Stream(self, self._changes())

    def follow(self, request: Request) -> Response:
        """/api/jobs/ID/follow: events `out` and `err` with what its command prints, and `over` at its end."""
        words = request.query_params
        at = {stream: answers.whole(words.get(stream, "")) or 0 for stream in ("out", "err")}
        attempt = answers.whole(words.get("attempt", "")) or 0
        return _Stream(
            self, self._output(request.path_params["id"], words.get("at", ""), attempt, at)
        )

    # -- what changes

    async def _changes(self) -> AsyncIterator[str]:
        seen: object = None
        said = time.monotonic()
        while not self._desk.closing:
            now, status = await to_thread.run_sync(self._glance)
            if now != seen:
                seen, said = now, time.monotonic()
                yield _event("change", status)
            elif time.monotonic() - said > ALIVE:
                said = time.monotonic()
                yield ": still here\n\n"
            await asyncio.sleep(LOOK)

    def _glance(self) -> tuple[object, str]:
        """What differs when something has changed, and the status; for all readers once in a while."""
        if time.monotonic() - self._looked > LOOK / 2:
            self._looked = time.monotonic()
            now = self._fingerprint()
            if now != self._print:
                self._print, self._status = now, json.dumps(self._desk.status())
        return self._print, self._status

    def _fingerprint(self) -> object:
        spool = self._desk.spool
        places = [*STATES, *(f"processing/{worker}" for worker in spool.workers())]
        return (
            self._desk.counter.number,
            spool.is_paused(),
            tuple(disk.version(spool.at(place)) for place in places),
        )

    # -- what a job prints

    async def _output(
        self, id: str, hint: str, attempt: int, at: dict[str, int]
    ) -> AsyncIterator[str]:
        decoders = {stream: codecs.getincrementaldecoder("utf-8")("replace") for stream in at}
        said = time.monotonic()
        while not self._desk.closing:
            try:
                over, hint, attempt = await to_thread.run_sync(self._place, id, hint, attempt)
            except QueuectlError as error:
                yield _event("over", json.dumps({"state": None, "why": str(error)}))
                return
            printed = False
            for stream, decoder in decoders.items():
                data = await to_thread.run_sync(
                    _read, self._desk.spool.log(id, attempt, stream), at[stream]
                )
                at[stream] += len(data)
                if data:
                    printed, said = True, time.monotonic()
                    yield _event(
                        stream, json.dumps({"text": decoder.decode(data), "at": at[stream]})
                    )
            if over and not printed:
                yield _event("over", json.dumps({"state": hint.partition("/")[0], "why": None}))
                return
            if time.monotonic() - said > ALIVE:
                said = time.monotonic()
                yield ": still here\n\n"
            await asyncio.sleep(0 if printed else LOG_LOOK)

    def _place(self, id: str, hint: str, attempt: int) -> tuple[bool, str, int]:
        """Whether that attempt is over, where the job is, and which attempt it is."""
        entry = listing.find(self._desk.spool, self._desk.counter, id, hint)
        attempt = attempt or max(1, entry.name.attempts)
        over = (
            entry.state in ENDED
            or (entry.state != "processing" and entry.name.attempts >= attempt)
            or entry.name.attempts > attempt
        )
        return over, entry.file, attempt


class _Stream(StreamingResponse):
    """One stream, which counts from before its first byte until it has ended in any way."""

    def __init__(self, streams: Streams, source: AsyncIterator[str]) -> None:
        super().__init__(source, media_type="text/event-stream")
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Be sent; of HEAD the headers only."""
        if scope["method"] == "HEAD":
            await Response(media_type=self.media_type)(scope, receive, send)
            return
        if self._streams.open >= MOST:
            why = f"{MOST} streams are open already; close some pages"
            await answers.Json({"error": why}, 503)(scope, receive, send)
            return
        self._streams.open += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._streams.open -= 1


def _read(path: str, at: int) -> bytes:
    try:
        with open(disk.open_plain(path), "rb") as file:
            file.seek(at)
            return file.read(PIECE)
    except OSError:
        return b""


def _event(name: str, data: Any) -> str:
    return f"event: {name}\ndata: {data}\n\n"
