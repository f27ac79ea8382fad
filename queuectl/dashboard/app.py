"""The application: which address is answered by whom, and the server around it.

Promises
    It listens before it says so; a request to stop (TERM, Ctrl+C) ends streams, too.
    An error is a page, or JSON under /api/, with one line; none shows a traceback. One that nobody
    expected is logged in one line as well.
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
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from queuectl.dashboard import deeds, journal
from queuectl.dashboard.answers import Json
from queuectl.dashboard.api import Api, code, refusal
from queuectl.dashboard.connections import BACKLOG, IDLE, LONGEST_HEAD, Connection, fit_descriptors
from queuectl.dashboard.counter import Counter, CounterDied
from queuectl.dashboard.desk import Desk, Options
from queuectl.dashboard.door import FAULT, Door, is_loopback, tell_fault
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

    def post(path: str, endpoint: Callable[[Request], Awaitable[Response]]) -> Route:
        async def allowed(request: Request) -> Response:
            deeds.allow(desk)  # before anything of the body is read
            return await endpoint(request)

        return Route(path, allowed, methods=["POST"])

    static = StaticFiles(directory=os.path.join(os.path.dirname(__file__), "static"))
    return [
        Route("/", pages.overview),
        Route("/jobs", pages.jobs),
        Route("/jobs/{id}", pages.job),
        Route("/jobs/{id}/log/{attempt}/{stream}", pages.log),
        Route("/enqueue", pages.form),
        post("/enqueue", pages.enqueue),
        post("/act", pages.act),
        post("/spool", pages.steer),
        Route("/healthz", api.healthy),
        Route("/metrics", api.metrics),
        Route("/api/status", api.status),
        Route("/api/events", streams.events),
        Route("/api/openapi.json", api.described),
        Route("/api/jobs", api.jobs),
        post("/api/jobs", api.enqueue),
        post("/api/pause", api.pause),
        post("/api/resume", api.pause),
        post("/api/workers/{name}/stop", api.stop),
        Route("/api/jobs/{id}", api.job),
        Route("/api/jobs/{id}/follow", streams.follow),
        post("/api/jobs/{id}/{verb}", api.act),
        Mount("/static", static),
    ]


def application(desk: Desk) -> Door:
    """The application for one spool."""
    pages = Pages(desk)

    def answer(request: Request, text: str, code: int, **more: Any) -> Response:
        if request.scope["path"].startswith("/api/"):
            return Json({"error": text}, code, **more)
        page = pages.error(request, text, code)
        page.headers.update(more.get("headers") or {})
        return page

    def refused(request: Request, error: Exception) -> Response:
        if isinstance(error, QueuectlError):
            is_api = request.scope["path"].startswith("/api/")
            return refusal(error) if is_api else pages.error(request, str(error), code(error))
        text = f"{type(error).__name__}: {error}; see 'queuectl doctor'"
        return answer(request, " ".join(text.splitlines()), 503)

    def missing(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        words = {
            404: "there is no such page",
            405: "this address does not take that method",
            413: "that is too large",
        }.get(error.status_code, str(error.detail))
        return answer(request, words, error.status_code, headers=error.headers)

    def broken(request: Request, error: Exception) -> Response:
        tell_fault(request.scope, error)
        return answer(request, FAULT, 500)

    handlers: dict[type[Exception], Callable[[Request, Exception], Response]] = {
        QueuectlError: refused, OSError: refused, HTTPException: missing, Exception: broken,
    }  # fmt: skip
    inner = Starlette(
        routes=routes(desk, pages, Api(desk), Streams(desk)),
        exception_handlers=handlers,
        lifespan=lambda _: _listening(desk),
        max_body_size=desk.spool.settings().max_job_size + FORM,
    )
    # Around all of it, so that every answer has its headers.
    return Door(inner, desk.options)


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
    journal.install()
    fit_descriptors()
    listener = _listen(options)
    # The command line dies of a closed pipe; a server has many readers that go away.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    counter = Counter(spool)
    try:
        counter.receive()
        desk = Desk(spool, options, counter)
        config = uvicorn.Config(
            application(desk),
            http=Connection,
            ws="none",
            loop="asyncio",
            lifespan="on",
            # An address that a client can choose is none to count by.
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_config=None,
            log_level="warning",
            backlog=BACKLOG,
            h11_max_incomplete_event_size=LONGEST_HEAD,
            timeout_keep_alive=IDLE,
            timeout_graceful_shutdown=GRACE,
        )
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
        listener.listen(BACKLOG)
    except OSError as error:
        raise QueuectlError(
            f"cannot listen on {options.host} port {options.port} ({error.strerror}); choose others with --host and --port"
        ) from None
    return listener
