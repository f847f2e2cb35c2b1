"""What decoding one file showed, small enough to keep for thousands of them: for a run's report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from cyclegan.model.head import head_mask
from cyclegan.model.preprocess import Frame
from cyclegan.reading.volume import Volume

BINS = 32  # of the intensity histograms
EXAMPLES, TILE = 8, 96  # slices in an example strip, and their side in pixels
THUMBNAIL = 32  # side of what is compared for likeness
REACH = 1.6  # of a thumbnail's edge from its centre, in standard deviations of brightness
AIR = 0.1  # brightness that does not count, so that a noisy background does not
COMPARED = 64  # slices of one volume that are compared, evenly spaced


class FileSummary(NamedTuple):
    """Matrix, spacing, intensities and small pictures of one file; numpy arrays throughout."""

    shape: np.ndarray  # (3,) slices, rows and columns as shown
    spacing: np.ndarray  # (3,) mm between slices, rows and columns; (0,) when not in the file
    histogram: np.ndarray  # (BINS,) pixels inside the head, equal bins of [0, 1]
    tiles: np.ndarray  # (EXAMPLES or fewer, TILE, TILE) uint8, framed
    thumbnails: np.ndarray  # (COMPARED or fewer, THUMBNAIL²) float16, mean 0 and norm 1

    @property
    def slices(self) -> int:
        return int(self.shape[0])

    @property
    def matrix(self) -> str:
        return f"{self.shape[1]} x {self.shape[2]}"

    @property
    def spacing_text(self) -> str:
        """In mm, row, column, slice."""
        if not len(self.spacing):
            return "not in the file"
        return " x ".join(f"{mm:.2f}" for mm in np.roll(self.spacing, -1))


def summarise_file(volume: Volume, scaled: np.ndarray) -> FileSummary:
    """Summarise a file.

    Args:
        volume: as read.
        scaled: (Z, H, W) float32, its pixels in [0, 1].
    """
    frame = Frame.fit(scaled, TILE)
    slices = frame.apply(evenly_spaced(scaled, COMPARED))[:, 0].numpy()
    inside = slices[np.stack([head_mask(image) for image in slices])]
    quarter = len(slices) // 4  # the brain is in the middle half of a volume
    middle = slices[quarter : len(slices) - quarter]
    return FileSummary(
        shape=np.array(scaled.shape),
        spacing=np.array(volume.spacing or ()),
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
