"""Makes the skull-stripped copies of a data set file by file, and keeps what it found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from cyclegan import CONTRASTS
from cyclegan.data import stripping
from cyclegan.data.mapped_slices import MappedSlices
from cyclegan.data.slice_cache import SliceCache

Stacks = Mapping[str, torch.Tensor | MappedSlices]


class Part(NamedTuple):
    """Slices of one file: source and contrast, the key of its content, and where they are."""

    source: int
    contrast: str
    key: str
    at: np.ndarray  # (N,) positions in the contrast's stack


class Measured(NamedTuple):
    """What the brain masks of one file say."""

    shares: np.ndarray  # see `stripping.outline_shares`
    chosen: np.ndarray  # (N,) bool, the slices that a copy is made of
    whites: np.ndarray  # (M,) float32, of the chosen ones; see `stripping.brain_whites`


class Stripper:
    """Strips the files of a data set; one at a time is in memory.

    Args:
        masker: finds the brain; from `stripping.train_masker`.
        slices, masks: "T1" and "T2" -> (N, 1, S, S) float16 slices, and bool head masks.
        cache: open; keeps masks and copies for the next start. Without, masks stay in memory.
    """

    def __init__(self, masker: nn.Module, slices: Stacks, masks: Stacks, cache: SliceCache | None):
        self.masker, self.slices, self.masks, self.cache = masker, slices, masks, cache
        self.key = stripping.fingerprint(masker) if cache else ""
        self._kept: dict[str, dict[str, np.ndarray]] = {}

    def copy(
        self, parts: Sequence[Part], progress: Callable[[Iterable], Iterable] = iter
    ) -> dict[int, dict[str, list]]:
        """Strip the sources whose slices show more than the brain.

        Returns:
            Source -> "T1" and "T2" -> for each file with any, the copies and their masks, or, with
            a cache, the numbers of its rows that hold them.
        """
        by_source: dict[int, dict[str, list[tuple[Part, Measured]]]] = defaultdict(
            lambda: {c: [] for c in CONTRASTS}
        )
        for part in progress(list(parts)):
            by_source[part.source][part.contrast].append((part, self._measure(part)))
        jobs = []
        copied: dict[int, dict[str, list]] = {}
        for source, sides in sorted(by_source.items()):
            shares = [measured.shares for c in CONTRASTS for _, measured in sides[c]]
            if not stripping.is_head_in(np.concatenate(shares)):
                continue
            copied[source] = {c: [] for c in CONTRASTS}
            for c in CONTRASTS:
                useful = [(part, m) for part, m in sides[c] if m.chosen.any()]
                if useful:
                    whites = torch.from_numpy(np.concatenate([m.whites for _, m in useful]))
                    lowest = stripping.lowest_white(whites)
                    jobs += [(part, measured, lowest) for part, measured in useful]
        for part, measured, lowest in progress(jobs):
            copied[part.source][part.contrast].append(self._strip(part, measured, lowest))
        return copied

    def _measure(self, part: Part) -> Measured:
        key = f"measured {self.key} {part.key}"
        known = self._arrays(key)
        if known is None:
            images, heads = self.slices[part.contrast][part.at], self.masks[part.contrast][part.at]
            brains = stripping.brain_masks(self.masker, images)
            chosen, whites = stripping.brain_whites(images, heads, brains)
            shares = stripping.outline_shares(heads, brains)
            bits = np.packbits(brains[chosen].numpy(), axis=-1)
            self._keep(f"brains {self.key} {part.key}", {"bits": bits})
            known = Measured(shares, chosen.numpy(), whites.numpy())._asdict()
            self._keep(key, known)
        return Measured(**known)

    def _strip(
        self, part: Part, measured: Measured, lowest: float
    ) -> tuple[torch.Tensor, torch.Tensor] | np.ndarray:
        # The lowest white depends on the other files of the source, so it is part of the key.
        key = f"stripped {self.key} {part.key} {lowest!r}"
        rows = self.cache.rows(key) if self.cache else None
        if rows is not None:
            return rows
        images = self.slices[part.contrast][part.at[measured.chosen]]
        bits = self._arrays(f"brains {self.key} {part.key}")["bits"]
        brains = np.unpackbits(bits, axis=-1, count=images.shape[-1]).view(bool)
        whites = torch.from_numpy(measured.whites).clamp_min(lowest)
        copies = stripping.cut_to_brain(images, torch.from_numpy(brains), whites)
        return self.cache.add(key, *copies) if self.cache else copies

    def _arrays(self, key: str) -> dict[str, np.ndarray] | None:
        return self.cache.arrays(key) if self.cache else self._kept.get(key)

    def _keep(self, key: str, arrays: dict[str, np.ndarray]) -> None:
        if self.cache:
            self.cache.keep(key, arrays)
        else:
            self._kept[key] = arrays
