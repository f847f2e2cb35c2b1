"""Reading one file: `read_volume`. Nothing is written to disk."""

from __future__ import annotations

import glob
import os
from dataclasses import replace
from pathlib import Path

from cyclegan.reading.formats import PAIR, ZIP_MAGIC, file_head, is_nifti
from cyclegan.reading.selection import Selection, open_files
from cyclegan.reading.volume import ReadError, Volume, split_name


def read_volume(path: str | os.PathLike[str], choice: int | str | None = None) -> Volume:
    """Read a file of any format of `formats.FORMATS` into a `Volume`.

    The other half of an .hdr/.img pair is searched beside the one that is named. A zip archive
    is read if it holds one volume or series. Of a DICOM object with several stacks the magnitude
    images, or the largest of several planes, are read.

    Args:
        path: the file.
        choice: which of several volumes, by its index or its label in the choices of
            `open_files`; may be omitted where there is one.

    Raises:
        ReadError: the file is missing, is of none of these formats, is damaged, holds colour, is
            constant, smaller than `MIN_SIDE` or larger than the limits of `volume`, or holds
            several volumes. No other exception leaves this function.
    """
    path = Path(path)
    head = file_head(path)
    selection = open_files(parts(path), most=None)
    if choice is None:
        index, note = _only(selection, path.name, head[:4] == ZIP_MAGIC)
    else:
        index, note = _index(choice, selection.choices, path.name), ""
    volume = selection.read(index)
    return replace(volume, name=path.name, notes=(*volume.notes, *filter(None, [note])))


def _only(selection: Selection, name: str, is_archive: bool) -> tuple[int, str]:
    """Index of the volume to read where none is named, and a note on why it is this one."""
    if len(selection.choices) == 1:
        return 0, ""
    if not is_archive:
        for index, source in enumerate(selection.sources):
            if source.why_main:
                return index, source.why_main
    shown = "; ".join(selection.choices[:3]) + " ..." * (len(selection.choices) > 3)
    raise ReadError(
        f"{name}: the {'archive' if is_archive else 'file'} holds {len(selection.choices)} images "
        f"or series ({shown}); choose one of them."
    )


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
    stem, suffix = split_name(path.name)
    if suffix in PAIR and not (is_nifti(file_head(path)) and suffix == PAIR[1]):
        other_suffix = PAIR[suffix == PAIR[0]]
        for other in sorted(path.parent.glob(f"{glob.escape(stem)}.*")):
            if split_name(other.name) == (stem, other_suffix):
                return (path, other) if suffix == PAIR[0] else (other, path)
    return (path,)
