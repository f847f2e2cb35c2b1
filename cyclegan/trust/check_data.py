"""What the input check learns from: real slices, simulated ones, and what code makes of both."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from cyclegan.reading.read import read_volume
from cyclegan.reading.volume import ReadError
from cyclegan.simulation.negatives import draw_negative, mosaic
from cyclegan.simulation.phantom import draw_slice, draw_volume
from cyclegan.simulation.simulate import Simulator
from cyclegan.simulation.tissues import TISSUES, Tissue, read_label_maps
from cyclegan.slices.data import SliceDataset
from cyclegan.trust.checks import KINDS, SIZE, frame_slice

# Labels that only the input check knows.
VESSEL, SINUS, LESION = 620, 621, 622
# T1 in ms after contrast agent: chosen so that blood is about one and a half times white matter.
BLOOD_T1, LESION_T1, MUCOSA_T1 = 350.0, 450.0, 500.0
FLAIR_TR, FLAIR_TI = 9000.0, 2500.0  # ms; nulls fluid of T1 4 s


@dataclass
class Pool:
    """Framed slices by kind and source.

    Attributes:
        images: (kind, source) -> (N, SIZE, SIZE) uint8, 255 is 1.
    """

    images: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)

    def add(self, kind: str, source: str, slices: np.ndarray) -> None:
        """Add (N, SIZE, SIZE) slices in [0, 1] of one of `KINDS`."""
        as_bytes = np.round(np.clip(slices, 0, 1) * 255).astype(np.uint8)
        known = self.images.get((kind, source))
        self.images[kind, source] = as_bytes if known is None else np.concatenate([known, as_bytes])

    def take(self, kind: str, count: int, rng: np.random.Generator) -> np.ndarray:
        """Draw `count` slices of a kind, its sources alike: (count, SIZE, SIZE) in [0, 1]."""
        stacks = [v for (k, _), v in sorted(self.images.items()) if k == kind]
        picks = [stacks[rng.integers(len(stacks))] for _ in range(count)]
        return np.stack([s[rng.integers(len(s))] for s in picks]).astype(np.float32) / 255

    def split(self, held_out: Sequence[str]) -> tuple[Pool, Pool]:
        """(rest, held out), by the last part of the source's name."""
        is_held = {key: key[1].split("/")[-1] in held_out for key in self.images}
        return (
            Pool({k: v for k, v in self.images.items() if not is_held[k]}),
            Pool({k: v for k, v in self.images.items() if is_held[k]}),
        )


def add_real(
    pool: Pool,
    folders: Sequence[str | Path],
    others: Sequence[str | Path],
    progress: Callable[[Iterable], Iterable] = iter,
) -> None:
    """Add T1 and T2 from training folders, FLAIR and T1POST from folders with those names in them.

    Raises:
        DataError: a training folder in no known layout.
        ValueError: a folder of other contrasts that holds none.
    """
    if folders:
        dataset = SliceDataset.load(folders, SIZE, progress)
        for contrast, slices in dataset.slices.items():
            for index, name in enumerate(dataset.names):
                mine = slices[dataset.sources[contrast] == index, 0].float().numpy()
                if len(mine):
                    pool.add(contrast, name, mine)
    for folder in map(Path, others):
        found = [(kind, p) for kind in KINDS for p in sorted((folder / kind).glob("*.*"))]
        if not found:
            raise ValueError(f"{folder}: no slices in it; expected folders named FLAIR or T1POST")
        for kind, path in progress(found):
            pool.add(kind, f"{folder.name}/{path.name.split('_')[0]}", read_framed(path))


def read_framed(path: Path) -> np.ndarray:
    """The slices of a file, each framed by itself: (N, SIZE, SIZE); none if it cannot be read."""
    try:
        return np.concatenate([frame_slice(image) for image in read_volume(path).pixels])
    except ReadError:
        return np.zeros((0, SIZE, SIZE), np.float32)


def add_simulated(
    pool: Pool,
    labels: np.ndarray,
    tissues: dict[int, Tissue],
    source: str,
    count: int,
    seed: int,
) -> None:
    """Add `count` simulated slices of each contrast from (N, S, S) label maps, half stripped.

    FLAIR is the T2 simulation with proton densities times the inversion factor, proton density
    that with eightfold T2 (an echo time eight times shorter), contrast agent a shorter T1 where
    there is blood or no barrier.
    """
    rng = np.random.default_rng(seed)
    enhanced = {
        label: replace(t, t1=min(t.t1, MUCOSA_T1)) if label in (30, 62, 509) else t
        for label, t in tissues.items()
    }
    enhanced[VESSEL] = Tissue(0.6, BLOOD_T1, 120, True)
    enhanced[SINUS] = Tissue(0.6, BLOOD_T1, 120, False)  # goes with the skull
    enhanced[LESION] = Tissue(0.8, LESION_T1, 100, True)
    flair = {label: replace(t, pd=t.pd * _inversion(t.t1)) for label, t in tissues.items()}
    density = {label: replace(t, t2=8 * t.t2) for label, t in tissues.items()}
    plain = Simulator(labels, tissues)
    marked = Simulator(mark_enhancement(labels, tissues, rng), enhanced)
    wanted = [
        (plain, ("t1", "T1"), ("t2", "T2")),
        (marked, ("t1", "T1POST")),
        (Simulator(labels, flair), ("t2", "FLAIR")),
        (Simulator(labels, density), ("t2", "OTHER")),
    ]
    torch_rng = torch.Generator().manual_seed(seed)
    for simulator, *outputs in wanted:
        for style, stripped in (("head", 0.0), ("stripped", 1.0)):
            for start in range(0, count // 2, 16):
                batch = min(16, count // 2 - start)
                pair = simulator.draw(batch, SIZE, torch_rng, stripped=stripped)
                for name, kind in outputs:
                    framed = reframe(getattr(pair, name)[:, 0].numpy())
                    pool.add(kind, f"{style}/{source}", framed)
    ct = [
        computed_tomography(labels[rng.integers(len(labels))], tissues, rng)
        for _ in range(count // 4)
    ]
    pool.add("OTHER", f"ct/{source}", reframe(ct))


def mark_enhancement(
    labels: np.ndarray, tissues: dict[int, Tissue], rng: np.random.Generator
) -> np.ndarray:
    """Label what contrast agent brightens: sinuses and vessels in the fluid, now and then a lesion.

    Takes and returns (N, S, S) label maps.
    """
    fluid = [label for label, t in tissues.items() if t.inside_brain and t.t1 > 2500]
    brain = [label for label, t in tissues.items() if t.inside_brain and t.t1 <= 2500]
    marked = labels.copy()
    side = labels.shape[-1]
    y, x = np.mgrid[:side, :side]
    for image, out in zip(labels, marked, strict=True):
        inside = np.isin(image, brain + fluid)
        if not inside.any():
            continue
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        middle = (columns[0] + columns[-1]) / 2
        wet = np.isin(image, fluid)
        # Sagittal sinus: on the midline at the back, thinner in front.
        for row, width in ((rows[-1], 5), (rows[0], 3)):
            near = np.hypot((x - middle) / width, (y - row) / (2 * width)) < rng.uniform(0.7, 1.3)
            out[near & (wet | ~inside) & (image != 516) & (np.abs(y - row) < 12)] = SINUS
        # Cortical veins and the vessels of the base: specks in the fluid outside the ventricles.
        grain = ndimage.gaussian_filter(rng.standard_normal(image.shape), rng.uniform(0.8, 1.3))
        cut = np.quantile(grain, rng.uniform(0.86, 0.97))
        out[wet & (image != 4) & (image != 43) & (grain > cut)] = VESSEL
        if rng.random() < 0.4:
            tissue = np.argwhere(np.isin(image, brain))
            cy, cx = tissue[rng.integers(len(tissue))]
            radius = rng.uniform(3, 20)
            lumpy = 1 + 0.6 * ndimage.gaussian_filter(rng.standard_normal(image.shape), 5) * 8
            distance = np.hypot(y - cy, x - cx) * np.clip(lumpy, 0.5, 1.8)
            hollow = rng.uniform(0.4, 0.9) if radius > 8 else 0.0
            ring = (distance < radius) & (distance >= hollow * radius)
            out[ring & inside] = LESION
    return marked


def computed_tomography(
    labels: np.ndarray, tissues: dict[int, Tissue], rng: np.random.Generator
) -> np.ndarray:
    """A CT-like slice in a brain window, (S, S) in [0, 1]: white skull, grey brain, dark fluid."""
    shades = np.zeros(int(max(labels.max(), max(tissues))) + 1, np.float32)
    for label, tissue in tissues.items():
        water = (tissue.pd - 0.7) / 0.15  # 0 white matter, 1 grey matter
        shades[label] = 0.48 + 0.06 * water if tissue.inside_brain else 0.5
        if tissue.t1 > 2500:
            shades[label] = rng.uniform(0.2, 0.3)
        elif tissue.pd < 0.2:
            shades[label] = 1.0
        elif tissue.t1 < 460:
            shades[label] = rng.uniform(0, 0.1)  # fat
    picture = ndimage.gaussian_filter(shades[labels], rng.uniform(0.6, 1.5))
    noise = ndimage.gaussian_filter(rng.standard_normal(labels.shape), 0.7) * rng.uniform(0, 0.08)
    return np.clip(picture + noise * (labels > 0), 0, 1)


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


def add_cuts(
    pool: Pool,
    stacks: Sequence[np.ndarray],
    spacing: float,
    tissues: dict[int, Tissue],
    source: str,
    each: int,
    seed: int,
) -> None:
    """Add sagittal and coronal cuts of stacks of axial label maps, simulated in T1 and T2.

    Args:
        stacks: (Z, S, S) label maps, lowest slice first.
        spacing: of the slices, in pixels of the label maps.
        each: cuts a stack and direction.
    """
    rng = np.random.default_rng(seed)
    cuts = []
    for stack in stacks:
        heights = (np.arange(int(len(stack) * spacing)) / spacing).astype(int)
        side = stack.shape[-1]
        for axis in (1, 2):
            for place in rng.uniform(0.25, 0.75, each):
                cut = stack.take(int(place * side), axis)[heights][::-1]  # top of the head up
                square = np.zeros((side, side), stack.dtype)
                rows = min(side, len(cut))
                square[(side - rows) // 2 :][:rows] = cut[:rows]
                if square.any():
                    cuts.append(square)
    simulator = Simulator(np.stack(cuts), tissues)
    torch_rng = torch.Generator().manual_seed(seed)
    for start in range(0, len(cuts), 16):
        pick = torch.arange(start, min(start + 16, len(cuts)))
        pair = simulator.draw(
            len(pick), SIZE, torch_rng, stripped=rng.choice([0.0, 1.0]), pick=pick
        )
        for images in (pair.t1, pair.t2):
            turned = [np.rot90(i, rng.choice([0, 0, 0, 1, 2, 3])) for i in images[:, 0].numpy()]
            pool.add("TURNED", f"cuts/{source}", reframe(turned))


def add_nothing(pool: Pool, count: int, rng: np.random.Generator) -> None:
    """Add pictures that are no brain slice, and lightboxes of slices that are."""
    pool.add("NOTHING", "drawn", reframe([draw_negative(rng) for _ in range(count)]))
    several = [pool.take(c, 40, rng) for c in ("T1", "T2")]
    boxes = [mosaic(rng, several[rng.integers(2)]) for _ in range(count // 8)]
    pool.add("NOTHING", "mosaic", reframe(boxes))


def add_phantoms(pool: Pool, people: Sequence[int], slices: int, source: str, count: int) -> None:
    """Add simulated slices and cuts of phantom heads; `count` as in `add_simulated`."""
    levels = np.random.default_rng(people[0]).uniform(0.1, 0.97, (len(people), slices))
    maps = [draw_slice(p, v) for p, row in zip(people, levels, strict=True) for v in row]
    add_simulated(pool, np.stack(maps), TISSUES, source, count, people[0])
    stacks = [draw_volume(p, slices=33, size=84) for p in people[:6]]  # 98 mm at 3.05 mm a pixel
    add_cuts(pool, stacks, 1.0, TISSUES, source, 3, people[0])


def add_label_maps(
    pool: Pool, folder: str | Path, people: slice, source: str, count: int, seed: int
) -> None:
    """Add simulated slices and cuts of some of the heads in a folder of label maps.

    Args:
        people: which heads, in the order of their names; a head is a file name up to its last "_".
    """
    labels, tissues = read_label_maps(folder)
    names = np.array([p.stem.rsplit("_", 1)[0] for p in sorted(Path(folder).glob("*.png"))])
    heads = np.unique(names)[people]
    if not len(heads):
        return
    add_simulated(pool, labels[np.isin(names, heads)], tissues, source, count, seed)
    # Every second slice at 1 mm.
    add_cuts(pool, [labels[names == h] for h in heads], 2.0, tissues, source, 6, seed)


def reframe(images: Iterable[np.ndarray]) -> np.ndarray:
    """Frame each image as an upload would be: (N, SIZE, SIZE)."""
    return np.concatenate([frame_slice(image) for image in images])


def _inversion(t1: float) -> float:
    """Share of the magnetisation left by fluid attenuation (Hajnal et al. 1992)."""
    return abs(1 - 2 * math.exp(-FLAIR_TI / t1) + math.exp(-FLAIR_TR / t1))
