"""How fast a run goes, and how much of that time its steps wait for data."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from cyclegan.report.runlog import DATA_WAIT, STEPS_PER_SECOND


class Pace:
    """Adds up the time of steps, and the part of it before a step's batch is complete.

    That part is reading slices as far as it was not done ahead, drawing, simulating, copying and
    augmenting. On a GPU the last two are launched, not awaited: they count by how long that takes.
    Samples, validation and saving are between the steps and count for neither.
    """

    def __init__(self) -> None:
        self._steps, self._seconds, self._waited = 0, 0.0, 0.0

    @contextmanager
    def step(self) -> Iterator[None]:
        """Around one training step."""
        started = time.perf_counter()
        yield
        self._seconds += time.perf_counter() - started
        self._steps += 1

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around the part of a step that gets its data."""
        started = time.perf_counter()
        yield
        self._waited += time.perf_counter() - started

    def take(self) -> dict[str, float]:
        """Steps per second, and the share of the time spent waiting, since the last call."""
        seconds = max(self._seconds, 1e-9)
        taken = {STEPS_PER_SECOND: self._steps / seconds, DATA_WAIT: self._waited / seconds}
        self.__init__()
        return taken
