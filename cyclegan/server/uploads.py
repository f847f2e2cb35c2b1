"""Files on their way in: in memory, never on disk."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.types import Receive

from cyclegan.reading.archive import Member
from cyclegan.reading.formats import SUPPORTED
from cyclegan.reading.selection import open_files
from cyclegan.reading.volume import ReadError, Volume
from cyclegan.server import limits
from cyclegan.server.errors import UserError

NO_UPLOAD = "This is no upload; send files from the page."
STOPPED = "The upload has stopped on its way; send the files again."
_OVERHEAD = 2**20  # of the form around the files
_DRAINED = 4 * limits.UPLOAD_BYTES


class _InMemory(MultiPartParser):
    spool_max_size = 2 * limits.UPLOAD_BYTES  # never reached: nothing goes to the disk


class Body:
    """The body of a request, chunk by chunk.

    Args:
        receive: as ASGI has it.

    Raises:
        UserError: it stopped on its way.
    """

    def __init__(self, receive: Receive):
        self._receive = receive
        self.has_ended = False

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        while not self.has_ended:
            try:
                async with asyncio.timeout(limits.UPLOAD_PAUSE_S):
                    message = await self._receive()
            except TimeoutError:
                self.has_ended = True
                raise UserError(STOPPED, 408) from None
            self.has_ended = not message.get("more_body", False)
            if message["type"] == "http.disconnect":
                raise UserError(STOPPED, 400)  # for nobody
            yield message.get("body", b"")

    async def drain(self) -> None:
        """Read on and drop it: a response in the midst of a request often gets lost."""
        drained = 0
        with contextlib.suppress(UserError):
            async for chunk in self:
                drained += len(chunk)
                if drained > _DRAINED:
                    return


async def _parse(request: Request, chunks: AsyncGenerator[bytes, None]) -> list[Member]:
    try:
        limit = limits.UPLOAD_FILES
        form = await _InMemory(request.headers, chunks, max_files=limit, max_fields=8).parse()
    except (MultiPartException, KeyError) as fault:
        if "Too many files" in str(fault):
            raise UserError(limits.TOO_MANY_FILES, 413) from None
        raise UserError(NO_UPLOAD, 400) from None
    uploads = [upload for upload in form.getlist("files") if isinstance(upload, UploadFile)]
    if not uploads:
        raise UserError(NO_UPLOAD, 400)
    return [_member(upload) for upload in uploads]


def _member(upload: UploadFile) -> Member:
    """The file of a form, whose own memory is freed."""
    path = PurePosixPath((upload.filename or "").replace("\\", "/"))
    name = "".join(c if c.isprintable() else "?" for c in path.name) or "file"
    with upload.file as file:
        return Member(name, file.read(), folder=str(path.parent))


class Uploads:
    """Files on their way in, all together within `limits.UPLOADING_BYTES`; and those that programs
    have sent and that their next request names.

    Gradio knows files by paths. These are names only, below its folder: nothing is written there.

    Args:
        folder: Gradio's, of uploads.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder).resolve()
        self._files: dict[str, tuple[Member, float]] = {}
        self._arriving = 0  # bytes, of all uploads that are not read yet

    @contextlib.asynccontextmanager
    async def receive(self, request: Request) -> AsyncIterator[list[Member]]:
        """The files of a form's fields "files", whose names are paths in what was dropped.

        Raises:
            UserError: it is no form, too large, or too slow.
        """
        arrived, body = 0, Body(request.receive)

        async def counted() -> AsyncGenerator[bytes, None]:
            nonlocal arrived
            async for chunk in body:
                arrived += len(chunk)
                self._arriving += len(chunk)
                if arrived > limits.UPLOAD_BYTES + _OVERHEAD:
                    raise UserError(limits.TOO_LARGE, 413)
                if self._arriving > limits.UPLOADING_BYTES:
                    raise UserError(limits.BUSY, 503)
                yield chunk

        try:
            try:
                files = await _parse(request, counted())
            except UserError:
                await body.drain()
                raise
            yield files
        finally:
            self._arriving -= arrived

    def hold(self, files: Sequence[Member]) -> list[str]:
        """Keep files for their next request, a few minutes at most.

        Returns:
            A path that nobody can guess for each.

        Raises:
            UserError: too many bytes wait already.
        """
        now = time.monotonic()
        for path, (_, since) in list(self._files.items()):
            if now - since > limits.WAITING_UPLOAD_S:
                self._files.pop(path, None)
        waiting = [member for member, _ in list(self._files.values())]
        if sum(len(file.data) for file in [*waiting, *files]) > limits.WAITING_UPLOAD_BYTES:
            raise UserError(limits.BUSY, 503)
        paths = [str(self.folder / secrets.token_urlsafe(32)) for _ in files]
        self._files |= {path: (file, now) for path, file in zip(paths, files, strict=True)}
        return paths

    def __contains__(self, path: Any) -> bool:
        return path in self._files

    def read(self, file: Any) -> Volume:
        """Read a file that was sent, and forget it.

        Args:
            file: Gradio's file data, {"path": ...}.

        Raises:
            UserError: it is no upload.
            ReadError: it is no slice or volume, or holds several.
        """
        path = file.get("path") if isinstance(file, dict) else None
        member, _ = self._files.pop(path, (None, 0)) if isinstance(path, str) else (None, 0)
        if member is None:
            raise UserError(f"Upload a file: {SUPPORTED}, or a zip of them.")
        selection = open_files([member])
        if len(selection.choices) > 1:
            raise ReadError(
                f"{member.name}: it holds {len(selection.choices)} images or series "
                f"({'; '.join(selection.choices[:3])}{' ...' * (len(selection.choices) > 3)}); "
                "send one of them."
            )
        return selection.read(0)
