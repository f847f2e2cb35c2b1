"""What is asked for of some slices, and their numbers in the model's turn."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cyclegan.model.translator import CycleResult
from cyclegan.server.errors import UserError
from cyclegan.server.findings import Measured, measure

if TYPE_CHECKING:
    from cyclegan.server.models import Model
    from cyclegan.server.series import Series, View


@dataclass(frozen=True)
class Order:
    """What is to be saved.

    Attributes:
        series, view: of the scan.
        index: of the slice on screen.
        window: (center, width) of the synthetic image, in shares of the grey range.
    """

    model: Model
    series: Series
    view: View
    index: int
    window: tuple[float, float] = (0.5, 1.0)

    @property
    def name(self) -> str:
        """Of files: what they are, and six digits of the pixels' checksum."""
        mark = self.series.provenance(self.model, self.view.made).mark
        return f"synthetic_{self.view.to}_{mark}"

    def result(self, index: int) -> CycleResult:
        """Of a slice.

        Raises:
            UserError: memory was short, and it is not there any more.
        """
        result = self.series.result(index, self.view)
        if result is None:
            raise UserError("Memory was short, and a part was dropped. Save again.")
        return result

    def translated(self) -> np.ndarray:
        """(Z, H, W) float32 in [0, 1]."""
        return np.stack([self.result(index).translated for index in range(self.series.slices)])


def measuring(made: Order, index: int, *, whole: bool, handicap: float) -> Future:
    """Numbers and map of slice `index`, once they are known."""
    results, key = made.series.results, made.view.made
    known = results.measured(key, index)
    if known is not None and (known.is_whole or not whole):
        done: Future = Future()
        done.set_result(known)
        return done

    def work() -> Measured:
        measured = measure(made.model, made.series, made.result(index), key, whole=whole)
        results.keep_measured(key, index, measured)
        return measured

    return made.model.queue.submit(work, handicap)
