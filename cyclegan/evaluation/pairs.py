"""Pairs of slices: the same anatomy in T1 and T2, from a folder of images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from cyclegan import OTHER
from cyclegan.evaluation.registration import register_rigid
from cyclegan.model.head import joint_head
from cyclegan.model.preprocess import scale_intensity


class PairsError(ValueError):
    """A folder that cannot be evaluated; the message says what it should hold."""


@dataclass(frozen=True)
class Pair:
    """One slice in both contrasts: `images["T1"]` and `images["T2"]`, (H, W), registered.

    `registered` may hold, for either contrast, (H, W) in [0, 1] of it registered onto the other.
    """

    name: str
    images: dict[str, np.ndarray]
    lesion: np.ndarray | None = None  # (H, W), non-zero inside lesions
    registered: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def source(self) -> str:
        return Path(self.name).stem.rsplit("_", 1)[0]

    def truth(self, contrast: str) -> np.ndarray:
        """What a translation to `contrast` is judged by: (H, W) in [0, 1]."""
        return self.registered.get(contrast, to_unit(self.images[contrast]))


def with_registered_truth(pairs: Iterable[Pair]) -> list[Pair]:
    """The pairs with truths that are `registered` onto their sources, for both directions.

    T1 and T2 of a pair are two scans, a pixel or two apart, and a translation lies where its source
    does: what it loses against a truth beside it says nothing of the translation.
    """
    return [replace(pair, registered=_registered(pair)) for pair in pairs]


def _registered(pair: Pair) -> dict[str, np.ndarray]:
    units = {contrast: to_unit(image) for contrast, image in pair.images.items()}
    return {
        to: register_rigid(units[source], units[to]).apply(units[to]).clip(0, 1)
        for to, source in OTHER.items()
    }


def load_pairs(folder: str | Path, every: int = 1) -> tuple[list[Pair], list[str]]:
    """Read every `every`-th pair of images of `folder`, by name.

    Returns the pairs and one sentence for each file that was left out: unreadable, without a
    partner, of another size than its partner, or with no head on it. Raises PairsError when the
    folder has no T1/ and T2/ or when no pair is left.
    """
    folder = Path(folder)
    layout = "a pairs folder holds T1/ and T2/ with equal file names"
    names = {}
    for contrast in ("T1", "T2"):
        if not (folder / contrast).is_dir():
            raise PairsError(f"{folder}: no folder {contrast}/ in it; {layout}")
        files = (folder / contrast).iterdir()
        names[contrast] = {p.name for p in files if p.is_file() and not p.name.startswith(".")}
    common = sorted(names["T1"] & names["T2"])
    if not common:
        seen = [f"{c}/{min(n)}" if n else f"nothing in {c}/" for c, n in names.items()]
        raise PairsError(f"{folder}: no name occurs in both ({', '.join(seen)}); {layout}")
    skipped = [
        f"{contrast}/{name}: no file of this name in {other}/"
        for other, contrast in OTHER.items()
        for name in sorted(names[contrast] - names[other])
    ]
    pairs = []
    for name in common[::every]:
        try:
            pairs.append(_load_pair(folder, name))
        except ValueError as error:
            skipped.append(str(error))
    if not pairs:
        raise PairsError(f"{folder}: no usable pair of image slices; first problem: {skipped[0]}")
    return pairs, skipped


def to_unit(image: np.ndarray) -> np.ndarray:
    """Any real (H, W) to float (H, W) in [0, 1].

    8-bit images are display values and become value / 255; deeper ones have no fixed white and
    are scaled by `scale_intensity`.
    """
    return image / 255.0 if image.dtype == np.uint8 else scale_intensity(image)


def _load_pair(folder: Path, name: str) -> Pair:
    images = {contrast: _read_slice(folder / contrast / name) for contrast in ("T1", "T2")}
    shapes = [image.shape for image in images.values()]
    if shapes[0] != shapes[1]:
        raise ValueError(f"{name}: T1 is {_size(shapes[0])} but T2 is {_size(shapes[1])} pixels")
    if not joint_head(*(to_unit(image) for image in images.values())).any():
        raise ValueError(f"{name}: nothing but air in either contrast")
    lesion = None
    if (folder / "lesion" / name).is_file():
        lesion = _read_slice(folder / "lesion" / name)
        if lesion.shape != shapes[0]:
            raise ValueError(f"lesion/{name}: {_size(lesion.shape)}, not {_size(shapes[0])} pixels")
    return Pair(name, images, lesion)


def _read_slice(path: Path) -> np.ndarray:
    """One image file, (H, W): uint8 where it stores 8 bits per channel, else its own dtype."""
    label = f"{path.parent.name}/{path.name}"
    try:
        with Image.open(path) as image:
            deep = image.mode[0] in "IF"  # "I;16", "I" and "F"
            pixels = np.asarray(image if deep else image.convert("L"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{label}: not a readable image; PNG, JPEG or TIFF would work") from error
    if min(pixels.shape) < 11:
        raise ValueError(f"{label}: {_size(pixels.shape)} pixels; SSIM needs at least 11x11")
    return pixels


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(str(n) for n in shape)
