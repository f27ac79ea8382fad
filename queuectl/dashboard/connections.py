"""Connections: how many there are, and how long a request may take to come and an answer to go.

uvicorn has no such limits: a client that sends half a request would keep its connection for ever.

Promises
    A request that does not come in time, and an answer that is not read, end their connection.
    There are never more connections than descriptors. A new one takes the place of the one that
    has waited longest for a request, so half-sent requests keep nobody out.
Leaves to others
    HTTP (uvicorn), what is answered (app).
Raises
    nothing.
"""

from __future__ import annotations

import asyncio
import resource
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from queuectl.dashboard.door import HEADERS
from queuectl.dashboard.guesses import network

#: Connections at once, and those of one address.
MOST, EACH = 256, 192

#: Seconds for the head of a request, for its body, between two requests, and for an answer of which nothing is read.
HEAD, BODY, IDLE, STALLED = 10, 30, 5, 30

#: Bytes of the head of a request.
LONGEST_HEAD = 32 * 1024

#: Connections that wait to be accepted.
BACKLOG = 64

#: Descriptors that all of this needs: two for a connection and what it reads, those of one moment that
#: are not closed yet, and those of the server itself.
DESCRIPTORS = 2 * MOST + 4 * BACKLOG + 128


class Connection(H11Protocol):
    """One connection."""

    #: Connections at once, where there are fewer descriptors than needed for MOST.
    most = MOST

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request; make room if there are too many."""
        super().connection_made(transport)
        self.address = network(self.client)
        self.began = self.loop.time()
        self._expected: Any = None
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self._expect()
        self._make_room()

    def _make_room(self) -> None:
        found: set[Connection] = self.connections  # type: ignore[assignment]
        near = [other for other in found if other.address == self.address]
        crowd = near if len(near) > EACH else found if len(found) > self.most else ()
        if crowd:
            # This one waits as well: it goes itself if all others are being answered.
            waiting = [other for other in crowd if other.is_waiting()]
            min(waiting, key=lambda other: other.began).give_up()

    def is_waiting(self) -> bool:
        """Whether there is no whole request to answer."""
        return (
            self.cycle is None
            or self.cycle.response_complete
            or self.conn.their_state is h11.SEND_BODY
        )

    def give_up(self) -> None:
        """End it at once."""
        self.connections.discard(self)
        self.transport.abort()

    # -- requests come

    def data_received(self, data: bytes) -> None:
        """Take some bytes of a request."""
        super().data_received(data)
        self._expect()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._expect()
        if self.transport.is_closing():
            self._expect_reader()

    def timeout_keep_alive_handler(self) -> None:
        """End a connection without a further request."""
        super().timeout_keep_alive_handler()
        self._expect_reader()

    def _expect(self) -> None:
        """Begin to count the time if something else has to come than before."""
        expected = self.conn.their_state
        if expected is self._expected:
            return
        _cancel(self._reading)
        self._expected, self._reading = expected, None
        seconds = {h11.IDLE: HEAD, h11.SEND_BODY: BODY}.get(expected)
        if seconds:
            self.began = self.loop.time()
            self._reading = self.loop.call_later(seconds, self.give_up)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, with the headers of every answer."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.give_up()  # an answer is on its way already
            return
        headers = {**HEADERS, "content-type": "text/plain; charset=utf-8", "connection": "close"}
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        for event in (
            h11.Response(status_code=400, headers=pairs, reason=b"Bad Request"),
            h11.Data(data=f"{msg}\n".encode()),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
        self._expect_reader()

    # -- answers go

    def pause_writing(self) -> None:
        """The client reads more slowly than we write."""
        super().pause_writing()
        self._expect_reader()

    def resume_writing(self) -> None:
        """The client has read."""
        super().resume_writing()
        _cancel(self._writing)

    def _expect_reader(self) -> None:
        _cancel(self._writing)
        self._writing = self.loop.call_later(STALLED, self.give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        _cancel(self._reading)
        _cancel(self._writing)
        super().connection_lost(exc)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


def fit_descriptors() -> None:
    """See to it that there are descriptors for all connections, or allow fewer of them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= DESCRIPTORS:
        return
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    Connection.most = max(8, min(MOST, (wanted - 4 * BACKLOG - 128) // 2))
