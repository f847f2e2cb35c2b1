"""Slices of the same anatomy in both contrasts: read, framed alike, sampled together.

What it tolerates: a pixel or two between the two scans (`paired_losses.aligned`). Further apart,
register them first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from cyclegan import CONTRASTS
from cyclegan.data import stripping
from cyclegan.data.dataset import choose
from cyclegan.data.decoding import SMALLEST_HEAD, Files, decode, head_masks
from cyclegan.data.slice_cache import SliceCache, StoredSlices, concatenate
from cyclegan.data.training_folders import DataError, find_files, layout_of
from cyclegan.model.head import head_mask
from cyclegan.model.preprocess import Frame
from cyclegan.reading.volume import ReadError

LAYOUT = "a pairs folder holds T1/ and T2/ with equal file names"
PAIRED = "pair in mm"  # begins the keys in the cache; another when pairs are framed in another way


class PairBatch(NamedTuple):
    """Pairs on one grid: "T1" and "T2" -> (B, 1, S, S) float32 in [0, 1], and bool head masks."""

    images: dict[str, torch.Tensor]
    masks: dict[str, torch.Tensor]


@dataclass
class PairedSlices:
    """Framed slices that belong together, mapped from a cache, or tensors.

    Attributes:
        slices: "T1" and "T2" -> (N, 1, S, S) float16 in [0, 1]; equal rows are one pair.
        masks: the head in each: the same shape, bool.
        sources: (N,) index into `names`.
        names: data sources: folder, and the file name's prefix up to the first "_" when it has one.
        skipped: one sentence for each file that was left out.
        cache: where the slices are mapped from, or None.
        copies: skull-stripped copies, by row: see `add_stripped`.
    """

    slices: dict[str, torch.Tensor | StoredSlices]
    masks: dict[str, torch.Tensor | StoredSlices]
    sources: np.ndarray
    names: list[str]
    skipped: list[str] = field(default_factory=list)
    cache: SliceCache | None = None
    copies: dict[int, PairBatch] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.sources)

    @classmethod
    def load(
        cls,
        folders: Sequence[str | Path],
        size: int,
        progress: Callable[[Iterable], Iterable] = iter,
        cache: str | Path | None = None,
    ) -> PairedSlices:
        """Read every pair of images or volumes of `folders`.

        Args:
            folders: each as `SliceDataset.load` takes them, and a file (or folder of a DICOM
                series) of one contrast has a partner of the same name and matrix in the other.
            size: side of the network's grid.
            progress: wraps the list of pairs, for a progress bar.
            cache: folder for decoded slices; None takes a temporary one.

        Raises:
            DataError: a missing folder, no name in common, or no pair that can be used.
            CacheError: as `SliceDataset.load`.
        """
        pairs, skipped = [], []
        for folder in folders:
            partners, alone = _partners(Path(folder))
            pairs += partners
            skipped += alone
        framed, labels = [], []
        with SliceCache(cache, size) as store:
            for source, files in progress(pairs):
                try:
                    framed.append(_read(files, size, store))
                    labels += [source] * len(framed[-1]["T1"][0])
                except ReadError as error:
                    skipped.append(str(error))
        if not framed:
            where = ", ".join(str(f) for f in folders)
            raise DataError(f"{where}: no usable pair; first problem: {skipped[0]}")
        names = sorted(set(labels))
        slices, masks = (
            {c: concatenate([pair[c][k] for pair in framed]) for c in CONTRASTS} for k in (0, 1)
        )
        sources = np.array([names.index(label) for label in labels])
        return cls(slices, masks, sources, names, skipped, store)

    def source_weights(self) -> np.ndarray:
        """Share of the samples for each source: the square root of its number of pairs.

        Between equal shares for all, which make much of a source of one slice, and shares by
        number, which make most of the subject with most slices.
        """
        shares = np.bincount(self.sources, minlength=len(self.names)) ** 0.5
        return shares / shares.sum()

    def sample(self, rngs: Sequence[torch.Generator], stripped: float = 0.0) -> PairBatch:
        """Sample one pair with each random generator.

        Args:
            stripped: probability that a skull-stripped copy takes the place of a pair that has one.
        """
        weights, pairs = self.source_weights(), []
        for rng in rngs:
            (source,) = choose(weights, 1, rng)
            members = np.flatnonzero(self.sources == source)
            row = int(members[torch.randint(len(members), (1,), generator=rng).item()])
            is_copy = torch.rand((), generator=rng).item() < stripped
            pairs.append(self.copies[row] if is_copy and row in self.copies else self._pair(row))
        return PairBatch(
            {c: torch.cat([pair.images[c] for pair in pairs]).float() for c in CONTRASTS},
            {c: torch.cat([pair.masks[c] for pair in pairs]) for c in CONTRASTS},
        )

    def add_stripped(
        self, masker: nn.Module, progress: Callable[[Iterable], Iterable] = iter
    ) -> int:
        """Make skull-stripped copies of the head-in sources, cut alike in both contrasts.

        Args:
            masker: finds the brain; from `stripping.train_masker`.
            progress: wraps the list of sources, for a progress bar.

        Returns:
            How many pairs have a copy.
        """
        for source in progress(range(len(self.names))):
            rows = np.flatnonzero(self.sources == source)
            images = {c: self.slices[c][rows] for c in CONTRASTS}
            heads = {c: self.masks[c][rows] for c in CONTRASTS}
            masks = {c: stripping.brain_masks(masker, images[c]) for c in CONTRASTS}
            shares = [stripping.outline_shares(heads[c], masks[c]) for c in CONTRASTS]
            if not stripping.is_head_in(np.concatenate(shares)):
                continue
            brains = masks["T1"] & masks["T2"]  # what one of the two takes for scalp is none
            chosen, whites = {}, {}
            for c in CONTRASTS:
                chosen[c], whites[c] = stripping.brain_whites(images[c], heads[c], brains)
            both = chosen["T1"] & chosen["T2"]
            if not both.any():
                continue
            for c in CONTRASTS:
                usable = whites[c][both[chosen[c]]]
                whites[c] = usable.clamp_min(stripping.lowest_white(usable))
            for place, k in enumerate(torch.where(both)[0].tolist()):
                self.copies[int(rows[k])] = _cut(
                    {c: images[c][k, 0].float() / whites[c][place] for c in CONTRASTS}, brains[k, 0]
                )
        return len(self.copies)

    def _pair(self, row: int) -> PairBatch:
        return PairBatch(
            {c: self.slices[c][[row]] for c in CONTRASTS},
            {c: self.masks[c][[row]] for c in CONTRASTS},
        )


def _cut(images: dict[str, torch.Tensor], brain: torch.Tensor) -> PairBatch:
    """Cut a pair, (S, S) each, to one brain mask, which then fills the frame."""
    frame = Frame.fit(brain.float().numpy(), len(brain))
    cut = np.stack([(images[c].clamp(0, 1) * brain).numpy() for c in CONTRASTS])
    framed = frame.apply(cut).half().split(1)
    mask = frame.apply(brain.float().numpy()[None]) > 0.5
    return PairBatch(dict(zip(CONTRASTS, framed, strict=True)), dict.fromkeys(CONTRASTS, mask))


def _partners(folder: Path) -> tuple[list[tuple[str, dict[str, Files]]], list[str]]:
    """(source, contrast -> files) of each pair of a folder, and a sentence for each single one."""
    try:
        files = find_files(folder)
    except DataError as error:
        raise DataError(f"{error}; {LAYOUT}") from None
    roots = {c: path.relative_to(folder).as_posix() for c, path in layout_of(folder).items()}
    named: dict[str, dict[str, Files]] = {c: {} for c in CONTRASTS}
    sources = {}
    for item in files:
        name = item.place
        if name in named[item.contrast]:  # two series in one folder
            name = f"{name}/{item.files[0].name}"
        named[item.contrast][name], sources[name] = item.files, item.source
    common = sorted(named["T1"].keys() & named["T2"].keys())
    if not common:
        seen = [
            f"{roots[c]}/{min(n)}" if n else f"nothing in {roots[c]}/" for c, n in named.items()
        ]
        raise DataError(f"{folder}: no name occurs in both ({', '.join(seen)}); {LAYOUT}")
    alone = [
        f"{roots[c]}/{name}: no file of this name in the other contrast"
        for c in CONTRASTS
        for name in sorted(named[c].keys() - set(common))
    ]
    return [(sources[n], {c: named[c][n] for c in CONTRASTS}) for n in common], alone


def _read(pair: dict[str, Files], size: int, cache: SliceCache) -> dict[str, tuple]:
    """Contrast -> slices and head masks of one pair.

    Raises:
        ReadError: unreadable, or the two do not fit together.
    """
    both = " ".join(cache.content_of(pair[c]) for c in CONTRASTS)
    framed: dict[str, tuple] = {}

    def make(contrast: str) -> tuple[torch.Tensor, torch.Tensor]:
        framed.update(framed or _frame(pair, size))
        return framed[contrast]

    return {c: cache.slices(f"{PAIRED} {both} {c}", lambda c=c: make(c)) for c in CONTRASTS}


def _frame(pair: dict[str, Files], size: int) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Contrast -> (N, 1, size, size) float16 slices and bool masks, both in one frame."""
    decoded = {c: decode(pair[c]) for c in CONTRASTS}
    scaled = {c: one.scaled for c, one in decoded.items()}
    shapes = {c: "x".join(map(str, volume.shape)) for c, volume in scaled.items()}
    if shapes["T1"] != shapes["T2"]:
        raise ReadError(
            f"{pair['T1'][0].name}: T1 is {shapes['T1']} but T2 is {shapes['T2']} (slices x rows x "
            "columns); resample one onto the other first."
        )
    if len(scaled["T1"]) > 1:
        areas = np.array([[head_mask(image).mean() for image in scaled[c]] for c in CONTRASTS])
        full = (areas > SMALLEST_HEAD * areas.max(1, keepdims=True)).all(0)
        scaled = {c: volume[full] for c, volume in scaled.items()}
    # One grid has one shape of pixels; where one of the two does not say it, the other does.
    spacing = decoded["T1"].volume.pixel_spacing or decoded["T2"].volume.pixel_spacing
    frame = Frame.fit(np.maximum(scaled["T1"], scaled["T2"]), size, spacing)
    slices = {c: frame.apply(volume).half() for c, volume in scaled.items()}
    return {c: (stack, head_masks(stack)) for c, stack in slices.items()}
