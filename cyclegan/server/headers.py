"""Response headers that hold the browser to what the page promises: nothing goes anywhere else."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
# Parts of the page itself. Everything else may carry a reader's pixels or the name of a file, and
# a browser writes to its disk whatever it may keep, event streams too.
KEPT_BY_BROWSERS = ("/assets/", "/static/", "/theme.css", "/favicon.ico")
ASKED_AGAIN = "/viewer/"  # its files belong together, so none may be older than another


class SecurityHeaders:
    """ASGI middleware that adds `HEADERS` to every response that does not set them itself.

    What is not one of `KEPT_BY_BROWSERS` gets `Cache-Control: no-store` (RFC 9111, 5.2.2.5), or
    `no-cache` where it is one of `ASKED_AGAIN`.
    """

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Now, since a mounted application changes its scope on the way.
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if path.startswith(ASKED_AGAIN):
                    headers["Cache-Control"] = "no-cache"
                elif not path.startswith(KEPT_BY_BROWSERS):
                    headers["Cache-Control"] = "no-store"
            await send(message)

        await self.app(scope, receive, send_with_headers if scope["type"] == "http" else send)
