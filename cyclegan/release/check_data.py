"""What the input check learns from: real slices, and what code makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy import ndimage

from cyclegan.data.training_folders import find_files, layout_of
from cyclegan.model.preprocess import scale_intensity
from cyclegan.reading.read import read_volume
from cyclegan.reading.volume import ReadError
from cyclegan.release.negatives import mosaic, sample_negative
from cyclegan.trust.checks import KINDS, SIZE, frame_slice

# Folders of slices, and the kind that lies in each.
FOLDERS = {kind: kind for kind in KINDS} | {"NEWBORN_T1": "NEWBORN", "NEWBORN_T2": "NEWBORN"}


@dataclass
class Pool:
    """Framed slices by kind and source.

    Attributes:
        images: (kind, source) -> (N, SIZE, SIZE) uint8, 255 is 1.
    """

    images: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)

    def add(self, kind: str, source: str, slices: np.ndarray) -> None:
        """Add (N, SIZE, SIZE) slices in [0, 1] of one of `KINDS`; none is no entry."""
        if not len(slices):
            return
        as_bytes = np.round(np.clip(slices, 0, 1) * 255).astype(np.uint8)
        known = self.images.get((kind, source))
        self.images[kind, source] = as_bytes if known is None else np.concatenate([known, as_bytes])

    def take(self, kind: str, count: int, rng: np.random.Generator) -> np.ndarray:
        """Sample `count` slices of a kind, its sources alike: (count, SIZE, SIZE) in [0, 1]."""
        stacks = [v for (k, _), v in sorted(self.images.items()) if k == kind]
        picks = [stacks[rng.integers(len(stacks))] for _ in range(count)]
        return np.stack([s[rng.integers(len(s))] for s in picks]).astype(np.float32) / 255

    def split(self, held_out: Sequence[str]) -> tuple[Pool, Pool]:
        """(rest, held out): the sources whose last part starts with one of `held_out`."""
        is_out = {key: key[1].split("/")[-1].startswith(tuple(held_out)) for key in self.images}
        return (
            Pool({k: v for k, v in self.images.items() if not is_out[k]}),
            Pool({k: v for k, v in self.images.items() if is_out[k]}),
        )


def group_of(path: Path) -> str:
    """The subject or the group of subjects that a file name stands for.

    "clinic_meningioma-00ac64c3.png" and "clinic-meningioma_1f.png" are "clinic_meningioma",
    "albert_n01-030.png" is "albert_n01", "openms_000f49c8.png" is "openms"; one without "_" is "".
    """
    prefix, line, rest = path.name.split(".")[0].partition("_")
    if not line:
        return ""
    return (f"{prefix}_{rest.rpartition('-')[0]}" if "-" in rest else prefix).replace("-", "_")


def add_real(
    pool: Pool,
    folders: Sequence[str | Path],
    others: Sequence[str | Path],
    progress: Callable[[Iterable], Iterable] = iter,
) -> None:
    """Add T1 and T2 from training folders, every other kind from folders named as in `FOLDERS`.

    Raises:
        DataError: a training folder in no known layout.
        ValueError: a folder of other kinds that holds none.
    """
    files: list[tuple[str, Path, Path]] = []
    for folder in map(Path, folders):
        files += [(item.contrast, folder, p) for item in find_files(folder) for p in item.files]
    for folder in map(Path, others):
        other = [
            (kind, folder, path)
            for name, kind in FOLDERS.items()
            for path in sorted((folder / name).glob("*.*"))
        ]
        if not other:
            raise ValueError(
                f"{folder}: no slices in it; expected folders named FLAIR, T1POST, NEWBORN_T1 or "
                "NEWBORN_T2"
            )
        files += other
    for kind, folder, path in progress(files):
        source = f"{folder.resolve().name}/{group_of(path)}".rstrip("/")
        pool.add(kind, source, read_framed(path))


def add_paired(
    pool: Pool, folder: str | Path, progress: Callable[[Iterable], Iterable] = iter
) -> None:
    """Add what pairs of registered T1 and T2 slices hold: subjects that `pool` lacks, and FLAIR.

    FLAIR-like slices (see `fluid_attenuated`) come from every pair: FLAIR itself is there of few
    subjects, pairs are there of many scanners.

    Args:
        folder: in one of the layouts of training folders; a pair has equal names.

    Raises:
        DataError: as `layout_of`.
    """
    t1_folder, t2_folder = layout_of(Path(folder)).values()
    known = {source.split("/")[-1] for kind, source in pool.images if kind in ("T1", "T2")}
    for path in progress(sorted(t1_folder.glob("*.*"))):
        try:
            t1, t2 = (read_volume(p).pixels for p in (path, t2_folder / path.name))
        except ReadError:
            continue
        group = group_of(path)
        pool.add("FLAIR", f"pairs/{group}", reframe(map(fluid_attenuated, t1, t2)))
        if group not in known:
            pool.add("T1", f"pairs/{group}", reframe(t1))
            pool.add("T2", f"pairs/{group}", reframe(t2))


def fluid_attenuated(t1: np.ndarray, t2: np.ndarray) -> np.ndarray:
    """A FLAIR-like slice: the T2 dimmed where the T1 is as dark as fluid.

    Not FLAIR: what is long in T1 is dimmed by the grey value of the T1 slice, not by its time.

    Args:
        t1, t2: (H, W) of the same slice, registered.

    Returns:
        (H, W) float32 in [0, 1].
    """
    t1, t2 = scale_intensity(t1), scale_intensity(t2)
    inside = t1 > 0.1
    if inside.sum() < 100:
        return t2
    # Brain is the bulk of a slice. Fluid is at most half as bright as it in T1 and much brighter in
    # T2; where a pixel holds both, or the two slices lie a pixel apart, either sign counts.
    t1, t2 = (image / np.median(image[inside]) for image in (t1, t2))
    wet = t1 - 0.4 * np.clip(t2 - 1.35, 0, 1)
    weight = np.clip((ndimage.gaussian_filter(wet, 0.5) - 0.4) / 0.4, 0, 1)
    attenuated = np.minimum(t2, 2.2) ** 0.8 * (0.08 + 0.92 * weight)
    return (attenuated / attenuated.max()).astype(np.float32)


def read_framed(path: Path) -> np.ndarray:
    """The slices of a file, each framed by itself: (N, SIZE, SIZE); none if it cannot be read."""
    try:
        return reframe(read_volume(path).pixels)
    except ReadError:
        return reframe([])


def add_inverted(pool: Pool, count: int, rng: np.random.Generator) -> None:
    """Add T1 and T2 slices with grey values reversed, half with the air left black."""
    for contrast in ("T1", "T2"):
        slices = pool.take(contrast, count // 2, rng)
        inverted = [
            np.where(s > 0.04, 1.04 - s, 0) if i % 2 else 1 - s for i, s in enumerate(slices)
        ]
        pool.add("OTHER", f"inverted/{contrast}", reframe(inverted))


def add_turned(pool: Pool, count: int, rng: np.random.Generator) -> None:
    """Add slices of every contrast turned by 35 to 325 degrees, or upside down."""
    for contrast in ("T1", "T2", "FLAIR", "T1POST"):
        if not any(kind == contrast for kind, _ in pool.images):
            continue
        turned = []
        for image in pool.take(contrast, count // 4, rng):
            angle = rng.choice([90, 180, 270, rng.uniform(35, 325)])
            turned.append(ndimage.rotate(image, angle, reshape=True, order=1))
            if rng.random() < 0.25:
                turned[-1] = np.flipud(image)
        pool.add("TURNED", f"turned/{contrast}", reframe(turned))


def add_nothing(pool: Pool, count: int, rng: np.random.Generator) -> None:
    """Add pictures that are no brain slice, and lightboxes of slices that are."""
    pool.add("NOTHING", "generated", reframe([sample_negative(rng) for _ in range(count)]))
    several = [pool.take(c, 40, rng) for c in ("T1", "T2")]
    boxes = [mosaic(rng, several[rng.integers(2)]) for _ in range(count // 8)]
    pool.add("NOTHING", "mosaic", reframe(boxes))


def reframe(images: Iterable[np.ndarray]) -> np.ndarray:
    """Frame each image as an upload would be: (N, SIZE, SIZE) float32."""
    none = np.zeros((0, SIZE, SIZE), np.float32)
    return np.concatenate([none, *(frame_slice(image) for image in images)])
