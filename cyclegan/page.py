"""What happens when a reader of the page does something: plain values in, plain values out.

`app.py` wires this to Gradio. Whatever the reader can put right is raised as `ReaderError` or
`ReadError`, one sentence each.
"""

from __future__ import annotations

import html
import json
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cyclegan import CONTRASTS, OTHER, answers
from cyclegan.examples import EXAMPLES, example_volume
from cyclegan.session import ReaderError, Session
from cyclegan.volume import ReadError, Volume, read_volume

if TYPE_CHECKING:
    from cyclegan.translate import Translator


class Opened(NamedTuple):
    """A file was opened. `session` None: it was not, and only `status` changes on the page.

    `ready` says whether there is something to translate, this file or the one before.
    """

    session: Session | None
    view: dict | None
    to: str
    status: str
    ready: bool


class Translated(NamedTuple):
    """A slice was translated."""

    view: dict
    status: str


class Page:
    """The event handlers.

    Args:
        translator: makes the translations.
        uploads: the folder that uploads arrive in, one subfolder each.
    """

    def __init__(self, translator: Translator, uploads: str | Path):
        self.translator = translator
        self.uploads = Path(uploads).resolve()
        # By browser tab, to forget a scan as soon as its tab closes.
        self._by_tab: weakref.WeakValueDictionary[str, Session] = weakref.WeakValueDictionary()

    def read_upload(self, file: Any) -> Volume:
        """Read an uploaded file and delete it, whatever happens.

        Args:
            file: Gradio's file data, {"path": ...} within the folder of uploads.

        Raises:
            ReaderError: `file` is no upload.
            ReadError: it is no slice or volume.
        """
        path = Path(str(file["path"])) if isinstance(file, dict) and file.get("path") else None
        # The client names the path, so it must not reach outside the folder of uploads.
        if path is None or path.resolve().parent.parent != self.uploads:
            raise ReaderError("Upload one file: PNG, JPEG, TIFF, BMP, DICOM or NIfTI.")
        try:
            if not path.is_file():
                raise ReaderError("The upload did not arrive; please send the file again.")
            return read_volume(path)
        finally:
            shutil.rmtree(path.resolve().parent, ignore_errors=True)

    def load(self, file: Any, to: str, tab: str) -> Opened:
        """Open an upload; a bad file gets its sentence and changes nothing else."""
        try:
            volume = self.read_upload(file)
        except (ReadError, ReaderError) as error:
            message = status(str(error), role="alert")
            return Opened(None, None, to, message, ready=tab in self._by_tab)
        hint = ""
        if volume.contrast_hint in CONTRASTS:
            to = OTHER[volume.contrast_hint]
            hint = f"The header suggests {volume.contrast_hint}. That is a hint, not proof."
        text = f"{volume.name} is loaded. Check the direction, then press Translate."
        return self._opened(Session(volume), to, status(text, hint), tab)

    def open_example(self, number: int, tab: str) -> Opened:
        """Open example `number` and translate its middle slice."""
        session = Session(example_volume(number))
        session.start(EXAMPLES[number].to)
        return self._opened(session, session.to, _done(session), tab)

    def translate(self, session: Session | None, to: str, position: int) -> Translated:
        """Translate the shown slice; the others follow when they are looked at."""
        session = _require(session)
        if to not in CONTRASTS:
            raise ReaderError("Choose T1 → T2 or T2 → T1.")
        index = _index(session, position)
        session.result(self.translator, index, to)  # before `start`: a failure changes nothing
        session.start(to)
        return Translated(session.view(self.translator, index), _done(session))

    def show_slice(self, session: Session | None, position: int) -> dict:
        """Show another slice, in the direction that is on screen."""
        session = _require(session)
        return session.view(self.translator, _index(session, position))

    def save_png(self, session: Session | None, position: int, window: str) -> dict[str, str]:
        """The shown synthetic slice as a labelled PNG; `window` is the viewer's, as JSON."""
        session = _require(session, translated=True)
        shown = json.loads(window)
        center, width = float(shown["center"]), float(shown["width"])
        index = _index(session, position)
        return answers.png_file(session, self.translator, index, center, width)

    def save_nifti(
        self, session: Session | None, progress: Callable[[float], Any] = lambda share: None
    ) -> dict[str, str]:
        """All slices of the result as float32 NIfTI in the grid of the source."""
        return answers.nifti_file(_require(session, translated=True), self.translator, progress)

    def answer(self, file: dict, to: str) -> dict[str, Any]:
        """The API: translate an uploaded file and bring it back."""
        return answers.api_answer(self.read_upload(file), self.translator, to)

    def forget(self, tab: str) -> None:
        """A tab was closed: drop its scan now, not when its state expires."""
        session = self._by_tab.pop(tab, None)
        if session is not None:
            session.clear()

    def _opened(self, session: Session, to: str, message: str, tab: str) -> Opened:
        self._by_tab[tab] = session
        view = session.view(self.translator, session.middle)
        return Opened(session, view, to, message, ready=True)


def status(text: str, hint: str = "", role: str = "status") -> str:
    """HTML of the line under the controls; escaped, as it repeats what a file says of itself."""
    second = f"<p>{html.escape(hint)}</p>" if hint else ""
    return f'<p role="{role}">{html.escape(text)}</p>{second}'


def _done(session: Session) -> str:
    return status(f"{session.volume.name}: {OTHER[session.to]} → {session.to}.")


def _require(session: Session | None, translated: bool = False) -> Session:
    if session is None or session.volume is None:
        raise ReaderError("Nothing is loaded any more; drop in a file or pick an example.")
    if translated and session.to is None:
        raise ReaderError("There is no translation yet; press Translate first.")
    return session


def _index(session: Session, position: int) -> int:
    """The slider counts from 1, and may lag behind a file that has just been replaced."""
    return min(max(int(position) - 1, 0), session.slices - 1)
