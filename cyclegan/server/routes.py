"""HTTP: scans in and out. The contract with the browser; what is answered stands in `state`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.staticfiles import StaticFiles

from cyclegan.reading.volume import ReadError
from cyclegan.server import limits
from cyclegan.server.errors import GoneError, NotReadyError, UserError, sentence
from cyclegan.server.receiving import Receiver, UploadError
from cyclegan.server.scan import Scan
from cyclegan.server.scans import Scans
from cyclegan.server.series import Series, View
from cyclegan.server.state import state

VIEWER = Path(__file__).resolve().parents[1] / "viewer"
SWEEP_EVERY_S = 5.0

Handler = Callable[[Request], Awaitable[Response]]


def levels(image: np.ndarray) -> bytes:
    """(H, W) real in [0, 1] as little-endian uint16, row by row, 65535 standing for 1.

    Sixteen bits keep the depth that a narrow window shows; eight would band.
    """
    return np.rint(np.clip(image, 0, 1) * 65535).astype("<u2").tobytes()


class Routes:
    """The handlers.

    Args:
        scans: that they answer for.
    """

    def __init__(self, scans: Scans):
        self.scans = scans
        self.receiver = Receiver()
        self.opening = ThreadPoolExecutor(limits.OPENINGS_AT_ONCE, "opening")
        self.polls = 0
        self._background: set[asyncio.Task] = set()

    def all(self) -> list[Route]:
        """Every address but the viewer's files."""
        scan = "/scans/{scan}"
        handlers: list[tuple[str, str, Handler]] = [
            ("/scans", "POST", self.open),
            ("/examples/{number:int}", "POST", self.example),
            (scan, "GET", self.state),
            (f"{scan}/choices", "POST", self.choose),
            (f"{scan}/real", "POST", self.take_real),
            (f"{scan}/real", "DELETE", self.remove_real),
            (f"{scan}/companion", "POST", self.take_companion),
            (f"{scan}/style", "POST", self.take_style),
            (f"{scan}/images/{{key}}/{{name}}/{{index:int}}", "GET", self.image),
            (f"{scan}/close", "POST", self.close),
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
                status = 500
                if isinstance(fault, UploadError):
                    status = fault.status
                elif isinstance(fault, GoneError):
                    status = 404
                elif isinstance(fault, NotReadyError):
                    status = 409
                elif isinstance(fault, (UserError, ReadError)):
                    status = 422
                words = sentence(fault, handler.__name__)
                return JSONResponse({"error": words, "server": self.scans.server}, status)

        return answer

    def _scan(self, request: Request, *, used: bool = True) -> Scan:
        return self.scans.get(request.path_params["scan"], used=used)

    def _told(self, scan: Scan, status: int = 200) -> JSONResponse:
        return JSONResponse(state(scan, self.scans.server), status)

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        """What reads files, a few at once."""
        return await asyncio.get_running_loop().run_in_executor(self.opening, work)

    def _check(self, scan: Scan) -> None:
        """Look at what was opened, and translate it, while the browser draws it."""
        task = asyncio.ensure_future(self._in_thread(scan.check))
        self._background.add(task)  # or it might be collected before its end
        task.add_done_callback(self._background.discard)

    async def open(self, request: Request) -> Response:
        async with self.receiver.files(request) as files:
            scan = await self._in_thread(partial(Scan.open, self.scans.model, files))
        self.scans.hold(scan)
        self._check(scan)
        return self._told(scan, 201)

    async def example(self, request: Request) -> Response:
        scan = await self._in_thread(partial(self.scans.example, request.path_params["number"]))
        return self._told(scan, 201)

    async def state(self, request: Request) -> Response:
        scan = self._scan(request, used=False)
        after = request.query_params.get("after", "")
        if after.isdecimal() and self.polls < limits.POLLS:
            self.polls += 1
            try:
                await scan.changes.wait(int(after), limits.POLL_S)
            finally:
                self.polls -= 1
            scan = self._scan(request, used=False)
        return self._told(scan)

    async def choose(self, request: Request) -> Response:
        scan = self._scan(request)
        choices = _choices(await request.json())
        if "series" in choices:
            await self._in_thread(partial(scan.choose, **choices))
        else:
            scan.choose(**choices)
        return self._told(scan)

    async def take_real(self, request: Request) -> Response:
        scan = self._scan(request)
        async with self.receiver.files(request) as files:
            await self._in_thread(partial(scan.take_real, files))
        return self._told(scan)

    async def remove_real(self, request: Request) -> Response:
        scan = self._scan(request)
        scan.remove_real()
        return self._told(scan)

    async def take_companion(self, request: Request) -> Response:
        scan = self._scan(request)
        await self._in_thread(scan.take_companion)
        return self._told(scan)

    async def take_style(self, request: Request) -> Response:
        scan = self._scan(request)
        async with self.receiver.files(request) as files:
            await self._in_thread(partial(scan.take_style, files))
        return self._told(scan)

    async def image(self, request: Request) -> Response:
        scan = self._scan(request)
        key, name, index = (request.path_params[part] for part in ("key", "name", "index"))
        data = await run_in_threadpool(image, scan, key, name, index)
        return Response(data, media_type="application/octet-stream")

    async def close(self, request: Request) -> Response:
        await run_in_threadpool(self.scans.close, request.path_params["scan"])
        return Response(status_code=204)

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
    if name == "real":
        return levels(_real(series, view, index))
    raise GoneError("There is no such image.")


def _real(series: Series, view: View, index: int) -> np.ndarray:
    real = series.real
    if real is None or real.number != view.real:
        raise GoneError("This image is not held any more.")
    pixels, _ = real.truth.slice(index, series.volume.pixels.shape[1:])
    return pixels


_KINDS = {"series": int, "to": str, "style": str, "index": int, "translate": bool}


def _choices(sent: Any) -> dict[str, Any]:
    if not isinstance(sent, dict) or any(
        not isinstance(value, _KINDS.get(name, ())) or (type(value) is bool and name != "translate")
        for name, value in sent.items()
    ):
        raise UserError("This choice cannot be understood.")
    return sent


def api(scans: Scans, **options: Any) -> FastAPI:
    """The application with all addresses but Gradio's.

    Args:
        scans: that it answers for.
        options: of FastAPI.
    """
    routes = Routes(scans)

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
            routes.opening.shutdown(wait=False, cancel_futures=True)

    application = FastAPI(
        docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan, **options
    )
    application.router.routes.extend(routes.all())
    application.mount("/viewer", StaticFiles(directory=VIEWER))
    return application
