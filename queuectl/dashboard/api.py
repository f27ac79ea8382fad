"""The API: the same things as JSON, for programs. /api/openapi.json describes it.

Promises
    A refusal is {"error": ...} with the line that the command line would print, and a status that says which kind.
Leaves to others
    which jobs (listing), what is done to them (deeds), streams (stream).
Raises
    QueuectlError, which the application makes a refusal of.
"""

from __future__ import annotations

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from queuectl import lookup, metrics, waiting
from queuectl.dashboard import deeds, listing, openapi
from queuectl.dashboard.answers import Json, whole
from queuectl.dashboard.desk import Desk
from queuectl.errors import (
    ConfigDamaged,
    IdTaken,
    InvalidJob,
    KeyTaken,
    NoSuchJob,
    NoSuchWorker,
    QueuectlError,
    SpoolError,
    Wrong,
    WrongState,
)
from queuectl.strict import load

#: The status that says which kind of refusal it is; the first that fits.
CODES: list[tuple[type[QueuectlError], int]] = [
    (InvalidJob, 422), (Wrong, 400), (NoSuchJob, 404), (NoSuchWorker, 404), (IdTaken, 409), (KeyTaken, 409), (WrongState, 409),
    (SpoolError, 503), (ConfigDamaged, 503), (QueuectlError, 403),
]  # fmt: skip


def code(error: QueuectlError) -> int:
    """The HTTP status of a refusal."""
    return next(number for kind, number in CODES if isinstance(error, kind))


def refusal(error: QueuectlError) -> Response:
    """A refusal as JSON."""
    field = {"field": error.field} if isinstance(error, InvalidJob) else {}
    return Json({"error": str(error), **field}, code(error))


class Api:
    """The API of one dashboard."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    # -- looking

    def status(self, _: Request) -> Response:
        """GET /api/status."""
        return Json(self._desk.status())

    def jobs(self, request: Request) -> Response:
        """GET /api/jobs: a page of those that the filter lets through."""
        words = request.query_params
        text = words.get("limit", str(listing.LIMIT))
        limit = whole(text) or 0
        if not 1 <= limit <= listing.MOST:
            raise Wrong(f"limit must be from 1 to {listing.MOST}, not {text!r}")
        wanted = listing.read_filter(words, self._desk.spool.now())
        shown = listing.page(
            self._desk.spool, self._desk.counter, wanted, words.get("after", ""), limit
        )
        return Json({"jobs": shown.records, "next": shown.next or None, "complete": shown.is_whole})

    def job(self, request: Request) -> Response:
        """GET /api/jobs/ID: as `show --json`."""
        spool = self._desk.spool
        entry = listing.find(
            spool, self._desk.counter, request.path_params["id"], request.query_params.get("at", "")
        )
        settings, why = spool.settings(), waiting.Reasons(spool).of
        return Json(
            lookup.view(spool, entry, lambda e: lookup.full_record(spool, e, settings, why))
        )

    def described(self, _: Request) -> Response:
        """GET /api/openapi.json."""
        return Json(openapi.document())

    def healthy(self, _: Request) -> Response:
        """GET /healthz: whether the spool can be read and the jobs are counted; needs no password."""
        self._desk.spool.open()
        return Json({"healthy": True})

    def metrics(self, _: Request) -> Response:
        """GET /metrics, for Prometheus."""
        desk = self._desk
        return Response(
            metrics.text(desk.spool, desk.counter.report, desk.workers()), media_type=metrics.TYPE
        )

    # -- acting

    async def enqueue(self, request: Request) -> Response:
        """POST /api/jobs: put a job into the queue; it is on disk then."""
        return await run_in_threadpool(self._enqueue, await request.body())

    def _enqueue(self, body: bytes) -> Response:
        record = _json(body)
        if not isinstance(record, dict):
            raise InvalidJob('send one job, a JSON object such as {"command": "echo hi"}')
        id = deeds.enqueue(self._desk, record)
        return Json({"id": id}, 201, {"location": f"/api/jobs/{id}"})

    async def act(self, request: Request) -> Response:
        """POST /api/jobs/ID/VERB."""
        return await run_in_threadpool(self._act, request, await request.body())

    def _act(self, request: Request, body: bytes) -> Response:
        id, verb = request.path_params["id"], request.path_params["verb"]
        given = _object(body)
        if unknown := set(given) - {"priority", "at"}:
            raise Wrong(f"no field {min(unknown)!r} here; there are priority and at")
        if (verb == "priority") != ("priority" in given):
            raise Wrong('the action priority, and only that, needs {"priority": 0 to 9}')
        value = deeds.priority(given["priority"]) if verb == "priority" else 0
        deeds.do(self._desk, verb, id, str(given.get("at", "")), value)
        return Json({"id": id, "done": verb})

    async def pause(self, request: Request) -> Response:
        """POST /api/pause and /api/resume."""
        on = request.scope["path"] == "/api/pause"
        changed = await run_in_threadpool(lambda: deeds.pause(self._desk, on=on))
        return Json({"paused": on, "changed": changed})

    async def stop(self, request: Request) -> Response:
        """POST /api/workers/NAME/stop: tell its supervisor to stop when its jobs have ended."""
        left = await run_in_threadpool(deeds.stop_worker, self._desk, request.path_params["name"])
        return Json({"stopping": left}, 202)


def _json(body: bytes) -> object:
    try:
        return load(body)
    except InvalidJob as error:
        raise InvalidJob(f"body: {error}") from None


def _object(body: bytes) -> dict[str, Any]:
    given = _json(body) if body.strip() else {}
    if not isinstance(given, dict):
        raise Wrong("send a JSON object, or nothing")
    return given
