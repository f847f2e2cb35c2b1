"""Data sets of slices that a test makes, stored as those of files are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from cyclegan.data.dataset import SliceDataset
from cyclegan.data.decoding import head_masks
from cyclegan.data.slice_cache import SliceCache


def dataset_of(
    slices: dict[str, torch.Tensor],
    sources: dict[str, Sequence[int]],
    names: list[str],
    masks: dict[str, torch.Tensor] | None = None,
) -> SliceDataset:
    """A data set in a temporary cache; each source is one file.

    Args:
        slices: "T1" and "T2" -> (N, 1, S, S) float16, ordered by source.
        sources: "T1" and "T2" -> (N,) index into `names`.
        masks: the heads; computed when omitted.
    """
    masks = masks or {c: head_masks(stack) for c, stack in slices.items()}
    counts = {c: np.bincount(sources[c], minlength=len(names)) for c in slices}
    files = {c: [(f"{c} {k}", int(n)) for k, n in enumerate(counts[c]) if n] for c in slices}
    with SliceCache(None, slices["T1"].shape[-1]) as cache:
        stored = {c: cache.slices(c, lambda c=c: (slices[c], masks[c])) for c in slices}
    return SliceDataset(
        {c: pair[0] for c, pair in stored.items()},
        {c: pair[1] for c, pair in stored.items()},
        {c: np.asarray(labels) for c, labels in sources.items()},
        names,
        files,
        cache,
    )
