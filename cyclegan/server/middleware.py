"""ASGI middleware before every route, ours and Gradio's: the page's path, headers, a gate."""

from __future__ import annotations

import json
import logging
from collections.abc import Container
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cyclegan.server import limits
from cyclegan.server.errors import NOT_UNDERSTOOD, UserError
from cyclegan.server.uploads import Body

log = logging.getLogger("cyclegan.server")

# Gradio's own scripts are inline and evaluate templates, so scripts cannot be held to less. What
# matters here is `connect-src` and its like: no image, font or request from another origin.
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "media-src 'self' data: blob:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self' https://huggingface.co https://*.huggingface.co",  # Spaces embed it
    ]
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
# Parts of the page itself. Everything else may carry a user's pixels or the name of a file, and a
# browser writes to its disk whatever it may keep, event streams too.
CACHEABLE = ("/assets/", "/static/", "/theme.css", "/favicon.ico")
REVALIDATED = "/viewer/"  # its files belong together, so none may be older than another

API = "/gradio_api/"
UPLOAD = f"{API}upload"
# What the page and gradio_client ask for. The others read files, fetch addresses, edit the app or
# tell of other users' requests; each of Gradio's advisories so far was about one of them.
OPEN = {
    "app_id",
    "call/translate",
    "call/v2/translate",
    "cancel",
    "info",
    "queue/data",
    "queue/join",
    "reset",
    "run/predict",  # events that need no queue; Gradio refuses the others here
    "startup-events",
    "theme.css",
}
OPEN_BELOW = ("call/translate/", "call/v2/translate/", "heartbeat/")
CALLS = ("call/", "queue/join")  # of `translate`
EVENT = "run/predict"  # of the page
MAX_TEXT = 200  # characters; the page and programs send no longer ones


class RootPath:
    """For a proxy that takes the page's path away from addresses, or leaves it.

    Args:
        app: the application behind it.
        path: such as "/brain"; "" at the top of a host.
    """

    def __init__(self, app: ASGIApp, path: str):
        self.app = app
        self.path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.path and "path" in scope:
            path = scope["path"]
            if path != self.path and not path.startswith(f"{self.path}/"):
                path = self.path + path
            scope = {**scope, "path": path, "root_path": self.path}
        await self.app(scope, receive, send)


class SecurityHeaders:
    """Adds `HEADERS` to every response that does not set them itself.

    What is not `CACHEABLE` gets `Cache-Control: no-store` (RFC 9111, 5.2.2.5), or `no-cache` where
    it is `REVALIDATED`.
    """

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = _path(scope)  # now, since a mounted application changes its scope on the way

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if path.startswith(REVALIDATED):
                    headers["Cache-Control"] = "no-cache"
                elif not path.startswith(CACHEABLE):
                    headers["Cache-Control"] = "no-store"
            await send(message)

        await self.app(scope, receive, send_with_headers if scope["type"] == "http" else send)


class Gate:
    """Refuses addresses of Gradio that nobody needs, long bodies, and files named by a path.

    Refusals are one sentence as JSON: "error" as ours, "detail" as Gradio's.

    Args:
        app: the application behind it.
        uploads: paths of files that may be named.
    """

    def __init__(self, app: ASGIApp, uploads: Container[str]):
        self.app = app
        self.uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = _path(scope)
        if scope["type"] != "http" or takes_files(path):
            await self.app(scope, receive, send)
            return
        address = path.removeprefix(API) if path.startswith(API) else None
        try:
            if not (address is None or address in OPEN or address.startswith(OPEN_BELOW)):
                raise UserError("The page does not use this address.", 404)
            if scope["method"] in ("POST", "PUT", "PATCH"):
                body = await _whole_body(receive)
                values = _json(body)
                if _names_file(values, self.uploads):
                    raise UserError(limits.FILES_ONLY, 400)
                if address is not None and not _is_call(address, values):
                    raise UserError(NOT_UNDERSTOOD, 400)
                receive = _replayed(body, receive)
        except UserError as error:
            await _refuse(error, scope, receive, send)
            return
        await self._pass_on(scope, receive, send)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A request that Gradio fails on is none of the page's, and is refused."""
        has_started, failure = False, []

        async def send_on(message: Message) -> None:
            nonlocal has_started
            if failure or message.get("status") == 500:  # held back until it is known why
                failure.append(message)
                return
            has_started = True
            await send(message)

        try:
            await self.app(scope, receive, send_on)
        except Exception as fault:
            if has_started:
                raise
            # Type only: a stranger can make any number of these.
            log.warning("%s of a %s request", type(fault).__name__, scope["method"])
            await _refuse(UserError(NOT_UNDERSTOOD, 400), scope, receive, send)
            return
        for message in failure:
            await send(message)


def takes_files(path: str) -> bool:
    """Whether it is an address for uploads, which bound what they take by themselves."""
    return path in ("/scans", UPLOAD) or (
        path.startswith("/scans/") and path.endswith(("/real", "/style"))
    )


def _path(scope: Scope) -> str:
    return scope.get("path", "").removeprefix(scope.get("root_path", ""))


async def _refuse(error: UserError, scope: Scope, receive: Receive, send: Send) -> None:
    message = str(error)
    response = JSONResponse({"error": message, "detail": message}, error.status)
    await response(scope, receive, send)


async def _whole_body(receive: Receive) -> bytes:
    """Body of a request.

    Raises:
        UserError: it is too large, or stopped on its way.
    """
    whole, body = bytearray(), Body(receive)
    async for chunk in body:
        whole += chunk
        if len(whole) > limits.BODY_BYTES:
            await body.drain()
            raise UserError(limits.BODY_TOO_LARGE, 413)
    return bytes(whole)


def _json(body: bytes) -> Any:
    """The body of a request; None for what is refused behind the gate."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _names_file(values: Any, uploads: Container[str]) -> bool:
    """Whether there is file data of anything but an upload: Gradio would fetch or copy it."""
    left = [values]
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


def _is_call(address: str, body: Any) -> bool:
    """Whether values are such as the page and programs send; of others Gradio says nothing in a
    sentence, or repeats them."""
    if not address.startswith((*CALLS, EVENT)):
        return True
    values = body.get("data", list(body.values())) if isinstance(body, dict) else None
    if not isinstance(values, list) or (address != EVENT and len(values) < 2):
        return False
    kinds = (bool, int, float) if address == EVENT else dict
    return all(
        value is None
        or isinstance(value, kinds)
        or (isinstance(value, str) and len(value) < MAX_TEXT)
        for value in values
    )


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A body that was read already, for the application behind."""
    was_sent = False

    async def replay() -> Message:
        nonlocal was_sent
        if was_sent:
            return await receive()
        was_sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
