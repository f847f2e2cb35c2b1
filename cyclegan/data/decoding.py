"""What training and its report make of a file: framed slices, head masks, facts and a summary."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage

from cyclegan.model.head import head_mask
from cyclegan.model.preprocess import Frame, scale_intensity
from cyclegan.reading.choice import value_statistics
from cyclegan.reading.read import read_volume
from cyclegan.reading.selection import open_files
from cyclegan.reading.volume import Volume

Files = tuple[Path, ...]  # what is read together: one file, or those of a DICOM series
SMALLEST_HEAD = 0.04  # of a volume's slice: emptier slices at either end teach nothing
BINS = 32  # of the intensity histograms
EXAMPLES, TILE = 8, 96  # slices in an example strip, and their side in pixels
THUMBNAIL = 32  # side of what is compared for likeness
REACH = 1.6  # of a thumbnail's edge from its centre, in standard deviations of brightness
AIR = 0.1  # brightness that does not count, so that a noisy background does not
COMPARED = 64  # slices of one volume that are compared, evenly spaced


class Facts(NamedTuple):
    """What is known of the files of an item, beside the slices."""

    shape: tuple[int, int, int]  # slices, rows and columns as shown
    labels: bool  # a volume of few whole numbers in flat areas
    others: int  # volumes of the same DICOM series that were not taken


class FileSummary(NamedTuple):
    """What a report shows of one item; small enough to keep for thousands of them."""

    shape: np.ndarray  # (3,) slices, rows and columns as shown
    spacing: np.ndarray  # (3,) mm between slices, rows and columns; (0,) when not in the file
    histogram: np.ndarray  # (BINS,) pixels inside the head, equal bins of [0, 1]
    tiles: np.ndarray  # (EXAMPLES or fewer, TILE, TILE) uint8, framed
    thumbnails: np.ndarray  # (COMPARED or fewer, THUMBNAIL²) float16, mean 0 and norm 1

    @property
    def spacing_text(self) -> str:
        """In mm, row, column, slice."""
        if not len(self.spacing):
            return "not in the file"
        return " x ".join(f"{mm:.2f}" for mm in np.roll(self.spacing, -1))


class Decoded(NamedTuple):
    """An item after reading: the volume, its pixels as (Z, H, W) float32 in [0, 1], and facts."""

    volume: Volume
    scaled: np.ndarray
    facts: Facts

    def frame(self, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Slices and head masks, as `frame_slices`."""
        return frame_slices(self.scaled, size, self.volume.pixel_spacing)


def decode(files: Files) -> Decoded:
    """Read one file, or the largest volume of a DICOM series.

    Raises:
        ReadError: as `read_volume` and `open_files`.
    """
    if len(files) > 1:
        selection = open_files(files)
        volume, others = selection.read(selection.best), len(selection.choices) - 1
    else:
        volume, others = read_volume(files[0]), 0
    facts = Facts(tuple(volume.pixels.shape), bool(_holds_labels(volume.pixels)), others)
    return Decoded(volume, scale_intensity(volume.pixels), facts)


def _holds_labels(pixels: np.ndarray) -> bool:
    from_middle = np.argsort(abs(np.arange(len(pixels)) - len(pixels) // 2))
    return len(pixels) > 1 and value_statistics(pixels[place] for place in from_middle).are_labels


def frame_slices(
    scaled: np.ndarray, size: int, spacing: tuple[float, float] | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Frame a file's slices, the nearly empty ones left out, and compute their head masks.

    Args:
        scaled: (Z, H, W) float32 in [0, 1], scaled as one volume.
        size: side of the network's grid.
        spacing: (row, column) in mm, for pixels that are not square; as `Frame.fit` takes it.

    Returns:
        (N, 1, size, size) float16 slices, and their bool head masks.
    """
    if len(scaled) > 1:
        areas = np.array([head_mask(image).mean() for image in scaled])
        scaled = scaled[areas > SMALLEST_HEAD * areas.max()]
    slices = Frame.fit(scaled, size, spacing).apply(scaled).half()
    return slices, head_masks(slices)


def head_masks(slices: torch.Tensor) -> torch.Tensor:
    """Head masks of (N, 1, S, S) float16 slices: the same shape, bool."""
    heads = [head_mask(image) for image in slices[:, 0].float().numpy()]
    return torch.from_numpy(np.stack(heads))[:, None]


@functools.cache
def recipe() -> str:
    """Eight hexadecimal digits that change when scaling, framing or head masks do.

    Computed from what two made-up images become, so that nobody has to remember to raise a number:
    a volume that is windowed by percentiles, and an 8-bit export that is taken as it is, that also
    with pixels that are not square.
    """
    y, x = np.mgrid[-1:1:80j, -1:1:64j]
    radius = np.hypot(1.1 * x, y)
    head = np.clip(1.5 - 2 * radius, 0, 1)
    texture = 1 + 0.3 * np.sin(9 * x + 4 * y) * np.cos(7 * y)
    volume = 700 * np.stack([head * texture, head**4 * texture, radius < 0.1]) + 40
    total = hashlib.sha256()
    export = (170 * head * texture)[None].round()  # fills its range without reaching white
    for image, spacing in ((volume, None), (export, None), (export, (1.0, 1.5))):
        slices, heads = frame_slices(scale_intensity(image), 48, spacing)
        # In 256 steps, as processors differ in the last bit of a float.
        total.update((255 * slices.float()).round().byte().numpy().tobytes())
        total.update(heads.numpy().tobytes())
    return total.hexdigest()[:8]


def summarise(decoded: Decoded) -> FileSummary:
    """Matrix, spacing, intensities and small pictures of an item."""
    frame = Frame.fit(decoded.scaled, TILE)
    slices = frame.apply(evenly_spaced(decoded.scaled, COMPARED))[:, 0].numpy()
    inside = slices[np.stack([head_mask(image) for image in slices])]
    quarter = len(slices) // 4  # the brain is in the middle half of a volume
    middle = slices[quarter : len(slices) - quarter]
    return FileSummary(
        shape=np.array(decoded.scaled.shape),
        spacing=np.array(decoded.volume.spacing or ()),
        histogram=np.histogram(inside, BINS, (0, 1))[0],
        tiles=(255 * evenly_spaced(middle, EXAMPLES)).round().astype(np.uint8),
        thumbnails=_thumbnails(slices),
    )


def evenly_spaced(items: np.ndarray | Sequence, count: int) -> np.ndarray | list:
    """At most `count` of the items, evenly spaced; an array of an array, else a list."""
    chosen = np.linspace(0, len(items) - 1, min(len(items), count)).round().astype(int)
    return items[chosen] if isinstance(items, np.ndarray) else [items[i] for i in chosen]


def _thumbnails(slices: np.ndarray) -> np.ndarray:
    """(N, TILE, TILE) -> (N, THUMBNAIL²) float16, each row of mean 0 and norm 1.

    Centred and scaled by the moments of brightness (Hu 1962), which hardly move when a file is
    saved again, while the edge of the head may jump by a pixel.
    """
    rows, columns = np.mgrid[:TILE, :TILE]
    grid = np.linspace(-REACH, REACH, THUMBNAIL)
    thumbnails = []
    for image in slices:
        weight = np.clip(image - AIR, 0, None)
        weight = weight / max(weight.sum(), 1e-6)
        row, column = (weight * rows).sum(), (weight * columns).sum()
        radius = np.sqrt((weight * ((rows - row) ** 2 + (columns - column) ** 2)).sum())
        smooth = ndimage.gaussian_filter(image, TILE / THUMBNAIL / 2)
        places = np.meshgrid(row + radius * grid, column + radius * grid, indexing="ij")
        small = ndimage.map_coordinates(smooth, places, order=1).ravel()
        small = small - small.mean()
        thumbnails.append(small / max(np.linalg.norm(small), 1e-6))
    return np.array(thumbnails, np.float16)
