"""Files on their way in: held in memory, never on disk."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import PurePosixPath

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from cyclegan.reading.archive import Member
from cyclegan.server import limits
from cyclegan.server.errors import UserError

NO_UPLOAD = "This is no upload; send files from the page."
STOPPED = "The upload has stopped on its way; send the files again."
_OVERHEAD = 2**20  # of the form around the files
_DRAINED = 4 * limits.UPLOAD_BYTES


class UploadError(UserError):
    """An upload that is refused with an HTTP status."""

    def __init__(self, words: str, status: int):
        super().__init__(words)
        self.status = status


class _InMemory(MultiPartParser):
    spool_max_size = 2 * limits.UPLOAD_BYTES  # never reached: nothing goes to the disk


class Receiver:
    """Takes uploads, all together within `limits.UPLOADING_BYTES`."""

    def __init__(self) -> None:
        self.arriving = 0  # bytes, of all uploads that are not read yet

    @contextlib.asynccontextmanager
    async def files(self, request: Request) -> AsyncIterator[list[Member]]:
        """The files of a form's fields "files", whose names are paths in what was dropped.

        Raises:
            UploadError: it is no form, too large, or too slow.
        """
        arrived = 0

        async def counted() -> AsyncGenerator[bytes, None]:
            nonlocal arrived
            stream = aiter(request.stream())
            while True:
                async with asyncio.timeout(limits.UPLOAD_PAUSE_S):
                    chunk = await anext(stream, None)
                if chunk is None:
                    return
                arrived += len(chunk)
                self.arriving += len(chunk)
                if arrived > limits.UPLOAD_BYTES + _OVERHEAD:
                    raise UploadError(limits.TOO_LARGE, 413)
                if self.arriving > limits.UPLOADING_BYTES:
                    raise UploadError(limits.BUSY, 503)
                yield chunk

        try:
            yield await _parsed(request, counted())
        finally:
            self.arriving -= arrived


async def _parsed(request: Request, chunks: AsyncGenerator[bytes, None]) -> list[Member]:
    try:
        form = await _InMemory(
            request.headers, chunks, max_files=limits.UPLOAD_FILES, max_fields=8
        ).parse()
    except (MultiPartException, KeyError) as fault:
        await drain(request)
        if "Too many files" in str(fault):
            raise UploadError(limits.TOO_MANY_FILES, 413) from None
        raise UploadError(NO_UPLOAD, 400) from None
    except UploadError:
        await drain(request)
        raise
    except TimeoutError:
        raise UploadError(STOPPED, 408) from None
    except ClientDisconnect:
        raise UploadError(STOPPED, 400) from None  # for nobody
    uploads = [each for each in form.getlist("files") if isinstance(each, UploadFile)]
    if not uploads:
        raise UploadError(NO_UPLOAD, 400)
    return [_member(upload) for upload in uploads]


def _member(upload: UploadFile) -> Member:
    """The file of a form, whose own memory is given back."""
    where = PurePosixPath((upload.filename or "").replace("\\", "/"))
    name = "".join(c if c.isprintable() else "?" for c in where.name) or "file"
    with upload.file as file:
        return Member(name, file.read(), folder=str(where.parent))


async def drain(request: Request) -> None:
    """Read on without keeping anything: an answer in the midst of a request often gets lost."""
    drained, more = 0, True
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limits.UPLOAD_PAUSE_S):
            while more and drained < _DRAINED:
                message = await request.receive()
                drained += len(message.get("body", b""))
                more = message.get("more_body", False)
