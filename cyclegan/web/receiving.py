"""Uploads on their way to disk: each request has a folder of its own."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Message

from cyclegan.web import limits
from cyclegan.web.gate import UPLOAD, drain
from cyclegan.web.uploads import Uploads

Save = Callable[[Request, Path], Awaitable[list[str]]]
_OVERHEAD = 2**20  # of the form around the files: their names


class _TooLarge(MultiPartException):
    """Of which Gradio's parser removes what it has written so far."""


def route(uploads: Uploads, save: Save) -> Route:
    """Receive uploads in place of Gradio, which names a folder by the file's content.

    There, two readers with the same file would share it, and who is first to be done would delete
    it for the other; and who knows a file could ask whether somebody has just uploaded it.

    Args:
        uploads: the folder that they arrive in.
        save: writes the files of a form into a folder and returns their paths, as Gradio's
            `upload_fn`; raises MultiPartException.
    """

    async def receive(request: Request) -> Response:
        uploads.sweep()
        if uploads.waiting_bytes() + limits.UPLOAD_BYTES > limits.WAITING_UPLOAD_BYTES:
            await drain(request.receive)
            return PlainTextResponse(limits.DISK_FULL, 503)
        arrived, more = 0, True

        async def counted() -> Message:
            nonlocal arrived, more
            message = await request.receive()
            arrived += len(message.get("body", b""))
            more = message.get("more_body", False)
            if arrived > limits.UPLOAD_BYTES + _OVERHEAD:
                raise _TooLarge(limits.TOO_LARGE)
            return message

        folder = uploads.new_folder(tab=request.headers.get("x-tab", ""))
        try:
            return JSONResponse(await save(Request(request.scope, counted), folder))
        except MultiPartException as error:
            shutil.rmtree(folder, ignore_errors=True)
            await drain(request.receive, more)
            if isinstance(error, _TooLarge) or "size exceeded" in error.message:
                return PlainTextResponse(limits.TOO_LARGE, 413)
            if "Too many files" in error.message:
                return PlainTextResponse(limits.TOO_MANY_FILES, 413)
            return PlainTextResponse("This is no upload; send files from the page.", 400)
        except ClientDisconnect:
            shutil.rmtree(folder, ignore_errors=True)
            return PlainTextResponse("The upload was cut off.", 400)  # for nobody
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    return Route(UPLOAD, receive, methods=["POST"])
