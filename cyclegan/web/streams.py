"""Connections that outlive a cut: what the page listens to goes on where it was.

To Gradio a stream that ends is a tab that was closed: it stops the tab's work and the page forgets
the scan. A lift or a change of Wi-Fi ends one, too. So the page's own streams (connection.js) say
which they are and how much of them has arrived, and the server keeps an ended one for
`limits.RECONNECT_S`. A tab that is closed says so. Streams without those words, as of
`gradio_client`, are left alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from typing import NamedTuple
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cyclegan.web import limits

log = logging.getLogger("cyclegan.app")

BEATS, MESSAGES = "/gradio_api/heartbeat/", "/gradio_api/queue/data"
LEAVING = "/leaving/"  # and the tab's name: it is being closed
NAME, ARRIVED, ATTEMPT = "x-stream", "x-arrived", "x-attempt"  # headers of connection.js
GONE = JSONResponse({"detail": "This connection is not held any more."}, 410)


class Stream:
    """What one request is answered with, whoever listens to it at the moment."""

    def __init__(self) -> None:
        self.start: Message | None = None
        self.bodies: list[bytes] = []  # one for each event of the stream
        self.dropped = 0  # of them, from the beginning
        self.ended = False
        self.gone = asyncio.Event()  # the tab was closed, or did not come back
        self.listener = 0  # the newest; a connection may hang while its tab has a better one
        self.timer: asyncio.TimerHandle | None = None
        self.task: asyncio.Task | None = None
        self._changed = asyncio.Event()

    async def answer(self, app: ASGIApp, scope: Scope) -> None:
        """Let `app` answer; it hears that its reader has gone when `gone` is set."""

        async def receive() -> Message:
            await self.gone.wait()
            return {"type": "http.disconnect"}

        try:
            await app(scope, receive, self._take)
        except Exception as fault:  # its message may hold the name of a file
            log.warning("%s of a stream", type(fault).__name__)
        finally:
            self.ended = True
            self._changed.set()

    async def _take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.start = message
        elif message.get("body"):
            self.bodies.append(message["body"])
            while len(self.bodies) > 1 and sum(map(len, self.bodies)) > limits.STREAM_BYTES:
                self.bodies.pop(0)
                self.dropped += 1
        self._changed.set()

    async def tell(self, send: Send, me: int, arrived: int) -> None:
        """Send what comes after the first `arrived` bodies, until the end or a newer listener."""
        told = False
        while me == self.listener:
            self._changed.clear()
            if self.start is not None and not told:
                await send(self.start)
                told = True
            while told and arrived < self.dropped + len(self.bodies) and me == self.listener:
                body = self.bodies[max(arrived - self.dropped, 0)]
                arrived += 1
                await send({"type": "http.response.body", "body": body, "more_body": True})
            if self.ended and arrived >= self.dropped + len(self.bodies):
                break
            await self._changed.wait()
        if told or me == self.listener:
            end: Message = {"type": "http.response.body", "body": b"", "more_body": False}
            if not told:
                await send({"type": "http.response.start", "status": 500, "headers": []})
            await send(end)

    def new_listener(self) -> int:
        """The number of one more listener; older ones see that they are, and end."""
        self.listener += 1
        self._changed.set()
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        return self.listener


class Key(NamedTuple):
    """Of a stream: its tab, what it is asked for under, and the tab's own name for it."""

    tab: str
    path: str
    name: str


class Streams:
    """ASGI middleware that holds the streams of each tab.

    Args:
        app: the application behind it.
        grace: seconds for which a stream that nobody listens to goes on.
    """

    def __init__(self, app: ASGIApp, grace: float = limits.RECONNECT_S):
        self.app = app
        self.grace = grace
        self._streams: dict[Key, Stream] = {}
        self._joined: OrderedDict[str, list[Message]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        headers = Headers(scope=scope) if scope["type"] == "http" else {}
        if path.startswith(LEAVING):
            self.leave(path.removeprefix(LEAVING))
            await Response(status_code=204)(scope, receive, send)
        elif NAME in headers and (tab := _tab(path, scope)):
            arrived = headers.get(ARRIVED, "")
            count = int(arrived) if arrived.isdecimal() else 0
            await self._listen(Key(tab, path, headers[NAME]), count, scope, receive, send)
        elif ATTEMPT in headers:
            await self._join_once(headers[ATTEMPT], scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def leave(self, tab: str) -> None:
        """End all streams of a tab that is being closed."""
        for key in [key for key in self._streams if key.tab == tab]:
            self._end(key)

    def _end(self, key: Key) -> None:
        stream = self._streams.pop(key, None)
        if stream is not None:
            stream.gone.set()
            if stream.timer is not None:
                stream.timer.cancel()

    async def _listen(
        self, key: Key, arrived: int, scope: Scope, receive: Receive, send: Send
    ) -> None:
        stream = self._streams.get(key)
        if stream is None:
            if arrived:
                await GONE(scope, receive, send)
                return
            # Who begins another one has had the whole of the one before.
            for old in [old for old in self._streams if old[:2] == key[:2]]:
                self._end(old)
            alone = [old for old, held in self._streams.items() if held.timer is not None]
            for old in alone[: max(len(self._streams) + 1 - limits.STREAMS, 0)]:
                self._end(old)
            stream = self._streams[key] = Stream()
            stream.task = asyncio.create_task(stream.answer(self.app, scope))
        elif arrived < stream.dropped:
            await GONE(scope, receive, send)
            return
        me = stream.new_listener()
        telling = asyncio.create_task(stream.tell(send, me, arrived))
        leaving = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait([telling, leaving], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (telling, leaving):
                task.cancel()
            await asyncio.gather(telling, leaving, return_exceptions=True)
            # Also after its end: that the last of it was sent does not mean that it has arrived.
            if stream.listener == me and key in self._streams:
                later = asyncio.get_running_loop().call_later
                stream.timer = later(self.grace, self._end, key)

    async def _join_once(self, attempt: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request whose first answer was lost on its way with that answer again."""
        if (said := self._joined.get(attempt)) is None:
            said = []

            async def note(message: Message) -> None:
                said.append(message)

            await self.app(scope, receive, note)
            self._joined[attempt] = said
            while len(self._joined) > limits.QUEUE:
                self._joined.popitem(last=False)
        for message in said:
            await send(message)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _tab(path: str, scope: Scope) -> str:
    """Gradio's name of the tab whose stream is asked for; "" for any other address."""
    if path.startswith(BEATS):
        return path.removeprefix(BEATS)
    if path == MESSAGES:
        asked = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        return asked.get("session_hash", [""])[0]
    return ""
