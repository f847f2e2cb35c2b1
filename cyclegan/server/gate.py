"""What the server does not answer: endpoints that the page has no use for, and too much at once."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from typing import Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cyclegan.web import limits
from cyclegan.web.failures import NOT_UNDERSTOOD

log = logging.getLogger("cyclegan.app")

API = "/gradio_api/"
# What the page and gradio_client ask for. The others read files, fetch addresses, edit the app or
# tell of other people's requests; each of Gradio's advisories so far was about one of them.
OPEN = (
    "app_id",
    "call/translate",
    "call/v2/translate",
    "cancel",
    "heartbeat/",
    "info",
    "queue/data",
    "queue/join",
    "reset",
    "run/predict",  # events that need no queue; Gradio refuses the others here
    "startup-events",
    "theme.css",
    "upload",
    "upload_progress",
)
JOINING = ("call/translate", "call/v2/translate", "queue/join")
UPLOAD = f"{API}upload"
_DRAINED = 4 * limits.UPLOAD_BYTES


class Gate:
    """ASGI middleware; refusals are one sentence as JSON, {"detail": ...}, which the page shows.

    Args:
        app: the application behind it.
        waiting: number of requests in the queue, of all and of the tab whose name is given.
        server: this server's number, as Gradio tells it to the page.
    """

    def __init__(self, app: ASGIApp, waiting: Callable[[str], tuple[int, int]], server: int):
        self.app = app
        self.waiting = waiting
        self.server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if path.rstrip("/") == UPLOAD:  # `receiving` bounds uploads
            await self._answered(scope, receive, send)
            return
        try:
            wanted = path.removeprefix(API)
            if path.startswith(API) and not _is_open(wanted):
                raise HTTPException(404, "The page does not use this address.")
            if scope["method"] in ("POST", "PUT", "PATCH"):
                body = await whole_body(receive)
                said = _json(body)
                if _names_address(said):
                    raise HTTPException(400, limits.FILES_ONLY)
                if wanted.rstrip("/").startswith(JOINING):
                    self._refuse_page_of_another(scope)
                    self._refuse_waiting(said)
                receive = _replayed(body, receive)
        except HTTPException as refusal:
            answer = JSONResponse({"detail": refusal.detail}, refusal.status_code)
            await answer(scope, receive, send)
            return
        await self._answered(scope, receive, send)

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; one that Gradio fails on, as no request of the page, is refused."""
        started = False

        async def send_on(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, send_on)
        except Exception as fault:
            if started:
                raise
            # Type only: a stranger can make any number of these.
            log.warning("%s of a %s request", type(fault).__name__, scope["method"])
            refusal = JSONResponse({"detail": NOT_UNDERSTOOD}, 400)
            await refusal(scope, receive, send)

    def _refuse_page_of_another(self, scope: Scope) -> None:
        """A page that outlived its server has parts that this one never changed: numbers of slices
        out of its range, names of looks it does not know. `connection.js` says so to the reader."""
        page = Headers(scope=scope).get("x-server", "")
        # As numbers, since a browser keeps 53 bits of these 64.
        if page.isdecimal() and float(page) != float(self.server):
            raise HTTPException(409, limits.RESTARTED)

    def _refuse_waiting(self, said: Any) -> None:
        tab = said.get("session_hash") if isinstance(said, dict) else None
        of_all, of_tab = self.waiting(tab if isinstance(tab, str) else "")
        if of_all >= limits.QUEUE:
            raise HTTPException(429, limits.QUEUE_FULL)
        if of_tab >= limits.TAB_WAITING:
            raise HTTPException(429, limits.TAB_FULL)


async def whole_body(receive: Receive, most: int = limits.BODY_BYTES) -> bytes:
    """Body of a request.

    Raises:
        HTTPException: 413, it has more than `most` bytes.
    """
    body, more = bytearray(), True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > most:
            await drain(receive, more)
            raise HTTPException(413, limits.BODY_TOO_LARGE)
    return bytes(body)


async def drain(receive: Receive, more: bool = True) -> None:
    """Read on without keeping anything: an answer in the midst of a request often gets lost."""
    drained = 0
    while more and drained < _DRAINED:
        message = await receive()
        drained += len(message.get("body", b""))
        more = message.get("more_body", False)


def _json(body: bytes) -> Any:
    """The body of a request; None for what Gradio itself will refuse."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _names_address(said: Any) -> bool:
    """Whether there is file data with an address for a path, which Gradio would fetch."""
    left = [said]
    while left:
        each = left.pop()
        if isinstance(each, dict):
            if str(each.get("path", "")).strip().lower().startswith(("http:", "https:")):
                return True
            left += each.values()
        elif isinstance(each, list):
            left += each
    return False


def _is_open(wanted: str, known: Sequence[str] = OPEN) -> bool:
    return any(
        wanted.startswith(each) if each.endswith("/") else _is_or_below(wanted, each)
        for each in known
    )


def _is_or_below(wanted: str, address: str) -> bool:
    # "call/translate" has the addresses of its results below it.
    return wanted == address or (address.startswith("call/") and wanted.startswith(f"{address}/"))


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Give a body that was read already to who asks next."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
