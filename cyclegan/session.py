"""What one reader's browser tab holds: a volume, its translated slices, and how they are shown.

The page calls this; nothing here knows of Gradio. A `Session` lives in memory only and is forgotten
with `clear`.
"""

from __future__ import annotations

import base64
import itertools
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from cyclegan import OTHER

if TYPE_CHECKING:  # torch and the file readers are slow to import, and the types suffice here
    from cyclegan.translate import CycleResult, Prepared, Translator
    from cyclegan.volume import Volume

CAVEAT = "Research demo, not for diagnosis: synthetic images can miss or invent findings."
# A translated slice of 256x256 takes 0.8 MB: a hundred of them stay, the rest is computed again.
CACHE_BYTES = 80_000_000

_keys = itertools.count(1)


class ReaderError(ValueError):
    """Something the reader of the page can put right, in one sentence."""


def encode_uint16(image: np.ndarray) -> str:
    """Encode (H, W) real in [0, 1] as base64 of little-endian uint16, 65535 standing for 1.

    Sixteen bits keep the depth that a narrow window shows; eight would band.
    """
    levels = np.rint(np.clip(image, 0, 1) * 65535).astype("<u2")
    return base64.b64encode(levels.tobytes()).decode("ascii")


@dataclass(eq=False)
class Session:
    """One opened file.

    Attributes:
        volume: the scan as read; None once cleared.
        to: the contrast of the result on screen, "T1" or "T2"; None before the first translation.
        key: grows with every opened file, so that the viewer can tell a late answer from a new one.
        run: grows with every press of Translate.
    """

    volume: Volume | None
    to: str | None = None
    key: int = field(default_factory=lambda: next(_keys))
    run: int = 0
    _results: OrderedDict[tuple[str, int], CycleResult] = field(default_factory=OrderedDict)
    _prepared: Prepared | None = None

    @property
    def slices(self) -> int:
        """Number of slices."""
        return len(self.volume.pixels)

    @property
    def middle(self) -> int:
        """Index of the slice to open with."""
        return self.slices // 2

    def start(self, to: str) -> None:
        """From now on `view` shows the translation into `to`."""
        self.to = to
        self.run += 1

    def clear(self) -> None:
        """Forget the scan and everything made from it."""
        self.volume = None
        self._results.clear()

    def prepared(self, translator: Translator) -> Prepared:
        """Scale and framing of the whole volume, worked out once."""
        if self._prepared is None:
            self._prepared = translator.prepare(self.volume.pixels)
        return self._prepared

    def result(self, translator: Translator, index: int, to: str) -> CycleResult:
        """Translate slice `index` there and back, or return it from memory.

        Returns:
            .source, .translated, .reconstructed, each (H, W) float32 in [0, 1], scaled by the whole
            volume so that neighbouring slices match.
        """
        if (to, index) in self._results:
            self._results.move_to_end((to, index))
            return self._results[to, index]
        pixels = self.volume.pixels
        result = translator.cycle(pixels[index], to=to, prepared=self.prepared(translator))
        self._results[to, index] = result
        room = max(1, CACHE_BYTES // (3 * result.source.nbytes))
        while len(self._results) > room:
            self._results.popitem(last=False)
        return result

    def translated_volume(
        self,
        translator: Translator,
        progress: Callable[[float], None] = lambda share: None,
    ) -> np.ndarray:
        """Translate every slice into the contrast on screen: (Z, H, W) float32 in [0, 1]."""
        translated = np.empty(self.volume.pixels.shape, np.float32)
        for index in range(self.slices):
            translated[index] = self.result(translator, index, self.to).translated
            progress((index + 1) / self.slices)
        return translated

    def view(self, translator: Translator, index: int) -> dict[str, Any]:
        """Everything the viewer shows of slice `index`, as JSON (the form is in viewer.js).

        Before the first translation only the original is there. Images go as 16-bit values.
        """
        volume = self.volume
        row, column = volume.spacing[1:] if volume.spacing else (1.0, 1.0)
        height, width = volume.pixels.shape[1:]
        panels = (
            self._original(self.prepared(translator).scale.apply(volume.pixels[index]))
            if self.to is None
            else self._panels(self.result(translator, index, self.to))
        )
        return {
            "key": self.key,
            "run": self.run,
            "index": index,
            "slices": self.slices,
            "width": width,
            "height": height,
            "aspect": row / column,
            "directions": list(volume.directions) if volume.directions else None,
            "caption": self._caption(index),
            "notes": " ".join(_sentence(note) for note in volume.notes),
            "provenance": self._provenance(translator),
            "panels": panels,
        }

    def _original(self, source: np.ndarray, read_as: str = "") -> dict[str, Any]:
        sub = f"as {read_as}" if read_as else ""
        return {
            "original": {
                "title": "Original",
                "sub": sub,
                "note": _size(self.volume),
                "alt": f"Original slice {sub}".strip(),
                "data": encode_uint16(source),
            }
        }

    def _panels(self, result: CycleResult) -> dict[str, Any]:
        to, source = self.to, OTHER[self.to]
        return {
            **self._original(result.source, source),
            "translated": {
                "title": f"Synthetic {to}",
                "sub": f"{source} → {to}",
                "note": f"Made by the model, not acquired. The true {to} is unknown.",
                "alt": f"Synthetic {to} made from the original",
                "data": encode_uint16(result.translated),
            },
            "reconstructed": {
                "title": "Cycle reconstruction",
                "sub": f"{source} → {to} → {source}",
                "note": f"The synthetic {to} translated back to {source}.",
                "alt": f"Reconstruction of the original from the synthetic {to}",
                "data": encode_uint16(result.reconstructed),
            },
            "difference": {
                "title": "|Original − reconstruction|",
                "sub": "share of the grey range",
                "alt": "Map of the absolute difference between original and reconstruction; "
                "cycle error, not translation error",
            },
        }

    def _caption(self, index: int) -> str:
        parts = [self.volume.name]
        if self.slices > 1:
            parts.append(f"slice {index + 1} of {self.slices}")
        if self.volume.directions is None:
            parts.append("orientation unknown")
        return " · ".join(parts)

    def _provenance(self, translator: Translator) -> str:
        if self.to is None:
            return ""
        return f"Model {translator.version} · weights sha256 {translator.checksum[:16]}"


def _size(volume: Volume) -> str:
    """Matrix and, when known, pixel size: "256 × 256, 1.00 × 1.00 mm"."""
    height, width = volume.pixels.shape[1:]
    matrix = f"{width} × {height}"
    if volume.spacing is None:
        return f"{matrix} pixels, size unknown"
    thickness, row, column = volume.spacing
    size = f"{column:.2f} × {row:.2f} mm"
    if len(volume.pixels) > 1:
        size += f", slices {thickness:.2f} mm apart"
    return f"{matrix} pixels of {size}"


def _sentence(note: str) -> str:
    """A note of the reader as a sentence: capital first, full stop last."""
    text = note.strip().rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."
