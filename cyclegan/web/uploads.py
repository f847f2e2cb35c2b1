"""Files on their way in: read at once, and gone afterwards whatever happens."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cyclegan.reading.read import read_volume
from cyclegan.reading.series import Selection, open_files
from cyclegan.reading.volume import SUPPORTED, Volume
from cyclegan.web import limits
from cyclegan.web.session import ReaderError


class Uploads:
    """The folder that uploads arrive in.

    In it is one folder for each upload, with a name that nobody can guess; in that, one for each
    file, as Gradio makes it.

    Args:
        folder: Gradio's.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder).resolve()
        self._waiting: dict[Path, str] = {}  # the tab that each came from, until it is opened

    def new_folder(self, tab: str = "") -> Path:
        """An empty folder for one upload, of `tab` where it is known."""
        self.folder.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="", dir=self.folder))
        if tab:
            self._waiting[folder] = tab
        return folder

    def drop(self, tab: str) -> None:
        """Delete what `tab`, which was closed, has sent and nothing has begun to open."""
        for folder in [folder for folder, owner in list(self._waiting.items()) if owner == tab]:
            self._waiting.pop(folder, None)
            shutil.rmtree(folder, ignore_errors=True)

    def waiting_bytes(self) -> int:
        """Size of all uploads that are arriving, or that nobody has opened yet."""
        total = 0
        for path in self.folder.rglob("*"):
            try:
                total += path.stat().st_size if path.is_file() else 0
            except OSError:  # read and deleted meanwhile
                continue
        return total

    def sweep(self) -> None:
        """Delete uploads that nobody has opened in time."""
        for folder in list(self._waiting):
            if not folder.is_dir():  # refused, or cut off
                self._waiting.pop(folder, None)
        oldest = time.time() - limits.WAITING_UPLOAD_S
        for folder in self.folder.glob("*/"):
            try:
                newest = max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
                unused = newest < oldest
            except OSError:  # it is being read and deleted
                continue
            if unused:
                shutil.rmtree(folder, ignore_errors=True)

    def read(self, file: Any) -> Volume:
        """Read one uploaded file and delete it, whatever happens.

        Args:
            file: Gradio's file data, {"path": ...} within the folder of uploads.

        Raises:
            ReaderError: `file` is no upload.
            ReadError: it is no slice or volume.
        """
        return self._consume([file], lambda paths: read_volume(paths[0]))

    def open(self, files: Any) -> Selection:
        """Open everything that was uploaded together and delete the files, whatever happens.

        Args:
            files: list of Gradio's file data.

        Raises:
            ReaderError: something in `files` is no upload.
            ReadError: there is no slice or volume in it.
        """
        return self._consume(files if isinstance(files, list) else [files], open_files)

    def _consume(self, files: list, read: Callable[[list[Path]], Any]) -> Any:
        """Give the paths of uploaded files to `read`; they are gone afterwards."""
        paths = [Path(str(f["path"])) for f in files if isinstance(f, dict) and f.get("path")]
        # The client names the paths, so they must not reach outside the folder of uploads.
        inside = []
        for path in paths:
            if (upload := self._upload(path)) is not None:
                inside.append(path)
                self._waiting.pop(upload, None)
        try:
            if not files or len(inside) < len(files):
                raise ReaderError(f"Upload a file: {SUPPORTED}, or a zip of them.")
            if not all(path.is_file() for path in inside):
                raise ReaderError("The upload did not arrive; please send the file again.")
            return read(inside)
        finally:
            for path in inside:
                upload = self._upload(path)
                shutil.rmtree(path.resolve().parent, ignore_errors=True)
                with contextlib.suppress(OSError):  # others of the upload are still to be read
                    upload.rmdir()

    def _upload(self, path: Path) -> Path | None:
        """The folder of the upload that a file came in; None for what is no upload."""
        try:
            parents = path.resolve().parents
        except (OSError, ValueError):  # a name that no system takes
            return None
        return parents[1] if len(parents) > 2 and parents[2] == self.folder else None
