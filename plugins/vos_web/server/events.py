"""Server-sent events: every open page hears what happens in the sessions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

QUEUE_LENGTH = 1000
KEEP_ALIVE_SECONDS = 15.0


class EventHub:
    """Hands events from any thread to every page that listens.

    A page that does not read fast enough gets a ``resync`` event in place of those that it missed.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queues: set[asyncio.Queue[dict[str, Any] | None]] = set()

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Send events through the event loop of the server."""
        self._loop = loop

    def publish(self, event: dict[str, Any]) -> None:
        """Send an event to all pages; may be called from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._put, event)

    def close(self) -> None:
        """End every page's stream, so that the server can stop."""
        for queue in self._queues:
            _force(queue, None)

    async def listen(self) -> AsyncIterator[str]:
        """Yield events in the text form of server-sent events, until the page leaves or the hub closes."""
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue(QUEUE_LENGTH)
        self._queues.add(queue)
        try:
            yield "retry: 1000\n\n"
            while True:
                try:
                    event = await asyncio.wait_for(queue.get(), KEEP_ALIVE_SECONDS)
                except asyncio.TimeoutError:
                    yield ": still here\n\n"
                    continue
                if event is None:
                    return
                yield f"data: {json.dumps(event, separators=(',', ':'))}\n\n"
        finally:
            self._queues.discard(queue)

    def _put(self, event: dict[str, Any]) -> None:
        for queue in self._queues:
            if queue.full():
                while not queue.empty():
                    queue.get_nowait()
                event = {"type": "resync"}
            queue.put_nowait(event)


def _force(queue: asyncio.Queue[dict[str, Any] | None], event: dict[str, Any] | None) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(event)
