"""One opened scan: its series, and what the user chooses."""

from __future__ import annotations

import secrets
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING

from cyclegan import CONTRASTS
from cyclegan.model.style import StyleError
from cyclegan.model.translator import CycleResult
from cyclegan.reading.archive import Member
from cyclegan.reading.selection import Selection, open_files
from cyclegan.reading.volume import Volume
from cyclegan.server import limits, queue
from cyclegan.server.changes import Changes
from cyclegan.server.errors import GONE, GoneError, NotReadyError, UserError, within
from cyclegan.server.measuring import measuring
from cyclegan.server.models import OWN, SOURCE
from cyclegan.server.phases import Action, Phase, refuse
from cyclegan.server.pictures import thumbnail
from cyclegan.server.real import compare, matched
from cyclegan.server.results import Results
from cyclegan.server.series import Label, Real, Series, View, companion
from cyclegan.server.translation import Translation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cyclegan.server.downloads import Download, Save
    from cyclegan.server.measuring import Order
    from cyclegan.server.models import Model


class Scan:
    """Held under a random token. Several threads use it: the queue's translates, others choose.

    Args:
        model: translates.
        volume: the series on screen.
        selection: all that came together; None for an example.
        is_drawn: whether it is an example, drawn and nobody's.
        to: the contrast to translate to until the pixels say more.
        results: shared with other scans of the same example.

    Attributes:
        token: 256 random bits.
        changes: of what `state.state` tells.
        labels: of all series.
        save: the file that was asked for last, or None.
        last_used: `time.monotonic` of when somebody asked for anything but the state.
        last_seen: and for that, too.
        grown: called when more is held than before.
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
        self.changes = Changes()
        self.lock = threading.RLock()
        texts = selection.texts if selection else (volume.name,)
        shapes = selection.shapes if selection else (volume.pixels.shape,)
        self.labels = tuple(map(Label.of, texts, shapes))
        self.message = ""
        self.save: Save | None = None
        self.files: dict[str, Download] = {}
        self.last_used = self.last_seen = time.monotonic()
        self.is_closed = False
        self.grown = lambda: None
        self._opened: dict[int, Series] = {}
        self._views: list[View] = []
        self._read: dict[int, Volume] = {}  # of other series, ahead of being chosen
        self._thumbnails: dict[int, bytes] = {}
        self._wish: tuple[View, int] | None = None
        self._measuring: Future | None = None
        self.translation = Translation(self)
        number = selection.best if selection else 0
        self.chosen = self._take(number, volume, to)
        if results is not None:
            self.series.results = results

    @classmethod
    def open(cls, model: Model, files: Sequence[Member]) -> Scan:
        """Read files that came together; `check` is still to be called.

        Raises:
            ReadError, UserError: nothing in them can be read, or not in time.
        """
        with within(limits.OPENING_S, "Opening these files"):
            selection = open_files(files)
            return cls(model, selection.read(selection.best), selection)

    # What is held.

    @property
    def series(self) -> Series:
        """On screen.

        Raises:
            GoneError: the scan was closed.
        """
        with self.lock:
            if self.is_closed:
                raise GoneError(GONE)
            return self._opened[self.chosen]

    @property
    def held_bytes(self) -> int:
        """Everything in memory for it."""
        with self.lock:
            return self.result_bytes + self.file_bytes

    @property
    def file_bytes(self) -> int:
        """What cannot be computed again."""
        with self.lock:
            files = self.selection.size if self.selection else 0
            saved = sum(len(download.data) for download in self.files.values())
            files += sum(volume.pixels.nbytes for volume in self._read.values())
            return files + saved + sum(series.pixel_bytes for series in self._opened.values())

    @property
    def result_bytes(self) -> int:
        """What can."""
        with self.lock:
            return sum(
                series.results.nbytes for series in self._opened.values() if not series.is_simulated
            )

    def key(self) -> str:
        """The name of the images on screen."""
        with self.lock:
            view = self.series.view
            if view not in self._views:
                self._views.append(view)
            return str(self._views.index(view))

    def behind(self, key: str) -> tuple[Series, View]:
        """The series and the view of a key.

        Raises:
            GoneError: no such key.
        """
        with self.lock:
            if self.is_closed or not key.isdecimal() or int(key) >= len(self._views):
                raise GoneError(GONE)
            view = self._views[int(key)]
            if view.series not in self._opened:
                raise GoneError(GONE)
            return self._opened[view.series], view

    def result(self, key: str, index: int) -> CycleResult:
        """Slice `index` of a key, there and back.

        Raises:
            GoneError, NotReadyError: no such slice; not translated yet.
        """
        with self.lock:
            series, view = self.behind(key)
            if not 0 <= index < series.slices:
                raise GoneError(GONE)
            result = series.result(index, view)
            if result is None:
                raise NotReadyError("This slice is not translated yet.")
            return result

    def measuring(self, made: Order) -> Future:
        """Numbers and map of a slice, once they are known; only the newest such wish is kept."""
        with self.lock:
            wish = (made.view, made.index)
            if self._wish != wish and self._measuring is not None:
                self._measuring.cancel()
            if self._wish != wish or self._measuring is None or self._measuring.done():
                self._measuring = measuring(made, made.index, whole=False, handicap=queue.MEASURING)
            self._wish = wish
            return self._measuring

    def thumbnail(self, number: int) -> bytes:
        """PNG of the middle slice of a series; one that was not opened is read, which takes time.

        Raises:
            ReadError, GoneError: it cannot be read; there is no such series.
        """
        if number in self._thumbnails:
            return self._thumbnails[number]
        if not 0 <= number < len(self.labels):
            raise GoneError("There is no such series in these files.")
        data = thumbnail(self._volume(number))
        with self.lock:
            if not self.is_closed:
                self._thumbnails[number] = data
        return data

    def _volume(self, number: int) -> Volume:
        """Of a series, which is not read twice as long as there is room."""
        with self.lock:
            selection, opened = self.selection, self._opened.get(number)
            known = opened.volume if opened else self._read.get(number)
        if known is not None:
            return known
        if selection is None:
            raise GoneError(GONE)
        volume = selection.read(number)
        with self.lock:
            room = limits.READ_AHEAD_BYTES - sum(v.pixels.nbytes for v in self._read.values())
            if not self.is_closed and volume.pixels.nbytes <= room:
                self._read[number] = volume
        self.grown()
        return volume

    def seen(self, *, used: bool = True) -> None:
        """A sign of life of the tab; `used` if it was more than asking for the state."""
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
                refuse(self.phase(), Action.DIRECTION)
                if to not in CONTRASTS:
                    raise UserError("Choose T1 → T2 or T2 → T1.")
                current.to, current.is_turned = to, True
            if style is not None:
                refuse(self.phase(), Action.STYLE)
                self._choose_style(style)
            if index is not None:
                current.index = min(max(index, 0), current.slices - 1)
            if translate is not None:
                refuse(self.phase(), Action.TRANSLATE)
                (current.allowed.add if translate else current.allowed.discard)(current.to)
            is_other = (series, to, style, translate) != (None,) * 4
            if is_other:
                self.message = ""
        self.translation.go_on()
        if is_other:  # another slice on screen is no news to the browser
            self.changes.announce()

    def _choose_series(self, number: int) -> None:
        with self.lock:
            refuse(self.phase(), Action.SERIES)
            if not 0 <= number < len(self.labels):
                raise UserError("There is no such series in these files.")
            if number in self._opened:
                self.chosen = number
                return
            to = self.series.to
        with within(limits.OPENING_S, "Opening this series"):
            volume = self._volume(number)
        with self.lock:
            self.series  # noqa: B018 # still held
            self._read.pop(number, None)
            self.chosen = self._take(number, volume, to)
        self.translation.check()

    def _choose_style(self, name: str) -> None:
        current = self.series
        named = {
            style.name: style for style in self.model.styles.named if style.contrast == current.to
        }
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
        refuse(self.phase(), Action.STYLE)
        series = self.series
        to = series.to
        with within(limits.OPENING_S, "Opening these files"):
            selection = open_files(files)
            volume = selection.read(selection.best)
        try:
            style = self.model.queue.run(lambda: self.model.style_of(volume, to, OWN))
        except StyleError as error:
            raise UserError(str(error)) from None
        with self.lock:
            series.styles[to] = style
            far = self.model.styles.is_far(style)
            self.message = (
                "This style is far from all that training saw: trust the result less."
                if far
                else ""
            )
        self.translation.go_on()
        self.changes.announce()

    def take_real(self, files: Sequence[Member]) -> None:
        """Compare with an acquired image of the contrast to translate to.

        Raises:
            ReadError, UserError: it cannot be read, or laid over the scan.
        """
        refuse(self.phase(), Action.REAL)
        with within(limits.OPENING_S, "Opening these files"):
            selection = open_files(files)
            volume = selection.read(selection.best)
        self._compare_with(volume)

    def take_companion(self) -> None:
        """Compare with the other contrast, which came in the same files.

        Raises:
            ReadError, UserError: there is none.
        """
        refuse(self.phase(), Action.REAL)
        with self.lock:
            number = companion(self.labels, self.chosen, self.series.to)
        if number is None:
            raise UserError(f"There is no {self.series.to} in these files.")
        with within(limits.OPENING_S, "Opening these files"):
            self._compare_with(self._volume(number))

    def _compare_with(self, volume: Volume) -> None:
        series, to = self.series, self.series.to
        real = compare(self.model, volume, series.volume, to)
        with self.lock:
            series.real = real
            self.changes.announce()
        self.grown()

    def _choose_registered(self, register: bool) -> None:
        series = self.series
        real = series.real
        if real is None:
            raise UserError("There is no real image to register.")
        truth = matched(real.truth.volume, series.volume, register)
        with self.lock:
            if series.real is real:
                series.real = Real(truth, real.to, real.warning, real.contrast)
            self.changes.announce()

    def remove_real(self) -> None:
        """Compare with nothing any more."""
        with self.lock:
            self.series.real = None
            self.changes.announce()

    def close(self) -> None:
        """Forget everything, and stop working on it."""
        with self.lock:
            self.is_closed = True
            self._opened.clear()
            self._views.clear()
            self._read.clear()
            self._thumbnails.clear()
            if self._measuring is not None:
                self._measuring.cancel()
            self.files.clear()
            self.selection = self.save = None
            self.grown = lambda: None
        self.translation.stop()
        self.changes.announce()

    def drop_results(self) -> None:
        """Forget what can be computed again; it is when somebody looks."""
        with self.lock:
            for series in self._opened.values():
                if not series.is_simulated:
                    series.results.clear()
        self.translation.stop()
        self.changes.announce()

    def phase(self) -> Phase:
        """How far the series on screen is."""
        with self.lock:
            series = self.series
            if not series.is_checked:
                return Phase.CHECKING
            if self.halted():
                return Phase.HALTED
            return Phase.TRANSLATING if series.missing(series.index) else Phase.TRANSLATED

    def halted(self) -> str:
        """Why the translation does not run by itself, in a sentence; "" when it does."""
        series = self.series
        if series.to in series.allowed or not series.is_checked:
            return ""
        warning = series.input_warning()
        return warning.text if warning.warns else ""

    def _take(self, number: int, volume: Volume, to: str) -> int:
        series = Series(number, volume, to, is_simulated=self.is_simulated)
        if self.is_simulated:
            series.is_checked = True
        else:
            series.to = series.preset()
        self._opened[number] = series
        return number
