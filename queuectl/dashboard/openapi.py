"""The description of the API, as an OpenAPI 3.1 document. Pure.

Leaves to others
    answering (api); a test compares the addresses with those of the application.
Raises
    nothing.
"""

from __future__ import annotations

import functools
from typing import Any

from queuectl import __version__
from queuectl.dashboard import deeds, listing
from queuectl.layout import STATES

_TEXT = {"type": "string"}
_MAYBE = {"type": ["string", "null"]}
_COUNT = {"type": ["integer", "null"], "minimum": 0}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _answer(
    what: str, schema: dict[str, Any] | None = None, kind: str = "application/json"
) -> dict[str, Any]:
    return {"description": what, **({"content": {kind: {"schema": schema}}} if schema else {})}


def _refusals(*codes: int) -> dict[str, Any]:
    words = {
        400: "wrong words", 403: "the dashboard only shows", 404: "no such job or worker", 409: "an id or key is taken, or a wrong state",
        413: "too large", 415: "not sent as application/json", 422: "the job is wrong", 503: "the spool cannot be used",
    }  # fmt: skip
    return {str(code): _answer(words[code], _ref("Refusal")) for code in codes}


def _look(
    what: str,
    schema: dict[str, Any],
    *codes: int,
    words: tuple[dict[str, Any], ...] = (),
    kind: str = "application/json",
) -> Any:
    found = {
        "summary": what,
        "responses": {"200": _answer(what, schema, kind), **_refusals(*codes)},
    }
    return {"get": found | ({"parameters": list(words)} if words else {})}


def _word(
    name: str, what: str, schema: dict[str, Any] | None = None, where: str = "query"
) -> dict[str, Any]:
    return {
        "name": name,
        "in": where,
        "description": what,
        "required": where == "path",
        "schema": schema or _TEXT,
    }


def _post(
    what: str,
    code: str,
    schema: dict[str, Any],
    *codes: int,
    body: dict[str, Any],
    words: tuple[dict[str, Any], ...] = (),
) -> Any:
    return {
        "post": {
            "summary": what,
            "requestBody": {"required": False, "content": {"application/json": {"schema": body}}},
            "responses": {code: _answer(what, schema), **_refusals(403, 415, 503, *codes)},
        }
        | ({"parameters": list(words)} if words else {})
    }


_ID = _word("id", "the whole id of a job", where="path")
_AT = _word(
    "at", "the `file` that the job was in when it was seen: a hint that makes finding it cheap"
)


def _paths() -> dict[str, Any]:
    filters = (
        _word(
            "state",
            "the state to list",
            {"type": "string", "enum": list(STATES), "default": "pending"},
        ),
        _word("id", "a part of the id"),
        _word("batch", "the name of a batch"),
        _word("text", "a part of the name or of the command"),
        _word("since", 'not before: ISO 8601, or how long ago such as "2h"'),
        _word("until", 'not after: ISO 8601, or how long ago such as "2h"'),
        _word(
            "limit",
            "so many at most",
            {"type": "integer", "minimum": 1, "maximum": listing.MOST, "default": listing.LIMIT},
        ),
        _word("after", "the cursor `next` of the page before"),
    )
    skips = (
        _word(name, f"bytes of std{name} to leave out", {"type": "integer", "minimum": 0})
        for name in ("out", "err")
    )
    stream = (
        _AT,
        _word("attempt", "another than the last", {"type": "integer", "minimum": 1}),
        *skips,
    )
    nothing = {"type": "object", "additionalProperties": False}
    act = _word("verb", "what to do", {"type": "string", "enum": list(deeds.ACTS)}, "path")
    enqueued = {"type": "object", "required": ["id"], "properties": {"id": _TEXT}}
    paths = {
        "/api/status": _look(
            "How many jobs are in each state, what waits longest, and who works",
            _ref("Status"),
            503,
        ),
        "/api/jobs": {
            **_look("A page of the jobs in one state", _ref("Page"), 400, 503, words=filters),
            **_post(
                "Put a job into the queue; it is on disk then",
                "201",
                enqueued,
                400,
                409,
                413,
                422,
                body=_ref("NewJob"),
            ),
        },
        "/api/jobs/{id}": _look(
            "Everything about one job, as `queuectl show --json`",
            _ref("Job"),
            404,
            503,
            words=(_ID, _AT),
        ),
        "/api/jobs/{id}/follow": _look(
            "What its command prints, as server-sent events: out, err, over",
            _TEXT,
            503,
            words=(_ID, *stream),
            kind="text/event-stream",
        ),
        "/api/jobs/{id}/{verb}": _post(
            "Do something to a job",
            "200",
            _ref("Done"),
            400,
            404,
            409,
            body=_ref("Act"),
            words=(_ID, act),
        ),
        "/api/workers/{name}/stop": _post(
            "Tell the supervisor of a worker to stop when its jobs have ended",
            "202",
            {"type": "object", "properties": {"stopping": {"type": "array", "items": _TEXT}}},
            404,
            body=nothing,
            words=(
                _word(
                    "name", "a worker, or the beginning of its name up to a hyphen", where="path"
                ),
            ),
        ),
        "/api/events": _look(
            "An event `change` with the status whenever it has changed",
            _TEXT,
            503,
            kind="text/event-stream",
        ),
        "/api/openapi.json": _look("This document", {"type": "object"}),
        "/healthz": _look(
            "Whether the spool can be read",
            {"type": "object", "properties": {"healthy": {"type": "boolean"}}},
        ),
        "/metrics": _look("For Prometheus", _TEXT, kind="text/plain"),
    }
    for verb in ("pause", "resume"):
        paused = {
            "type": "object",
            "properties": {"paused": {"type": "boolean"}, "changed": {"type": "boolean"}},
        }
        what = "Let no job begin" if verb == "pause" else "Let jobs begin again"
        paths[f"/api/{verb}"] = _post(what, "200", paused, body=nothing)
    return paths


def _schemas() -> dict[str, Any]:
    texts = dict.fromkeys(("state", "file"), _TEXT) | dict.fromkeys(
        ("created_at", "updated_at", "run_at", "worker", "name", "batch", "waits"), _MAYBE
    )
    command = {"oneOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]}
    job = {"id": _TEXT, "command": {"oneOf": [*command["oneOf"], {"type": "null"}]}, **texts}
    job |= {key: {"type": "integer"} for key in ("priority", "attempts", "max_retries")}
    worker = {
        "name": _TEXT,
        "host": _MAYBE,
        "alive": {"type": "boolean"},
        "job": _MAYBE,
        "started_at": _MAYBE,
        "version": _MAYBE,
    }
    worker |= {
        "pid": _COUNT,
        "supervisor_pid": _COUNT,
        "heartbeat_age": {"type": ["number", "null"]},
    }
    status = {
        "spool": _TEXT,
        "jobs": {"type": "object", "properties": dict.fromkeys((*STATES, "rejected"), _COUNT)},
        "scheduled": _COUNT,
        "oldest_ready_seconds": {"type": ["number", "null"]},
        "paused": {"type": "boolean"},
        "workers": {"type": "array", "items": _object(worker)},
        "counted_at": _TEXT,
    }
    page = {
        "jobs": {"type": "array", "items": _ref("Job")},
        "next": _MAYBE,
        "complete": {"type": "boolean"},
    }
    return {
        "Job": _object(job)
        | {"description": "as docs/format.md has it; `show` has more fields, and `runs`"},
        "NewJob": {
            "type": "object",
            "required": ["command"],
            "properties": {"command": command, **_fields()},
        },
        "Status": _object(status),
        "Page": _object(page)
        | {"description": "`complete` is false if time was up: `next` looks on"},
        "Act": {
            "type": "object",
            "properties": {
                "priority": {"type": "integer", "minimum": 0, "maximum": 9},
                "at": _AT["schema"],
            },
        },
        "Done": _object({"id": _TEXT, "done": _TEXT}),
        "Refusal": {
            "type": "object",
            "required": ["error"],
            "properties": {"error": _TEXT, "field": _MAYBE},
        },
    }


def _fields() -> dict[str, Any]:
    """What a job may say besides its command, in short; docs/format.md and its JSON Schema have the last word."""
    span = {
        "oneOf": [{"type": "number", "minimum": 0}, _TEXT],
        "description": 'seconds, or such as "10m"',
    }
    ids = {"oneOf": [_TEXT, {"type": "array", "items": _TEXT}]}
    codes = {
        "type": ["array", "integer", "string", "null"],
        "description": 'exit codes such as [0, 99] or "0,99"',
    }
    texts = (
        "id",
        "cwd",
        "stdin",
        "name",
        "created_at",
        "run_at",
        "submitted_by",
        "batch",
        "limit",
        "unique",
    )
    return {
        **dict.fromkeys(texts, _MAYBE),
        **dict.fromkeys(("delay", "timeout"), span),
        **dict.fromkeys(("after", "after_any", "after_failed"), ids),
        **dict.fromkeys(("success_codes", "no_retry_codes"), codes),
        "priority": {"type": "integer", "minimum": 0, "maximum": 9},
        "max_retries": {"type": ["integer", "null"], "minimum": 1},
        "env": {"type": "object", "additionalProperties": _TEXT},
        "retry_after_codes": {"type": ["object", "null"], "description": 'such as {"75": "10m"}'},
        "meta": {"description": "whatever JSON can hold"},
    }


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


@functools.cache
def document() -> dict[str, Any]:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "queuectl",
            "version": __version__,
            "description": "Looks at a spool, and acts on it with --allow-actions.",
        },
        "paths": _paths(),
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"password": {"type": "http", "scheme": "basic"}},
        },
        "security": [{"password": []}, {}],
    }
