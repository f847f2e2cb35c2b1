"""Results on their way to a reader: kept in memory, fetched once, gone soon.

A result goes through here and not through JSON, because base64 in JSON costs several copies on both
sides, and not through a file, because nothing of a reader's scan may touch the disk.
"""

from __future__ import annotations

import secrets
import threading
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from cyclegan.web.limits import OUTBOX_BYTES, OUTBOX_S


class Parcel(NamedTuple):
    """A file to be saved: its bytes, its name and its MIME type."""

    data: bytes
    name: str
    mime: str


class Outbox:
    """Holds at most one parcel for each browser tab; when they get too many, the oldest goes.

    Args:
        lifetime: seconds after which a parcel that nobody fetched is dropped.
        most: bytes of all parcels; one that is larger by itself is held alone.
    """

    def __init__(self, lifetime: float = OUTBOX_S, most: int = OUTBOX_BYTES):
        self.lifetime = lifetime
        self.most = most
        self._lock = threading.Lock()
        self._parcels: dict[str, tuple[Parcel, str, threading.Timer]] = {}

    def put(self, parcel: Parcel, tab: str) -> str:
        """Keep `parcel` for `tab`, in place of the tab's earlier one.

        Returns:
            The token to fetch it with: 256 random bits, good for one time.
        """
        self.drop(tab)
        token = secrets.token_urlsafe(32)
        timer = threading.Timer(self.lifetime, self.take, [token])
        timer.daemon = True  # or the server would wait for it to stop
        with self._lock:
            self._parcels[token] = (parcel, tab, timer)
            too_old, held = [], 0
            for each in reversed(self._parcels):
                held += len(self._parcels[each][0].data)
                if held > self.most and each != token:
                    too_old.append(each)
        timer.start()
        for each in too_old:
            self.take(each)
        return token

    def take(self, token: str) -> Parcel | None:
        """Hand out a parcel and forget it; None when there is none (any more)."""
        with self._lock:
            kept = self._parcels.pop(token, None)
        if kept is None:
            return None
        parcel, _, timer = kept
        timer.cancel()
        return parcel

    def drop(self, tab: str) -> None:
        """Forget what is kept for `tab`."""
        with self._lock:
            tokens = [token for token, (_, owner, _) in self._parcels.items() if owner == tab]
        for token in tokens:
            self.take(token)


def route(outbox: Outbox) -> Route:
    """The address under which a browser fetches what is in `outbox`, each parcel once."""

    async def send(request: Request) -> Response:
        # A HEAD request, of a link scanner for example, must not use up the token.
        parcel = outbox.take(request.path_params["token"]) if request.method == "GET" else None
        if parcel is None:
            return PlainTextResponse("This result is gone; save it again from the page.", 404)
        headers = {
            "Content-Disposition": f'attachment; filename="{parcel.name}"',
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        }
        return Response(parcel.data, media_type=parcel.mime, headers=headers)

    return Route("/results/{token}", send)
