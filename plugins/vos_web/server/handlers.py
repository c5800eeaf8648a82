"""Handlers of the server's addresses."""

from __future__ import annotations

import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from vos.plugin import InputError, VosError, output_errors, safe_name
from vos_web.catalogue import catalogue
from vos_web.messages import page_message
from vos_web.server.paths import STACK_SUFFIXES, VIDEO_SUFFIXES, OutsideError
from vos_web.server.run_length import decode_runs, encode_runs
from vos_web.server.security import TooLargeError, check_declared, read_body
from vos_web.service import Service
from vos_web.sessions.store import OpenSession
from vos_web.tracking.worker_process import BusyError

MAX_JSON = 4 * 2**20
MAX_MASK = 64 * 2**20
STATIC = Path(__file__).parents[1] / "static"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

Handler = Callable[[Request], Awaitable[Response]]


class Handlers:
    """The addresses of one service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[BaseRoute]:
        """Every address."""
        session = "/api/sessions/{id}"
        table: list[tuple[str, str, Handler]] = [
            ("GET", "/", self.page),
            ("GET", "/static/{name}", self.static),
            ("GET", "/api/start", self.start),
            ("GET", "/api/browse", self.browse),
            ("GET", "/api/events", self.events),
            ("POST", "/api/uploads", self.upload),
            ("POST", "/api/sessions", self.create),
            ("GET", session, self.state),
            ("PATCH", session, self.settings),
            ("DELETE", session, self.remove),
            ("GET", session + "/frames/{frame:int}", self.frame),
            ("GET", session + "/masks/{frame:int}", self.mask),
            ("PUT", session + "/pins/{frame:int}", self.annotate),
            ("POST", session + "/pins/{frame:int}/file", self.import_mask),
            ("DELETE", session + "/pins/{frame:int}", self.unpin),
            ("POST", session + "/objects", self.add_object),
            ("PATCH", session + "/objects/{object:int}", self.change_object),
            ("POST", session + "/prompt", self.prompt),
            ("POST", session + "/track", self.track),
            ("POST", session + "/export", self.export),
            ("GET", session + "/exports/{name}", self.download),
            ("POST", "/api/stop", self.stop),
        ]
        return [Route(path, _answering(handler), methods=[method]) for method, path, handler in table]

    async def page(self, request: Request) -> Response:
        """The page."""
        return FileResponse(STATIC / "index.html", headers={"cache-control": "no-store"})

    async def static(self, request: Request) -> Response:
        """A part of the page."""
        path = STATIC / safe_name(request.path_params["name"])
        if path.suffix not in TYPES or not path.is_file():
            return _error("there is no such file.", 404)
        return FileResponse(path, media_type=TYPES[path.suffix], headers={"cache-control": "no-cache"})

    async def start(self, request: Request) -> Response:
        """Data of the start page: trackers, writers, recent sessions."""
        return JSONResponse(await run_in_threadpool(catalogue, self._service))

    async def browse(self, request: Request) -> Response:
        """A folder's videos and folders."""
        return JSONResponse(await run_in_threadpool(self._service.allowed.browse, request.query_params.get("path", "")))

    async def events(self, request: Request) -> Response:
        """The stream of events."""

        async def stream() -> AsyncIterator[str]:
            async for text in self._service.hub.listen():
                yield text

        return StreamingResponse(stream(), media_type="text/event-stream", headers={"cache-control": "no-store"})

    async def upload(self, request: Request) -> Response:
        """Store an uploaded video; of one that cannot be opened nothing stays."""
        name = safe_name(request.query_params.get("name", ""))
        suffixes = VIDEO_SUFFIXES | STACK_SUFFIXES
        if Path(name).suffix.lower() not in suffixes:
            raise InputError(f"{name}: is no video ({', '.join(sorted(suffixes))}).")
        limit = self._service.settings.max_upload
        check_declared(request, limit)
        folder = self._service.upload_folder()
        path, partial, total = folder / name, folder / f".partial-{name}", 0
        try:
            with output_errors(path), partial.open("wb") as file:
                async for part in request.stream():
                    total += len(part)
                    if total > limit:
                        raise TooLargeError(f"the video is larger than {limit} bytes. Open it by its path instead.")
                    await run_in_threadpool(file.write, part)
            partial.replace(path)
            await run_in_threadpool(self._service.check_upload, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            folder.rmdir()
            raise
        return JSONResponse({"path": str(path)})

    async def create(self, request: Request) -> Response:
        """Open a video: continue its latest session, or create one."""
        values = await _json(request)
        path = self._service.allowed.resolve(str(values.get("path", "")))
        opened = await run_in_threadpool(self._service.open_video, path, bool(values.get("fresh")))
        return JSONResponse(self._service.state(opened))

    async def state(self, request: Request) -> Response:
        """A session."""
        return JSONResponse(self._service.state(await self._opened(request)))

    async def settings(self, request: Request) -> Response:
        """Change a session's tracker, quality or position."""
        opened, values = await self._opened(request), await _json(request)
        await run_in_threadpool(self._service.change_settings, opened, values)
        if set(values) - {"position"}:
            self._changed(request, opened)
        return JSONResponse({})

    async def remove(self, request: Request) -> Response:
        """Delete a session; the video stays."""
        await run_in_threadpool(self._service.remove, request.path_params["id"])
        return JSONResponse({})

    async def frame(self, request: Request) -> Response:
        """A frame as JPEG, with its time in seconds where it has one."""
        opened, index = await self._opened(request), request.path_params["frame"]
        _check_frame(opened, index)
        content, time = await run_in_threadpool(opened.frames.encoded, index)
        headers = {"cache-control": "private, max-age=86400"} | ({} if time is None else {"x-time": f"{time:.3f}"})
        return Response(content, media_type="image/jpeg", headers=headers)

    async def mask(self, request: Request) -> Response:
        """A frame's label map as runs; empty where it has none."""
        opened, index = await self._opened(request), request.path_params["frame"]
        _check_frame(opened, index)
        label_map = await run_in_threadpool(opened.session.mask, index)
        content = b"" if label_map is None else encode_runs(label_map)
        return Response(content, media_type="application/octet-stream", headers={"cache-control": "no-store"})

    async def annotate(self, request: Request) -> Response:
        """Store a painted label map."""
        opened, index = await self._opened(request), request.path_params["frame"]
        touched = [int(text) for text in request.query_params.get("ids", "").split(",") if text.isdecimal()]
        label_map = decode_runs(await read_body(request, MAX_MASK), opened.session.facts.size)
        await run_in_threadpool(opened.session.annotate, index, label_map, touched)
        self._changed(request, opened, frame=index)
        return JSONResponse(self._pin(opened, index))

    async def import_mask(self, request: Request) -> Response:
        """Import an uploaded mask file; ids that the session does not have become objects."""
        opened, index = await self._opened(request), request.path_params["frame"]
        content = await read_body(request, MAX_MASK)

        await run_in_threadpool(self._service.import_mask, opened, index, content)
        self._changed(request, opened, frame=index)
        return JSONResponse(self._service.state(opened))

    async def unpin(self, request: Request) -> Response:
        """Make a pin an ordinary frame; the body says what the tracker had said of it, if the annotation is undone."""
        opened, index, said = await self._opened(request), request.path_params["frame"], await _json(request)
        await run_in_threadpool(opened.session.unpin, index, said)
        self._changed(request, opened, frame=index)
        return JSONResponse({})

    async def add_object(self, request: Request) -> Response:
        """Add an object."""
        opened, values = await self._opened(request), await _json(request)
        entry = await run_in_threadpool(opened.session.add_object, str(values.get("name", "")))
        self._changed(request, opened)
        return JSONResponse(vars(entry))

    async def change_object(self, request: Request) -> Response:
        """Rename, hide, lock, end, delete or restore an object."""
        opened, values = await self._opened(request), await _json(request)
        entry = await run_in_threadpool(opened.session.change_object, request.path_params["object"], values)
        self._changed(request, opened)
        return JSONResponse(vars(entry))

    async def prompt(self, request: Request) -> Response:
        """Make a mask from clicks, a box or scribbles, or, by the method "primary", of what moves or stands out."""
        opened, values = await self._opened(request), await _json(request)
        index, method = _check_frame(opened, values.get("frame")), str(values.get("method", "grabcut"))

        def make() -> bytes:
            if method == "primary":
                return encode_runs(self._service.primary_object(opened, index))
            frame = opened.frames.frame(index)
            return encode_runs(self._service.mask_from_prompts(frame, values, method))

        return Response(await run_in_threadpool(make), media_type="application/octet-stream")

    async def track(self, request: Request) -> Response:
        """Start tracking."""
        opened, values = await self._opened(request), await _json(request)
        index = _check_frame(opened, values.get("frame"))
        direction, until = str(values.get("direction")), str(values.get("until"))
        track = self._service.jobs.track
        job = await run_in_threadpool(track, opened, index, direction, until, _client(request))
        return JSONResponse({"job": job})

    async def export(self, request: Request) -> Response:
        """Start an export."""
        opened, values = await self._opened(request), await _json(request)
        folder = self._service.export_folder(values.get("folder"))
        writers = self._service.checked_writers(values.get("writers"))
        overwrite = bool(values.get("overwrite"))
        export = self._service.jobs.export
        job = await run_in_threadpool(export, opened, writers, folder, overwrite, _client(request))
        return JSONResponse({"job": job})

    async def download(self, request: Request) -> Response:
        """An export as one file."""
        opened, name = await self._opened(request), safe_name(request.path_params["name"])
        path = opened.session.folder / "export" / name
        if not path.is_file():
            return _error("there is no such export.", 404)
        return FileResponse(path, filename=name)

    async def stop(self, request: Request) -> Response:
        """Stop the running job; frames tracked so far stay."""
        await run_in_threadpool(self._service.jobs.stop)
        return JSONResponse({"job": self._service.jobs.current})

    async def _opened(self, request: Request) -> OpenSession:
        return await run_in_threadpool(self._service.store.get, request.path_params["id"])

    def _changed(self, request: Request, opened: OpenSession, **facts: Any) -> None:
        """Send an event to the other pages."""
        session = opened.session.facts.id
        self._service.hub.publish({"type": "changed", "session": session, "client": _client(request), **facts})

    def _pin(self, opened: OpenSession, index: int) -> dict[str, Any]:
        return {"frame": index, "ids": opened.session.facts.pins.get(index, [])}


def _answering(handler: Handler) -> Handler:
    """Turn errors that are meant for the user into answers with their text."""

    @functools.wraps(handler)
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except TooLargeError as error:
            return _error(str(error), 413)
        except OutsideError as error:
            return _error(str(error), 403)
        except BusyError as error:
            return _error(str(error), 409)
        except InputError as error:
            return _error(page_message(error), 400)
        except VosError as error:
            return _error(str(error), 500)

    return answer


def _client(request: Request) -> str:
    """The page that sends a request, by the name that it gave itself."""
    return request.headers.get("x-client", "")


def _error(text: str, status: int) -> Response:
    return JSONResponse({"error": text}, status)


async def _json(request: Request) -> dict[str, Any]:
    body = await read_body(request, MAX_JSON)
    try:
        values = json.loads(body or b"{}")
    except ValueError as error:
        raise InputError(f"the request is no JSON ({error}).") from None
    if not isinstance(values, dict):
        raise InputError("the request is no JSON object.")
    return values


def _check_frame(opened: OpenSession, index: object) -> int:
    count = opened.session.facts.frame_count
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < count:
        raise InputError(f"there is no frame {index}: the last one is {count - 1}.")
    return index
