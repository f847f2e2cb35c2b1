"""What training is given belongs together: slices, their masks, their copies, their contrast."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image
from stored_slices import dataset_of

from cyclegan import CONTRASTS
from cyclegan.data import stripping
from cyclegan.data.dataset import SliceDataset
from cyclegan.data.paired_slices import PairedSlices

SIZE = 64
LEVEL = {"T1": 0.3, "T2": 0.6}  # grey values of the contrasts: 0.3 to 0.39 and 0.6 to 0.69


def disc(radius: float, row: float = 31.5, column: float = 31.5) -> np.ndarray:
    rows, columns = np.indices((SIZE, SIZE))
    return np.hypot(rows - row, columns - column) < radius


def stack(contrast: str, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Discs of different sizes; slice k of a contrast has the grey value of k."""
    masks = np.stack([disc(14 + 2 * k + (contrast == "T2")) for k in range(count)])
    levels = LEVEL[contrast] + 0.01 * np.arange(count)
    images = torch.from_numpy(masks * levels[:, None, None]).half()
    return images[:, None], torch.from_numpy(masks)[:, None]


def test_sampled_slices_come_with_their_own_masks_and_sources():
    images, masks, sources = {}, {}, {}
    for contrast in CONTRASTS:
        images[contrast], masks[contrast] = stack(contrast, 6)
        sources[contrast] = np.array([0, 0, 0, 1, 1, 1])
    dataset = dataset_of(images, sources, ["a", "b"], masks)
    samples = dataset.sample(64, torch.Generator().manual_seed(0))
    for contrast, one in samples.items():
        assert torch.equal(one.masks, one.images > 0)
        levels = one.images.flatten(1).amax(1) - LEVEL[contrast]
        numbers = (100 * levels).round().long()
        assert set(numbers.tolist()) == set(range(6))
        assert torch.equal(one.sources, numbers // 3)


def test_slices_of_files_belong_to_their_source(tmp_path):
    """Two people, of whom one has more slices of T1, the other of T2."""
    levels = {"anna": 80, "ben": 160}
    counts = {"T1": {"anna": 3, "ben": 1}, "T2": {"anna": 1, "ben": 4}}
    for contrast, people in counts.items():
        (tmp_path / "mine" / contrast).mkdir(parents=True)
        for name, count in people.items():
            for number in range(count):
                pixels = (disc(20 + number) * levels[name]).astype(np.uint8)
                pixels[:8, :8] = 255  # with a white corner it fills its range, and stays as it is
                path = tmp_path / "mine" / contrast / f"{name}_{number}.png"
                Image.fromarray(pixels).save(path)
    dataset = SliceDataset.load([tmp_path / "mine"], SIZE)
    assert dataset.names == ["mine/anna", "mine/ben"]
    for contrast, people in counts.items():
        middles = dataset.slices[contrast][:, 0, 28:36, 28:36].float().mean((1, 2)) * 255
        expected = [levels[dataset.names[k].split("/")[1]] for k in dataset.sources[contrast]]
        np.testing.assert_allclose(middles, expected, atol=2)
        assert np.bincount(dataset.sources[contrast]).tolist() == list(people.values())


def test_sampled_pairs_are_of_one_slice_in_their_own_contrast(tmp_path, monkeypatch):
    """From files: a volume of one person in both contrasts, the slices of T2 a little larger."""
    affine = np.diag([-1.0, -1.0, 3.0, 1.0])
    for contrast in CONTRASTS:
        images, _ = stack(contrast, 6)
        (tmp_path / "pairs" / contrast).mkdir(parents=True)
        pixels = images[:, 0].numpy().astype(np.float32)
        # With a white corner it fills the range of [0, 1], and is taken as it is.
        pixels[:, :8, :8] = 1
        path = tmp_path / "pairs" / contrast / "p_1.nii"
        nib.save(nib.Nifti1Image(pixels.transpose(2, 1, 0), affine), path)
    for is_new in (True, False):
        if not is_new:
            monkeypatch.setattr("cyclegan.data.paired_slices.decode", None)
        pairs = PairedSlices.load([tmp_path / "pairs"], SIZE, cache=tmp_path / "cache")
        assert len(pairs) == 6
        rngs = [torch.Generator().manual_seed(k) for k in range(12)]
        samples = pairs.sample(rngs)
        middle = np.s_[:, 0, 28:36, 28:36]
        levels = {c: samples.images[c][middle].mean((1, 2)) for c in CONTRASTS}
        assert levels["T1"].max() < 0.45 < levels["T2"].min()
        numbers = {c: (100 * (levels[c] - LEVEL[c])).round() for c in CONTRASTS}
        assert torch.equal(numbers["T1"], numbers["T2"])
        assert len(set(numbers["T1"].tolist())) > 3
        areas = {c: samples.masks[c].flatten(1).sum(1) for c in CONTRASTS}
        assert (areas["T2"] > areas["T1"]).all()
        # In one frame the outlines lie around one middle.
        for c in CONTRASTS:
            rows = torch.where(samples.images[c][0, 0].amax(1) > 0.2)[0]
            assert len(rows) > 10


def heads(brains: list[np.ndarray], contrast: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Heads with a scalp, a gap and a brain, which has the grey value of its number."""
    scalp = disc(29) & ~disc(26)
    images = [
        np.where(scalp, 0.9, 0) + b * (LEVEL[contrast] + 0.05 * k) for k, b in enumerate(brains)
    ]
    masks = np.stack([disc(29)] * len(brains))
    return torch.from_numpy(np.stack(images)).half()[:, None], torch.from_numpy(masks)[:, None]


@pytest.fixture
def brains(monkeypatch) -> list[np.ndarray]:
    """Brains of four slices, of which the second is too small for a copy; and they are found."""

    def find(masker, images):
        return (images > 0) & torch.from_numpy(disc(24))

    monkeypatch.setattr(stripping, "brain_masks", find)
    return [disc(20), disc(5), disc(20, 31.5, 28), disc(17)]


def test_stripped_copies_are_the_brains_of_their_own_slices(brains):
    images, masks, sources = {}, {}, {}
    for contrast in CONTRASTS:
        images[contrast], masks[contrast] = heads(brains, contrast)
        sources[contrast] = np.zeros(4, int)
    before = {c: images[c].clone() for c in CONTRASTS}
    dataset = dataset_of(images, sources, ["a"], masks)
    assert dataset.add_stripped(torch.nn.Identity()) == ["a, stripped"]
    chosen = [0, 2, 3]
    for contrast in CONTRASTS:
        assert torch.equal(dataset.slices[contrast][:4], before[contrast])
        copies = dataset.slices[contrast][4:].float()
        masks = dataset.masks[contrast][4:]
        assert len(copies) == len(masks) == len(chosen)
        for number, copy, mask in zip(chosen, copies, masks, strict=True):
            # The brightest slice decides what is white; each has one grey value inside.
            level = (LEVEL[contrast] + 0.05 * number) / (LEVEL[contrast] + 0.05 * 3)
            assert copy[mask].median() == pytest.approx(level, abs=0.06)
            assert (copy[~mask] > 0.5).float().mean() < 0.02  # no scalp


def test_a_stripped_pair_is_cut_to_what_both_contrasts_take_for_brain(monkeypatch):
    wide, narrow = disc(20), disc(20) & (np.indices((SIZE, SIZE))[1] < 40)
    brains = iter([wide, narrow])
    monkeypatch.setattr(
        stripping,
        "brain_masks",
        lambda masker, images: torch.from_numpy(np.stack([next(brains)]))[:, None],
    )
    slices, masks = {}, {}
    for contrast in CONTRASTS:
        slices[contrast], masks[contrast] = heads([disc(20)], contrast)
    pairs = PairedSlices(slices, masks, np.zeros(1, int), ["a"])
    assert pairs.add_stripped(torch.nn.Identity()) == 1
    mask = pairs.copies[0].masks["T1"][0, 0]
    assert torch.equal(mask, pairs.copies[0].masks["T2"][0, 0])
    shape = [int(torch.where(mask.any(axis))[0].numel()) for axis in (0, 1)]
    assert shape[0] / shape[1] == pytest.approx(narrow.any(0).sum() / narrow.any(1).sum(), abs=0.05)
