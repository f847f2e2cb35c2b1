"""One model for many users: whose work the processor does next."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Any

from cyclegan.reading.deadline import TimeLimitExceeded, time_left

_SMOOTHING = 0.2  # of the latest duration in their running mean
# Handicaps in seconds. Unlike a strict order they let what comes by itself happen, too, while
# others scroll without end.
SHOWN = 0.0  # a slice that somebody looks at
MEASURING = 2.0  # numbers and maps of a slice that is there already
BACKGROUND = 5.0  # slices that nobody looks at yet


class Job:
    """Something to do again and again until it is done.

    Args:
        work: called by the queue's thread; a second or two at most. It returns the handicap of what
            is left to do, or None when nothing is.
        moved: called when others were served meanwhile.
    """

    def __init__(self, work: Callable[[], float | None], moved: Callable[[], None] | None = None):
        self.work = work
        self.moved = moved
        self.due = 0.0  # nobody who comes later goes before it


class Queue:
    """Work for one thread, so that the network's own threads exist only once.

    First come, first served; whoever was served stands behind the others with what is left.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[Job] = []
        self._running: Job | None = None
        self._mean_s = 0.5  # of a piece of work; measured from the first one on
        self._thread: threading.Thread | None = None
        self._is_ending = False

    def end(self, seconds: float) -> None:
        """Begin nothing more, and wait at most so long for what has begun: a process that ends in
        the middle of a network's run aborts."""
        with self._changed:
            self._is_ending = True
            self._waiting.clear()
            self._changed.wait_for(lambda: self._running is None, seconds)

    def add(self, job: Job, handicap: float = SHOWN) -> None:
        """Let `job` wait for its turn; one that waits keeps its place, or gets a better one."""
        due = time.monotonic() + handicap
        with self._changed:
            if self._is_ending:
                return
            if job in self._waiting:
                job.due = min(job.due, due)
            else:
                job.due = due
                self._waiting.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="model", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def remove(self, job: Job) -> None:
        """Forget `job`; what it has begun ends first."""
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)

    def submit(self, work: Callable[[], Any], handicap: float = SHOWN) -> Future:
        """Let `work` wait for its turn, once; cancelling the future gives the place up."""
        future: Future = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(work())
            except BaseException as fault:  # it belongs to who asked; the queue goes on
                future.set_exception(fault)

        job = Job(run)
        future.add_done_callback(lambda _: self.remove(job))
        self.add(job, handicap)
        return future

    def run(self, work: Callable[[], Any], handicap: float = SHOWN) -> Any:
        """What `work` returns, after waiting for its turn.

        Raises:
            TimeLimitExceeded: the time limit of this thread's own work ran out first.
        """
        future = self.submit(work, handicap)
        try:
            return future.result(time_left())
        except (TimeoutError, CancelledError):
            if future.done() and not future.cancelled():  # it is the work that raised this
                return future.result()
            future.cancel()
            raise TimeLimitExceeded from None

    def holds(self, job: Job) -> bool:
        """Whether `job` waits for its turn, or has it."""
        with self._changed:
            return job is self._running or job in self._waiting

    def place(self, job: Job) -> int:
        """How many others come before `job`; 0 when its turn has come."""
        with self._changed:
            if job not in self._waiting:
                return 0
            before = sum(other.due < job.due for other in self._waiting)
            return before + (self._running is not None)

    def seconds(self, place: int) -> float:
        """How long work at `place` will have to wait, as the last pieces took."""
        return place * self._mean_s

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                job = min(self._waiting, key=lambda waiting: waiting.due)
                self._waiting.remove(job)
                self._running = job
            began = time.monotonic()
            left = job.work()
            self._mean_s += _SMOOTHING * (time.monotonic() - began - self._mean_s)
            with self._changed:
                self._running = None
                others = list(self._waiting)
                self._changed.notify_all()
            if left is not None:
                self.add(job, left)
            del job
            for other in others:
                if other.moved is not None:
                    other.moved()
            del others  # nothing of a user's is held while nobody waits
