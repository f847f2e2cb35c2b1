"""Waiting for news of a scan."""

from __future__ import annotations

import asyncio
import contextlib
import threading


class Updates:
    """A version that grows, and those who wait for the next one."""

    def __init__(self) -> None:
        self.version = 1
        self._lock = threading.Lock()
        self.waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def announce(self) -> None:
        """Something has changed; may be called from any thread."""
        with self._lock:
            self.version += 1
            waiting = list(self.waiting)
        for loop, event in waiting:
            with contextlib.suppress(RuntimeError):  # its loop has ended
                loop.call_soon_threadsafe(event.set)

    async def wait(self, after: int, seconds: float) -> None:
        """Return when the version is no longer `after`, or after `seconds`."""
        waiter = asyncio.get_running_loop(), asyncio.Event()
        with self._lock:
            if self.version != after:
                return
            self.waiting.add(waiter)
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(waiter[1].wait(), seconds)
        finally:
            with self._lock:
                self.waiting.discard(waiter)
