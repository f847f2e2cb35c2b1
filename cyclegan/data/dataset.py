"""Unpaired slices from folders of images and volumes, sampled alike in T1 and T2."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from cyclegan import CONTRASTS
from cyclegan.data.slice_cache import SliceCache, StoredSlices, concatenate, read_ahead
from cyclegan.data.stripping import FileSlices, strip_files
from cyclegan.data.training_folders import DataError, describe_folder, find_files, without_masks


class SliceBatch(NamedTuple):
    """Slices of one contrast: (B, 1, S, S) float32, (B, 1, S, S) bool, (B,) source indices."""

    images: torch.Tensor
    masks: torch.Tensor
    sources: torch.Tensor


@dataclass
class SliceDataset:
    """Framed slices of both contrasts, mapped from a cache.

    Attributes:
        slices: "T1" and "T2" -> (N, 1, S, S) float16 in [0, 1].
        masks: "T1" and "T2" -> (N, 1, S, S) bool, the head in each slice.
        sources: "T1" and "T2" -> (N,) index into `names`.
        names: data sources: folder, and the file name's prefix up to the first "_" when it has one.
        files: "T1" and "T2" -> (key of the content, number of slices) of each file in the order of
            `slices`.
        cache: where the slices are mapped from.
        skipped: one sentence for each file that could not be read.
        made: for each folder and contrast, a sentence on what became of its files.
    """

    slices: dict[str, StoredSlices]
    masks: dict[str, StoredSlices]
    sources: dict[str, np.ndarray]
    names: list[str]
    files: dict[str, list[tuple[str, int]]]
    cache: SliceCache
    skipped: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    _members: dict[str, list[np.ndarray]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._group()

    @classmethod
    def load(
        cls,
        folders: Sequence[str | Path],
        size: int,
        progress: Callable[[Iterable], Iterable] = iter,
        cache: str | Path | None = None,
    ) -> SliceDataset:
        """Read every image and volume below the contrast folders of `folders`.

        Args:
            folders: each in one of the layouts `T1/ T2/`, `trainA/ trainB/`,
                `Tr1/TrainT1/ Tr2/TrainT2/`.
            size: side of the network's grid.
            progress: wraps the list of files, for a progress bar.
            cache: folder for decoded slices, which are mapped from there and never all in memory;
                None takes a temporary one.

        Raises:
            DataError: a missing folder, an unknown layout, or a contrast without a readable image.
            CacheError: `cache` cannot be written, or its disk is full.
        """
        by_folder = {str(folder): find_files(Path(folder)) for folder in folders}
        items = [item for members in by_folder.values() for item in members]
        with SliceCache(cache, size) as store:
            results = read_ahead(store.read, [item.files for item in items])
            results = [result for _, result in zip(progress(items), results, strict=True)]
        usable, skipped = without_masks(items, results)
        by_contrast = {c: [(i, one) for i, one in usable if i.contrast == c] for c in CONTRASTS}
        for contrast, members in by_contrast.items():
            if not members:
                where = ", ".join(str(f) for f in folders)
                reasons = f" First of {len(skipped)} unreadable: {skipped[0]}" if skipped else ""
                raise DataError(
                    f"{where}: no readable {contrast} image; put PNG, TIFF, DICOM or NIfTI files "
                    f"into its {contrast} folder.{reasons}"
                )
        names = sorted({item.source for item, _ in usable})
        files = {c: [(one.key, len(one.slices)) for _, one in by_contrast[c]] for c in CONTRASTS}
        sources = {
            c: np.repeat(
                [names.index(item.source) for item, _ in by_contrast[c]], [n for _, n in files[c]]
            )
            for c in CONTRASTS
        }
        made = [s for name, own in by_folder.items() for s in describe_folder(name, own, usable)]
        return cls(
            {c: concatenate([one.slices for _, one in by_contrast[c]]) for c in CONTRASTS},
            {c: concatenate([one.heads for _, one in by_contrast[c]]) for c in CONTRASTS},
            sources,
            names,
            files,
            store,
            skipped,
            made,
        )

    def add_stripped(
        self, masker: nn.Module, progress: Callable[[Iterable], Iterable] = iter
    ) -> list[str]:
        """Add skull-stripped copies of the head-in sources, each copy as a source of its own.

        Args:
            masker: finds the brain; from `stripping.train_masker`.
            progress: wraps the list of files, and then that of their copies, for progress bars.

        Returns:
            The names of the new sources.

        Raises:
            CacheError: as `load`.
        """
        with self.cache:
            copied = strip_files(masker, list(self._by_file()), self.cache, progress)
        added = []
        for source, copies in copied.items():
            added.append(f"{self.names[source]}, stripped")
            self.names.append(added[-1])
            for c in CONTRASTS:
                self.slices[c] = concatenate([self.slices[c], *(slices for slices, _ in copies[c])])
                self.masks[c] = concatenate([self.masks[c], *(heads for _, heads in copies[c])])
                new = np.full(len(self.slices[c]) - len(self.sources[c]), len(self.names) - 1)
                self.sources[c] = np.concatenate([self.sources[c], new])
        self._group()
        return added

    def _by_file(self) -> Iterator[FileSlices]:
        for c in CONTRASTS:
            ends = np.cumsum([count for _, count in self.files[c]])
            places = np.split(np.arange(ends[-1]), ends[:-1])
            for (key, _), at in zip(self.files[c], places, strict=True):
                source = int(self.sources[c][at[0]])
                yield FileSlices(source, c, key, self.slices[c], self.masks[c], at)

    def source_weights(self) -> np.ndarray:
        """Share of the batches for each source; the same for T1 and T2, so that no discriminator
        can recognise a contrast by who was scanned where.

        A source with both contrasts gets the fourth root of its smaller side: a little more for
        many slices, as most of them come from few subjects; 16 times the slices count twice.
        Sources that hold one contrast only get no share of their own: see `sample`.
        """
        counts = self._counts()
        shares = counts.min(0) ** 0.25
        return shares / max(shares.sum(), 1e-9)

    def sample(self, batch: int, rng: torch.Generator) -> dict[str, SliceBatch]:
        """Sample unpaired slices of both contrasts.

        Each place in the batch has one source, from which a T1 and a T2 slice are sampled
        independently. One-sided sources replace the T1 (or T2) of one place in eight; when no
        source holds both contrasts, each side has sources of its own.
        """
        shared = self.source_weights()
        counts = self._counts()
        batches = {}
        places = choose(shared, batch, rng) if shared.any() else None
        for side, contrast in enumerate(CONTRASTS):
            one_sided = np.where(counts.min(0) == 0, counts[side], 0) ** 0.25
            sources = places
            if places is None:
                sources = choose(one_sided, batch, rng)
            elif one_sided.any():
                replace = torch.rand(batch, generator=rng).numpy() < 1 / 8
                sources = np.where(replace, choose(one_sided, batch, rng), places)
            members = [self._members[contrast][source] for source in sources]
            rows = [m[torch.randint(len(m), (1,), generator=rng).item()] for m in members]
            batches[contrast] = SliceBatch(
                self.slices[contrast][rows].float(),
                self.masks[contrast][rows],
                torch.from_numpy(sources),
            )
        return batches

    def _counts(self) -> np.ndarray:
        """(2, sources): slices of T1 and of T2 in each source."""
        return np.array([[len(at) for at in self._members[c]] for c in CONTRASTS])

    def _group(self) -> None:
        """Note where the slices of each source are; a search for every batch takes its time."""
        self._members = {}
        for c in CONTRASTS:
            order = np.argsort(self.sources[c], kind="stable")
            edges = np.searchsorted(self.sources[c][order], np.arange(1, len(self.names)))
            self._members[c] = np.split(order, edges)


def choose(weights: np.ndarray, count: int, rng: torch.Generator) -> np.ndarray:
    """`count` indices, each with a probability in proportion to its weight: (count,)."""
    return torch.multinomial(
        torch.from_numpy(weights).double(), count, replacement=True, generator=rng
    ).numpy()
