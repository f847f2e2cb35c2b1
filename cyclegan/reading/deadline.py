"""A limit on the time that a piece of work may take, checked by the work itself.

Neither a decoder nor a batch on the network can be stopped from outside without leaving a thread
behind that goes on computing. So long work asks `check_time` between its steps, each of which is
bounded by the caps on sizes, and ends by itself. Without a `time_limit` around it, as on the
command line, nothing ever ends early.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_end: ContextVar[float | None] = ContextVar("end of the time limit", default=None)


class TimeLimitExceeded(BaseException):
    """The time is up. As `asyncio.CancelledError`, it is no `Exception`: reading takes any of those
    for a damaged file."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Let the work in this thread take `seconds`; the shorter one of nested limits holds."""
    end, outer = time.monotonic() + seconds, _end.get()
    token = _end.set(end if outer is None else min(end, outer))
    try:
        yield
    finally:
        _end.reset(token)


def time_left() -> float | None:
    """Seconds that are left, at least 0; None without a limit."""
    end = _end.get()
    return None if end is None else max(0.0, end - time.monotonic())


def check_time() -> None:
    """Raise `TimeLimitExceeded` when the time is up."""
    if time_left() == 0.0:
        raise TimeLimitExceeded
