"""What one reader's browser tab holds: a volume and its translated slices.

The page calls this; nothing here knows of Gradio. A `Session` lives in memory only and is forgotten
with `clear`.
"""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from cyclegan.model.translator import CycleResult
from cyclegan.reading.sequence_names import contrast_in_name
from cyclegan.results.provenance import Provenance, provenance
from cyclegan.web.limits import SCAN_FINDINGS_BYTES, SCAN_RESULT_BYTES
from cyclegan.web.notice import Notice, notice
from cyclegan.web.turns import Rank

if TYPE_CHECKING:
    from cyclegan.model.style import Style
    from cyclegan.model.translator import Prepared
    from cyclegan.reading.series import Selection
    from cyclegan.reading.volume import Volume
    from cyclegan.trust.checks import Assessment
    from cyclegan.trust.truth import Truth
    from cyclegan.web.turns import SharedModel, Turn

_keys = itertools.count(time.time_ns() // 10**6)  # also after a restart, for a tab from before


def _nothing() -> None:
    """Nobody wants to know."""


class ReaderError(ValueError):
    """Something the reader of the page can put right, in one sentence."""


@dataclass(eq=False)
class Session:
    """One opened scan. Several threads may use it: one works through the volume, another scrolls.

    Attributes:
        volume: the scan as read; None once cleared.
        selection: all that was dropped together with it; None for an example.
        choice: which of `selection.choices` this is.
        check: what the pixels look like; None without an input check, for the reason `unchecked`.
        drawn: whether it is an example, drawn and simulated, and nobody's.
        hints: what else there was to say of the files, in sentences.
        is_new: whether it was opened just now, and may be translated without being asked for.
        to: the contrast of the result on screen, "T1" or "T2"; None before the first translation.
        shown: index of the slice on screen.
        token: for the viewer to fetch slices with; 256 random bits.
        key: grows with every opened file, so that the viewer can tell a late answer from a new one.
        run: grows with every press of Translate.
        job: grows with every start and stop of work on the whole volume; who works compares it.
        doubt: what speaks against the real image, in a sentence; "" without one.
        last_used: `time.monotonic` of when somebody wanted something of the scan.
        grown: called when more is kept than before.
    """

    volume: Volume | None
    selection: Selection | None = None
    choice: int = 0
    check: Assessment | None = None
    unchecked: str = ""
    drawn: bool = False
    hints: tuple[str, ...] = ()
    is_new: bool = False
    to: str | None = None
    shown: int = 0
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    key: int = field(default_factory=lambda: next(_keys))
    run: int = 0
    job: int = 0
    doubt: str = ""
    last_used: float = field(default_factory=time.monotonic)
    grown: Callable[[], None] = _nothing
    _results: OrderedDict[tuple[str, int], tuple[np.ndarray, np.ndarray]] = field(
        default_factory=OrderedDict
    )
    _findings: OrderedDict[tuple[str, int], tuple[dict[str, float], np.ndarray | None]] = field(
        default_factory=OrderedDict
    )
    _looks: dict[str, Style] = field(default_factory=dict)
    _prepared: Prepared | None = None
    _truth: tuple[Truth, str] | None = None
    _provenance: dict[str, Provenance] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def slices(self) -> int:
        """Number of slices."""
        return len(self.held().pixels)

    @property
    def middle(self) -> int:
        """Index of the slice to open with."""
        return self.slices // 2

    def start(self, to: str) -> None:
        """From now on the page shows the translation into `to`."""
        self.to = to
        self.run += 1

    def reopen(self) -> None:
        """Come back to the screen: newer than what has been there meanwhile."""
        self.key = next(_keys)

    def begin_job(self) -> int:
        """Begin work on the whole volume; it goes on while `job` is what this returns."""
        with self._lock:
            self.job += 1
            return self.job

    def stop_job(self) -> None:
        """Let the work on the whole volume end after its present batch."""
        self.begin_job()

    def clear(self) -> None:
        """Forget the scan and everything made from it, and stop working on it."""
        self.stop_job()
        with self._lock:
            self.volume = self.selection = self.check = self._prepared = self._truth = None
            self.grown = _nothing
            self._results.clear()
            self._findings.clear()
            self._provenance.clear()
            self._looks.clear()

    def notice(self, to: str) -> Notice:
        """What the input looks like beside a translation into `to`."""
        volume = self.held()
        return notice(
            self.check, volume.contrast_hint, to, self.unchecked, other=volume.other_contrast
        )

    def companion(self, to: str) -> tuple[int, str] | None:
        """What came in the same files and may be the real image of the contrast `to`.

        Returns:
            Number and label of a choice of `selection`, of the same size where there is one.
        """
        if self.selection is None or self.has_truth:
            return None
        labels = self.selection.choices
        size = labels[self.choice].rsplit(", ", 2)[1:]
        others = [
            (label.rsplit(", ", 2)[1:] != size, number, label)
            for number, label in enumerate(labels)
            if number != self.choice and contrast_in_name(label) == to
        ]
        return min(others)[1:] if others else None

    def set_truth(self, truth: Truth | None, to: str, doubt: str = "") -> None:
        """Compare translations into `to` with `truth`; None: with nothing any more."""
        with self._lock:
            if self.volume is not None:
                self._truth = truth and (truth, to)
                self.doubt = doubt

    def truth_for(self, to: str | None) -> Truth | None:
        """The real image of the contrast `to`, if the reader gave one."""
        held = self._truth
        return held[0] if held is not None and held[1] == to else None

    @property
    def has_truth(self) -> bool:
        """Whether the reader gave a real image."""
        return self._truth is not None

    def look_for(self, to: str | None) -> Style | None:
        """The look that translations into `to` follow; None: what suits the source."""
        return self._looks.get(to or "")

    def set_look(self, look: Style | None, to: str) -> None:
        """Let translations into `to` follow a look; what was made in another one is forgotten."""
        with self._lock:
            if self.volume is None:
                return
            self._looks.pop(to, None)
            if look is not None:
                self._looks[to] = look
            for kept in (self._results, self._findings):
                for key in [key for key in kept if key[0] == to]:
                    del kept[key]
            self._provenance.pop(to, None)

    def provenance(self, model: SharedModel) -> Provenance:
        """Of the result on screen; the pixels' checksum is worked out once."""
        to = self.to
        if to not in self._provenance:
            translator, look = model.translator, self.look_for(to)
            name = look.name if look else ""
            self._provenance[to] = provenance(
                self.held(), translator.version, translator.checksum, to, name
            )
        return self._provenance[to]

    def kept_findings(
        self, index: int, to: str
    ) -> tuple[dict[str, float], np.ndarray | None] | None:
        """What `keep_findings` was given for this slice, if it is still there."""
        with self._lock:
            return self._findings.get((to, index))

    def keep_findings(
        self, index: int, to: str, numbers: dict[str, float], uncertainty: np.ndarray | None
    ) -> None:
        """Remember the numbers and the map, (H, W) float32, of a slice."""
        with self._lock:
            if self.volume is None:  # cleared meanwhile: keep nothing
                return
            self._findings[to, index] = numbers, uncertainty
            room = max(1, SCAN_FINDINGS_BYTES // (4 * self.volume.pixels[0].size))
            while len(self._findings) > room:
                self._findings.popitem(last=False)

    def prepared(self, model: SharedModel) -> Prepared:
        """Scale and framing of the whole volume, worked out once."""
        prepared = self._prepared
        if prepared is None:
            volume = self.held()
            prepared = self._prepared = model.prepare(volume.pixels, volume.pixel_spacing)
        return prepared

    def result(self, model: SharedModel, index: int, to: str) -> CycleResult:
        """Translate slice `index` there and back, or return it from memory.

        Args:
            model: does it, in its turn.
            index: of the slice.
            to: the contrast to translate to.

        Returns:
            .source, .translated, .reconstructed, each (H, W) float32 in [0, 1], scaled by the whole
            volume so that neighbouring slices match.
        """
        pixels, prepared = self.held().pixels, self.prepared(model)
        with self._lock:
            kept = self._results.get((to, index))
            if kept is not None:
                self._results.move_to_end((to, index))
        if kept is not None:
            return CycleResult(prepared.scale.apply(pixels[index]), *kept)
        look = self.look_for(to)
        result = model.cycle(pixels[index], to, prepared, look)
        self._keep(to, look, index, result.translated, result.reconstructed)
        return result

    def join(self, model: SharedModel, index: int, to: str, tab: str) -> Turn | None:
        """Stand in line for the `result` of slice `index`; None when it is there already.

        Args:
            model: does it, in its turn.
            index: of the slice.
            to: the contrast to translate to.
            tab: gives up its earlier place for this one.
        """
        if self.has(index, to):
            return None
        pixels, prepared = self.held().pixels[index], self.prepared(model)
        look = self.look_for(to)

        def work() -> None:
            result = model.translator.cycle(pixels, to, prepared=prepared, style=look)
            self._keep(to, look, index, result.translated, result.reconstructed)

        return model.turns.join(work, tab=tab)

    def translate_slices(self, model: SharedModel, indices: Sequence[int], to: str) -> None:
        """Translate a batch of slices there and back in the background; `result` has them then."""
        pixels, prepared = self.held().pixels[list(indices)], self.prepared(model)
        look = self.look_for(to)
        result = model.cycle(pixels, to, prepared, look, rank=Rank.WHOLE)
        for index, *images in zip(indices, result.translated, result.reconstructed, strict=True):
            self._keep(
                to, look, index, *(image.copy() for image in images)
            )  # not a view of the batch

    def has(self, index: int, to: str) -> bool:
        """Whether `result` would answer from memory."""
        with self._lock:
            return (to, index) in self._results

    @property
    def scan_bytes(self) -> int:
        """Of the scan in memory, with the files that it came in and the real image."""
        with self._lock:
            held = [self.volume, self._truth and self._truth[0].volume]
            files = self.selection.size if self.selection else 0
        return files + sum(volume.pixels.nbytes for volume in held if volume is not None)

    @property
    def result_bytes(self) -> int:
        """Of what can be computed again."""
        with self._lock:
            kept = sum(image.nbytes for images in self._results.values() for image in images)
            maps = sum(0 if found is None else found.nbytes for _, found in self._findings.values())
        return kept + maps

    def drop_results(self) -> None:
        """Forget what can be computed again."""
        with self._lock:
            self._results.clear()
            self._findings.clear()

    def missing(self, to: str, near: int = 0) -> list[int]:
        """Slices not yet translated into `to`, the nearest to slice `near` first."""
        with self._lock:
            done = {index for contrast, index in self._results if contrast == to}
        left = [index for index in range(self.slices) if index not in done]
        return sorted(left, key=lambda index: abs(index - near))

    def translated_volume(self, model: SharedModel) -> np.ndarray:
        """Every slice in the contrast on screen: (Z, H, W) float32 in [0, 1]."""
        translated = np.empty(self.held().pixels.shape, np.float32)
        for index in range(len(translated)):
            translated[index] = self.result(model, index, self.to).translated
        return translated

    def held(self) -> Volume:
        """The volume, which another thread may take away at any time.

        Raises:
            ReaderError: it is gone.
        """
        self.last_used = time.monotonic()
        volume = self.volume
        if volume is None:
            raise ReaderError("Nothing is loaded any more; drop in a file or pick an example.")
        return volume

    def _keep(self, to: str, look: Style | None, index: int, *images: np.ndarray) -> None:
        with self._lock:
            # Cleared, or in another look meanwhile: keep nothing.
            if self.volume is None or self._looks.get(to) is not look:
                return
            self._results[to, index] = images
            room = max(1, SCAN_RESULT_BYTES // sum(image.nbytes for image in images))
            while len(self._results) > room:
                self._results.popitem(last=False)
            grown = self.grown
        grown()
