"""HTTP: scans in and out. The contract with the browser; `state` says what a scan's state is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import ConfigDict, StrictBool, StrictInt
from pydantic.dataclasses import dataclass
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.staticfiles import StaticFiles

from cyclegan.reading.archive import Member
from cyclegan.reading.volume import ReadError
from cyclegan.server import limits
from cyclegan.server.errors import (
    NOT_UNDERSTOOD,
    GoneError,
    UserError,
    error_message,
)
from cyclegan.server.examples import example_thumbnail
from cyclegan.server.images import encode_uint16
from cyclegan.server.measurements import SliceTrust
from cyclegan.server.middleware import UPLOAD, Gate, RootPath, SecurityHeaders
from cyclegan.server.saving import SaveRequest, order, save
from cyclegan.server.scan import Scan
from cyclegan.server.scans import Scans
from cyclegan.server.state import state
from cyclegan.server.uploads import Uploads

VIEWER = Path(__file__).resolve().parents[1] / "viewer"
SWEEP_EVERY_S = 5.0


@dataclass(config=ConfigDict(extra="forbid"))
class Choices:
    """What the user changes, as `Scan.choose` takes it."""

    series: StrictInt | None = None
    to: str | None = None
    style: str | None = None
    index: StrictInt | None = None
    translate: StrictBool | None = None
    register: StrictBool | None = None


class Work:
    """What the routes answer for, and the threads that work for them.

    Args:
        scans: of all tabs.
        uploads: of all, and those of programs that wait.
    """

    def __init__(self, scans: Scans, uploads: Uploads):
        self.scans = scans
        self.uploads = uploads
        self.opening = ThreadPoolExecutor(limits.OPENINGS_AT_ONCE, "opening")
        self.saving = ThreadPoolExecutor(limits.SAVES_AT_ONCE, "saving")
        self.drawing = ThreadPoolExecutor(1, "thumbnails")
        self.polls = 0

    async def sweep(self) -> None:
        """Forget by and by what nobody uses."""
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            await run_in_threadpool(self.scans.sweep)


async def _run(executor: ThreadPoolExecutor, work: Callable[..., Any], *values: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(executor, work, *values)


async def _read_beside(
    request: Request, scan: Scan, work: Work, take: Callable[[Sequence[Member]], None]
) -> Response:
    """Give the files that came to what the open scan does with them."""
    async with work.uploads.receive(request) as files:
        await _run(work.opening, take, files)
    return _state(work, scan)


class _Route(APIRoute):
    """Failures are one sentence, {"error"}, with the server's name."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def respond(request: Request) -> Response:
            try:
                return await handler(request)
            except (RequestValidationError, HTTPException):
                status, message = 422, NOT_UNDERSTOOD
            except Exception as fault:
                status = getattr(fault, "status", 422 if isinstance(fault, ReadError) else 500)
                message = error_message(fault, self.name)
            server = request.app.state.work.scans.server
            return JSONResponse({"error": message, "server": server}, status)

        return respond


async def _work(request: Request) -> Work:
    return request.app.state.work


async def _used(token: str, request: Request) -> Scan:
    return request.app.state.work.scans.get(token)


async def _seen(token: str, request: Request) -> Scan:
    return request.app.state.work.scans.get(token, used=False)


Works = Annotated[Work, Depends(_work)]
Used = Annotated[Scan, Depends(_used)]  # the scan of a request that is a use of it
Seen = Annotated[Scan, Depends(_seen)]
router = APIRouter(route_class=_Route)


def _state(work: Work, scan: Scan, status: int = 200) -> JSONResponse:
    return JSONResponse({"server": work.scans.server, **state(scan)}, status)


@router.post("/scans")
async def open_scan(request: Request, work: Works) -> Response:
    async with work.uploads.receive(request) as files:
        scan = await _run(work.opening, Scan.open, work.scans.model, files)
    work.scans.hold(scan)
    work.opening.submit(scan.check)
    return _state(work, scan, 201)


@router.post("/examples/{number}")
async def open_example(number: int, work: Works) -> Response:
    scan = await _run(work.opening, work.scans.example, number)
    return _state(work, work.scans.hold(scan), 201)


@router.get("/examples/{number}/thumbnail")
async def get_example_thumbnail(number: int, work: Works) -> Response:
    return Response(await _run(work.drawing, example_thumbnail, number), media_type="image/png")


@router.get("/scans/{token}")
async def get_state(scan: Seen, work: Works, after: str = "") -> Response:
    if after.isdecimal() and work.polls < limits.POLLS:
        work.polls += 1
        try:
            await scan.updates.wait(int(after), limits.POLL_S)
        finally:
            work.polls -= 1  # its end is no sign of life: the tab may be closed by now
    return _state(work, scan)


@router.delete("/scans/{token}")
async def forget(token: str, work: Works) -> Response:
    await run_in_threadpool(work.scans.close, token)
    return Response(status_code=204)


@router.post("/scans/{token}/close")
async def close(token: str, work: Works) -> Response:
    # A page that is loaded anew says so, too, and then asks for the scan again.
    work.scans.leave(token)
    return Response(status_code=204)


@router.post("/scans/{token}/choices")
async def choose(scan: Used, work: Works, choices: Choices) -> Response:
    change = partial(scan.choose, **vars(choices))
    if choices.series is not None or choices.register is not None:  # reads, or registers
        await _run(work.opening, change)
    else:
        change()
    return _state(work, scan)


@router.post("/scans/{token}/real")
async def take_real(request: Request, scan: Used, work: Works) -> Response:
    return await _read_beside(request, scan, work, scan.take_real)


@router.delete("/scans/{token}/real")
async def remove_real(scan: Used, work: Works) -> Response:
    scan.remove_real()
    return _state(work, scan)


@router.post("/scans/{token}/companion")
async def take_other_contrast(scan: Used, work: Works) -> Response:
    await _run(work.opening, scan.take_other_contrast)
    return _state(work, scan)


@router.post("/scans/{token}/style")
async def take_style(request: Request, scan: Used, work: Works) -> Response:
    return await _read_beside(request, scan, work, scan.take_style)


@router.get("/scans/{token}/images/{key}/{name}/{index}")
async def get_image(scan: Used, key: str, name: str, index: int) -> Response:
    data = await run_in_threadpool(lambda: encode_uint16(scan.view(key).image(name, index)))
    return Response(data, media_type="application/octet-stream")


@router.get("/scans/{token}/findings/{key}/{index}")
async def get_measurements(scan: Used, key: str, index: int) -> Response:
    view = scan.view(key)
    future = scan.measured(view, index)
    try:
        measured = await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        if not future.cancelled():
            raise
        raise UserError("Another slice is measured.", 409) from None
    trust = await run_in_threadpool(SliceTrust, view, index, measured)
    return JSONResponse(trust.for_page())


@router.get("/scans/{token}/thumbnails/{number}")
async def get_thumbnail(scan: Seen, number: int, work: Works) -> Response:
    return Response(await _run(work.drawing, scan.thumbnail, number), media_type="image/png")


@router.post("/scans/{token}/save")
async def save_file(scan: Used, work: Works, request: SaveRequest) -> Response:
    scan.saving = asyncio.create_task(save(scan, order(scan, request), work.saving))
    await asyncio.sleep(0)  # it has begun, and the state says so
    return _state(work, scan)


@router.get("/scans/{token}/files/{file}")
async def get_file(scan: Used, file: str) -> Response:
    download = scan.files.get(file)
    if download is None:
        raise GoneError("This file is not held any more; save it again.")
    headers = {"Content-Disposition": f'attachment; filename="{download.name}"'}
    return Response(download.data, media_type=download.mime, headers=headers)


@router.post(UPLOAD)
async def upload(request: Request, work: Works) -> Response:
    """Of programs, which name the file in their next request, to Gradio."""
    try:
        async with work.uploads.receive(request) as files:
            return JSONResponse(work.uploads.hold(files))
    except UserError as error:
        return PlainTextResponse(str(error), error.status)


def api(scans: Scans, uploads: Uploads, root_path: str = "") -> FastAPI:
    """The application with all addresses but Gradio's, and the gate before both.

    Args:
        scans: that it answers for.
        uploads: of programs.
        root_path: below which a proxy shows it.
    """
    work = Work(scans, uploads)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sweeping = asyncio.create_task(work.sweep())
        # The one that lies open on the page is translated before anybody comes.
        first = asyncio.ensure_future(_run(work.opening, scans.example, 0))
        try:
            yield
        finally:
            sweeping.cancel()
            await asyncio.gather(first, return_exceptions=True)
            for executor in (work.opening, work.saving, work.drawing):
                executor.shutdown(wait=False, cancel_futures=True)
            await asyncio.to_thread(scans.model.queue.end, limits.END_S)

    middleware = [
        Middleware(RootPath, path=root_path),
        Middleware(SecurityHeaders),
        Middleware(Gate, uploads=uploads),
    ]
    application = FastAPI(
        docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan, middleware=middleware
    )
    application.state.work = work
    application.include_router(router)
    application.mount("/viewer", StaticFiles(directory=VIEWER))
    return application
