"""One model for many readers: who gets the processor next."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # torch is slow to import, and the types suffice here
    import numpy as np

    from cyclegan.translate import CycleResult, Prepared, Translator


class Turns:
    """A lock that is handed on in order: first those who `wait` for a slice, then whole volumes.

    Within a rank it is first come, first served, so that two volumes advance side by side. A plain
    `threading.Lock` goes back to the thread that has just released it, and a volume would keep all
    others waiting to its end.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[tuple[bool, int]] = []
        self._numbers = itertools.count()
        self._taken = False

    @contextmanager
    def take(self, *, in_background: bool = False) -> Iterator[None]:
        """Wait for a turn and hold it; `in_background` lets everybody else go first."""
        ticket = (in_background, next(self._numbers))
        with self._changed:
            heapq.heappush(self._waiting, ticket)
            self._changed.wait_for(lambda: not self._taken and self._waiting[0] == ticket)
            heapq.heappop(self._waiting)
            self._taken = True
        try:
            yield
        finally:
            with self._changed:
                self._taken = False
                self._changed.notify_all()


class SharedModel:
    """A `Translator` that several threads may call: one batch at a time, in turns.

    Args:
        translator: makes the translations.
    """

    def __init__(self, translator: Translator):
        self.translator = translator
        self.turns = Turns()

    def prepare(self, pixels: np.ndarray) -> Prepared:
        """As `Translator.prepare`; it doesn't run the network, so nobody waits."""
        return self.translator.prepare(pixels)

    def cycle(
        self, pixels: np.ndarray, to: str, prepared: Prepared, *, in_background: bool = False
    ) -> CycleResult:
        """As `Translator.cycle`, after waiting for a turn. Pass a few slices at a time."""
        with self.turns.take(in_background=in_background):
            return self.translator.cycle(pixels, to=to, prepared=prepared)

    def translate(self, image: np.ndarray, to: str, *, prepared: Prepared) -> np.ndarray:
        """As `Translator.translate` for one slice, after waiting for a turn."""
        with self.turns.take():
            return self.translator.translate(image, to, prepared=prepared)
