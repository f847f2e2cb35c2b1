"""Skull-stripped copies of head-in slices, so that all subjects are there in both ways.

The mask comes from a small network that has seen simulated heads only, of all sorts of contrast
(the idea of SynthStrip, Hoopes et al. 2022). It is made anew for a run and thrown away after it:
good enough to vary training data, not a brain extraction tool.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import nn
from tqdm import trange

from cyclegan import CONTRASTS
from cyclegan.data.slice_cache import Arrays, SliceCache, StoredSlices
from cyclegan.model.networks import UNetGenerator
from cyclegan.model.preprocess import Frame
from cyclegan.model.translator import multiplies_bfloat16
from cyclegan.simulation.simulate import Simulator

SIZE = 128  # pixels; a brain's outline needs no more
SMALLEST_BRAIN = 0.08  # of the frame: less is the tip of a lobe or a mistake
LARGEST_BRAIN = 0.8  # of the head: more is a mask that has taken the scalp for brain
CERTAIN = 0.9  # probability; the brain a little too small is better than with scalp
NEAR = 0.05  # of the side, 13 pixels of 256: an outline this near to the brain runs along it
ALONG_BRAIN = 0.18  # measured: up to 0.08 of the outline in head-in sources, from 0.22 otherwise
STEPS = 700  # of training; gave the masks that the shipped weights were trained with
STRIPPED_HIGH = 99.8  # percentile of the brain that becomes white, as in `preprocess.Scale`


def new_masker() -> UNetGenerator:
    """The untrained network: (B, 1, `SIZE`, `SIZE`) slices to brain probabilities."""
    return UNetGenerator(channels=(16, 32, 64, 96))


def train_masker(
    simulator: Simulator, rng: torch.Generator, steps: int | None = None, batch: int = 8
) -> UNetGenerator:
    """Train `new_masker` on simulated heads.

    Args:
        simulator: simulates heads with their brain masks.
        rng: source of every random choice except the initial weights.
        steps: default: `STEPS`.
        batch: images a step, half of them T1w and half T2w of the same heads.
    """
    steps = steps or STEPS
    masker = new_masker().to(simulator.device)
    optimizer = torch.optim.Adam(masker.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps)
    kind = torch.device(simulator.device).type
    # Where bfloat16 is emulated, a step took 10 s on two cores, in float32 less than one.
    fast = multiplies_bfloat16(simulator.device)
    for _ in trange(steps, desc="brain masks", leave=False):
        pair = simulator.sample(batch // 2, SIZE, rng, stripped=0.1)
        images, brain = torch.cat([pair.t1, pair.t2]), torch.cat([pair.brain] * 2).float()
        with torch.autocast(kind, torch.bfloat16, enabled=fast):
            output = masker(images)
        output = output.float().clamp(1e-4, 1 - 1e-4)
        overlap = 2 * (output * brain).sum((1, 2, 3)) + 1
        dice = overlap / (output.sum((1, 2, 3)) + brain.sum((1, 2, 3)) + 1)
        loss = F.binary_cross_entropy(output, brain) + (1 - dice).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(masker.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return masker.eval()


def fingerprint(masker: nn.Module) -> str:
    """Sixteen hexadecimal digits that change when the masks and copies of a masker do."""
    rules = (SIZE, SMALLEST_BRAIN, LARGEST_BRAIN, CERTAIN, NEAR, STRIPPED_HIGH)
    total = hashlib.sha256(repr(rules).encode())
    for name, value in masker.state_dict().items():
        total.update(name.encode())
        total.update(value.cpu().contiguous().numpy().tobytes())
    return total.hexdigest()[:16]


@torch.inference_mode()
def brain_masks(masker: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Brain masks of framed slices.

    Args:
        masker: from `train_masker`.
        images: (N, 1, S, S) in [0, 1].

    Returns:
        (N, 1, S, S) bool on the CPU; one piece without holes.
    """
    device = next(masker.parameters()).device
    masks = []
    for chunk in images.split(32):
        small = F.interpolate(
            chunk.to(device).float(), size=(SIZE, SIZE), mode="bilinear", antialias=True
        )
        large = F.interpolate(masker(small), size=chunk.shape[-2:], mode="bilinear")
        masks += [
            _one_piece(_without_scalp(m > CERTAIN, image))
            for m, image in zip(large[:, 0].cpu().numpy(), chunk[:, 0].float().numpy(), strict=True)
        ]
    return torch.from_numpy(np.stack(masks))[:, None]


def outline_shares(heads: torch.Tensor, brains: torch.Tensor) -> np.ndarray:
    """Share of each head's outline that runs along the brain: (N or fewer,) float64.

    Args:
        heads, brains: (N, 1, S, S) bool; slices without one of the two have no share.
    """
    shares = []
    for head, brain in zip(heads[:, 0].numpy(), brains[:, 0].numpy(), strict=True):
        outline = head & ~ndimage.binary_erosion(head)
        if brain.any() and outline.any():
            away = ndimage.distance_transform_edt(~brain)[outline]
            shares.append((away < NEAR * len(head)).mean())
    return np.array(shares)


def is_head_in(shares: np.ndarray) -> bool:
    """Whether slices of one source, by their `outline_shares`, show more than the brain.

    Around a stripped brain, the outline of what is seen runs along the brain.
    """
    return len(shares) > 0 and float(np.mean(shares)) < ALONG_BRAIN


def brain_whites(
    images: torch.Tensor, heads: torch.Tensor, brains: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Which slices show enough brain and more than the brain, and how bright its fluid is.

    Args:
        images, heads, brains: (N, 1, S, S), the slices and their masks.

    Returns:
        (N,) bool, and the percentile `STRIPPED_HIGH` of those M brains: (M,) float32.
    """
    share = brains.flatten(1).float().mean(1)
    chosen = (share > SMALLEST_BRAIN) & (share < LARGEST_BRAIN * heads.flatten(1).float().mean(1))
    whites = [
        np.percentile(image[brain].float().numpy(), STRIPPED_HIGH)
        for image, brain in zip(images[chosen], brains[chosen], strict=True)
    ]
    return chosen, torch.tensor(whites, dtype=torch.float32)


def lowest_white(whites: torch.Tensor) -> float:
    """White of a source's slices whose own fluid is darker; from all its `brain_whites`.

    That of those slices that show most fluid, because exports are windowed by volume; by itself,
    a slice with little would come out too bright.
    """
    return whites.quantile(0.9).item()


def cut_to_brain(
    images: torch.Tensor, brains: torch.Tensor, whites: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut slices to the brain, and window and frame them again.

    Args:
        images, brains: (N, 1, S, S), slices and brain masks; N is 1 or more.
        whites: (N,) float32, the values that become 1.

    Returns:
        The stripped slices (N, 1, S, S) float16 and their bool masks.
    """
    cut = (images.float() * brains / whites[:, None, None, None]).clamp(0, 1)
    framed = []
    for pair in torch.cat([cut, brains.float()], 1):  # a brain fills the frame as its head did
        frame = Frame.fit(pair[0].numpy(), images.shape[-1])
        framed.append(frame.apply(pair.numpy()))
    cut, brains = torch.stack(framed)[:, :, 0].split(1, 1)
    return cut.half(), brains > 0.5


def _without_scalp(mask: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The mask without those parts of its rim that are brighter than anything in its interior."""
    interior = ndimage.binary_erosion(mask, iterations=round(0.04 * len(mask)))
    if not interior.any():
        return mask
    bright = mask & ~interior & (image > 1.05 * np.percentile(image[interior], 99))
    return mask & ~ndimage.binary_dilation(bright, iterations=round(0.012 * len(mask)))


def _one_piece(mask: np.ndarray) -> np.ndarray:
    """The largest part of a mask without what hangs on by a thread, its holes filled."""
    reach = round(0.02 * len(mask))
    y, x = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    mask = ndimage.binary_opening(mask, y * y + x * x <= reach * reach)
    parts, count = ndimage.label(mask)
    if count > 1:
        mask = parts == 1 + np.bincount(parts.ravel())[1:].argmax()
    return ndimage.binary_fill_holes(mask)


class FileSlices(NamedTuple):
    """The slices of one file among those of its contrast."""

    source: int
    contrast: str
    key: str  # of its content
    slices: StoredSlices  # (M, 1, S, S) float16, of the contrast
    heads: StoredSlices  # their bool head masks
    at: np.ndarray  # (N,) where those of the file are


def strip_files(
    masker: nn.Module,
    files: Sequence[FileSlices],
    cache: SliceCache,
    progress: Callable[[Iterable], Iterable] = iter,
) -> dict[int, dict[str, list[tuple[StoredSlices, StoredSlices]]]]:
    """Strip the sources whose slices show more than the brain; one file at a time is in memory.

    Args:
        masker: from `train_masker`.
        cache: open; stores masks and copies for the next start.
        progress: wraps the list of files, and then that of the copies, for progress bars.

    Returns:
        Source -> "T1" and "T2" -> for each file with any, the copies and their head masks.
    """
    name = fingerprint(masker)

    def measure(file: FileSlices) -> Arrays:
        return cache.arrays(f"brains {name} {file.key}", lambda: _measure(masker, file))

    by_source: dict[int, list[tuple[FileSlices, Arrays]]] = defaultdict(list)
    for file in progress(files):
        numbers = {name: array for name, array in measure(file).items() if name != "bits"}
        by_source[file.source].append((file, numbers))
    jobs = []
    copied: dict[int, dict[str, list]] = {}
    for source, measured in sorted(by_source.items()):
        if not is_head_in(np.concatenate([numbers["shares"] for _, numbers in measured])):
            continue
        copied[source] = {c: [] for c in CONTRASTS}
        for c in CONTRASTS:
            whites = [(f, n["whites"]) for f, n in measured if f.contrast == c and len(n["whites"])]
            if whites:
                lowest = lowest_white(torch.from_numpy(np.concatenate([w for _, w in whites])))
                jobs += [(file, lowest) for file, _ in whites]
    for file, lowest in progress(jobs):

        def strip(file: FileSlices = file, lowest: float = lowest) -> tuple:
            return _strip(file, measure(file), lowest)

        # The lowest white depends on the other files of the source, so it is part of the key.
        key = f"stripped {name} {file.key} {lowest!r}"
        copied[file.source][file.contrast].append(cache.slices(key, strip))
    return copied


def _measure(masker: nn.Module, file: FileSlices) -> Arrays:
    """What the brain masks of a file say.

    Returns:
        `shares`, see `outline_shares`; `chosen` and `whites`, see `brain_whites`; and `bits`, the
        masks of the chosen slices, eight pixels a byte.
    """
    images, heads = file.slices[file.at], file.heads[file.at]
    brains = brain_masks(masker, images)
    chosen, whites = brain_whites(images, heads, brains)
    return {
        "shares": outline_shares(heads, brains),
        "chosen": chosen.numpy(),
        "whites": whites.numpy(),
        "bits": np.packbits(brains[chosen].numpy(), axis=-1),
    }


def _strip(file: FileSlices, measured: Arrays, lowest: float) -> tuple[torch.Tensor, torch.Tensor]:
    images = file.slices[file.at[measured["chosen"]]]
    brains = np.unpackbits(measured["bits"], axis=-1, count=images.shape[-1]).view(bool)
    whites = torch.from_numpy(measured["whites"]).clamp_min(lowest)
    return cut_to_brain(images, torch.from_numpy(brains), whites)
