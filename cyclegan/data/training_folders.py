"""What lies in a training folder: files that are read together, each of them once; and masks."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from cyclegan import CONTRASTS
from cyclegan.data.slice_cache import ItemSlices
from cyclegan.reading.dicom.choices import series_of
from cyclegan.reading.volume import ReadError, split_name

# Folder names of the two contrasts, in layouts that are in use.
LAYOUTS = (("T1", "T2"), ("trainA", "trainB"), ("Tr1/TrainT1", "Tr2/TrainT2"))


class DataError(ValueError):
    """Training data that cannot be used; the message says which folder and what would work."""


class Item(NamedTuple):
    """What becomes one volume or picture.

    Attributes:
        contrast: "T1" or "T2".
        source: folder, and the file name's prefix up to the first "_" when it has one.
        files: one file (the header of an .hdr/.img pair), or those of a DICOM series.
        place: below the folder of its contrast: of the file, or of the folder of a series.
    """

    contrast: str
    source: str
    files: tuple[Path, ...]
    place: str

    @property
    def name(self) -> str:
        """For messages: the file's name, and how many more are read with it."""
        more = f" and {len(self.files) - 1} more" * (len(self.files) > 1)
        return f"{self.files[0].name}{more}"


def layout_of(folder: Path) -> dict[str, Path]:
    """The folder of each contrast.

    Raises:
        DataError: a missing folder or an unknown layout.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    for layout in LAYOUTS:
        if all((folder / name).is_dir() for name in layout):
            return {c: folder / name for c, name in zip(CONTRASTS, layout, strict=True)}
    layouts = "; ".join(" and ".join(layout) for layout in LAYOUTS)
    raise DataError(f"{folder}: expected the two folders {layouts}; one or both are missing")


def find_files(folder: Path) -> list[Item]:
    """Everything in a training folder, sorted; the images of a DICOM series are one item.

    Linked folders are followed, each real folder is entered once. Hidden ones are passed over.

    Raises:
        DataError: as `layout_of`.
    """
    items = []
    for contrast, root in layout_of(folder).items():
        paths = list(_files_below(root))
        for files in _read_together(paths):
            prefix = f"/{files[0].name.split('_')[0]}" if "_" in files[0].name else ""
            place = files[0].relative_to(root)
            if len(files) > 1:
                prefix, place = "", place.parent
            source = f"{folder.resolve().name}{prefix}"
            items.append(Item(contrast, source, files, place.as_posix()))
    return items


def _files_below(root: Path) -> Iterator[Path]:
    entered = set()
    for folder, directories, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in entered:
            directories.clear()
            continue
        entered.add(real)
        directories[:] = sorted(name for name in directories if not name.startswith("."))
        halves = {split_name(name)[0] for name in names if split_name(name)[1] == ".hdr"}
        for name in sorted(names):
            stem, suffix = split_name(name)
            if not name.startswith(".") and not (suffix == ".img" and stem in halves):
                yield Path(folder) / name


def _read_together(paths: Sequence[Path]) -> list[tuple[Path, ...]]:
    """Group the files of one contrast; a series may lie in several folders."""
    groups: dict[object, list[Path]] = defaultdict(list)
    for path in paths:
        groups[series_of(path) or path].append(path)
    return [tuple(group) for group in groups.values()]


def without_masks(
    items: Sequence[Item], results: Sequence[ItemSlices | ReadError]
) -> tuple[list[tuple[Item, ItemSlices]], list[str]]:
    """Leave out masks and label maps: volumes of labels beside an image of their matrix.

    Returns:
        What is left, in order, and a sentence for each item that is not.
    """
    images = {
        (item.files[0].parent, *result.facts.shape)
        for item, result in zip(items, results, strict=True)
        if isinstance(result, ItemSlices) and not result.facts.labels
    }
    read, skipped = [], []
    for item, result in zip(items, results, strict=True):
        if isinstance(result, ReadError):
            skipped.append(str(result))
        elif result.facts.labels and (item.files[0].parent, *result.facts.shape) in images:
            skipped.append(
                f"{item.name}: few whole numbers beside an image of the same size, taken for a mask"
            )
        else:
            read.append((item, result))
    return read, skipped


def describe_folder(
    folder: str, items: Sequence[Item], usable: Sequence[tuple[Item, ItemSlices]]
) -> list[str]:
    """For each contrast of a folder, a sentence on what became of its files.

    Args:
        folder: its name.
        items: all of the folder.
        usable: what became slices, of this folder and of others.
    """
    own, sentences = set(items), []
    for contrast in CONTRASTS:
        read = [(item, one) for item, one in usable if item.contrast == contrast and item in own]
        series = [item for item, _ in read if len(item.files) > 1]
        volumes = sum(one.facts.shape[0] > 1 for _, one in read)
        others = sum(one.facts.others for _, one in read)
        left_out = sum(item.contrast == contrast for item in own) - len(read)
        parts = [f"{volumes} volumes", f"{len(read) - volumes} single slices"]
        if series:
            files = sum(len(item.files) for item in series)
            parts.append(f"of them {len(series)} from {files} files of DICOM series")
        if others:
            parts.append(f"{others} other images in these series not taken (echoes, planes, ...)")
        if left_out:
            parts.append(f"{left_out} left out")
        slices = sum(len(one.slices) for _, one in read)
        sentences.append(f"{folder}, {contrast}: {', '.join(parts)}; {slices} slices")
    return sentences
