"""What happens to a scan by itself: its pixels are checked, its slices translated, and those who
wait hear of it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable

from cyclegan.server import queue
from cyclegan.server.errors import error_message
from cyclegan.server.queue import Job, Queue
from cyclegan.server.results import SliceResult
from cyclegan.server.series import Series

# Of slices that nobody looks at yet. On a CPU four are no faster per slice than two (362 and 338 ms
# on two busy cores), and whoever scrolls waits for at most one batch.
BATCH = 2
UPDATE_EVERY_S = 1.0  # how often the place in the queue is announced to someone who waits


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


class Translation:
    """Of the series on screen, from the slice on screen outwards.

    Args:
        queue: of the model.
        lock: of the scan.
        updates: of the scan.
        on_screen: gives the series on screen, None once the scan is closed.
        finish: called after each batch, with an error message or "".
    """

    def __init__(
        self,
        queue: Queue,
        lock: threading.RLock,
        updates: Updates,
        on_screen: Callable[[], Series | None],
        finish: Callable[[str], None],
    ):
        self._queue = queue
        self._lock = lock
        self._updates = updates
        self._on_screen = on_screen
        self._finish = finish
        self._job = Job(self._translate, self._moved)
        self._updated_s = 0.0

    def check(self) -> None:
        """Classify the series on screen, and translate it unless that speaks against it."""
        with self._lock:
            series = self._on_screen()
        if series is None:
            return
        if not series.is_checked:
            volume, check, unchecked = series.volume, None, series.model.unchecked
            try:
                check = series.model.assess(volume.pixels, volume.pixel_spacing)
            except Exception as fault:
                unchecked = error_message(fault, "check")
            with self._lock:
                series.check, series.unchecked, series.is_checked = check, unchecked, True
                if not series.is_direction_chosen:
                    series.to = series.preset()
        self.go_on()
        self._updates.announce()

    def go_on(self) -> None:
        """Translate what is missing, the slice on screen first; or stop, where nothing is."""
        with self._lock:
            series = self._unfinished()
            if series is None:
                self.stop()
            else:
                self._queue.add(self._job, _handicap(series))

    def stop(self) -> None:
        """Give up the place in the queue; what has begun ends first."""
        self._queue.remove(self._job)

    @property
    def is_running(self) -> bool:
        """Whether there is something to do, and it waits for its turn or has it."""
        with self._lock:
            return self._unfinished() is not None and self._queue.holds(self._job)

    @property
    def place(self) -> int:
        """How many others come before the next slice."""
        return self._queue.place(self._job)

    def _unfinished(self) -> Series | None:
        """The series on screen, if it is to be translated."""
        series = self._on_screen()
        if series is None or not series.may_translate or not series.missing(series.index):
            return None
        return series

    def _moved(self) -> None:
        if time.monotonic() - self._updated_s > max(UPDATE_EVERY_S, 0.25 * self.place):
            self._updated_s = time.monotonic()
            self._updates.announce()

    def _translate(self) -> float | None:
        """Translate the next slices; in the queue's thread."""
        with self._lock:
            series = self._unfinished()
            if series is None:
                self._updates.announce()  # a scan of the same example may have done it
                return None
            target, left = series.target, series.missing(series.index)
            batch = left[:1] if left[0] == series.index else left[:BATCH]
        pixels = series.volume.pixels[batch]
        try:
            result = series.model.translator.cycle(
                pixels, target.to, prepared=series.prepared, style=target.style
            )
        except Exception as fault:
            self._finish(error_message(fault, "translation"))
            return None
        with self._lock:
            if self._on_screen() is None:
                return None
            for index, *images in zip(batch, result.translated, result.reconstructed, strict=True):
                new = SliceResult(*(image.copy() for image in images))
                series.results.add(target, index, new)
            unfinished = self._unfinished()
            handicap = None if unfinished is None else _handicap(unfinished)
        self._finish("")
        return handicap


def _handicap(series: Series) -> float:
    is_shown = series.missing(series.index)[0] == series.index
    return queue.SHOWN if is_shown else queue.BACKGROUND
