"""One series of a scan as it is worked on: pixels, choices and what was made of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cyclegan.export.provenance import Provenance, provenance
from cyclegan.model.head import head_mask
from cyclegan.model.preprocess import Scale
from cyclegan.model.translator import CycleResult, Prepared
from cyclegan.reading.sequence_names import contrast_in_name
from cyclegan.server.input_warning import InputWarning, input_warning, preset, simulated_warning
from cyclegan.server.limits import WHOLE_VOXELS
from cyclegan.server.real import Real
from cyclegan.server.results import Made, Results

if TYPE_CHECKING:
    from cyclegan.model.style import Style
    from cyclegan.reading.volume import Volume
    from cyclegan.server.models import Model
    from cyclegan.trust.checks import Assessment

_PLANE = re.compile(r"\b(axial|coronal|sagittal|oblique)\b")


class Label(NamedTuple):
    """What a list of series says of one.

    Attributes:
        text: by the series' description, where there is one.
        contrast: "T1" or "T2" as the text says it, or None.
        plane: "axial", "coronal", "sagittal", "oblique" or None.
        slices: their number.
        size: rows and columns.
    """

    text: str
    contrast: str | None
    plane: str | None
    slices: int
    size: tuple[int, int]

    @classmethod
    def of(cls, text: str, shape: tuple[int, int, int]) -> Label:
        """Of an entry of `Selection.texts` and the shape of the volume."""
        plane = _PLANE.search(text)
        return cls(text, contrast_in_name(text), plane and plane[1], shape[0], shape[1:])


class View(NamedTuple):
    """What the images under one key are made of."""

    series: int
    to: str
    style: Style | None
    real: int | None

    @property
    def made(self) -> Made:
        """What its translations are made for."""
        return Made(self.to, self.style)


@dataclass(eq=False)
class Series:
    """Pixels, choices and results; `Scan.lock` guards them.

    Attributes:
        number: in the scan.
        volume: as read.
        to: the contrast to translate to.
        index: of the slice on screen.
        is_turned: whether the user chose the direction.
        scale: of the whole volume.
        box: of the head in all slices, as `box` returns it.
        is_checked: whether `check` is known; it stays None where there is no input check.
        check: what the pixels look like.
        allowed: contrasts to translate to whatever the check says.
        styles: chosen, by contrast.
        real: given or taken from the same files.
    """

    number: int
    volume: Volume
    to: str
    index: int = 0
    is_turned: bool = False
    is_checked: bool = False
    check: Assessment | None = None
    unchecked: str = ""
    allowed: set[str] = field(default_factory=set)
    styles: dict[str, Style] = field(default_factory=dict)
    real: Real | None = None
    is_simulated: bool = False
    results: Results = field(default_factory=Results)
    _provenances: dict[Made, Provenance] = field(default_factory=dict)
    _prepared: Prepared | None = None

    def __post_init__(self) -> None:
        self.scale = Scale.fit(self.volume.pixels)
        self.index = self.slices // 2
        self.box = box(self.scale.apply(self.volume.pixels.max(axis=0)))

    @property
    def slices(self) -> int:
        """Number of slices."""
        return len(self.volume.pixels)

    @property
    def style(self) -> Style | None:
        """That translations follow; None: what suits the source."""
        return self.styles.get(self.to)

    @property
    def view(self) -> View:
        """What is on screen."""
        real = self.real.number if self.real is not None and self.real.to == self.to else None
        return View(self.number, self.to, self.style, real)

    @property
    def is_large(self) -> bool:
        """Whether it is too large to be translated as a whole."""
        return self.volume.pixels.size > WHOLE_VOXELS

    @property
    def pixel_bytes(self) -> int:
        """Of what was read; an example is held once for all."""
        if self.is_simulated:
            return 0
        real = 0 if self.real is None else self.real.truth.volume.pixels.nbytes
        return self.volume.pixels.nbytes + real

    def input_warning(self) -> InputWarning:
        """What the input looks like beside the direction."""
        if self.is_simulated:
            return simulated_warning(self.volume.contrast_hint, self.to)
        hint, other = self.volume.contrast_hint, self.volume.other_contrast
        return input_warning(self.check, hint, self.to, self.unchecked, other=other)

    def preset(self) -> str:
        """The direction that the pixels, or else the header, ask for."""
        return preset(self.check, self.volume.contrast_hint, self.to)

    def prepared(self, model: Model) -> Prepared:
        """Scale and framing of the whole volume, worked out once; `scale` alone is quicker."""
        if self._prepared is None:
            pixels, spacing = self.volume.pixels, self.volume.pixel_spacing
            self._prepared = model.prepare(pixels, self.scale, spacing)
        return self._prepared

    def provenance(self, model: Model, made: Made) -> Provenance:
        """Of translations; the pixels' checksum is worked out once for each."""
        if made not in self._provenances:
            translator, name = model.translator, made.style.name if made.style else ""
            self._provenances[made] = provenance(
                self.volume, translator.version, translator.checksum, made.to, name
            )
        return self._provenances[made]

    def original(self, index: int) -> np.ndarray:
        """(H, W) float32 in [0, 1]."""
        return self.scale.apply(self.volume.pixels[index])

    def result(self, index: int, view: View | None = None) -> CycleResult | None:
        """Slice `index` there and back, (H, W) float32 in [0, 1], if it is there."""
        images = self.results.get((view or self.view).made, index)
        return None if images is None else CycleResult(self.original(index), *images)

    def missing(self, near: int, view: View | None = None) -> list[int]:
        """Slices that are to be translated, the nearest to `near` first."""
        slices = {near} if self.is_large else set(range(self.slices))
        left = slices - self.results.indices((view or self.view).made)
        return sorted(left, key=lambda index: abs(index - near))


def box(projection: np.ndarray) -> list[int] | None:
    """Left, top, right and bottom of the head in (H, W), in pixels; None without a head."""
    mask = head_mask(projection)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return None
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]


def companion(labels: tuple[Label, ...], chosen: int, to: str) -> int | None:
    """Number of what came in the same files and may be the real image of the contrast `to`, of the
    same size where there is one."""
    shape = (labels[chosen].slices, labels[chosen].size)
    others = [
        ((label.slices, label.size) != shape, number)
        for number, label in enumerate(labels)
        if number != chosen and label.contrast == to
    ]
    return min(others)[1] if others else None
