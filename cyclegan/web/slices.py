"""Slices on their way to a viewer that scrolls: binary, fetched ahead of being looked at.

A step through Gradio's queue as JSON takes longer than a reader's key repeats. What is ready goes
this way and waits in the browser's memory; nothing is translated for it.
"""

from __future__ import annotations

import json
import weakref
from typing import TYPE_CHECKING

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cyclegan.web import panels
from cyclegan.web.session import ReaderError

if TYPE_CHECKING:
    from cyclegan.web.session import Session
    from cyclegan.web.turns import SharedModel


class Slices:
    """The scans whose slices can be fetched, by their secret tokens; it keeps none alive.

    Args:
        model: that translated them.
    """

    def __init__(self, model: SharedModel):
        self.model = model
        self._sessions: weakref.WeakValueDictionary[str, Session] = weakref.WeakValueDictionary()

    def offer(self, session: Session) -> None:
        """Let whoever knows `session.token` fetch its slices until it is cleared."""
        self._sessions[session.token] = session

    def ready(self, token: str) -> list[int] | None:
        """Indices of the slices that need no network; None: no such scan (any more)."""
        session = self._sessions.get(token)
        if session is None or session.volume is None:
            return None
        try:
            missing = set() if session.to is None else set(session.missing(session.to))
            return [index for index in range(session.slices) if index not in missing]
        except ReaderError:  # cleared meanwhile
            return None

    def packed(self, token: str, index: int) -> bytes | None:
        """Slice `index` as `pack` writes it, or None when it is not ready."""
        session = self._sessions.get(token)
        if session is None or index not in (self.ready(token) or ()):
            return None
        try:
            return pack(session, self.model, index)
        except ReaderError:
            return None


def pack(session: Session, model: SharedModel, index: int) -> bytes:
    """What `panels.view` tells of a slice, with its pixels behind it.

    Returns:
        The length of the JSON as little-endian uint32, the JSON, in which the `data` of a panel is
        the number of its image, and the images: little-endian uint16, row by row, 65535 for 1.
    """
    images: list[bytes] = []

    def append(image: np.ndarray) -> int:
        images.append(panels.levels(image).tobytes())
        return len(images) - 1

    told = json.dumps(panels.view(session, model, index, encode=append)).encode("ascii")
    told += b" " * (len(told) % 2)  # the images begin at an even byte
    return b"".join([len(told).to_bytes(4, "little"), told, *images])


def routes(slices: Slices) -> list[Route]:
    """The addresses under which the viewer asks what is ready, and fetches it."""
    headers = {"Cache-Control": "no-store"}
    words = "This slice is not held any more; open the scan again."
    gone = {"content": words, "status_code": 404, "headers": headers, "media_type": "text/plain"}

    # Not `async`: packing takes milliseconds, which others would wait for.
    def tell(request: Request) -> Response:
        ready = slices.ready(request.path_params["token"])
        return Response(**gone) if ready is None else JSONResponse(ready, headers=headers)

    def send(request: Request) -> Response:
        packed = slices.packed(request.path_params["token"], request.path_params["index"])
        if packed is None:
            return Response(**gone)
        return Response(packed, media_type="application/octet-stream", headers=headers)

    return [Route("/slices/{token}", tell), Route("/slices/{token}/{index:int}", send)]
