"""The page below a path of its host."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class Below:
    """ASGI middleware for a proxy that takes the path away from addresses, or leaves it.

    Args:
        app: the application behind it.
        path: such as "/brain"; "" at the top of a host.
    """

    def __init__(self, app: ASGIApp, path: str):
        self.app = app
        self.path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.path and "path" in scope:
            whole = scope["path"]
            if whole != self.path and not whole.startswith(f"{self.path}/"):
                whole = self.path + whole
            scope = {**scope, "path": whole, "root_path": self.path}
        await self.app(scope, receive, send)
