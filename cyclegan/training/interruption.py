"""Ctrl-C and SIGTERM (Slurm, Spaces and containers send it) end a run after the step at hand."""

from __future__ import annotations

import signal
import threading


class Interrupted(Exception):
    """A run that was asked to stop, and has saved its state.

    Attributes:
        signal: its number; a shell expects the exit code 128 + this.
    """

    def __init__(self, number: int, message: str):
        super().__init__(message)
        self.signal = number


class StopSignals:
    """While entered, SIGINT and SIGTERM are noted in `received` instead of ending the process.

    A second Ctrl-C ends it at once, by KeyboardInterrupt. Outside the main thread, where Python
    allows no handlers, signals do what they did before.
    """

    def __init__(self) -> None:
        self.received = 0  # number of the first signal

    def __enter__(self) -> StopSignals:
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: object) -> None:
        # `accelerate launch` answers Ctrl-C with a SIGTERM of its own: that is no second Ctrl-C.
        if number == signal.SIGINT == self.received:
            raise KeyboardInterrupt
        self.received = self.received or number
