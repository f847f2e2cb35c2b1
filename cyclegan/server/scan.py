"""One opened scan: its series, and what the user chooses."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from cyclegan import CONTRASTS
from cyclegan.reading.archive import Member
from cyclegan.reading.selection import Selection, open_files
from cyclegan.reading.volume import Volume
from cyclegan.server import limits, queue
from cyclegan.server.errors import GoneError, UserError, within
from cyclegan.server.images import Measured, thumbnail
from cyclegan.server.measurements import measured_slice
from cyclegan.server.models import SOURCE
from cyclegan.server.series import Label, Series, View, other_contrast
from cyclegan.server.translation import TranslatedScan

if TYPE_CHECKING:
    from cyclegan.server.models import Model

NO_SERIES = "There is no such series in these files."


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


class Scan(TranslatedScan):
    """Held under a random token. Several threads use it: the queue's translates, others choose.

    Args:
        series: on screen.
        selection: all that came together; None for an example.

    Attributes:
        token: 256 random bits.
        labels: of all series.
        chosen: the number of the one on screen.
        save: the file that was asked for last, or None; saving: what makes it.
        last_used: `time.monotonic` of the last request for anything but the state.
        last_seen: and of the last request at all.
    """

    def __init__(self, series: Series, selection: Selection | None = None):
        super().__init__(series)
        self.selection = selection
        self.token = secrets.token_urlsafe(32)
        texts = selection.texts if selection else (series.volume.name,)
        shapes = selection.shapes if selection else (series.volume.pixels.shape,)
        self.labels = tuple(map(Label.of, texts, shapes))
        self.save: Save | None = None
        self.saving: asyncio.Task | None = None  # or it might be collected before its end
        self.files: dict[str, Download] = {}
        self.last_used = self.last_seen = time.monotonic()
        self.chosen = selection.best if selection else 0
        self._opened = {self.chosen: series}  # by number
        self._views: list[View] = []
        self._thumbnails: dict[int, bytes] = {}
        self._measuring: tuple[tuple[View, int] | None, Future] = (None, Future())

    @classmethod
    def open(cls, model: Model, files: Sequence[Member]) -> Scan:
        """Read files that came together; `check` is still to be called.

        Raises:
            ReadError, UserError: nothing in them can be read, or not in time.
        """
        with within(limits.OPENING_S, "Opening these files"):
            selection = open_files(files)
            return cls(Series(model, selection.read(selection.best)), selection)

    # What is in memory.

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
            view = View.of(self.series)
            if view not in self._views:
                self._views.append(view)
            return str(self._views.index(view))

    def view(self, key: str) -> View:
        """What the images of a key are made of.

        Raises:
            GoneError: no such key.
        """
        with self.lock:
            if not key.isdecimal() or int(key) >= len(self._views):
                raise GoneError
            return self._views[int(key)]

    def measured(self, view: View, index: int) -> Future[Measured]:
        """Numbers and map of a slice, once they are known; only the newest request stays.

        Raises:
            GoneError, UserError: as `measured_slice`.
        """
        with self.lock:
            request, future = self._measuring
            if request != (view, index):
                future.cancel()
            if request != (view, index) or future.done():
                future = measured_slice(view, index, queue.MEASURING)
            self._measuring = (view, index), future
            return future

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

    def _open(self, number: int) -> Series:
        """A series, which is not read twice as long as there is room."""
        with self.lock:
            selection, to = self.selection, self.series.to
            if number in self._opened or selection is None:
                return self._opened[number]
        series = Series(self.model, selection.read(number), default=to)
        with self.lock:
            ahead = sum(s.pixel_bytes for n, s in self._opened.items() if n != self.chosen)
            room = limits.READ_AHEAD_BYTES - ahead
            if not self.is_closed and series.pixel_bytes <= room:
                series = self._opened.setdefault(number, series)
        self.grown()
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
                current.chosen = to
            if style is not None:
                self._choose_style(style)
            if index is not None:
                current.index = min(max(index, 0), current.slices - 1)
            if translate is not None:
                (current.allowed.add if translate else current.allowed.discard)(current.to)
            is_news = (series, to, style, translate) != (None,) * 4  # the browser knows its slice
            if is_news:
                self.message = ""
        self.translate()
        if is_news:
            self.updates.announce()

    def _choose_series(self, number: int) -> None:
        if not 0 <= number < len(self.labels):
            raise UserError(NO_SERIES)
        with within(limits.OPENING_S, "Opening this series"):
            series = self._open(number)
        with self.lock:
            if not self.is_closed:
                self.on_screen, self.chosen = self._opened.setdefault(number, series), number
        self.check()

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
        self.translate()
        self.updates.announce()

    def take_real(self, files: Sequence[Member]) -> None:
        """Compare with an acquired image of the contrast to translate to.

        Raises:
            ReadError, UserError: it cannot be read, or registered onto the scan.
        """
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
        with within(limits.OPENING_S, "Opening these files"):
            self._compare_with(self._open(number).volume, self.series.to)

    def _choose_registered(self, register: bool) -> None:
        real = self.series.real
        if real is None:
            raise UserError("There is no real image to register.")
        self._compare_with(real.truth.volume, real.to, register)

    def _compare_with(self, volume: Volume, to: str, register: bool = True) -> None:
        series = self.series
        before = series.real
        real = series.compare_with(volume, to, register=register)
        with self.lock:
            if series.real is before:  # nothing else was chosen meanwhile
                series.real = real
        self.updates.announce()
        self.grown()

    def remove_real(self) -> None:
        """Compare with nothing any more."""
        with self.lock:
            self.series.real = None
            self.updates.announce()

    def close(self) -> None:
        """Forget everything, and stop working on it."""
        with self.lock:
            self.on_screen = None
            self._opened.clear()
            self._views.clear()
            self._thumbnails.clear()
            self._measuring[1].cancel()
            self.files.clear()
            self.selection = self.save = None
            self.grown = lambda: None
        self.stop()
        self.updates.announce()

    def drop_results(self) -> None:
        """Forget what can be computed again; it is when somebody opens the slice."""
        with self.lock:
            for series in self._opened.values():
                if not series.is_simulated:
                    series.results.clear()
        self.stop()
        self.updates.announce()


def _read_one(files: Sequence[Member]) -> Volume:
    with within(limits.OPENING_S, "Opening these files"):
        selection = open_files(files)
        return selection.read(selection.best)
