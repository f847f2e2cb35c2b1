"""What happens when a reader of the page does something: plain values in, plain values out.

`app.py` wires this to Gradio. Whatever the reader can put right is raised as `ReaderError` or
`ReadError`, one sentence each.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from cyclegan import CONTRASTS
from cyclegan.model.style import KnownStyles, StyleError
from cyclegan.reading.volume import ReadError
from cyclegan.trust.calibration import Calibration
from cyclegan.trust.reference import style_of_volume
from cyclegan.trust.truth import TruthError, match
from cyclegan.web import answers, limits, looks, panels
from cyclegan.web.examples import EXAMPLES, example_volume
from cyclegan.web.findings import second_look
from cyclegan.web.notice import preset
from cyclegan.web.outbox import Outbox
from cyclegan.web.session import ReaderError, Session
from cyclegan.web.sessions import Sessions
from cyclegan.web.slices import Slices
from cyclegan.web.status import done_line, progress, removal, status
from cyclegan.web.turns import SharedModel, Superseded
from cyclegan.web.uploads import Uploads
from cyclegan.web.work import Step, in_line, measured, whole, within

if TYPE_CHECKING:
    from cyclegan.model.style import Style
    from cyclegan.model.translator import Translator
    from cyclegan.reading.series import Selection
    from cyclegan.reading.volume import Volume
    from cyclegan.trust.checks import Assessment, InputCheck
    from cyclegan.web.answers import Saved


class Opened(NamedTuple):
    """A scan was opened. `session` None: it was not, and only `status` changes on the page.

    `ready` says whether there is something to translate, this scan or the one before.
    """

    session: Session | None
    view: dict | None
    to: str
    status: str
    ready: bool


class Page:
    """The event handlers.

    Args:
        translator: makes the translations.
        uploads: the folder that uploads arrive in, one subfolder each.
        check: says what an input looks like; None, or why there is none.
        calibration: what is known of the model from validation.
        known: the looks that training saw.
    """

    def __init__(
        self,
        translator: Translator,
        uploads: str | Path,
        check: InputCheck | str | None = None,
        calibration: Calibration | None = None,
        known: KnownStyles | None = None,
    ):
        self.model = SharedModel(translator)
        self.check = check
        self.calibration = calibration or Calibration(None, "No expected ranges are known.")
        self.known = known or KnownStyles()
        self.uploads = Uploads(uploads)
        self.outbox = Outbox()
        self.slices = Slices(self.model)
        self.sessions = Sessions()

    def load(self, files: Any, to: str, tab: str) -> Opened:
        """Open an upload; a bad one gets its sentence and changes nothing else."""
        return self._open(lambda: self.uploads.open(files), None, to, tab)

    def choose(self, session: Session | None, choice: int, to: str, tab: str) -> Opened:
        """Open another series of the same upload."""

        held = self.sessions.of_series(tab, choice)
        if held is not None:
            held.reopen()
            to = held.to or preset(held.check, held.held().contrast_hint, to)
            words = done_line(held) if held.to else _loaded(held)
            return self._opened(held, to, words, tab, held.shown)

        def selection() -> Selection:
            if session is None or session.selection is None:
                raise ReaderError("The files are not held any more; please drop them in again.")
            return session.selection

        return self._open(selection, choice, to, tab)

    def open_example(self, number: int, tab: str) -> Iterator[str | Opened]:
        """Open example `number` and translate its middle slice; before it, the place in line."""
        session, to = self._session(example_volume(number), drawn=True), EXAMPLES[number].to
        if (yield from in_line(session, self.model, session.middle, to, f"{tab} example")):
            session.start(to)
            yield self._opened(session, to, done_line(session), tab)

    def translate_opened(
        self, session: Session | None, to: str, position: int, wanted: bool, tab: str
    ) -> Iterator[str | Step]:
        """Translate a scan that was opened just now, unless something speaks against it: then the
        reader has to press the button. Nothing for any other scan, or if it is not `wanted`."""
        if session is None or not session.is_new:
            return
        session.is_new = False
        if wanted and not session.notice(to).warns:
            yield from self.translate(session, to, position, tab)
        else:
            yield Step(_loaded(session))

    def turn(
        self, session: Session | None, to: str, position: int, tab: str
    ) -> Iterator[str | Step]:
        """Show the other direction of a scan that is translated already."""
        if session is not None and session.to not in (None, to):
            yield from self.translate(session, to, position, tab)

    def translate(
        self, session: Session | None, to: str, position: int, tab: str
    ) -> Iterator[str | Step]:
        """Translate the shown slice, and before it tell the place in line; the other slices follow
        when they are looked at."""
        session, index = _require(session, to), _index(session, position)
        # Before `start`: a failure changes nothing.
        if (yield from in_line(session, self.model, index, to, f"{tab} translate")):
            session.start(to)
            yield Step(done_line(session), view=self._shown(session, index))

    def switch(
        self, session: Session | None, position: int, tab: str
    ) -> Iterator[str | tuple[str, Step | None]]:
        """Turn to the direction that the input looks like; what was translated is so anew.

        Yields:
            The place in line, and in the end the contrast to translate to from now on, and the
            translation, if there was one.
        """
        session = _require(session)
        to = preset(session.check, session.volume.contrast_hint, session.to or "T2")
        if session.to in (None, to):
            yield to, None
            return
        for told in self.translate(session, to, position, tab):
            yield told if isinstance(told, str) else (to, told)

    def look_again(self, session: Session | None) -> Iterator[dict]:
        """Numbers and maps of the slice on screen, for the viewer; they take longer."""
        if session is not None and session.volume is not None:
            # Another file may be opened meanwhile; then nobody waits for this one's numbers.
            with contextlib.suppress(ReaderError):
                yield from second_look(session, self.model, self.calibration)

    def load_truth(self, session: Session | None, files: Any, to: str) -> Step:
        """Lay the real image of the contrast `to` over the scan; one that doesn't fit gets its
        sentence and changes nothing else."""
        try:
            with within(limits.OPENING_S, "Opening these files"):
                selection = self.uploads.open(files)
                volume = selection.read(selection.best)
        except (ReadError, ReaderError) as error:
            return Step(status(str(error), role="alert"))
        hints = []
        if len(selection.choices) > 1:
            hints.append(f"The largest of {len(selection.choices)} series was taken.")
        return self._lay_over(_require(session, to), volume, to, *hints)

    def _lay_over(self, session: Session, volume: Volume, to: str, *hints: str) -> Step:
        """Compare with `volume` from now on, or say why that cannot be."""
        try:
            truth = match(volume, session.held())
        except TruthError as error:
            return Step(status(str(error), role="alert"))
        seen, _ = self._assess(volume)
        doubt = ""
        if seen is not None and seen.label != to:
            doubt = f"It should be a {to}. {seen.sentence}"
            hints = (doubt, *hints)
        session.set_truth(truth, to, doubt)
        text = f"Real {to}: {volume.name}, {'; '.join(truth.notes)}."
        return Step(status(text, *hints), view=self._view_again(session))

    def take_companion(self, session: Session | None, to: str) -> Step:
        """Lay the other contrast, which came in the same files, over the scan as the real image."""
        session = _require(session, to)
        found = session.companion(to)
        if found is None:
            raise ReaderError(f"There is no {to} in these files; drop it in below.")
        with within(limits.OPENING_S, "Opening these files"):
            return self._lay_over(session, session.selection.read(found[0]), to)

    def drop_truth(self, session: Session | None) -> Step:
        """Forget the real image."""
        session = _require(session)
        session.set_truth(None, "")
        return Step(status(""), view=self._view_again(session))

    def choose_look(
        self, session: Session | None, name: str, to: str, position: int, tab: str
    ) -> Iterator[str | Step]:
        """Follow a named look from now on, `looks.SOURCE` for what suits the source, and redraw."""
        session = _require(session, to)
        session.set_look(looks.named(self.known, name, to), to)
        yield from self._in_look(session, to, position, tab, looks.words(name, to))

    def load_look(
        self, session: Session | None, files: Any, to: str, position: int, tab: str
    ) -> Iterator[str | Step]:
        """Take the look of a real slice or series of the contrast `to`, of any person, and redraw;
        one that shows something else gets its sentence and changes nothing."""
        session = _require(session, to)
        try:
            with within(limits.OPENING_S, "Opening these files"):
                selection = self.uploads.open(files)
                volume = selection.read(selection.best)
            look = self._look_of(volume, to)
        except (ReadError, ReaderError) as error:
            yield Step(status(str(error), role="alert"))
            return
        session.set_look(look, to)
        far = self.known.is_far(look)
        yield from self._in_look(session, to, position, tab, looks.words(looks.OWN, to, far))

    def _in_look(
        self, session: Session, to: str, position: int, tab: str, words: str
    ) -> Iterator[str | Step]:
        """Translate the shown slice anew, where it was translated, and say in which look."""
        if session.to != to:
            yield Step(status(words))
            return
        for told in self.translate(session, to, position, tab):
            yield told if isinstance(told, str) else told._replace(status=status(words))

    def translate_all(
        self, session: Session | None, to: str, position: int, tab: str
    ) -> Iterator[str | Step]:
        """Translate the shown slice, then the others outwards from it, until done or cancelled."""
        session, index = _require(session, to), _index(session, position)
        answers.refuse_large(session.volume)
        job = session.begin_job()
        yield Step(progress(session, to), working=True)
        for told in self.translate(session, to, position, tab):
            if isinstance(told, Step):
                told = Step(progress(session, to), working=True, view=told.view)
            yield told
        if session.to == to and (yield from whole(session, self.model, job, index)):
            yield Step(done_line(session, "all"))

    def show_slice(
        self, session: Session | None, position: int, kept: bool = False, tab: str = ""
    ) -> dict | None:
        """Show another slice, in the direction that is on screen; None if the viewer `kept` it, or
        if the same tab wants another one by now."""
        session, index = _require(session), _index(session, position)
        if kept:
            session.shown = index
            return None
        with within(limits.SLICE_S, "Translating this slice"), contextlib.suppress(Superseded):
            if session.to is not None:
                turn = session.join(self.model, index, session.to, f"{tab} scroll")
                if turn is not None:
                    turn.result()
            return self._shown(session, index)
        return None

    def cancel(self, session: Session | None) -> None:
        """Stop working on the whole volume; what is done stays done."""
        if session is not None:
            session.stop_job()

    def save_slice(self, session: Session | None, position: int, window: str, tab: str) -> Step:
        """The shown synthetic slice as a labelled PNG; `window` is the viewer's, as JSON."""
        session = _require(session, translated=True)
        index = _index(session, position)
        return self._post(answers.png_file(session, self.model, index, _window(window)), tab)

    def save_whole(
        self, session: Session | None, kind: str, position: int, window: str, tab: str
    ) -> Iterator[Step]:
        """The whole result as a file, translating first what is not translated yet.

        Args:
            session: with a translation on screen.
            kind: "nifti", "dicom" or "everything".
            position: of the slider.
            window: the viewer's for the translation, as JSON.
            tab: who may fetch it.
        """
        session = _require(session, translated=True)
        answers.refuse_large(session.volume)
        job, index = session.begin_job(), _index(session, position)
        if not (yield from whole(session, self.model, job, index)):
            return
        seen = _window(window)
        if kind == "everything":
            found = yield from measured(session, self.model, self.calibration, job)
            if found is None:
                return
            yield Step(status("Writing the file."), working=True)
            saved = answers.everything_file(
                session, self.model, seen, index, self.calibration, found
            )
        else:
            yield Step(status("Writing the file."), working=True)
            saved = answers.WHOLE[kind](session, self.model, seen)
        if session.volume is not None:
            yield self._post(saved, tab)

    def answer(
        self,
        file: dict,
        to: str,
        truth: dict | None = None,
        parts: str = "everything",
        reference: dict | None = None,
    ) -> answers.Answer:
        """The API: translate an uploaded file, bring it back, and say how far to trust it."""
        with within(limits.API_S, "This request"):
            session = self._session(self.uploads.read(file))
            real = None if truth is None else self.uploads.read(truth)
            if reference is not None:
                session.set_look(self._look_of(self.uploads.read(reference), to), to)
            asked = parts or "everything"  # callers that leave it out may send null
            made = answers.api_answer(session, self.model, to, self.calibration, real, asked)
            return cast(answers.Answer, made)

    def _look_of(self, reference: Volume, to: str) -> Style:
        """The look of a reader's own slice of the contrast `to`.

        Raises:
            ReaderError: it shows something else, or the weights know no looks.
        """
        check = None if isinstance(self.check, str) else self.check
        try:
            return style_of_volume(self.model.translator, check, reference, to, looks.OWN)
        except StyleError as error:
            raise ReaderError(str(error)) from None

    def forget(self, tab: str) -> None:
        """A tab was closed: drop its files, scan and results now, not when they expire."""
        self.uploads.drop(tab)
        self.outbox.drop(tab)
        self.sessions.close(tab)

    def _open(
        self, select: Callable[[], Selection], choice: int | None, to: str, tab: str
    ) -> Opened:
        try:
            with within(limits.OPENING_S, "Opening these files"):
                selection = select()
                choice = selection.best if choice is None else choice
                volume = selection.read(choice)
        except (ReadError, ReaderError) as error:
            message = status(str(error), role="alert")
            return Opened(None, None, to, message, ready=tab in self.sessions)
        hints = selection.notes
        if len(selection.choices) > 1:
            found = f"{len(selection.choices)} series were found; choose under Series."
            hints = (found, " ".join(hints))
        session = self._session(
            volume, selection=selection, choice=choice, hints=hints, is_new=True
        )
        to = preset(session.check, volume.contrast_hint, to)
        # What comes next, `translate_opened` says.
        message = status(f"{volume.name} is loaded.", *session.hints)
        return self._opened(session, to, message, tab)

    def _session(self, volume: Volume, **opened: Any) -> Session:
        check, unchecked = self._assess(volume)
        return Session(volume, check=check, unchecked=unchecked, **opened)

    def _assess(self, volume: Volume) -> tuple[Assessment | None, str]:
        """What the pixels look like, or why that is not known."""
        if self.check is None or isinstance(self.check, str):
            return None, self.check or ""
        return self.check.assess(volume.pixels, volume.pixel_spacing), ""

    def _shown(self, session: Session, index: int) -> dict:
        session.shown = index
        return panels.view(session, self.model, index)

    def _view_again(self, session: Session) -> dict | None:
        """The shown slice, with or without its truth; None before the first translation."""
        return None if session.to is None else panels.view(session, self.model, session.shown)

    def _opened(
        self, session: Session, to: str, message: str, tab: str, index: int | None = None
    ) -> Opened:
        shown = self._shown(session, session.middle if index is None else index)
        self.sessions.open(tab, session)
        self.slices.offer(session)
        return Opened(session, shown, to, message, ready=True)

    def _post(self, saved: Saved, tab: str) -> Step:
        parcel = saved.parcel
        size = f"{max(len(parcel.data) / 1e6, 0.1):.1f} MB"
        message = status(f"Saved {parcel.name}, {size}.", *removal(saved.removed))
        return Step(message, file={"token": self.outbox.put(parcel, tab), "name": parcel.name})


def _loaded(session: Session) -> str:
    """What the page says of a scan that is open, as HTML."""
    text = f"{session.held().name} is loaded. Check the direction, then press Translate."
    return status(text, *session.hints)


def _window(window: str) -> tuple[float, float]:
    """The viewer's window: (center, width) in shares of the grey range."""
    shown = json.loads(window)
    return float(shown["center"]), float(shown["width"])


def _require(
    session: Session | None, to: str | None = None, *, translated: bool = False
) -> Session:
    if session is None:
        raise ReaderError("Nothing is loaded any more; drop in a file or pick an example.")
    session.held()
    if to is not None and to not in CONTRASTS:
        raise ReaderError("Choose T1 → T2 or T2 → T1.")
    if translated and session.to is None:
        raise ReaderError("There is no translation yet; press Translate first.")
    return session


def _index(session: Session, position: int) -> int:
    """The slider counts from 1, and may lag behind a file that has just been replaced."""
    return min(max(int(position) - 1, 0), session.slices - 1)
