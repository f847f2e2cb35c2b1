"""What was made of one series, bounded."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from cyclegan.server.limits import SCAN_FINDINGS_BYTES, SCAN_RESULT_BYTES

if TYPE_CHECKING:
    import numpy as np

    from cyclegan.model.style import Style
    from cyclegan.server.input_warning import Fit


class Made(NamedTuple):
    """What translations are made for: contrast and style."""

    to: str
    style: Style | None


class Measured(NamedTuple):
    """Of one slice.

    Attributes:
        numbers: by the names of `calibration.MEASURES`.
        map: (H, W) float32 in shares of the grey range: the uncertainty, or where no map is worth
            it the interval around each value (`Calibration.shows_interval`), or None.
        fit: whether the slice by itself is what the direction wants, or None without a check.
        is_whole: whether numbers that tell little are among them.
    """

    numbers: dict[str, float]
    map: np.ndarray | None
    fit: Fit | None = None
    is_whole: bool = False


Images = tuple["np.ndarray", "np.ndarray"]  # there and back, (H, W) float32 in [0, 1]


class Results:
    """Translations and measurements of slices; those used least recently go first.

    Attributes:
        nbytes: of the translations.
    """

    def __init__(self) -> None:
        self.nbytes = 0
        self._lock = threading.Lock()
        self._images: OrderedDict[tuple[Made, int], Images] = OrderedDict()
        self._measured: OrderedDict[tuple[Made, int], Measured] = OrderedDict()

    def get(self, made: Made, index: int) -> Images | None:
        """A slice there and back."""
        with self._lock:
            images = self._images.get((made, index))
            if images is not None:
                self._images.move_to_end((made, index))
            return images

    def indices(self, made: Made) -> set[int]:
        """Slices that are there."""
        with self._lock:
            return {index for key, index in self._images if key == made}

    def keep(self, made: Made, index: int, images: Images) -> None:
        """Remember a slice."""
        with self._lock:
            self._images[made, index] = images
            self._images.move_to_end((made, index))
            self.nbytes = sum(image.nbytes for pair in self._images.values() for image in pair)
            while self.nbytes > SCAN_RESULT_BYTES and len(self._images) > 1:
                _, oldest = self._images.popitem(last=False)
                self.nbytes -= sum(image.nbytes for image in oldest)

    def measured(self, made: Made, index: int) -> Measured | None:
        """Numbers and map of a slice."""
        with self._lock:
            return self._measured.get((made, index))

    def keep_measured(self, made: Made, index: int, measured: Measured) -> None:
        """Remember numbers and map of a slice."""
        with self._lock:
            self._measured[made, index] = measured
            maps = [
                measurement.map.nbytes
                for measurement in self._measured.values()
                if measurement.map is not None
            ]
            while sum(maps) > SCAN_FINDINGS_BYTES and len(self._measured) > 1:
                maps.pop(0)
                self._measured.popitem(last=False)

    def clear(self) -> None:
        """Forget everything; it can be computed again."""
        with self._lock:
            self._images.clear()
            self._measured.clear()
            self.nbytes = 0
