"""One opened scan: its series, and what the user chooses."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

import numpy as np

from cyclegan import CONTRASTS
from cyclegan.model.translator import CycleResult
from cyclegan.reading.archive import Member
from cyclegan.reading.selection import Selection, open_files
from cyclegan.reading.volume import Volume
from cyclegan.server import limits, queue
from cyclegan.server.errors import GoneError, NotReadyError, UserError, within
from cyclegan.server.images import thumbnail
from cyclegan.server.measurements import measured_slice
from cyclegan.server.models import SOURCE
from cyclegan.server.results import Download, Results, Save
from cyclegan.server.series import Label, Series, View, other_contrast
from cyclegan.server.translation import Translation, Updates

if TYPE_CHECKING:
    from cyclegan.server.models import Model

NO_SERIES = "There is no such series in these files."


class Scan:
    """Held under a random token. Several threads use it: the queue's translates, others choose.

    Args:
        model: translates.
        volume: the series on screen.
        selection: all that came together; None for an example.
        is_simulated: whether it is an example.
        to: the contrast to translate to until the pixels say more.
        results: shared with other scans of the same example.

    Attributes:
        token: 256 random bits.
        updates: of what `state.state` describes.
        labels: of all series.
        message: an error or a warning for the user, or "".
        is_registering: whether a real image is being placed on the scan.
        save: the file that was asked for last, or None.
        last_used: `time.monotonic` of the last request for anything but the state.
        last_seen: and of the last request at all.
        grown: called when more is in memory than before.
    """

    def __init__(
        self,
        model: Model,
        volume: Volume,
        selection: Selection | None = None,
        *,
        is_simulated: bool = False,
        to: str = "T2",
        results: Results | None = None,
    ):
        self.model = model
        self.selection = selection
        self.is_simulated = is_simulated
        self.token = secrets.token_urlsafe(32)
        self.updates = Updates()
        self.lock = threading.RLock()
        texts = selection.texts if selection else (volume.name,)
        shapes = selection.shapes if selection else (volume.pixels.shape,)
        self.labels = tuple(map(Label.of, texts, shapes))
        self.message = ""
        self.is_registering = False
        self.save: Save | None = None
        self.files: dict[str, Download] = {}
        self.last_used = self.last_seen = time.monotonic()
        self.is_closed = False
        self.grown = lambda: None
        self._opened: dict[int, Series] = {}  # by number
        self._views: list[View] = []
        self._thumbnails: dict[int, bytes] = {}
        self._request: tuple[View, int] | None = None
        self._measuring: Future | None = None
        self.translation = Translation(
            model.queue, self.lock, self.updates, self._on_screen, self._finish_batch
        )
        self.chosen = selection.best if selection else 0
        self._opened[self.chosen] = self._new_series(volume, self.chosen, to)
        if results is not None:
            self.series.results = results

    @classmethod
    def open(cls, model: Model, files: Sequence[Member]) -> Scan:
        """Read files that came together; `translation.check` is still to be called.

        Raises:
            ReadError, UserError: nothing in them can be read, or not in time.
        """
        with within(limits.OPENING_S, "Opening these files"):
            selection = open_files(files)
            return cls(model, selection.read(selection.best), selection)

    # What is in memory.

    @property
    def series(self) -> Series:
        """On screen.

        Raises:
            GoneError: the scan was closed.
        """
        with self.lock:
            if self.is_closed:
                raise GoneError
            return self._opened[self.chosen]

    def _on_screen(self) -> Series | None:
        return None if self.is_closed else self._opened[self.chosen]

    def _finish_batch(self, error: str) -> None:
        if error:
            self.message = error
        self.updates.announce()
        self.grown()

    @property
    def held_bytes(self) -> int:
        """Everything in memory for it."""
        with self.lock:
            size = self.result_bytes + (self.selection.size if self.selection else 0)
            size += sum(len(download.data) for download in self.files.values())
            return size + sum(series.pixel_bytes for series in self._opened.values())

    @property
    def result_bytes(self) -> int:
        """What can be computed again."""
        with self.lock:
            opened = self._opened.values()
            return sum(series.results.nbytes for series in opened if not series.is_simulated)

    def key(self) -> str:
        """The name of the images on screen."""
        with self.lock:
            view = self.series.view
            if view not in self._views:
                self._views.append(view)
            return str(self._views.index(view))

    def shown(self, key: str) -> tuple[Series, View]:
        """What the images of a key are made of.

        Raises:
            GoneError: no such key.
        """
        with self.lock:
            if self.is_closed or not key.isdecimal() or int(key) >= len(self._views):
                raise GoneError
            view = self._views[int(key)]
            return self._opened[view.series], view

    def result(self, key: str, index: int) -> CycleResult:
        """Slice `index` of a key, there and back.

        Raises:
            GoneError, NotReadyError: no such slice; not translated yet.
        """
        series, view = self.shown(key)
        if not 0 <= index < series.slices:
            raise GoneError
        result = series.result(view.target, index)
        if result is None:
            raise NotReadyError("This slice is not translated yet.")
        return result

    def image(self, key: str, name: str, index: int) -> np.ndarray:
        """One image of a slice, (H, W) float32 in [0, 1].

        Args:
            key: as `key` returns it.
            name: "original", "translated", "reconstructed", "uncertainty" or "real"; of the last
                one 0 says that it does not reach there.
            index: of the slice.

        Raises:
            GoneError, NotReadyError: there is no such image; it is not computed yet.
        """
        series, view = self.shown(key)
        real = series.real
        if not 0 <= index < series.slices:
            raise GoneError("There is no such slice.")
        if name == "original":
            return series.original(index)
        if name in ("translated", "reconstructed"):
            return getattr(self.result(key, index), name)
        if name == "uncertainty":
            result = series.results.get(view.target, index)
            if result is None or result.measured is None:
                raise NotReadyError("This slice is not measured yet.")
            if result.measured.map is not None:
                return result.measured.map
        elif name == "real" and real is not None and real.number == view.real:
            pixels, covered = real.truth.slice(index, series.volume.pixels.shape[1:])
            return np.where(covered, np.maximum(pixels, 1 / 65535), 0)
        raise GoneError("There is no such image.")

    def measured(self, series: Series, view: View, index: int) -> Future:
        """Numbers and map of a slice, once they are known; only the newest request stays."""
        with self.lock:
            request = (view, index)
            if self._request != request and self._measuring is not None:
                self._measuring.cancel()
            if self._request != request or self._measuring is None or self._measuring.done():
                self._measuring = measured_slice(
                    series, view.target, index, whole=False, handicap=queue.MEASURING
                )
            self._request = request
            return self._measuring

    def thumbnail(self, number: int) -> bytes:
        """PNG of the middle slice of a series; one that was not opened is read, which takes time.

        Raises:
            ReadError, GoneError: it cannot be read; there is no such series.
        """
        if number not in self._thumbnails:
            if not 0 <= number < len(self.labels):
                raise GoneError(NO_SERIES)
            self._thumbnails[number] = thumbnail(self._open(number).volume)
        return self._thumbnails[number]

    def _open(self, number: int, is_chosen: bool = False) -> Series:
        """A series, which is not read twice as long as there is room, or the user chose it."""
        with self.lock:
            selection, to = self.selection, self.series.to
            if number in self._opened or selection is None:
                return self._opened[number]
        series = self._new_series(selection.read(number), number, to)
        with self.lock:
            ahead = sum(s.pixel_bytes for n, s in self._opened.items() if n != self.chosen)
            room = limits.READ_AHEAD_BYTES - ahead
            if not self.is_closed and (is_chosen or series.pixel_bytes <= room):
                series = self._opened.setdefault(number, series)
        self.grown()
        return series

    def _new_series(self, volume: Volume, number: int, to: str) -> Series:
        series = Series(self.model, volume, to, number, self.is_simulated)
        if not self.is_simulated:
            series.to = series.preset()
        return series

    def touch(self, *, used: bool = True) -> None:
        """A sign of life of the tab; `used` if it was more than a request for the state."""
        self.last_seen = time.monotonic()
        if used:
            self.last_used = self.last_seen

    # What the user does.

    def choose(
        self,
        *,
        series: int | None = None,
        to: str | None = None,
        style: str | None = None,
        index: int | None = None,
        translate: bool | None = None,
        register: bool | None = None,
    ) -> None:
        """Change what is on screen.

        Args:
            series: its number; one that was not opened before is read, which takes its time.
            to: "T1" or "T2".
            style: its name.
            index: of the slice on screen.
            translate: whether to translate whatever the check says.
            register: whether the real image is moved onto the scan, or left where its header says.

        Raises:
            ReadError, UserError: there is no such thing.
        """
        if series is not None and series != self.chosen:
            self._choose_series(series)
        if register is not None:
            self._choose_registered(register)
        with self.lock:
            current = self.series
            if to is not None:
                if to not in CONTRASTS:
                    raise UserError("Choose T1 → T2 or T2 → T1.")
                current.to, current.is_direction_chosen = to, True
            if style is not None:
                self._choose_style(style)
            if index is not None:
                current.index = min(max(index, 0), current.slices - 1)
            if translate is not None:
                (current.allowed.add if translate else current.allowed.discard)(current.to)
            is_news = (series, to, style, translate) != (None,) * 4  # the browser knows its slice
            if is_news:
                self.message = ""
        self.translation.go_on()
        if is_news:
            self.updates.announce()

    def _choose_series(self, number: int) -> None:
        if not 0 <= number < len(self.labels):
            raise UserError(NO_SERIES)
        with within(limits.OPENING_S, "Opening this series"):
            self._open(number, is_chosen=True)
        with self.lock:
            self.chosen = number
        self.translation.check()

    def _choose_style(self, name: str) -> None:
        current, styles = self.series, self.model.styles.named
        named = {style.name: style for style in styles if style.contrast == current.to}
        if name == SOURCE:
            current.styles.pop(current.to, None)
        elif name in named:
            current.styles[current.to] = named[name]
        elif current.style is None or current.style.name != name:
            raise UserError("There is no such style for this direction.")

    def take_style(self, files: Sequence[Member]) -> None:
        """Follow the style of a real slice or series of the contrast to translate to, of anyone.

        Raises:
            ReadError, UserError: it cannot be read, or shows something else.
        """
        series = self.series
        to = series.to
        style = self.model.own_style(_read_one(files), to)
        with self.lock:
            series.styles[to] = style
            self.message = (
                "This style is far from all that training saw: trust the result less."
                if self.model.styles.is_far(style)
                else ""
            )
        self.translation.go_on()
        self.updates.announce()

    def take_real(self, files: Sequence[Member]) -> None:
        """Compare with an acquired image of the contrast to translate to.

        Raises:
            ReadError, UserError: it cannot be read, or registered onto the scan.
        """
        with self._registering():
            self._compare_with(_read_one(files), self.series.to)

    def take_other_contrast(self) -> None:
        """Compare with the other contrast, which came in the same files.

        Raises:
            ReadError, UserError: there is none.
        """
        with self.lock:
            number = other_contrast(self.labels, self.chosen, self.series.to)
        if number is None:
            raise UserError(f"There is no {self.series.to} in these files.")
        with self._registering(), within(limits.OPENING_S, "Opening these files"):
            self._compare_with(self._open(number).volume, self.series.to)

    def _choose_registered(self, register: bool) -> None:
        real = self.series.real
        if real is None:
            raise UserError("There is no real image to register.")
        with self._registering():
            self._compare_with(real.truth.volume, real.to, register)

    def _compare_with(self, volume: Volume, to: str, register: bool = True) -> None:
        series = self.series
        before = series.real
        real = series.compare_with(volume, to, register=register)
        with self.lock:
            if series.real is before:  # nothing else was chosen meanwhile
                series.real = real
        self.grown()

    @contextlib.contextmanager
    def _registering(self) -> Iterator[None]:
        """Say that a real image is being placed: a volume takes seconds."""
        self.is_registering = True
        self.updates.announce()
        try:
            yield
        finally:
            self.is_registering = False
            self.updates.announce()

    def remove_real(self) -> None:
        """Compare with nothing any more."""
        with self.lock:
            self.series.real = None
            self.updates.announce()

    def close(self) -> None:
        """Forget everything, and stop working on it."""
        with self.lock:
            self.is_closed = True
            self._opened.clear()
            self._views.clear()
            self._thumbnails.clear()
            if self._measuring is not None:
                self._measuring.cancel()
            self.files.clear()
            self.selection = self.save = None
            self.grown = lambda: None
        self.translation.stop()
        self.updates.announce()

    def drop_results(self) -> None:
        """Forget what can be computed again; it is when somebody opens the slice."""
        with self.lock:
            for series in self._opened.values():
                if not series.is_simulated:
                    series.results.clear()
        self.translation.stop()
        self.updates.announce()


def _read_one(files: Sequence[Member]) -> Volume:
    with within(limits.OPENING_S, "Opening these files"):
        selection = open_files(files)
        return selection.read(selection.best)
