"""Skull-stripped copies: the brain stays, the scalp goes, and only head-in sources get any."""

import numpy as np
import pytest
import torch
from stored_slices import dataset_of

from cyclegan.data import stripping
from cyclegan.data.stripping import (
    brain_masks,
    brain_whites,
    cut_to_brain,
    is_head_in,
    lowest_white,
    outline_shares,
    train_masker,
)
from cyclegan.model.head import head_mask
from cyclegan.simulation.phantom import draw_slice
from cyclegan.simulation.simulate import Simulator


@pytest.fixture(scope="module")
def simulator():
    return Simulator(np.stack([draw_slice(seed, level=0.5 + 0.02 * seed) for seed in range(6)]))


@pytest.fixture(scope="module")
def masker(simulator):
    """Sees half as much as that of a training, and learns it in half the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stripping, "SIZE", stripping.SIZE // 2)
        torch.manual_seed(1)
        yield train_masker(simulator, torch.Generator().manual_seed(1), steps=70, batch=4)


@pytest.fixture(scope="module")
def heads(simulator):
    """Undegraded heads: pairs of 256x256 slices with their true brain masks."""
    rng = torch.Generator().manual_seed(5)
    return simulator.sample(6, 256, rng, lesions=0, stripped=0, degrade=False, pick=torch.arange(6))


@pytest.mark.parametrize("contrast", ["t1", "t2"])
def test_the_brain_is_found(masker, heads, contrast):
    found = brain_masks(masker, getattr(heads, contrast))
    overlap = 2 * (found & heads.brain).sum() / (found.sum() + heads.brain.sum())
    assert overlap > 0.8
    assert (found & ~heads.brain).sum() < 0.1 * heads.brain.sum()  # little scalp


def test_head_in_and_stripped_are_told_apart(heads):
    whole = torch.from_numpy(np.stack([head_mask(t1) for t1 in heads.t1[:, 0].numpy()]))[:, None]
    assert is_head_in(outline_shares(whole, heads.brain))
    assert not is_head_in(outline_shares(heads.brain, heads.brain))


def test_a_stripped_copy_is_the_brain_on_black_filling_the_frame(heads):
    images = heads.t2 * 0.5
    chosen, whites = brain_whites(images, images > 0.02, heads.brain)
    assert chosen.all()
    cut, masks = cut_to_brain(images, heads.brain, whites.clamp_min(lowest_white(whites)))
    around = torch.nn.functional.max_pool2d(masks.float(), 5, 1, 2)
    assert cut[around == 0].max() == 0
    assert 0.95 < cut.max() <= 1  # windowed again
    rows = torch.where(masks[0, 0].any(1))[0]
    assert rows[-1] - rows[0] > 0.85 * 256


def test_only_head_in_sources_are_copied(heads, monkeypatch):
    images = torch.cat([heads.t1, heads.t1 * heads.brain]).half()
    other = torch.cat([heads.t2, heads.t2 * heads.brain]).half()
    labels = np.repeat([0, 1], 6)
    dataset = dataset_of(
        {"T1": images, "T2": other}, {"T1": labels, "T2": labels}, ["scans", "brains"]
    )
    monkeypatch.setattr("cyclegan.data.stripping.brain_masks", lambda masker, slices: heads.brain)
    assert dataset.add_stripped(torch.nn.Identity()) == ["scans, stripped"]
    assert dataset.names[-1] == "scans, stripped"
    for contrast in ("T1", "T2"):
        count = (dataset.sources[contrast] == 2).sum()
        assert 0 < count <= 6
        assert len(dataset.slices[contrast]) == len(dataset.masks[contrast]) == 12 + count
