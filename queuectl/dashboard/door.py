"""The door: who may come in, and what a browser may do with what it gets.

A page of another site must not reach a dashboard on this machine: its requests have a
foreign Host (DNS rebinding), a foreign Origin, or no token.

Promises
    Without the password nothing is answered but /healthz.
    Nothing is changed by GET, nor by a form from elsewhere, nor by JSON that another site's
    page can send without being asked first.
Leaves to others
    the token of forms (pages), what may be changed at all (deeds).
Raises
    nothing; it answers 400, 401, 403 or 415 itself.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from queuectl.dashboard.desk import Options

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


class Door:
    """Stands before the whole application."""

    def __init__(self, app: ASGIApp, options: Options) -> None:
        self._app, self._options = app, options
        self._names = {"localhost", options.host.lower(), *(name.lower() for name in options.names)}
        if not is_loopback(options.host):
            self._names.add(os.uname().nodename.lower())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def dress(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(scope, Headers(scope=scope))
        await (refusal or self._app)(scope, receive, dress)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        if not self._knows(host):
            return PlainTextResponse(
                f"this dashboard is not {host!r}; start it with --public-host to give it another name\n",
                400,
            )
        if scope["path"] != "/healthz" and not self._is_in(headers):
            return PlainTextResponse(
                "the password is wrong or missing\n",
                401,
                {"www-authenticate": 'Basic realm="queuectl", charset="UTF-8"'},
            )
        if scope["method"] in LOOKS:
            return None
        return _foreign(scope["path"], headers, host)

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

    def _is_in(self, headers: Mapping[str, str]) -> bool:
        if self._options.password is None:
            return True
        kind, _, code = headers.get("authorization", "").partition(" ")
        try:
            given = (
                base64.b64decode(code, validate=True).partition(b":")[2]
                if kind.lower() == "basic"
                else b""
            )
        except (binascii.Error, ValueError):
            given = b""
        return hmac.compare_digest(given, self._options.password)


def _is_plain(host: str) -> bool:
    return bool(host) and host.isascii() and all(c.isalnum() or c in ".-:[]_" for c in host)


def _foreign(path: str, headers: Headers, host: str) -> Response | None:
    """Why a request that would change something comes from elsewhere, or could."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
    if (origin is not None and urlsplit(origin).netloc.lower() != host.lower()) or site not in (
        "same-origin",
        "none",
    ):
        return PlainTextResponse(
            f"refused: the request comes from {origin or 'another site'}, not from this dashboard\n",
            403,
        )
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if path.startswith("/api/") and kind != "application/json":
        # A page elsewhere can send forms and plain text without asking, JSON it cannot.
        return JSONResponse({"error": "send it as content-type: application/json"}, 415)
    return None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
