"""Scans to try the page with, simulated from phantoms: nobody's data, ground truth known."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from cyclegan.reading.volume import Volume
from cyclegan.server.errors import GoneError
from cyclegan.server.images import THUMBNAIL, encode_png
from cyclegan.simulation.phantom import draw_slice, draw_volume
from cyclegan.simulation.simulate import simulate_pair

SLICES = 24
SLICE_SPACING_MM = 102 / (SLICES - 1)  # the phantom's levels 0 to 1 are 102 mm apart


@dataclass(frozen=True)
class Example:
    """One entry of the page's list: `to` is the direction it opens with."""

    label: str
    to: str
    seed: int
    level: float | None  # None: a volume
    lesion: bool = False


EXAMPLES = (
    Example("T2 with a lesion", to="T1", seed=78, level=0.6, lesion=True),
    Example("T1", to="T2", seed=60, level=0.5),
    Example("T2", to="T1", seed=73, level=0.5),
    Example("T1 volume", to="T2", seed=64, level=None),
)


def _acquired(example: Example, labels: np.ndarray) -> np.ndarray:
    """The source image of an example from (S, S) labels: (S, S) float32 in [0, 1]."""
    pair = simulate_pair(labels, np.random.default_rng(example.seed), lesion=example.lesion)
    return np.asarray(pair.t1 if example.to == "T2" else pair.t2)


@lru_cache(maxsize=len(EXAMPLES))
def example_volume(index: int) -> Volume:
    """Draw and simulate example `index` of `EXAMPLES`; the second call returns the same object.

    Returns:
        Volume of (Z, 256, 256) float32 pixels, 1 mm, with the source contrast of the example.
    """
    example = EXAMPLES[index]
    if example.level is None:
        labels = draw_volume(example.seed, slices=SLICES)
    else:
        labels = draw_slice(example.seed, level=example.level)[np.newaxis]
    # The same draws for every slice, so that a volume is one acquisition.
    pixels = np.stack([_acquired(example, slice_labels) for slice_labels in labels])
    height, width = pixels.shape[1:]
    affine = np.diag([-1.0, -1.0, SLICE_SPACING_MM, 1.0])  # columns run left, rows posterior
    affine[:2, 3] = (width - 1) / 2, (height - 1) / 2
    return Volume(
        pixels=np.ascontiguousarray(pixels, dtype=np.float32),
        spacing=(SLICE_SPACING_MM, 1.0, 1.0),
        affine=affine,
        directions=("R", "L", "A", "P"),
        window=None,
        contrast_hint="T1" if example.to == "T2" else "T2",
        name=f"{example.label} (phantom)",
        notes=("simulated from a drawn head, not a person",),
    )


@lru_cache(maxsize=len(EXAMPLES))
def example_thumbnail(index: int) -> bytes:
    """A small picture of an example as PNG.

    Drawn anew, small: an example in full takes a second, the volume ten.

    Raises:
        GoneError: there is no such example.
    """
    if not 0 <= index < len(EXAMPLES):
        raise GoneError("There is no such example.")
    example = EXAMPLES[index]
    labels = draw_slice(example.seed, level=example.level or 0.5, size=THUMBNAIL)
    return encode_png(_acquired(example, labels))
