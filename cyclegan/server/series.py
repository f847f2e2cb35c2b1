"""One series of a scan as it is worked on: pixels, choices, and what is shown under one key."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cyclegan import CONTRASTS, OTHER
from cyclegan.export.provenance import Provenance, pixels_sha256
from cyclegan.model.head import head_mask
from cyclegan.model.preprocess import Frame, Scale
from cyclegan.model.translator import CycleResult, Prepared
from cyclegan.reading.sequence_names import contrast_in_name
from cyclegan.server.errors import GoneError, UserError
from cyclegan.server.fit import Fit, input_fit, simulated_fit
from cyclegan.server.images import Results, SliceResult, Target
from cyclegan.server.limits import WHOLE_VOXELS
from cyclegan.trust.truth import Truth, TruthError, match

if TYPE_CHECKING:
    from cyclegan.model.style import Style
    from cyclegan.reading.volume import Volume
    from cyclegan.server.models import Model
    from cyclegan.trust.checks import Assessment

_PLANE = re.compile(r"\b(axial|coronal|sagittal|oblique)\b")
_real_numbers = itertools.count(1)


class Label(NamedTuple):
    """A series in the list of all.

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


@dataclass(frozen=True, eq=False)
class Real:
    """An acquired image of the contrast that is translated to.

    Attributes:
        truth: registered onto the series, or placed by the headers alone.
        to: its contrast, as the user has it.
        warning: what speaks against it, in a sentence, or "".
        contrast: "T1" or "T2" as its pixels look like, or None.
    """

    truth: Truth
    to: str
    warning: str = ""
    contrast: str | None = None
    number: int = field(default_factory=lambda: next(_real_numbers))

    @property
    def title(self) -> str:
        """What it may be called where it is shown."""
        if not self.warning:
            return f"real {self.to}"
        looks = f", looks like {self.contrast}" if self.contrast else ""
        return f"compared image{looks}"


@dataclass(eq=False)
class Series:
    """Pixels, choices and results; `Scan.lock` guards them.

    Attributes:
        model: translates.
        volume: as read.
        chosen: the contrast that the user chose to translate to, or None.
        default: the contrast to translate to where neither user, pixels nor header say one.
        is_simulated: whether it is an example.
        index: of the slice on screen.
        check: what the pixels look like; unchecked: why that is not known. Until either is there,
            it is to be checked.
        allowed: contrasts to translate to whatever the check says.
        styles: chosen, by contrast.
        real: to compare with.
        scale: of the whole volume.
        box: of the head in all slices, as `head_box` returns it.
    """

    model: Model
    volume: Volume
    chosen: str | None = None
    default: str = "T2"
    is_simulated: bool = False
    results: Results = field(default_factory=Results)
    check: Assessment | None = None
    unchecked: str = ""
    allowed: set[str] = field(default_factory=set)
    styles: dict[str, Style] = field(default_factory=dict)
    real: Real | None = None

    def __post_init__(self) -> None:
        self.scale = Scale.fit(self.volume.pixels)
        self.index = self.slices // 2
        self.box = head_box(self._projection)

    @cached_property
    def _projection(self) -> np.ndarray:
        """(H, W) float32 in [0, 1], the brightest of all slices; scaling keeps the order."""
        return self.scale.apply(self.volume.pixels.max(axis=0))

    @property
    def to(self) -> str:
        """The contrast to translate to: by the user, else the pixels, else the header."""
        if self.chosen is not None:
            return self.chosen
        return (self.check and self.check.to) or OTHER.get(self.volume.contrast_hint, self.default)

    @property
    def is_checked(self) -> bool:
        """Whether it is known what the pixels look like, or why it is not."""
        return self.is_simulated or self.check is not None or bool(self.unchecked)

    @property
    def slices(self) -> int:
        """Number of slices."""
        return len(self.volume.pixels)

    @property
    def style(self) -> Style | None:
        """That translations follow; None: the source's own."""
        return self.styles.get(self.to)

    @property
    def target(self) -> Target:
        """What is translated to."""
        return Target(self.to, self.style)

    @property
    def pixel_bytes(self) -> int:
        """Of what was read; an example is in memory once for all."""
        if self.is_simulated:
            return 0
        real = 0 if self.real is None else self.real.truth.volume.pixels.nbytes
        return self.volume.pixels.nbytes + real

    @property
    def fit(self) -> Fit:
        """Whether the input is what the direction needs."""
        if self.is_simulated:
            return simulated_fit(self.volume.contrast_hint, self.to)
        hint, other = self.volume.contrast_hint, self.volume.other_contrast
        return input_fit(self.check, hint, self.to, self.unchecked, other)

    @property
    def halted(self) -> str:
        """Why the translation does not run by itself, in a sentence; "" when it does."""
        is_waiting = self.is_checked and self.fit.asks and self.to not in self.allowed
        return self.fit.sentence if is_waiting else ""

    @property
    def may_translate(self) -> bool:
        """Whether it was checked, and nothing halts the translation."""
        return self.is_checked and not self.halted

    @cached_property
    def prepared(self) -> Prepared:
        """Scale and framing of the whole volume, as `Translator.prepare` returns them."""
        size, spacing = self.model.translator.size, self.volume.pixel_spacing
        return Prepared(self.scale, Frame.fit(self._projection, size, spacing))

    @cached_property
    def _checksum(self) -> str:
        return pixels_sha256(self.volume)

    def provenance(self, target: Target) -> Provenance:
        """Of translations."""
        translator, style = self.model.translator, target.style.name if target.style else ""
        return Provenance(translator.version, translator.checksum, target.to, self._checksum, style)

    def original(self, index: int) -> np.ndarray:
        """(H, W) float32 in [0, 1]."""
        return self.scale.apply(self.volume.pixels[index])

    def missing(self, near: int) -> list[int]:
        """Slices that are to be translated, the nearest to `near` first."""
        is_large = self.volume.pixels.size > WHOLE_VOXELS  # to be translated as a whole
        slices = {near} if is_large else set(range(self.slices))
        left = slices - self.results.indices(self.target)
        return sorted(left, key=lambda index: abs(index - near))

    def compare_with(self, volume: Volume, to: str, *, register: bool = True) -> Real:
        """An acquired image of the contrast `to`, placed on this series.

        Args:
            volume: the image.
            to: "T1" or "T2".
            register: whether to move it rigidly, or leave it where its header says.

        Raises:
            UserError: it cannot be compared with the series.
        """
        try:
            truth = match(volume, self.volume, register)
        except TruthError as error:
            raise UserError(str(error)) from None
        check = self.model.assess(volume.pixels, volume.pixel_spacing)
        if check is None:
            return Real(truth, to, contrast=to)
        warning = "" if check.label == to else f"It should be a {to}. {check.sentence}"
        return Real(truth, to, warning, check.label if check.label in CONTRASTS else None)


class View(NamedTuple):
    """What the images under one key are made of.

    Attributes:
        series: of them all.
        target: of the synthetic ones.
        real_number: of the `Real` that they are compared with, or None.
    """

    series: Series
    target: Target
    real_number: int | None

    @classmethod
    def of(cls, series: Series) -> View:
        """What is on screen of a series."""
        real = series.real
        return cls(series, series.target, real.number if real and real.to == series.to else None)

    @property
    def real(self) -> Real | None:
        """That they are compared with, unless it was removed."""
        real = self.series.real
        return real if real is not None and real.number == self.real_number else None

    def stored(self, index: int) -> SliceResult:
        """What is there of slice `index`.

        Raises:
            GoneError, UserError: there is no such slice; it is not translated yet.
        """
        if not 0 <= index < self.series.slices:
            raise GoneError("There is no such slice.")
        result = self.series.results.get(self.target, index)
        if result is None:
            raise UserError("This slice is not translated yet.", 409)
        return result

    def result(self, index: int) -> CycleResult:
        """Slice `index` there and back, (H, W) float32 in [0, 1]; raises as `stored`."""
        result = self.stored(index)
        return CycleResult(self.series.original(index), result.translated, result.reconstructed)

    def whole(self) -> CycleResult:
        """All slices there and back, (Z, H, W); raises as `stored`."""
        results = [self.result(index) for index in range(self.series.slices)]
        names = ("source", "translated", "reconstructed")
        return CycleResult(*(np.stack([getattr(r, name) for r in results]) for name in names))

    def translated(self) -> np.ndarray:
        """The translation of all slices, (Z, H, W); raises as `stored`."""
        slices = range(self.series.slices)
        return np.stack([self.stored(index).translated for index in slices])

    def image(self, name: str, index: int) -> np.ndarray:
        """One image of a slice, (H, W) float32 in [0, 1].

        Args:
            name: "original", "translated", "reconstructed", "uncertainty" or "real"; of the last
                one 0 says that it does not reach there.
            index: of the slice.

        Raises:
            GoneError, UserError: there is no such image; it is not computed yet.
        """
        if name == "original" and 0 <= index < self.series.slices:
            return self.series.original(index)
        if name in ("translated", "reconstructed"):
            return getattr(self.stored(index), name)
        if name == "uncertainty":
            measured = self.stored(index).measured
            if measured is None:
                raise UserError("This slice is not measured yet.", 409)
            if measured.map is not None:
                return measured.map
        real = self.real  # which may be removed meanwhile
        if name == "real" and real is not None and 0 <= index < self.series.slices:
            pixels, covered = real.truth.slice(index, self.series.volume.pixels.shape[1:])
            return np.where(covered, np.maximum(pixels, 1 / 65535), 0)
        raise GoneError("There is no such image.")


def head_box(projection: np.ndarray) -> list[int] | None:
    """Left, top, right and bottom of the head in (H, W), in pixels; None without a head."""
    mask = head_mask(projection)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return None
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]


def other_contrast(labels: tuple[Label, ...], chosen: int, to: str) -> int | None:
    """Number of what came in the same files and may be the real image of the contrast `to`, of the
    same size where there is one."""
    shape = (labels[chosen].slices, labels[chosen].size)
    others = [
        ((label.slices, label.size) != shape, number)
        for number, label in enumerate(labels)
        if number != chosen and label.contrast == to
    ]
    return min(others)[1] if others else None
