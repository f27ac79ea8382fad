"""The door: who may come in, and what a browser may do with what it gets.

A page of another site must not reach a dashboard on this machine: its requests have a
foreign Host (DNS rebinding), a foreign Origin, or no token.

Promises
    Without the password nothing is answered but /healthz; a wrong one is answered late.
    Every answer has the headers below, also when something in here fails; no traceback is shown.
    Nothing is changed by GET, nor by a form from elsewhere, nor by JSON that another site's
    page can send without being asked first.
Leaves to others
    the token of forms (pages), what may be changed at all (deeds).
Raises
    nothing; it answers 400, 401, 403, 415, 429, 500 or 503 itself.
"""

from __future__ import annotations

import base64
import hmac
import ipaddress
import logging
import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute
from starlette.types import Message, Receive, Scope, Send

from queuectl.dashboard.desk import Options
from queuectl.dashboard.guesses import Guesses, network

#: What every answer says to the browser: nothing from elsewhere, no inline script or style, in no frame.
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not no-referrer: then a form's Origin would be null.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}

#: The methods that only look.
LOOKS = ("GET", "HEAD")

#: Requests that are answered at once. A request goes on for a while when its client has gone.
MOST = 256

_log = logging.getLogger(__name__)


class Door:
    """Stands before the whole application."""

    def __init__(self, app: Starlette, options: Options) -> None:
        self._app, self._options = app, options
        self._names = {"localhost", options.host.lower(), *(name.lower() for name in options.names)}
        if not is_loopback(options.host):
            self._names.add(os.uname().nodename.lower())
        self._guesses = Guesses()
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = ended = False

        async def dress(message: Message) -> None:
            nonlocal begun, ended
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)
            ended = message["type"] == "http.response.body" and not message.get("more_body")

        try:
            await self._answer(scope, receive, dress)
        except ClientDisconnect:
            pass
        except Exception as error:
            if not begun:
                tell_fault(scope, error)
                await _line(scope, 500, FAULT)(scope, receive, dress)
            elif not ended:
                raise  # the server ends the connection, so that half an answer is not taken for a whole one

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = await self._refusal(scope, Headers(scope=scope))
        if refusal is None and self._inside >= MOST:
            refusal = _line(
                scope, 503, "too many requests at once; try again", {"retry-after": "1"}
            )
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        self._inside += 1
        try:
            if scope["method"] in LOOKS:
                scope, receive = _without_body(scope, receive)
            await self._app(scope, receive, send)
        finally:
            self._inside -= 1

    async def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        if not self._knows(host):
            return _line(
                scope,
                400,
                f"this dashboard is not {host!r}; start it with --public-host to give it another name",
            )
        if scope["path"] != "/healthz" and (refusal := await self._ask(scope, headers)):
            return refusal
        if scope["method"] in LOOKS:
            return None
        return _foreign(scope, headers, host)

    async def _ask(self, scope: Scope, headers: Headers) -> Response | None:
        """Ask for the password: why the request may not pass."""
        if self._options.password is None:
            return None
        given = _password(headers)
        if given is not None:
            address = network(scope["client"])
            if self._guesses.refuses(address):
                why = "too many wrong passwords from this address; try again later"
                return _line(scope, 429, why, {"retry-after": "10"})
            if hmac.compare_digest(given, self._options.password):
                return None
            await self._guesses.punish(address)
        return _line(
            scope,
            401,
            "the password is wrong or missing",
            {"www-authenticate": 'Basic realm="queuectl", charset="UTF-8"'},
        )

    @property
    def routes(self) -> list[BaseRoute]:
        """Every address."""
        return self._app.routes

    def _knows(self, host: str) -> bool:
        """Whether this Host is a name of ours. An address is nobody's to point elsewhere, so any is."""
        try:
            name = urlsplit(f"//{host}").hostname if _is_plain(host) else None
        except ValueError:
            return False
        if name is None:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._names
        return True


#: What is said of an error that nobody expected.
FAULT = "the dashboard has a fault; its log says more"


def tell_fault(scope: Scope, error: Exception) -> None:
    """Log an error that nobody expected."""
    _log.error("%s %s failed", scope["method"], scope["path"], exc_info=error)


def _without_body(scope: Scope, receive: Receive) -> tuple[Scope, Receive]:
    """A request without the body that it should not have: nothing then asks how long that is."""

    async def receive_nothing() -> Message:
        message = await receive()
        return {**message, "body": b""} if message["type"] == "http.request" else message

    headers = [pair for pair in scope["headers"] if pair[0] != b"content-length"]
    return {**scope, "headers": headers}, receive_nothing


def _line(scope: Scope, code: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    """A refusal in one line: JSON for programs, and text that says no more to those who are not in."""
    if scope["path"].startswith("/api/"):
        return JSONResponse({"error": text}, code, headers)
    return PlainTextResponse(f"{text}\n", code, headers)


def _password(headers: Mapping[str, str]) -> bytes | None:
    """The password that came with a request; None: there was none."""
    kind, _, code = headers.get("authorization", "").partition(" ")
    if not kind:
        return None
    try:
        given = base64.b64decode(code, validate=True) if kind.lower() == "basic" else b""
    except ValueError:
        given = b""
    return given.partition(b":")[2]


def _is_plain(host: str) -> bool:
    return bool(host) and host.isascii() and all(c.isalnum() or c in ".-:[]_" for c in host)


def _foreign(scope: Scope, headers: Headers, host: str) -> Response | None:
    """Why a request that would change something comes from elsewhere, or could."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
    is_ours = origin is None or origin.lower().partition("://")[2] == host.lower()
    if not is_ours or site not in ("same-origin", "none"):
        why = f"the request comes from {origin or 'another site'}, not from this dashboard"
        return _line(scope, 403, f"refused: {why}")
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if scope["path"].startswith("/api/") and kind != "application/json":
        # A page elsewhere can send forms and plain text without asking, JSON it cannot.
        return _line(scope, 415, "send it as content-type: application/json")
    return None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
