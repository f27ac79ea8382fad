"""The application: which address is answered by whom, and the server around it.

Promises
    It listens before it says so; a request to stop (TERM, Ctrl+C) ends streams, too.
    An error that somebody made is a page, or JSON under /api/, with one line; none shows a traceback.
Leaves to others
    everything that is on the pages.
Raises
    QueuectlError when it cannot listen, or when the counter has died.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from queuectl.dashboard.api import Api, code, refusal
from queuectl.dashboard.counter import Counter, CounterDied
from queuectl.dashboard.desk import Desk, Options
from queuectl.dashboard.door import Door, is_loopback
from queuectl.dashboard.pages import Pages
from queuectl.dashboard.stream import Streams
from queuectl.errors import QueuectlError, Wrong
from queuectl.spool import Spool

#: Bytes that a form may have besides what a job may have.
FORM = 256 * 1024

#: Seconds that open requests may still take after a request to stop.
GRACE = 2


def routes(desk: Desk, pages: Pages, api: Api, streams: Streams) -> list[Route | Mount]:
    """Every address."""
    static = StaticFiles(directory=os.path.join(os.path.dirname(__file__), "static"))
    return [
        Route("/", pages.overview),
        Route("/jobs", pages.jobs),
        Route("/jobs/{id}", pages.job),
        Route("/jobs/{id}/log/{attempt:int}/{stream}", pages.log),
        Route("/enqueue", pages.form),
        Route("/enqueue", pages.enqueue, methods=["POST"]),
        Route("/act", pages.act, methods=["POST"]),
        Route("/spool", pages.steer, methods=["POST"]),
        Route("/healthz", api.healthy),
        Route("/metrics", api.metrics),
        Route("/api/status", api.status),
        Route("/api/events", streams.events),
        Route("/api/openapi.json", api.described),
        Route("/api/jobs", api.jobs),
        Route("/api/jobs", api.enqueue, methods=["POST"]),
        Route("/api/pause", api.pause, methods=["POST"]),
        Route("/api/resume", api.pause, methods=["POST"]),
        Route("/api/workers/{name}/stop", api.stop, methods=["POST"]),
        Route("/api/jobs/{id}", api.job),
        Route("/api/jobs/{id}/follow", streams.follow),
        Route("/api/jobs/{id}/{verb}", api.act, methods=["POST"]),
        Mount("/static", static),
    ]


def application(desk: Desk) -> Starlette:
    """The application for one spool."""
    pages = Pages(desk)

    def refused(request: Request, error: Exception) -> Response:
        if not isinstance(error, QueuectlError):
            text = (
                f"{type(error).__name__}: {error}; see 'queuectl doctor'"
                if isinstance(error, OSError)
                else "the dashboard has a fault"
            )
            error = QueuectlError(" ".join(text.splitlines()))
            number = 503
        else:
            number = code(error)
        if request.url.path.startswith("/api/"):
            return refusal(error) if number != 503 else JSONResponse({"error": str(error)}, 503)
        return pages.error(request, str(error), number)

    def missing(request: Request, error: Exception) -> Response:
        number = error.status_code if isinstance(error, HTTPException) else 500
        words = {
            404: "there is no such page",
            405: "this address does not take that method",
            413: "that is too large",
        }.get(number, str(error))
        if request.url.path.startswith("/api/"):
            return JSONResponse({"error": words}, number)
        return pages.error(request, words, number)

    handlers: dict[type[Exception], Callable[[Request, Exception], Response]] = {
        QueuectlError: refused, OSError: refused, HTTPException: missing,
    }  # fmt: skip
    return Starlette(
        routes=routes(desk, pages, Api(desk), Streams(desk)),
        middleware=[Middleware(Door, options=desk.options)],
        exception_handlers=handlers,
        lifespan=lambda _: _listening(desk),
        max_body_size=desk.spool.settings().max_job_size + FORM,
    )


@contextlib.asynccontextmanager
async def _listening(desk: Desk) -> AsyncIterator[None]:
    """While the server runs, it takes the reports of the counter; without a counter it stops."""
    loop = asyncio.get_running_loop()

    def _receive() -> None:
        try:
            desk.counter.receive()
        except CounterDied:
            loop.remove_reader(desk.counter)
            desk.closing = True
            signal.raise_signal(signal.SIGTERM)

    loop.add_reader(desk.counter, _receive)
    try:
        yield
    finally:
        loop.remove_reader(desk.counter)


class Server(uvicorn.Server):
    """The server of one desk: its streams end when it is told to stop."""

    desk: Desk

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at TERM and Ctrl+C, and end with 0 then, as workers do."""
        before = {
            number: signal.signal(number, self.handle_exit)
            for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: object) -> None:
        """Be told to stop."""
        self.desk.closing = True
        super().handle_exit(sig, frame)  # type: ignore[arg-type]


def serve(spool: Spool, options: Options, ready: Callable[[str], None]) -> None:
    """Serve until told to stop; `ready` hears the address."""
    if options.password is None and not is_loopback(options.host):
        raise Wrong(
            f"--host {options.host} can be reached from other machines; give --password-file, or listen on 127.0.0.1"
        )
    listener = _listen(options)
    # The command line dies of a closed pipe; a server has many readers that go away.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    counter = Counter(spool)
    try:
        counter.receive()
        desk = Desk(spool, options, counter)
        config = uvicorn.Config(
            application(desk), log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=GRACE, lifespan="on",
            ws="none",
        )  # fmt: skip
        server = Server(config)
        server.desk = desk
        host, port = listener.getsockname()[:2]
        ready(f"http://{f'[{host}]' if ':' in host else host}:{port}/")
        server.run(sockets=[listener])
        if os.waitpid(counter.pid, os.WNOHANG) != (0, 0):
            raise CounterDied(
                f"the process that counts the jobs (pid {counter.pid}) has died; start the dashboard again"
            )
    finally:
        counter.close()
        listener.close()


def _listen(options: Options) -> socket.socket:
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            options.host, options.port, type=socket.SOCK_STREAM
        )[0]
        listener = socket.socket(family, kind, proto)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        raise QueuectlError(
            f"cannot listen on {options.host} port {options.port} ({error.strerror}); choose others with --host and --port"
        ) from None
    return listener
