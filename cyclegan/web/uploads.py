"""Files on their way in: read at once, and gone afterwards whatever happens."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cyclegan.series import Selection, open_files
from cyclegan.volume import Volume, read_volume
from cyclegan.web.session import ReaderError


class Uploads:
    """The folder that uploads arrive in, one subfolder each.

    Args:
        folder: Gradio's.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder).resolve()

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
        inside = [path for path in paths if path.resolve().parent.parent == self.folder]
        try:
            if not files or len(inside) < len(files):
                raise ReaderError("Upload a file: PNG, JPEG, TIFF, BMP, DICOM, NIfTI or a zip.")
            if not all(path.is_file() for path in inside):
                raise ReaderError("The upload did not arrive; please send the file again.")
            return read(inside)
        finally:
            for path in inside:
                shutil.rmtree(path.resolve().parent, ignore_errors=True)
