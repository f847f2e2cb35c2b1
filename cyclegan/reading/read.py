"""One way in for one path: `read_volume`. Reading writes nothing to disk."""

from __future__ import annotations

import glob
import os
from dataclasses import replace
from pathlib import Path

from cyclegan.reading.decode import decoded
from cyclegan.reading.volume import ZIP_MAGIC, ReadError, Volume, file_head, is_nifti, split_name


def read_volume(path: str | os.PathLike[str], choice: int | str | None = None) -> Volume:
    """Read a DICOM, NIfTI, Analyze, PNG, JPEG, TIFF, BMP, GIF or WebP file into a `Volume`.

    The other half of an .hdr/.img pair is looked for beside the one that is named. A zip archive
    is read if it holds one volume or series.

    Args:
        path: the file.
        choice: which of several volumes, by its index or its label in the choices of
            `series.open_files`; may be omitted where there is one.

    Raises:
        ReadError: the file is missing, is none of these, is damaged, holds colour, is constant,
            smaller than `MIN_SIDE` or larger than the caps of this module, or holds several
            volumes. No other exception leaves this function.
    """
    path = Path(path)
    head = file_head(path)
    if head[:4] != ZIP_MAGIC and choice is None:
        header, image = _pair(path, head)
        try:
            with header.open("rb") as stream, (image or header).open("rb") as pixels:
                return decoded(stream, path.name, image=pixels if image else None)
        except OSError as error:
            raise ReadError(f"{path.name}: it cannot be opened ({error.strerror}).") from error
    from cyclegan.reading.series import open_files  # pydicom takes a while to import

    selection = open_files(parts(path))
    if choice is not None:
        return replace(selection.read(_index(choice, selection.choices, path.name)), name=path.name)
    if len(selection.choices) > 1:
        raise ReadError(
            f"{path.name}: the archive holds {len(selection.choices)} images or series "
            f"({'; '.join(selection.choices[:3])}{' ...' * (len(selection.choices) > 3)}); "
            "choose one of them."
        )
    return replace(selection.read(0), name=path.name)


def _index(choice: int | str, labels: tuple[str, ...], name: str) -> int:
    """Where a choice is among the labels."""
    if isinstance(choice, str) and choice in labels:
        return labels.index(choice)
    if not isinstance(choice, str) and 0 <= choice < len(labels):
        return int(choice)
    raise ReadError(f"{name}: there is no choice {choice!r}; it holds {'; '.join(labels)}.")


def parts(path: Path) -> tuple[Path, ...]:
    """The files that `read_volume(path)` decodes: both halves of an .hdr/.img pair, else the one.

    Raises:
        ReadError: a file with one of these two extensions is missing or cannot be opened.
    """
    if split_name(path.name)[1] not in (".hdr", ".img"):
        return (path,)
    header, image = _pair(path, file_head(path))
    return (header, image) if image else (path,)


def _pair(path: Path, head: bytes) -> tuple[Path, Path | None]:
    """The header and the image of a pair as far as they lie side by side, else (path, None)."""
    stem, suffix = split_name(path.name)
    wanted = {".hdr": ".img", ".img": ".hdr"}.get(suffix)
    if wanted is None or (suffix == ".img" and is_nifti(head)):
        return path, None
    for other in sorted(path.parent.glob(f"{glob.escape(stem)}.*")):
        if split_name(other.name) == (stem, wanted):
            return (path, other) if suffix == ".hdr" else (other, path)
    return path, None
