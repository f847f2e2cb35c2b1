"""What happens to a scan by itself: its pixels are checked, its slices translated, and those who
wait hear of it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Sequence

from cyclegan.server import queue
from cyclegan.server.errors import GoneError, error_message
from cyclegan.server.images import SliceResult, Target
from cyclegan.server.queue import Job
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


class TranslatedScan:
    """A scan as far as things happen to it by themselves: the series on screen is classified, and
    translated from the slice on screen outwards.

    Args:
        series: on screen.

    Attributes:
        on_screen: the series on screen; None once the scan is closed.
        lock: guards all of the scan.
        updates: of what `state.state` describes.
        message: an error or a warning for the user, or "".
        grown: called when more is in memory than before.
    """

    def __init__(self, series: Series):
        self.model = series.model
        self.on_screen: Series | None = series
        self.lock = threading.RLock()
        self.updates = Updates()
        self.message = ""
        self.grown = lambda: None
        self._job = Job(self._translate_next, self._moved)
        self._updated_s = 0.0

    @property
    def is_closed(self) -> bool:
        """Whether everything of it was forgotten."""
        return self.on_screen is None

    @property
    def series(self) -> Series:
        """On screen.

        Raises:
            GoneError: the scan was closed.
        """
        if (series := self.on_screen) is None:
            raise GoneError
        return series

    def check(self) -> None:
        """Classify the series on screen, and translate it unless that speaks against it."""
        series = self.on_screen
        if series is None:
            return
        if not series.is_checked:
            volume, check, unchecked = series.volume, None, self.model.unchecked
            try:
                check = self.model.assess(volume.pixels, volume.pixel_spacing)
            except Exception as fault:
                unchecked = error_message(fault, "check")
            with self.lock:
                series.check, series.unchecked = check, unchecked
        self.translate()
        self.updates.announce()

    def translate(self) -> None:
        """Translate what is missing, the slice on screen first; or stop, where nothing is."""
        with self.lock:
            series = self._unfinished()
            if series is None:
                self.stop()
            else:
                self.model.queue.add(self._job, _handicap(series))

    def stop(self) -> None:
        """Give up the place in the queue; what has begun ends first."""
        self.model.queue.remove(self._job)

    @property
    def is_translating(self) -> bool:
        """Whether there is something to do, and it waits for its turn or has it."""
        with self.lock:
            return self._unfinished() is not None and self.model.queue.holds(self._job)

    @property
    def place(self) -> int:
        """How many others come before the next slice."""
        return self.model.queue.place(self._job)

    def _unfinished(self) -> Series | None:
        """The series on screen, if it is to be translated."""
        series = self.on_screen
        if series is None or not series.may_translate or not series.missing(series.index):
            return None
        return series

    def _moved(self) -> None:
        if time.monotonic() - self._updated_s > max(UPDATE_EVERY_S, 0.25 * self.place):
            self._updated_s = time.monotonic()
            self.updates.announce()

    def _translate_next(self) -> float | None:
        """Translate the next slices; in the queue's thread."""
        with self.lock:
            series = self._unfinished()
            if series is None:
                self.updates.announce()  # a scan of the same example may have done it
                return None
            target, left = series.target, series.missing(series.index)
            batch = left[:1] if left[0] == series.index else left[:BATCH]
        unfinished = None
        try:
            results = translated(series, target, batch)
        except Exception as fault:
            self.message = error_message(fault, "translation")
        else:
            with self.lock:
                if self.is_closed:
                    return None
                for index, result in results.items():
                    series.results.add(target, index, result)
                unfinished = self._unfinished()
        self.updates.announce()
        self.grown()
        return None if unfinished is None else _handicap(unfinished)


def translated(series: Series, target: Target, indices: Sequence[int]) -> dict[int, SliceResult]:
    """Translate a few slices there and back; to be called by the queue of the model."""
    result = series.model.translator.cycle(
        series.volume.pixels[indices], target.to, prepared=series.prepared, style=target.style
    )
    slices = zip(indices, result.translated, result.reconstructed, strict=True)
    return {index: SliceResult(there.copy(), back.copy()) for index, there, back in slices}


def _handicap(series: Series) -> float:
    is_shown = series.missing(series.index)[0] == series.index
    return queue.SHOWN if is_shown else queue.BACKGROUND
