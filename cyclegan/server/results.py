"""What was made of a series, bounded, and the files made of that."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from cyclegan.server.limits import SERIES_RESULT_BYTES

if TYPE_CHECKING:
    import numpy as np

    from cyclegan.model.style import Style
    from cyclegan.server.fit import Fit


class Target(NamedTuple):
    """What a series is translated to."""

    to: str
    style: Style | None


class Measured(NamedTuple):
    """Of one slice.

    Attributes:
        numbers: by the names of `calibration.MEASURES`.
        map: (H, W) float32 in shares of the grey range: the uncertainty, or where no map is worth
            it the interval around each value (`Calibration.shows_interval`), or None.
        fit: whether the slice by itself is what the direction needs, or None without a check.
        is_whole: whether numbers that tell little are among them.
    """

    numbers: dict[str, float]
    map: np.ndarray | None
    fit: Fit | None = None
    is_whole: bool = False


@dataclass
class SliceResult:
    """There and back, (H, W) float32 in [0, 1], and what was measured of it."""

    translated: np.ndarray
    reconstructed: np.ndarray
    measured: Measured | None = None

    @property
    def nbytes(self) -> int:
        """Of its images."""
        error_map = self.measured.map if self.measured else None
        map_bytes = 0 if error_map is None else error_map.nbytes
        return self.translated.nbytes + self.reconstructed.nbytes + map_bytes


class Results:
    """Translated slices; those used least recently go first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slices: OrderedDict[tuple[Target, int], SliceResult] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """Of all images."""
        with self._lock:
            return sum(result.nbytes for result in self._slices.values())

    def get(self, target: Target, index: int) -> SliceResult | None:
        """A slice, if it is there."""
        with self._lock:
            result = self._slices.get((target, index))
            if result is not None:
                self._slices.move_to_end((target, index))
            return result

    def indices(self, target: Target) -> set[int]:
        """Slices that are there."""
        with self._lock:
            return {index for key, index in self._slices if key == target}

    def keep(self, target: Target, index: int, result: SliceResult) -> None:
        """Remember a slice."""
        with self._lock:
            self._slices[target, index] = result
            self._slices.move_to_end((target, index))
            total = sum(result.nbytes for result in self._slices.values())
            while total > SERIES_RESULT_BYTES and len(self._slices) > 1:
                total -= self._slices.popitem(last=False)[1].nbytes

    def clear(self) -> None:
        """Forget everything; it can be computed again."""
        with self._lock:
            self._slices.clear()


class Download(NamedTuple):
    """A file: its bytes, its name and its MIME type."""

    data: bytes
    name: str
    mime: str


@dataclass
class Save:
    """How far a file is that was asked for: the `save` of the state.

    Attributes:
        kind: of `SaveRequest`.
        of: steps in all; done: so many of them.
        file: token to fetch it with, once it is there; name: of the file.
        removed: what of the source's DICOM header is not in it, in words.
        error: why there is no file, in a sentence.
    """

    kind: str
    of: int
    done: int = 0
    file: str | None = None
    name: str | None = None
    removed: list[str] = field(default_factory=list)
    error: str | None = None
