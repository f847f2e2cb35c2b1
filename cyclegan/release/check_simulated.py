"""What the input check learns from label maps: contrasts, cuts, and what lies beside the brain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from cyclegan.release.check_data import Pool, reframe
from cyclegan.release.neck import sample_neck, sample_top
from cyclegan.simulation.phantom import draw_slice, draw_volume
from cyclegan.simulation.simulate import Simulator
from cyclegan.simulation.tissues import TISSUES, Tissue, read_label_maps
from cyclegan.trust.checks import SIZE

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
    that with eightfold T2 (an echo time eight times shorter), a newborn's T1 and T2 are those of
    other values of white and grey matter.
    """
    share = brain_share(labels, tissues)
    add_outside(pool, labels, share, tissues, source, count, seed)
    labels = labels[share >= SOME_BRAIN]
    flair = {label: replace(t, pd=t.pd * _inversion(t.t1)) for label, t in tissues.items()}
    density = {label: replace(t, t2=8 * t.t2) for label, t in tissues.items()}
    newborn = tissues | newborn_tissues(tissues)
    contrasts = [
        (Simulator(labels, tissues), ("t1", "T1"), ("t2", "T2")),
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
    slices with scalp and skull put into them, necks come from code.

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


def add_phantoms(pool: Pool, seeds: Sequence[int], slices: int, source: str, count: int) -> None:
    """Add simulated slices and cuts of phantom heads; `count` as in `add_simulated`."""
    levels = np.random.default_rng(seeds[0]).uniform(0.1, 0.97, (len(seeds), slices))
    maps = [draw_slice(p, v) for p, row in zip(seeds, levels, strict=True) for v in row]
    add_simulated(pool, np.stack(maps), TISSUES, source, count, seeds[0])
    stacks = [draw_volume(p, slices=33, size=84) for p in seeds[:6]]  # 98 mm at 3.05 mm a pixel
    add_cuts(pool, stacks, 1.0, TISSUES, source, 3, seeds[0])


def add_label_maps(
    pool: Pool, folder: str | Path, chosen: slice, source: str, count: int, seed: int
) -> None:
    """Add simulated slices and cuts of some of the heads in a folder of label maps.

    Args:
        chosen: which heads, in the order of their names; a head is a file name up to its last "_".
    """
    labels, tissues = read_label_maps(folder)
    names = np.array([p.stem.rsplit("_", 1)[0] for p in sorted(Path(folder).glob("*.png"))])
    heads = np.unique(names)[chosen]
    if not len(heads):
        return
    add_simulated(pool, labels[np.isin(names, heads)], tissues, source, count, seed)
    # Every second slice at 1 mm.
    add_cuts(pool, [labels[names == h] for h in heads], 2.0, tissues, source, 6, seed)


def _inversion(t1: float) -> float:
    """Share of the magnetisation left by fluid attenuation (Hajnal et al. 1992)."""
    return abs(1 - 2 * math.exp(-FLAIR_TI / t1) + math.exp(-FLAIR_TR / t1))
