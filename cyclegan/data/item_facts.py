"""What the items of a training folder turned out to be, and which of them are masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cyclegan import CONTRASTS
from cyclegan.data.training_folders import Item
from cyclegan.reading.choice import value_statistics
from cyclegan.reading.read import read_volume
from cyclegan.reading.selection import open_files
from cyclegan.reading.volume import ReadError, Volume


class Facts(NamedTuple):
    """What is kept of an item beside its slices; numpy arrays throughout."""

    shape: np.ndarray  # (3,) slices, rows and columns as shown
    labels: np.ndarray  # () bool: a volume of few whole numbers in flat areas
    others: np.ndarray  # () images of a DICOM series that are no part of the volume


class Found(NamedTuple):
    """An item that was read: the key of its content, its slices, and what it is.

    `slices` are (slices, masks) as tensors, or with a cache the numbers of its rows.
    """

    key: str
    slices: Any
    facts: Facts

    @property
    def length(self) -> int:
        """Number of slices."""
        return len(self.slices if isinstance(self.slices, np.ndarray) else self.slices[0])


def read_item(files: tuple[Path, ...]) -> tuple[Volume, int]:
    """Read one file, or a DICOM series as `read_series`."""
    return read_series(files) if len(files) > 1 else (read_volume(files[0]), 0)


def read_series(files: tuple[Path, ...]) -> tuple[Volume, int]:
    """The largest volume of a DICOM series, and how many others (echoes, planes, phases) it holds.

    Raises:
        ReadError: as `open_files`.
    """
    selection = open_files(files)
    return selection.read(selection.best), len(selection.choices) - 1


def describe(volume: Volume, others: int) -> Facts:
    """Facts of a volume; `others` are volumes of the same files that were not taken."""
    return Facts(
        np.array(volume.pixels.shape), np.array(_holds_labels(volume.pixels)), np.array(others)
    )


def _holds_labels(pixels: np.ndarray) -> bool:
    from_middle = np.argsort(abs(np.arange(len(pixels)) - len(pixels) // 2))
    return len(pixels) > 1 and value_statistics(pixels[place] for place in from_middle).are_labels


def without_masks(
    items: Sequence[Item], results: Sequence[Found | ReadError]
) -> tuple[list[tuple[Item, Found]], list[str]]:
    """Leave out masks and label maps: volumes of labels beside an image of their matrix.

    Returns:
        What is left, in order, and a sentence for each item that is not.
    """
    images = {
        (item.files[0].parent, *result.facts.shape)
        for item, result in zip(items, results, strict=True)
        if isinstance(result, Found) and not result.facts.labels
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


def said(folder: str, items: Sequence[Item], read: Sequence[tuple[Item, Found]]) -> list[str]:
    """For each contrast of a folder, a sentence on what became of its files.

    Args:
        folder: its name.
        items: all of the folder.
        read: what became slices, of this folder and of others.
    """
    mine, sentences = set(items), []
    for contrast in CONTRASTS:
        kept = [(item, found) for item, found in read if item.contrast == contrast and item in mine]
        series = [item for item, _ in kept if len(item.files) > 1]
        volumes = sum(found.facts.shape[0] > 1 for _, found in kept)
        others = sum(int(found.facts.others) for _, found in kept)
        left_out = sum(item.contrast == contrast for item in mine) - len(kept)
        parts = [f"{volumes} volumes", f"{len(kept) - volumes} single slices"]
        if series:
            files = sum(len(item.files) for item in series)
            parts.append(f"of them {len(series)} from {files} files of DICOM series")
        if others:
            parts.append(f"{others} other images in these series not taken (echoes, planes, ...)")
        if left_out:
            parts.append(f"{left_out} left out")
        slices = sum(found.length for _, found in kept)
        sentences.append(f"{folder}, {contrast}: {', '.join(parts)}; {slices} slices")
    return sentences
