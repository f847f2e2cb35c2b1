"""An upload that is cut off half-way leaves nothing on disk."""

from __future__ import annotations

from starlette.formparsers import MultiPartException
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class AbortedUploads:
    """ASGI middleware that turns a connection lost during a form upload into a bad form.

    Gradio writes a form's files to disk while they arrive. It removes them after a
    `MultiPartException`, but not after the `ClientDisconnect` that Starlette raises otherwise.
    """

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _is_form(scope):
            await self.app(scope, receive, send)
            return
        arrived = False

        async def receive_whole() -> Message:
            nonlocal arrived
            message = await receive()
            if message["type"] == "http.disconnect" and not arrived:
                raise MultiPartException("The upload was cut off.")
            arrived = arrived or not message.get("more_body", False)
            return message

        await self.app(scope, receive_whole, send)


def _is_form(scope: Scope) -> bool:
    return any(
        name == b"content-type" and value.lower().startswith(b"multipart/form-data")
        for name, value in scope["headers"]
    )
