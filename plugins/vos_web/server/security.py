"""Authenticate requests: only the page that the server sent, at the address that it printed, has access.

A page of another site can make a browser send requests to 127.0.0.1. Three checks, each enough against it alone:
the random token in every address, the Host header (against DNS names that lead to 127.0.0.1), and the Origin header.
"""

from __future__ import annotations

import hmac
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vos.plugin import InputError

HEADERS = {
    b"content-security-policy": b"default-src 'self'; img-src 'self' blob: data:; object-src 'none'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
}


class TooLargeError(InputError):
    """A request body beyond its limit."""


class Guard:
    """ASGI middleware: lets through what carries the token, the right Host and no foreign Origin."""

    def __init__(self, app: ASGIApp, token: str, port: int) -> None:
        """Wrap an application.

        Args:
            app: the application; it sees paths without the token.
            token: the first component of every path.
            port: the port that is listened on.
        """
        self._app = app
        self._token = token
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self._origins = {f"http://{host}" for host in self._hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request, then pass it on with the token taken off its path."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if scope["type"] != "http" or refusal:
            await PlainTextResponse(refusal or "HTTP only.\n", 403)(scope, receive, _hardened(send))
            return
        inner = {**scope, "path": scope["path"][len(self._token) + 1 :] or "/", "raw_path": None}
        await self._app(inner, receive, _hardened(send))

    def _refusal(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        if headers.get("host", "") not in self._hosts:
            return "Wrong Host. Open the address that `vos web` printed.\n"
        origin = headers.get("origin")
        if origin is not None and origin not in self._origins:
            return "Wrong Origin. Open the address that `vos web` printed.\n"
        site = headers.get("sec-fetch-site", "none")
        if site == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
            return "Requests from other sites are refused.\n"
        first = str(scope.get("path", "")).split("/", 2)[1:2]
        if not hmac.compare_digest((first or [""])[0].encode(), self._token.encode()):
            return "Wrong or no token. Open the address that `vos web` printed.\n"
        return None


def _hardened(send: Send) -> Send:
    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *HEADERS.items()]}
        await send(message)

    return with_headers


async def read_body(request: Request, limit: int) -> bytes:
    """Read a request's body, but not more than a limit.

    Args:
        request: the request.
        limit: bytes.
    Raises:
        TooLargeError: it is, or says that it is, larger.
    """
    check_declared(request, limit)
    parts: list[bytes] = []
    total = 0
    async for part in request.stream():
        total += len(part)
        if total > limit:
            raise TooLargeError(f"the request is larger than {limit} bytes.")
        parts.append(part)
    return b"".join(parts)


def check_declared(request: Request, limit: int) -> None:
    """Refuse a request whose declared length is beyond a limit.

    Raises:
        TooLargeError: it is.
    """
    declared: Any = request.headers.get("content-length", "0")
    if not declared.isdecimal() or len(declared) > 15 or int(declared) > limit:
        raise TooLargeError(f"the request is larger than {limit} bytes.")
