"""What the input check learns from label maps: contrasts, cuts, and what lies beside the brain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from cyclegan.release.check_data import Pool, reframe
from cyclegan.release.neck import sample_neck, sample_top
from cyclegan.simulation.phantom import draw_slice, draw_volume
from cyclegan.simulation.simulate import Simulator
from cyclegan.simulation.tissues import TISSUES, Tissue, read_label_maps
from cyclegan.trust.checks import SIZE

# Labels that only the input check knows.
VESSEL, SINUS, LESION = 620, 621, 622
# T1 in ms after contrast agent: chosen so that blood is about one and a half times white matter.
BLOOD_T1, LESION_T1, MUCOSA_T1 = 350.0, 450.0, 500.0
FLAIR_TR, FLAIR_TI = 9000.0, 2500.0  # ms; nulls fluid of T1 4 s
# A newborn's tissues at 1.5 T after Williams et al. 2005: white matter holds more water than grey.
NEWBORN_WHITE, NEWBORN_GREY = Tissue(0.94, 2150, 210, True), Tissue(0.90, 1650, 130, True)
NEWBORN_DEEP = Tissue(0.88, 1400, 115, True)
# Share of the head that is brain: below the first there is next to none in the slice, from the
# second on it is a slice of the brain, as most that the translation was trained on.
NO_BRAIN, SOME_BRAIN = 0.06, 0.1


def add_simulated(
    pool: Pool,
    labels: np.ndarray,
    tissues: dict[int, Tissue],
    source: str,
    count: int,
    seed: int,
) -> None:
    """Add `count` simulated slices of each contrast from (N, S, S) label maps, half stripped.

    Slices with next to no brain become OUTSIDE, in T1 and T2, whatever else is named here.
    FLAIR is the T2 simulation with proton densities times the inversion factor, proton density
    that with eightfold T2 (an echo time eight times shorter), contrast agent a shorter T1 where
    there is blood or no barrier, a newborn's T1 and T2 other values of white and grey matter.
    """
    rng = np.random.default_rng(seed)
    share = brain_share(labels, tissues)
    add_outside(pool, labels, share, tissues, source, count, seed)
    labels = labels[share >= SOME_BRAIN]
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
    newborn = tissues | newborn_tissues(tissues)
    contrasts = [
        (plain, ("t1", "T1"), ("t2", "T2")),
        (marked, ("t1", "T1POST")),
        (Simulator(labels, flair), ("t2", "FLAIR")),
        (Simulator(labels, density), ("t2", "OTHER")),
        (Simulator(labels, newborn), ("t1", "NEWBORN"), ("t2", "NEWBORN")),
    ]
    torch_rng = torch.Generator().manual_seed(seed)
    for simulator, *outputs in contrasts:
        for style, stripped in (("head", 0.0), ("stripped", 1.0)):
            for start in range(0, count // 2, 16):
                batch = min(16, count // 2 - start)
                pair = simulator.sample(batch, SIZE, torch_rng, stripped=stripped)
                for name, kind in outputs:
                    framed = reframe(getattr(pair, name)[:, 0].numpy())
                    pool.add(kind, f"{style}/{source}", framed)
    ct = [
        computed_tomography(labels[rng.integers(len(labels))], tissues, rng)
        for _ in range(count // 4)
    ]
    pool.add("OTHER", f"ct/{source}", reframe(ct))


def newborn_tissues(tissues: dict[int, Tissue]) -> dict[int, Tissue]:
    """What a newborn's brain has other than an adult's: label -> Tissue, by its T1 in adults."""
    newborn = {}
    for label, tissue in tissues.items():
        if not tissue.inside_brain or tissue.t1 > 2500 or tissue.pd < 0.66:
            continue  # fluid and vessels stay
        if label in (2, 41, 7, 46):
            newborn[label] = NEWBORN_WHITE
        else:
            newborn[label] = NEWBORN_GREY if tissue.t1 > 1150 else NEWBORN_DEEP
    return newborn


def brain_share(labels: np.ndarray, tissues: dict[int, Tissue]) -> np.ndarray:
    """Share of each head that is brain or fluid around it: (N, S, S) label maps -> (N,)."""
    inside = np.isin(labels, [label for label, t in tissues.items() if t.inside_brain])
    return inside.sum((1, 2)) / np.maximum((labels > 0).sum((1, 2)), 1)


def add_outside(
    pool: Pool,
    labels: np.ndarray,
    share: np.ndarray,
    tissues: dict[int, Tissue],
    source: str,
    count: int,
    seed: int,
) -> None:
    """Add T1 and T2 slices with next to no brain: of the face, of the top of the head, of the neck.

    Faces are the lowest slices of `labels`, as far as they reach; tops are the outlines of its high
    slices with scalp and skull drawn into them, necks are drawn by code.

    Args:
        share: (N,) of each label map that is brain, see `brain_share`.
        count: slices of each of the three, half of them T1.
    """
    rng = np.random.default_rng(seed + 7)
    torch_rng = torch.Generator().manual_seed(seed + 7)
    high = labels[(share > 0.15) & (share < 0.5)]
    regions = {
        "face": (labels[share < NO_BRAIN], tissues),
        "top": ([sample_top(rng, high[rng.integers(len(high))]) for _ in range(64) if len(high)],
                tissues | {label: TISSUES[label] for label in (508, 514, 516)}),
        "neck": ([sample_neck(rng) for _ in range(64)], TISSUES),
    }  # fmt: skip
    for region, (maps, values) in regions.items():
        if not len(maps):
            continue
        simulator = Simulator(np.stack(maps), values)
        for _ in range(0, count // 2, 16):
            pair = simulator.sample(16, SIZE, torch_rng, lesions=0.0, stripped=0.0)
            for images in (pair.t1, pair.t2):
                pool.add("OUTSIDE", f"{region}/{source}", reframe(images[:, 0].numpy()))


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
        pair = simulator.sample(
            len(pick), SIZE, torch_rng, stripped=rng.choice([0.0, 1.0]), pick=pick
        )
        for images in (pair.t1, pair.t2):
            turned = [np.rot90(i, rng.choice([0, 0, 0, 1, 2, 3])) for i in images[:, 0].numpy()]
            pool.add("TURNED", f"cuts/{source}", reframe(turned))


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


def _inversion(t1: float) -> float:
    """Share of the magnetisation left by fluid attenuation (Hajnal et al. 1992)."""
    return abs(1 - 2 * math.exp(-FLAIR_TI / t1) + math.exp(-FLAIR_TR / t1))
