"""One model for many readers: who gets the processor next."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from enum import Enum
from typing import TYPE_CHECKING, Any

from cyclegan.reading.deadline import TimeLimitExceeded, time_left

if TYPE_CHECKING:  # torch is slow to import, and the types suffice here
    import numpy as np

    from cyclegan.model.style import Style
    from cyclegan.model.translator import CycleResult, Prepared, Translator

_SMOOTHING = 0.2  # of the latest duration in their running mean


class Rank(Enum):
    """What a piece of work is for; the value is its handicap in seconds.

    A slice that somebody waits for goes before what comes by itself. But a handicap in time, unlike
    a strict order, also lets the latter happen while readers scroll without end.
    """

    SHOWN = 0.0
    SECOND_LOOK = 2.0
    WHOLE = 5.0


class Superseded(Exception):
    """The same tab wants something newer instead."""


class Turn:
    """A place in the line."""

    def __init__(self, line: Turns, order: tuple[float, int], work: Callable[[], Any]):
        self._line = line
        self._order = order
        self._work = work
        self._future: Future = Future()

    def __lt__(self, other: Turn) -> bool:
        return self._order < other._order

    def place(self) -> int:
        """How many pieces of work come before this one; 0 when its turn has come."""
        return self._line._before(self)

    def done(self, seconds: float) -> bool:
        """Wait for up to `seconds`; whether `result` can answer now."""
        try:
            self._future.exception(seconds)
        except TimeoutError:
            return False
        except CancelledError:
            pass
        return True

    def result(self) -> Any:
        """What the work returned, or raised.

        Raises:
            Superseded: it was given up for newer work of the same tab.
            TimeLimitExceeded: the time limit of this thread's own work ran out first.
        """
        try:
            return self._future.result(time_left())
        except CancelledError:
            raise Superseded from None
        except TimeoutError:
            if self._future.done():  # just now, or it is the work that raised this
                return self._future.result()
            self.leave()
            raise TimeLimitExceeded from None

    def leave(self) -> None:
        """Give up the place; work that has begun ends first, and nobody hears of it."""
        self._future.cancel()

    def _run(self) -> None:
        if not self._future.set_running_or_notify_cancel():
            return
        try:
            self._future.set_result(self._work())
        except BaseException as error:  # whatever it is belongs to who asked; the line goes on
            self._future.set_exception(error)
        finally:
            del self._work  # with all that it refers to


class Turns:
    """A line of work for one thread, so that the network's own threads exist only once.

    First come, first served among equals, so that tabs advance side by side; `Rank` says who is
    not equal. Of the slices that one tab wants only the newest keeps its place.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[Turn] = []
        self._by_tab: dict[str, Turn] = {}
        self._numbers = itertools.count()
        self._running = False
        self._mean_s = 0.5  # of a piece of work; measured from the first one on
        self._thread: threading.Thread | None = None

    def join(
        self, work: Callable[[], Any], *, rank: Rank = Rank.SHOWN, tab: str | None = None
    ) -> Turn:
        """Stand in line with `work`.

        Args:
            work: called without arguments by the line's thread; a second or two at most.
            rank: what it is for.
            tab: takes the place away from what the same tab waits for under this name.
        """
        with self._changed:
            turn = Turn(self, (time.monotonic() + rank.value, next(self._numbers)), work)
            if tab is not None:
                earlier = self._by_tab.get(tab)
                if earlier is not None:
                    earlier.leave()
                self._by_tab[tab] = turn
                turn._future.add_done_callback(lambda _: self._forget(tab, turn))
            heapq.heappush(self._waiting, turn)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="model", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return turn

    def run(self, work: Callable[[], Any], *, rank: Rank = Rank.SHOWN) -> Any:
        """Stand in line with `work` and wait for its result."""
        return self.join(work, rank=rank).result()

    def expected_s(self, place: int) -> float:
        """How long the work at `place` will have to wait, as the last pieces took."""
        return place * self._mean_s

    def _before(self, turn: Turn) -> int:
        with self._changed:
            if turn not in self._waiting:
                return 0
            waiting = sum(other < turn and not other._future.done() for other in self._waiting)
            return waiting + self._running

    def _forget(self, tab: str, turn: Turn) -> None:
        with self._changed:
            if self._by_tab.get(tab) is turn:
                del self._by_tab[tab]

    def _serve(self) -> None:
        for turn in self._in_order():
            began = time.monotonic()
            turn._run()
            self._mean_s += _SMOOTHING * (time.monotonic() - began - self._mean_s)

    def _in_order(self) -> Iterator[Turn]:
        while True:
            with self._changed:
                self._running = False
                self._changed.wait_for(lambda: self._waiting)
                turn = heapq.heappop(self._waiting)
                self._running = True
            yield turn
            del turn  # nothing of a reader's is held while the line is empty


class SharedModel:
    """A `Translator` that several threads may call: one batch at a time, in turns.

    Args:
        translator: makes the translations.
    """

    def __init__(self, translator: Translator):
        self.translator = translator
        self.turns = Turns()

    def prepare(self, pixels: np.ndarray, spacing: tuple[float, float] | None = None) -> Prepared:
        """As `Translator.prepare`; it doesn't run the network, so nobody waits."""
        return self.translator.prepare(pixels, spacing)

    def cycle(
        self,
        pixels: np.ndarray,
        to: str,
        prepared: Prepared,
        style: Style | None = None,
        *,
        rank: Rank = Rank.SHOWN,
    ) -> CycleResult:
        """As `Translator.cycle`, after waiting for a turn. Pass a few slices at a time."""
        return self.turns.run(
            lambda: self.translator.cycle(pixels, to=to, prepared=prepared, style=style), rank=rank
        )

    def translate(
        self,
        image: np.ndarray,
        to: str,
        *,
        prepared: Prepared,
        style: Style | None = None,
        rank: Rank = Rank.SECOND_LOOK,
    ) -> np.ndarray:
        """As `Translator.translate` for one slice, after waiting for a turn."""
        return self.turns.run(
            lambda: self.translator.translate(image, to, prepared=prepared, style=style), rank=rank
        )

    def translate_with_error(
        self,
        image: np.ndarray,
        to: str,
        prepared: Prepared,
        style: Style | None = None,
        *,
        rank: Rank = Rank.SECOND_LOOK,
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `Translator.translate_with_error` for one slice, after waiting for a turn."""
        translate = self.translator.translate_with_error
        return self.turns.run(
            lambda: translate(image, to, prepared=prepared, style=style), rank=rank
        )
