"""A script that is on the page before Gradio's own.

Gradio's `head` comes with its configuration, and is put into the page after the first requests.
"""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class FirstScript:
    """ASGI middleware that puts a script at the beginning of the page's head.

    Args:
        app: the application behind it.
        script: JavaScript, without "</script>".
    """

    def __init__(self, app: ASGIApp, script: str):
        self.app = app
        self.script = f"<head><script>{script}</script>".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] != "http" or path not in ("", "/"):
            await self.app(scope, receive, send)
            return
        start: Message = {}
        page = bytearray()

        async def collect(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            page.extend(message.get("body", b""))
            if not message.get("more_body", False):
                whole = bytes(page).replace(b"<head>", self.script, 1)
                headers = MutableHeaders(scope=start)
                if "content-length" in headers and scope["method"] != "HEAD":
                    headers["content-length"] = str(len(whole))
                await send(start)
                await send({"type": "http.response.body", "body": whole})

        await self.app(scope, receive, collect)
