"""What happens to a scan by itself: its pixels are looked at, and its slices translated."""

from __future__ import annotations

import time
from threading import RLock
from typing import TYPE_CHECKING, Protocol

from cyclegan.server import queue
from cyclegan.server.errors import sentence
from cyclegan.server.phases import Phase
from cyclegan.server.queue import Job

if TYPE_CHECKING:
    from collections.abc import Callable

    from cyclegan.server.changes import Changes
    from cyclegan.server.models import Model
    from cyclegan.server.series import Series

# Of slices that nobody looks at yet. On a CPU four are no faster per slice than two (362 and 338 ms
# on two busy cores), and whoever scrolls waits for at most one batch.
BATCH = 2
UPDATE_EVERY_S = 1.0  # how often someone who waits hears of the place


class Scan(Protocol):
    """What a translation needs of a scan."""

    model: Model
    lock: RLock
    changes: Changes
    message: str
    is_closed: bool
    grown: Callable[[], None]

    @property
    def series(self) -> Series:
        """On screen."""

    def phase(self) -> Phase:
        """How far that is."""


class Translation:
    """Of the series on screen, from the slice on screen outwards.

    Args:
        scan: whose it is.
    """

    def __init__(self, scan: Scan):
        self.scan = scan
        self._queue = scan.model.queue
        self._job = Job(self._translate, self._moved)
        self._updated_s = 0.0

    def check(self) -> None:
        """Look what the series on screen shows, and translate it unless that speaks against it."""
        scan = self.scan
        with scan.lock:
            if scan.is_closed or scan.series.is_checked:
                return
            series = scan.series
        volume, seen, unchecked = series.volume, None, scan.model.unchecked
        try:
            seen = scan.model.assess(volume.pixels, volume.pixel_spacing)
        except Exception as fault:
            unchecked = sentence(fault, "check")
        with scan.lock:
            series.check, series.unchecked, series.is_checked = seen, unchecked, True
            if not series.is_turned:
                series.to = series.preset()
        self.go_on()
        scan.changes.announce()

    def go_on(self) -> None:
        """Translate what is missing, the slice on screen first; or stop, where nothing is."""
        scan = self.scan
        with scan.lock:
            if scan.is_closed or scan.phase() is not Phase.TRANSLATING:
                self.stop()
            else:
                self._queue.add(self._job, self._handicap())

    def stop(self) -> None:
        """Give up the place in the queue; what has begun ends first."""
        self._queue.remove(self._job)

    @property
    def is_running(self) -> bool:
        """Whether there is something to do, and it waits for its turn or has it."""
        scan = self.scan
        with scan.lock:
            is_left = not scan.is_closed and scan.phase() is Phase.TRANSLATING
        return is_left and self._queue.holds(self._job)

    @property
    def place(self) -> int:
        """How many others come before the next slice."""
        return self._queue.place(self._job)

    def _handicap(self) -> float:
        series = self.scan.series
        is_shown = series.missing(series.index)[0] == series.index
        return queue.SHOWN if is_shown else queue.BACKGROUND

    def _moved(self) -> None:
        if time.monotonic() - self._updated_s > max(UPDATE_EVERY_S, 0.25 * self.place):
            self._updated_s = time.monotonic()
            self.scan.changes.announce()

    def _translate(self) -> float | None:
        """Translate the next slices; in the queue's thread."""
        scan = self.scan
        with scan.lock:
            if scan.is_closed or scan.phase() is not Phase.TRANSLATING:
                scan.changes.announce()  # another one may have done it
                return None
            series = scan.series
            view, left = series.view, series.missing(series.index)
            batch = left[:1] if left[0] == series.index else left[:BATCH]
        try:
            prepared = series.prepared(scan.model)
            result = scan.model.cycle(series.volume.pixels[batch], view.to, prepared, view.style)
        except Exception as fault:
            with scan.lock:
                scan.message = sentence(fault, "translation")
            scan.changes.announce()
            return None
        with scan.lock:
            if scan.is_closed:
                return None
            for index, *images in zip(batch, result.translated, result.reconstructed, strict=True):
                series.results.keep(view.made, index, tuple(image.copy() for image in images))
            is_left = scan.phase() is Phase.TRANSLATING
            handicap = self._handicap() if is_left else None
        scan.changes.announce()
        scan.grown()
        return handicap
