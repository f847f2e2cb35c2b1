"""Slices of the same anatomy in both contrasts, to learn from: read, framed alike, drawn together.

What it tolerates: a pixel or two between the two scans (`paired_losses.aligned`). Further apart,
register them first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from cyclegan import CONTRASTS
from cyclegan.data import stripping
from cyclegan.data.dataset import choose, join
from cyclegan.data.decoded_files import DecodedFiles, Files
from cyclegan.data.framed_slices import SMALLEST_HEAD, head_masks
from cyclegan.data.item_facts import read_item
from cyclegan.data.mapped_slices import MappedSlices
from cyclegan.data.slice_cache import SliceCache
from cyclegan.data.training_folders import DataError, find_files, layout_of
from cyclegan.model.head import head_mask
from cyclegan.model.preprocess import Frame, scale_intensity
from cyclegan.reading.volume import ReadError

LAYOUT = "a pairs folder holds T1/ and T2/ with equal file names"
PAIRED = "pair in mm"  # begins the keys in the cache; another when pairs are framed in another way


class DrawnPairs(NamedTuple):
    """Pairs on one grid: "T1" and "T2" -> (B, 1, S, S) float32 in [0, 1], and bool head masks."""

    images: dict[str, torch.Tensor]
    masks: dict[str, torch.Tensor]


@dataclass
class PairedSlices:
    """Framed slices that belong together, in memory or in a memory-mapped cache.

    Attributes:
        slices: "T1" and "T2" -> (N, 1, S, S) float16 in [0, 1]; equal rows are one pair.
        masks: the head in each: the same shape, bool.
        sources: (N,) index into `names`.
        names: data sources: folder, and the file name's prefix up to the first "_" when it has one.
        skipped: one sentence for each file that was left out.
        cache: where the slices are mapped from, or None.
        copies: skull-stripped copies, by row: see `add_stripped`.
    """

    slices: dict[str, torch.Tensor | MappedSlices]
    masks: dict[str, torch.Tensor | MappedSlices]
    sources: np.ndarray
    names: list[str]
    skipped: list[str] = field(default_factory=list)
    cache: SliceCache | None = None
    copies: dict[int, DrawnPairs] = field(default_factory=dict)

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
            cache: folder for decoded slices; None keeps them in memory.

        Raises:
            DataError: a missing folder, no name in common, or no pair that can be used.
            CacheError: as `SliceDataset.load`.
        """
        pairs, skipped = [], []
        for folder in folders:
            found, alone = _partners(Path(folder))
            pairs += found
            skipped += alone
        store = SliceCache(cache, size) if cache is not None else None
        framed, labels = [], []
        with store or nullcontext():
            for source, paths in progress(pairs):
                try:
                    one = _read(paths, size, store)
                except ReadError as error:
                    skipped.append(str(error))
                    continue
                framed.append(one)
                labels += [source] * len(one["T1"] if store else one["T1"][0])
        if not framed:
            where = ", ".join(str(f) for f in folders)
            raise DataError(f"{where}: no usable pair; first problem: {skipped[0]}")
        names = sorted(set(labels))
        slices, masks = {}, {}
        for c in CONTRASTS:
            slices[c], masks[c] = join([one[c] for one in framed], store)
        index = {name: k for k, name in enumerate(names)}
        sources = np.array([index[label] for label in labels])
        return cls(slices, masks, sources, names, skipped, store)

    def source_weights(self) -> np.ndarray:
        """Share of the draws for each source: the square root of its number of pairs.

        Between equal shares for all, which make much of a source of one slice, and shares by
        number, which make most of the person with most slices.
        """
        shares = np.bincount(self.sources, minlength=len(self.names)) ** 0.5
        return shares / shares.sum()

    def draw(self, rngs: Sequence[torch.Generator], stripped: float = 0.0) -> DrawnPairs:
        """Draw one pair for each random generator.

        Args:
            stripped: probability that a skull-stripped copy takes the place of a pair that has one.
        """
        weights, drawn = self.source_weights(), []
        for rng in rngs:
            (source,) = choose(weights, 1, rng)
            members = np.flatnonzero(self.sources == source)
            row = int(members[torch.randint(len(members), (1,), generator=rng).item()])
            wanted = torch.rand((), generator=rng).item() < stripped
            drawn.append(self.copies[row] if wanted and row in self.copies else self._pair(row))
        return DrawnPairs(
            {c: torch.cat([pair.images[c] for pair in drawn]).float() for c in CONTRASTS},
            {c: torch.cat([pair.masks[c] for pair in drawn]) for c in CONTRASTS},
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
            found = {c: stripping.brain_masks(masker, images[c]) for c in CONTRASTS}
            shares = [stripping.outline_shares(heads[c], found[c]) for c in CONTRASTS]
            if not stripping.is_head_in(np.concatenate(shares)):
                continue
            brains = found["T1"] & found["T2"]  # what one of the two takes for scalp is none
            chosen, whites = {}, {}
            for c in CONTRASTS:
                chosen[c], whites[c] = stripping.brain_whites(images[c], heads[c], brains)
            both = chosen["T1"] & chosen["T2"]
            if not both.any():
                continue
            for c in CONTRASTS:
                kept = whites[c][both[chosen[c]]]
                whites[c] = kept.clamp_min(stripping.lowest_white(kept))
            for place, k in enumerate(torch.where(both)[0].tolist()):
                self.copies[int(rows[k])] = _cut(
                    {c: images[c][k, 0].float() / whites[c][place] for c in CONTRASTS}, brains[k, 0]
                )
        return len(self.copies)

    def _pair(self, row: int) -> DrawnPairs:
        return DrawnPairs(
            {c: self.slices[c][[row]] for c in CONTRASTS},
            {c: self.masks[c][[row]] for c in CONTRASTS},
        )


def _cut(images: dict[str, torch.Tensor], brain: torch.Tensor) -> DrawnPairs:
    """Cut a pair, (S, S) each, to one brain mask, which then fills the frame."""
    frame = Frame.fit(brain.float().numpy(), len(brain))
    cut = np.stack([(images[c].clamp(0, 1) * brain).numpy() for c in CONTRASTS])
    framed = frame.apply(cut).half().split(1)
    mask = frame.apply(brain.float().numpy()[None]) > 0.5
    return DrawnPairs(dict(zip(CONTRASTS, framed, strict=True)), dict.fromkeys(CONTRASTS, mask))


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


def _read(pair: dict[str, Files], size: int, cache: SliceCache | None) -> dict[str, Any]:
    """Contrast -> slices and masks of one pair, or, with a cache, its rows.

    Raises:
        ReadError: unreadable, or the two do not fit together.
    """
    if cache is None:
        return _frame(pair, size)
    try:
        known = DecodedFiles(cache)
        digests = [known.digest_of(pair[c]) for c in CONTRASTS]
    except OSError as error:
        raise ReadError(f"{pair['T1'][0].name}: {error.strerror or error}.") from error
    key = f"{PAIRED} {' '.join(digests)}"
    rows = cache.rows(key)
    if rows is None:
        framed = _frame(pair, size)
        stacks = [torch.cat([framed[c][k] for c in CONTRASTS]) for k in (0, 1)]
        rows = cache.add(key, *stacks)
    return dict(zip(CONTRASTS, np.split(rows, 2), strict=True))  # T1, then T2


def _frame(pair: dict[str, Files], size: int) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Contrast -> (N, 1, size, size) float16 slices and bool masks, both in one frame."""
    volumes = {c: read_item(pair[c])[0] for c in CONTRASTS}
    scaled = {c: scale_intensity(volume.pixels) for c, volume in volumes.items()}
    shapes = {c: "x".join(map(str, volume.shape)) for c, volume in scaled.items()}
    if shapes["T1"] != shapes["T2"]:
        raise ReadError(
            f"{pair['T1'][0].name}: T1 is {shapes['T1']} but T2 is {shapes['T2']} (slices x rows x "
            "columns); lay one over the other first."
        )
    if len(scaled["T1"]) > 1:
        areas = np.array([[head_mask(image).mean() for image in scaled[c]] for c in CONTRASTS])
        full = (areas > SMALLEST_HEAD * areas.max(1, keepdims=True)).all(0)
        scaled = {c: volume[full] for c, volume in scaled.items()}
    # One grid has one shape of pixels; where one of the two does not tell it, the other does.
    spacing = volumes["T1"].pixel_spacing or volumes["T2"].pixel_spacing
    frame = Frame.fit(np.maximum(scaled["T1"], scaled["T2"]), size, spacing)
    slices = {c: frame.apply(volume).half() for c, volume in scaled.items()}
    return {c: (stack, head_masks(stack)) for c, stack in slices.items()}
