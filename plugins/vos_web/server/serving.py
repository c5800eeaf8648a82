"""Serve a service on 127.0.0.1 until it is stopped."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette

from vos.plugin import InputError
from vos_web.server.handlers import Handlers
from vos_web.server.security import Guard
from vos_web.service import Service

HOST = "127.0.0.1"


class _Server(uvicorn.Server):
    """A uvicorn server that closes the pages' event streams at shutdown instead of waiting for them."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.hub.close()
        await super().shutdown(sockets)


def make_app(service: Service, token: str, port: int) -> Guard:
    """Make the application.

    Args:
        service: what it serves.
        token: the first component of every path.
        port: the port that it is served on, for the Host and Origin checks.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        service.hub.bind(asyncio.get_running_loop())
        yield

    return Guard(Starlette(routes=Handlers(service).routes(), lifespan=lifespan), token, port)


def serve(service: Service, port: int, on_ready: Callable[[str], None]) -> None:
    """Serve until Ctrl-C.

    Args:
        service: what is served.
        port: 0 for a free one.
        on_ready: called with the page's address once connections are taken.
    Raises:
        InputError: the port is in use.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
        except OSError as error:
            raise InputError(f"port {port} cannot be used ({error.strerror}). Choose another --port.") from error
        listening.listen()
        port = listening.getsockname()[1]
        token = secrets.token_urlsafe(24)
        config = uvicorn.Config(
            make_app(service, token, port),
            log_level="error",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        on_ready(f"http://{HOST}:{port}/{token}/")
        _Server(config, service).run(sockets=[listening])
