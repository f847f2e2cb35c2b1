"""HTTP: scans in and out. The contract with the browser; what is answered stands in `state`."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.staticfiles import StaticFiles

from cyclegan.reading.volume import ReadError
from cyclegan.server import limits
from cyclegan.server.below import Below
from cyclegan.server.errors import (
    NOT_UNDERSTOOD,
    GoneError,
    NotReadyError,
    Refusal,
    UserError,
    sentence,
)
from cyclegan.server.examples import example_thumbnail
from cyclegan.server.findings import findings
from cyclegan.server.gate import UPLOAD, Gate, whole_body
from cyclegan.server.headers import SecurityHeaders
from cyclegan.server.pictures import levels
from cyclegan.server.receiving import Receiver, Uploads
from cyclegan.server.saving import Order, order, save
from cyclegan.server.scan import Scan
from cyclegan.server.scans import Scans
from cyclegan.server.state import state

VIEWER = Path(__file__).resolve().parents[1] / "viewer"
SWEEP_EVERY_S = 5.0

Handler = Callable[[Request], Awaitable[Response]]


class Routes:
    """The handlers.

    Args:
        scans: that they answer for.
    """

    def __init__(self, scans: Scans, uploads: Uploads):
        self.scans = scans
        self.uploads = uploads
        self.receiver = Receiver()
        self.opening = ThreadPoolExecutor(limits.OPENINGS_AT_ONCE, "opening")
        self.saving = ThreadPoolExecutor(limits.SAVES_AT_ONCE, "saving")
        self.drawing = ThreadPoolExecutor(1, "thumbnails")
        self.polls = 0
        self._background: set[asyncio.Task] = set()

    def all(self) -> list[Route]:
        """Every address but the viewer's files."""
        scan = "/scans/{scan}"
        handlers: list[tuple[str, str, Handler]] = [
            ("/scans", "POST", self.open),
            ("/examples/{number:int}", "POST", self.example),
            ("/examples/{number:int}/thumbnail", "GET", self.example_thumbnail),
            (scan, "GET", self.state),
            (scan, "DELETE", self.forget),
            (f"{scan}/choices", "POST", self.choose),
            (f"{scan}/real", "POST", self.take_real),
            (f"{scan}/real", "DELETE", self.remove_real),
            (f"{scan}/companion", "POST", self.take_companion),
            (f"{scan}/style", "POST", self.take_style),
            (f"{scan}/images/{{key}}/{{name}}/{{index:int}}", "GET", self.image),
            (f"{scan}/findings/{{key}}/{{index:int}}", "GET", self.findings),
            (f"{scan}/thumbnails/{{series:int}}", "GET", self.thumbnail),
            (f"{scan}/save", "POST", self.save),
            (f"{scan}/files/{{file}}", "GET", self.file),
            (f"{scan}/close", "POST", self.close),
            (UPLOAD, "POST", self.upload),
        ]
        return [
            Route(path, self._answered(handler), methods=[method])
            for path, method, handler in handlers
        ]

    def _answered(self, handler: Handler) -> Handler:
        """Failures as one sentence, {"error"}, with the server's name."""

        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except Exception as fault:
                words = sentence(fault, handler.__name__)
                status = getattr(fault, "status", 422 if isinstance(fault, ReadError) else 500)
                return JSONResponse({"error": words, "server": self.scans.server}, status)

        return answer

    def _scan(self, request: Request, *, used: bool = True) -> Scan:
        return self.scans.get(request.path_params["scan"], used=used)

    def _state_of(self, scan: Scan, status: int = 200) -> JSONResponse:
        return JSONResponse(state(scan, self.scans.server), status)

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        """What reads files, a few at once."""
        return await asyncio.get_running_loop().run_in_executor(self.opening, work)

    def _begin(self, work: Coroutine) -> None:
        """Let something happen while the browser has its answer."""
        task = asyncio.create_task(work)
        self._background.add(task)  # or it might be collected before its end
        task.add_done_callback(self._background.discard)

    async def open(self, request: Request) -> Response:
        async with self.receiver.files(request) as files:
            scan = await self._in_thread(partial(Scan.open, self.scans.model, files))
        self.scans.hold(scan)
        self._begin(self._in_thread(scan.translation.check))
        return self._state_of(scan, 201)

    async def example(self, request: Request) -> Response:
        scan = await self._in_thread(partial(self.scans.example, request.path_params["number"]))
        return self._state_of(scan, 201)

    async def example_thumbnail(self, request: Request) -> Response:
        number = request.path_params["number"]
        loop = asyncio.get_running_loop()
        data = await loop.run_in_executor(self.drawing, example_thumbnail, number)
        return Response(data, media_type="image/png")

    async def state(self, request: Request) -> Response:
        scan = self._scan(request, used=False)
        after = request.query_params.get("after", "")
        if after.isdecimal() and self.polls < limits.POLLS:
            self.polls += 1
            try:
                await scan.changes.wait(int(after), limits.POLL_S)
            finally:
                self.polls -= 1  # its end is no sign of life: the tab may be closed by now
        return self._state_of(scan)

    async def choose(self, request: Request) -> Response:
        scan = self._scan(request)
        choices = _choices(await _json(request))
        if choices.keys() & {"series", "register"}:  # reads, or registers
            await self._in_thread(partial(scan.choose, **choices))
        else:
            scan.choose(**choices)
        return self._state_of(scan)

    async def take_real(self, request: Request) -> Response:
        scan = self._scan(request)
        async with self.receiver.files(request) as files:
            await self._in_thread(partial(scan.take_real, files))
        return self._state_of(scan)

    async def remove_real(self, request: Request) -> Response:
        scan = self._scan(request)
        scan.remove_real()
        return self._state_of(scan)

    async def take_companion(self, request: Request) -> Response:
        scan = self._scan(request)
        await self._in_thread(scan.take_companion)
        return self._state_of(scan)

    async def take_style(self, request: Request) -> Response:
        scan = self._scan(request)
        async with self.receiver.files(request) as files:
            await self._in_thread(partial(scan.take_style, files))
        return self._state_of(scan)

    async def image(self, request: Request) -> Response:
        scan = self._scan(request)
        key, name, index = (request.path_params[part] for part in ("key", "name", "index"))
        data = await run_in_threadpool(image, scan, key, name, index)
        return Response(data, media_type="application/octet-stream")

    async def findings(self, request: Request) -> Response:
        scan = self._scan(request)
        key, index = request.path_params["key"], request.path_params["index"]
        result = scan.result(key, index)
        series, view = scan.behind(key)
        made = Order(scan.model, series, view, index)
        future = scan.measuring(made)
        try:
            measured = await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if not future.cancelled():
                raise
            raise NotReadyError("Another slice is measured.") from None
        make = partial(findings, scan.model, series, index, result, view.made, measured)
        return JSONResponse(await run_in_threadpool(make))

    async def thumbnail(self, request: Request) -> Response:
        scan, number = self._scan(request, used=False), request.path_params["series"]
        loop = asyncio.get_running_loop()
        data = await loop.run_in_executor(self.drawing, scan.thumbnail, number)
        return Response(data, media_type="image/png")

    async def save(self, request: Request) -> Response:
        scan = self._scan(request)
        kind, made = order(scan, await _json(request))
        self._begin(save(scan, kind, made, self.saving))
        await asyncio.sleep(0)  # it has begun, and the state says so
        return self._state_of(scan)

    async def file(self, request: Request) -> Response:
        scan = self._scan(request)
        download = scan.files.get(request.path_params["file"])
        if download is None:
            raise GoneError("This file is not held any more; save it again.")
        headers = {"Content-Disposition": f'attachment; filename="{download.name}"'}
        return Response(download.data, media_type=download.mime, headers=headers)

    async def forget(self, request: Request) -> Response:
        await run_in_threadpool(self.scans.close, request.path_params["scan"])
        return Response(status_code=204)

    async def close(self, request: Request) -> Response:
        # A page that is loaded anew says so, too, and then asks for the scan again.
        self.scans.leave(request.path_params["scan"])
        return Response(status_code=204)

    async def upload(self, request: Request) -> Response:
        """Of programs, which name the file in their next request, to Gradio."""
        try:
            async with self.receiver.files(request) as files:
                return JSONResponse(self.uploads.hold(files))
        except Refusal as refusal:
            return PlainTextResponse(str(refusal), refusal.status)

    async def sweep(self) -> None:
        """Forget by and by what nobody uses."""
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            await run_in_threadpool(self.scans.sweep)


def image(scan: Scan, key: str, name: str, index: int) -> bytes:
    """The pixels of one image.

    Raises:
        GoneError, NotReadyError: there is no such image; it is not made yet.
    """
    series, view = scan.behind(key)
    if not 0 <= index < series.slices:
        raise GoneError("There is no such slice.")
    if name == "original":
        return levels(series.original(index))
    if name in ("translated", "reconstructed"):
        return levels(getattr(scan.result(key, index), name))
    if name == "uncertainty":
        measured = series.results.measured(view.made, index)
        if measured is None:
            raise NotReadyError("This slice is not measured yet.")
        if measured.map is not None:
            return levels(measured.map)
    real = series.real
    if name == "real" and real is not None and real.number == view.real:
        pixels, covered = real.truth.slice(index, series.volume.pixels.shape[1:])
        # 0 says that the real image does not reach there.
        return levels(np.where(covered, np.maximum(pixels, 1 / 65535), 0))
    raise GoneError("There is no such image.")


_KINDS = {"series": int, "to": str, "style": str, "index": int, "translate": bool, "register": bool}


def _choices(sent: Any) -> dict[str, Any]:
    if not isinstance(sent, dict) or any(
        not isinstance(value, _KINDS.get(name, ()))
        or (type(value) is bool and _KINDS[name] is not bool)
        for name, value in sent.items()
    ):
        raise UserError("This choice cannot be understood.")
    return sent


async def _json(request: Request) -> Any:
    try:
        return json.loads(await whole_body(request.receive))
    except (ValueError, RecursionError):
        raise UserError(NOT_UNDERSTOOD) from None


def api(scans: Scans, uploads: Uploads, root_path: str = "") -> FastAPI:
    """The application with all addresses but Gradio's, and the gate before both.

    Args:
        scans: that it answers for.
        uploads: of programs.
        root_path: below which a proxy shows it.
    """
    routes = Routes(scans, uploads)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sweeping = asyncio.create_task(routes.sweep())
        loop = asyncio.get_running_loop()
        first = loop.run_in_executor(
            routes.opening, scans.prepare_example, 0
        )  # for whoever comes first
        try:
            yield
        finally:
            sweeping.cancel()
            await asyncio.gather(first, return_exceptions=True)
            for executor in (routes.opening, routes.saving, routes.drawing):
                executor.shutdown(wait=False, cancel_futures=True)
            await asyncio.to_thread(scans.model.queue.end, limits.END_S)

    middleware = [
        Middleware(Below, path=root_path),
        Middleware(SecurityHeaders),
        Middleware(Gate, uploads=uploads),
    ]
    application = FastAPI(
        docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan, middleware=middleware
    )
    application.router.routes.extend(routes.all())
    application.mount("/viewer", StaticFiles(directory=VIEWER))
    return application
