"""What is not answered: addresses of Gradio that nobody needs, and files named by a path."""

from __future__ import annotations

import json
import logging
from collections.abc import Container
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cyclegan.server import limits
from cyclegan.server.errors import NOT_UNDERSTOOD, Refusal
from cyclegan.server.receiving import Body

log = logging.getLogger("cyclegan.server")

API = "/gradio_api/"
UPLOAD = f"{API}upload"
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
)
CALLS = ("call/", "queue/join")  # of `translate`
EVENT = "run/predict"  # of the page
WORD = 200  # characters; the page and programs send no longer ones
OURS = ("/scans", "/examples/", "/viewer/", UPLOAD)  # these bound what they take themselves


class Gate:
    """ASGI middleware; refusals are one sentence as JSON, {"detail": ...}, as Gradio's.

    Args:
        app: the application behind it.
        uploads: paths of files that may be named.
    """

    def __init__(self, app: ASGIApp, uploads: Container[str]):
        self.app = app
        self.uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] != "http" or path.startswith(OURS):
            await self.app(scope, receive, send)
            return
        try:
            if path.startswith(API) and not _is_open(path.removeprefix(API)):
                raise Refusal("The page does not use this address.", 404)
            if scope["method"] in ("POST", "PUT", "PATCH"):
                body = await whole_body(receive)
                sent = _json(body)
                if _names_file(sent, self.uploads):
                    raise Refusal(limits.FILES_ONLY, 400)
                if path.startswith(API) and not _is_call(path.removeprefix(API), sent):
                    raise Refusal(NOT_UNDERSTOOD, 400)
                receive = _replayed(body, receive)
        except Refusal as refusal:
            answer = JSONResponse({"detail": str(refusal)}, refusal.status)
            await answer(scope, receive, send)
            return
        await self._answered(scope, receive, send)

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; one that Gradio fails on, as no request of the page, is refused."""
        started, failure = False, []

        async def send_on(message: Message) -> None:
            nonlocal started
            if failure or message.get("status") == 500:  # held back until it is known why
                failure.append(message)
                return
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
            return
        for message in failure:
            await send(message)


async def whole_body(receive: Receive, most: int = limits.BODY_BYTES) -> bytes:
    """Body of a request.

    Raises:
        Refusal: it has more than `most` bytes, or stopped on its way.
    """
    whole, body = bytearray(), Body(receive)
    async for chunk in body:
        whole += chunk
        if len(whole) > most:
            await body.drain()
            raise Refusal(limits.BODY_TOO_LARGE, 413)
    return bytes(whole)


def _json(body: bytes) -> Any:
    """The body of a request; None for what Gradio itself will refuse."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _names_file(sent: Any, uploads: Container[str]) -> bool:
    """Whether there is file data of anything but an upload: Gradio would fetch or copy it."""
    left = [sent]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            path = value.get("path")
            if path and not (isinstance(path, str) and path in uploads):
                return True
            left += value.values()
        elif isinstance(value, list):
            left += value
    return False


def _is_call(address: str, sent: Any) -> bool:
    """Whether values are such as the page and programs send; of others Gradio says nothing in a
    sentence, or repeats them."""
    if not address.startswith((*CALLS, EVENT)):
        return True
    values = sent.get("data", list(sent.values())) if isinstance(sent, dict) else None
    if not isinstance(values, list) or (address != EVENT and len(values) < 2):
        return False
    kinds = (bool, int, float) if address == EVENT else dict
    return all(
        value is None or isinstance(value, kinds) or (isinstance(value, str) and len(value) < WORD)
        for value in values
    )


def _is_open(address: str) -> bool:
    return any(
        # "call/translate" has the addresses of its results below it.
        address == known or address.startswith(known if known.endswith("/") else f"{known}/")
        for known in OPEN
        if address == known or known.endswith("/") or known.startswith("call/")
    )


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Give a body that was read already to who asks next."""
    was_sent = False

    async def replay() -> Message:
        nonlocal was_sent
        if was_sent:
            return await receive()
        was_sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
