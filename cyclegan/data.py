"""Unpaired slices from folders of images and volumes, drawn alike in T1 and T2; the image pool."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from cyclegan import CONTRASTS
from cyclegan.preprocess import Frame, head_mask, scale_intensity
from cyclegan.stripping import brain_masks, is_head_in, strip_heads
from cyclegan.volume import ReadError, read_volume

# Folder names of the two contrasts, in the layouts that people already have.
LAYOUTS = (("T1", "T2"), ("trainA", "trainB"), ("Tr1/TrainT1", "Tr2/TrainT2"))
SMALLEST_HEAD = 0.04  # of a volume's slice: emptier slices at either end teach nothing


class DataError(ValueError):
    """Training data that cannot be used; the message says which folder and what would work."""


class Drawn(NamedTuple):
    """Slices of one contrast: (B, 1, S, S) float32, (B, 1, S, S) bool, (B,) source indices."""

    images: torch.Tensor
    masks: torch.Tensor
    sources: torch.Tensor


@dataclass
class SliceDataset:
    """Framed slices of both contrasts, in memory.

    Attributes:
        slices: "T1" and "T2" -> (N, 1, S, S) float16 in [0, 1].
        sources: "T1" and "T2" -> (N,) index into `names`.
        names: data sources: folder, and the file name's prefix up to the first "_" when it has one.
        skipped: one sentence for each file that could not be read.
        masks: "T1" and "T2" -> (N, 1, S, S) bool, the head in each slice.
    """

    slices: dict[str, torch.Tensor]
    sources: dict[str, np.ndarray]
    names: list[str]
    skipped: list[str] = field(default_factory=list)
    masks: dict[str, torch.Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.masks = {}
        for contrast, stack in self.slices.items():
            heads = [head_mask(image) for image in stack[:, 0].float().numpy()]
            self.masks[contrast] = torch.from_numpy(np.stack(heads))[:, None]

    @classmethod
    def load(
        cls,
        folders: Sequence[str | Path],
        size: int,
        progress: Callable[[Iterable], Iterable] = iter,
    ) -> SliceDataset:
        """Read every image and volume below the contrast folders of `folders`.

        Args:
            folders: each in one of the layouts `T1/ T2/`, `trainA/ trainB/`,
                `Tr1/TrainT1/ Tr2/TrainT2/`.
            size: side of the network's grid.
            progress: wraps the list of files, for a progress bar.

        Raises:
            DataError: a missing folder, an unknown layout, or a contrast without a readable image.
        """
        files = [item for folder in folders for item in find_files(Path(folder))]
        stacks: dict[str, list[torch.Tensor]] = {c: [] for c in CONTRASTS}
        labels: dict[str, list[str]] = {c: [] for c in CONTRASTS}
        skipped = []
        for contrast, source, path in progress(files):
            try:
                framed = _frame_slices(path, size)
            except ReadError as error:
                skipped.append(str(error))
                continue
            stacks[contrast].append(framed)
            labels[contrast] += [source] * len(framed)
        for contrast in CONTRASTS:
            if not labels[contrast]:
                where = ", ".join(str(f) for f in folders)
                reasons = f" First of {len(skipped)} unreadable: {skipped[0]}" if skipped else ""
                raise DataError(
                    f"{where}: no readable {contrast} image; put PNG, TIFF, DICOM or NIfTI files "
                    f"into its {contrast} folder.{reasons}"
                )
        names = sorted(set(labels["T1"]) | set(labels["T2"]))
        return cls(
            {c: torch.cat(stacks[c]) for c in CONTRASTS},
            {c: np.array([names.index(s) for s in labels[c]]) for c in CONTRASTS},
            names,
            skipped,
        )

    def add_stripped(self, masker: nn.Module) -> list[str]:
        """Add skull-stripped copies of the head-in sources, each copy as a source of its own.

        Args:
            masker: finds the brain; from `stripping.train_masker`.

        Returns:
            The names of the new sources.
        """
        brains = {c: brain_masks(masker, self.slices[c]) for c in CONTRASTS}
        added = []
        for source, name in enumerate(tuple(self.names)):
            members = {c: np.flatnonzero(self.sources[c] == source) for c in CONTRASTS}
            found = [
                torch.cat([masks[c][members[c]] for c in CONTRASTS])
                for masks in (self.masks, brains)
            ]
            if not is_head_in(*found):
                continue
            added.append(f"{name}, stripped")
            self.names.append(added[-1])
            for c in CONTRASTS:
                at = members[c]
                cut, masks = strip_heads(self.slices[c][at], self.masks[c][at], brains[c][at])
                self.slices[c] = torch.cat([self.slices[c], cut])
                self.masks[c] = torch.cat([self.masks[c], masks])
                label = np.full(len(cut), len(self.names) - 1)
                self.sources[c] = np.concatenate([self.sources[c], label])
        return added

    def source_weights(self) -> np.ndarray:
        """Share of the batches for each source; the same for T1 and T2, so that no discriminator
        can tell the contrasts apart by who was scanned where.

        A source with both contrasts gets the fourth root of its smaller side: a little more for
        many slices, as most of them come from few people; 16 times the slices count twice. Sources
        that hold one contrast only get no share of their own: see `draw`.
        """
        counts = self._counts()
        shares = counts.min(0) ** 0.25
        return shares / max(shares.sum(), 1e-9)

    def draw(self, batch: int, rng: torch.Generator) -> dict[str, Drawn]:
        """Draw unpaired slices of both contrasts.

        Each place in the batch has one source, from which a T1 and a T2 slice are drawn
        independently. One-sided sources replace the T1 (or T2) of one place in eight; when no
        source holds both contrasts, the two sides are drawn apart.
        """
        shared = self.source_weights()
        counts = self._counts()
        drawn = {}
        places = _choose(shared, batch, rng) if shared.any() else None
        for side, contrast in enumerate(CONTRASTS):
            one_sided = np.where(counts.min(0) == 0, counts[side], 0) ** 0.25
            sources = places
            if places is None:
                sources = _choose(one_sided, batch, rng)
            elif one_sided.any():
                replace = torch.rand(batch, generator=rng).numpy() < 1 / 8
                sources = np.where(replace, _choose(one_sided, batch, rng), places)
            picks = []
            for source in sources:
                members = np.flatnonzero(self.sources[contrast] == source)
                picks.append(members[torch.randint(len(members), (1,), generator=rng).item()])
            drawn[contrast] = Drawn(
                self.slices[contrast][picks].float(),
                self.masks[contrast][picks],
                torch.from_numpy(sources),
            )
        return drawn

    def _counts(self) -> np.ndarray:
        """(2, sources): slices of T1 and of T2 in each source."""
        return np.stack(
            [np.bincount(self.sources[c], minlength=len(self.names)) for c in CONTRASTS]
        )


class ImagePool:
    """History of generated images (Shrivastava et al. 2017, section 2.3), as in Zhu et al. 2017.

    `query` returns, for each image, either itself or, with probability 1/2 once the pool is full,
    an older one whose place it takes. Labels (data sources) travel with their images.
    """

    def __init__(self, size: int = 50):
        self.size = size
        self.images: list[torch.Tensor] = []
        self.labels: list[torch.Tensor] = []

    def query(
        self, images: torch.Tensor, labels: torch.Tensor, rng: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Swap (B, 1, H, W) images and their (B,) labels with the history."""
        if self.size == 0:
            return images, labels
        if self.images and self.images[0].shape != images.shape[1:]:  # the resolution has grown
            self.images, self.labels = [], []
        chosen_images, chosen_labels = [], []
        for image, label in zip(images.detach(), labels, strict=True):
            if len(self.images) < self.size:
                self.images.append(image.clone())
                self.labels.append(label.clone())
            elif torch.rand(1, generator=rng).item() < 0.5:
                place = int(torch.randint(self.size, (1,), generator=rng))
                old_image, old_label = self.images[place], self.labels[place]
                self.images[place], self.labels[place] = image.clone(), label.clone()
                image, label = old_image, old_label
            chosen_images.append(image)
            chosen_labels.append(label)
        return torch.stack(chosen_images), torch.stack(chosen_labels)

    def state_dict(self) -> dict[str, torch.Tensor]:
        if not self.images:
            return {}
        return {"images": torch.stack(self.images), "labels": torch.stack(self.labels)}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        self.images, self.labels = list(state.get("images", [])), list(state.get("labels", []))


def find_files(folder: Path) -> list[tuple[str, str, Path]]:
    """(contrast, source, path) of every file in a training folder, sorted."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    for layout in LAYOUTS:
        if all((folder / name).is_dir() for name in layout):
            break
    else:
        layouts = "; ".join(" and ".join(layout) for layout in LAYOUTS)
        raise DataError(f"{folder}: expected the two folders {layouts}; one or both are missing")
    found = []
    for contrast, name in zip(CONTRASTS, layout, strict=True):
        for root, directories, names in os.walk(folder / name):
            directories.sort()
            for file in sorted(n for n in names if not n.startswith(".")):
                prefix = f"/{file.split('_')[0]}" if "_" in file else ""
                found.append((contrast, f"{folder.resolve().name}{prefix}", Path(root) / file))
    return found


def _frame_slices(path: Path, size: int) -> torch.Tensor:
    """(N, 1, S, S) float16 slices of a file, scaled once per volume; nearly empty ones left out."""
    pixels = scale_intensity(read_volume(path).pixels)
    if len(pixels) > 1:
        areas = np.array([head_mask(p).mean() for p in pixels])
        pixels = pixels[areas > SMALLEST_HEAD * areas.max()]
    return Frame.fit(pixels, size).apply(pixels).half()


def _choose(weights: np.ndarray, count: int, rng: torch.Generator) -> np.ndarray:
    return torch.multinomial(
        torch.from_numpy(weights).double(), count, replacement=True, generator=rng
    ).numpy()
