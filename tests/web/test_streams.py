"""A stream that is cut goes on where it was, and not for ever."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from cyclegan.web import limits
from cyclegan.web.streams import Streams

BEAT = "/gradio_api/heartbeat/tab"


def run(scenario):
    """In a thread of its own: the browser tests leave a loop in that of the tests."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, asyncio.wait_for(scenario, 60)).result()


class Server:
    """Tells what is put into `said`, and notes when its reader has gone."""

    def __init__(self):
        self.said = asyncio.Queue()
        self.gone = asyncio.Event()
        self.asked = 0

    async def __call__(self, scope, receive, send):
        self.asked += 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        leaving = asyncio.create_task(receive())
        while True:
            saying = asyncio.create_task(self.said.get())
            await asyncio.wait([leaving, saying], return_when=asyncio.FIRST_COMPLETED)
            if leaving.done():
                self.gone.set()
                return saying.cancel()
            body = saying.result()
            message = {"type": "http.response.body", "body": body, "more_body": bool(body)}
            await send(message)
            if not body:
                return leaving.cancel()


class Reader:
    """One connection of a browser."""

    def __init__(self, app, arrived=0, path=BEAT, name="one"):
        self.status, self.heard = None, []
        self._cut = asyncio.Event()
        headers = [(b"x-stream", name.encode()), (b"x-arrived", str(arrived).encode())]
        scope = {"type": "http", "method": "GET", "path": path, "headers": headers}
        self.task = asyncio.create_task(app(scope, self._receive, self._send))

    async def _receive(self):
        await self._cut.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message):
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["body"] and self.status == 200:
            self.heard.append(message["body"])

    async def cut(self):
        self._cut.set()
        await self.task


async def until(condition):
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen")


def test_a_cut_stream_goes_on_without_loss_or_repetition():
    async def scenario():
        server = Server()
        app = Streams(server, grace=60)
        first = Reader(app)
        for body in (b"a", b"b", b"c"):
            server.said.put_nowait(body)
        await until(lambda: len(first.heard) == 3)
        await first.cut()
        server.said.put_nowait(b"d")  # while nobody listens
        # Of what was sent, the last did not arrive.
        second = Reader(app, arrived=2)
        await until(lambda: second.heard == [b"c", b"d"])
        # A connection that hangs gives way to a newer one of the same tab.
        third = Reader(app, arrived=4)
        await second.task
        server.said.put_nowait(b"e")
        await until(lambda: third.heard == [b"e"])
        assert second.heard == [b"c", b"d"]
        assert server.asked == 1
        server.said.put_nowait(b"")
        await third.task
        last = Reader(app, arrived=4)  # the end did not arrive
        await last.task
        assert last.heard == [b"e"]

    run(scenario())


def test_a_tab_that_leaves_or_does_not_come_back_is_gone():
    async def scenario():
        server = Server()
        app = Streams(server, grace=0.05)
        reader = Reader(app)
        server.said.put_nowait(b"a")
        await until(lambda: reader.heard)
        assert not server.gone.is_set()
        await reader.cut()
        await until(server.gone.is_set)
        late = Reader(app, arrived=1)
        await late.task
        assert late.status == 410

        server.gone.clear()
        app.grace = 60
        reader = Reader(app, name="another")
        await until(lambda: reader.status == 200)
        app.leave("tab")
        await until(server.gone.is_set)

    run(scenario())


def test_what_is_held_is_bounded(monkeypatch):
    monkeypatch.setattr(limits, "STREAMS", 3)
    monkeypatch.setattr(limits, "STREAM_BYTES", 10)

    async def scenario():
        servers = [Server() for _ in range(5)]
        app = Streams(None, grace=60)
        for number, app.app in enumerate(servers):
            reader = Reader(app, path=f"{BEAT}{number}")
            await until(lambda reader=reader: reader.status == 200)
            await reader.cut()
        await until(lambda: sum(server.gone.is_set() for server in servers) == 2)
        assert servers[0].gone.is_set()  # the oldest go

        app.app = server = Server()
        reader = Reader(app, path=f"{BEAT}x")
        for body in (b"123456", b"123456", b"123456"):
            server.said.put_nowait(body)
        await until(lambda: len(reader.heard) == 3)
        await reader.cut()
        late = Reader(app, path=f"{BEAT}x", arrived=1)  # too far back
        await late.task
        assert late.status == 410

    run(scenario())


@pytest.mark.parametrize("header", [{}, {"x-stream": "one"}])
def test_other_requests_are_left_alone(header):
    async def scenario():
        server = Server()
        app = Streams(server, grace=60)
        path = BEAT if not header else "/config"
        headers = [(name.encode(), value.encode()) for name, value in header.items()]
        cut = asyncio.Event()

        async def receive():
            await cut.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            pass

        scope = {"type": "http", "method": "GET", "path": path, "headers": headers}
        task = asyncio.create_task(app(scope, receive, send))
        cut.set()
        await task
        assert server.gone.is_set()  # at once

    run(scenario())


def test_a_request_that_is_sent_again_is_done_once():
    async def scenario():
        done = []

        async def server(scope, receive, send):
            done.append(1)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"%d" % len(done)})

        app = Streams(server)
        answers = []
        for attempt in (b"one", b"one", b"two"):

            async def send(message):
                answers.append(message.get("body"))

            headers = [(b"x-attempt", attempt)]
            path = "/gradio_api/queue/join"
            scope = {"type": "http", "method": "POST", "path": path, "headers": headers}
            await app(scope, None, send)
        assert [body for body in answers if body] == [b"1", b"1", b"2"]

    run(scenario())
