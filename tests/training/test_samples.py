"""Samples: the right contrast as source and target, with the lesions, tones and masks they say."""

import numpy as np
import pytest
import torch

from cyclegan.data.paired_slices import PairedSlices
from cyclegan.model.guided import guided, guided_grid
from cyclegan.model.preprocess import Frame
from cyclegan.simulation.augment import Draw
from cyclegan.training import samples
from cyclegan.training.samples import seen_elsewhere
from cyclegan.training.sharing import Share


@pytest.fixture
def plain(monkeypatch):
    """Nothing random but place: no tone, no disturbance, no fading rim, no stripped copy."""
    for name in ("STYLED", "DISTURBED", "FADING", "STRIPPED"):
        monkeypatch.setattr(samples, name, 0.0)


@pytest.fixture
def flat():
    """Two pairs: T1 of 0.2 and 0.4, T2 of 0.6 and 0.8, in the middle of the frame."""
    inside = torch.zeros(32, 32)
    inside[6:26, 6:26] = 1
    slices = {c: torch.stack([v * inside for v in values])[:, None].half()
              for c, values in (("T1", (0.2, 0.4)), ("T2", (0.6, 0.8)))}  # fmt: skip
    heads = (inside > 0).expand(2, 1, 32, 32)
    return PairedSlices(slices, dict.fromkeys(slices, heads), np.zeros(2, int), ["flat"])


def share_of(run, count=3):
    return Share.deal(0, 0, count, 1)[0]


def test_source_and_target_are_the_two_contrasts_of_one_pair(make, flat, plain):
    run = make(more={"pairs": flat}, implanted=0.0)
    share = share_of(run, 8)
    drawn = run.samples.draw_pairs(share, 32)
    for to, given in (("T2", "T1"), ("T1", "T2")):
        sample = run.samples.real_sample(to, drawn, share)
        assert torch.equal(sample.source, drawn.images[given])
        assert torch.equal(sample.target, drawn.images[to])
        assert sample.tolerance == 2
        assert sample.lesion.max() == 0
        middle = sample.target[:, 0, 16, 16] - sample.source[:, 0, 16, 16]
        assert middle.abs().tolist() == pytest.approx([0.4] * 8, abs=1e-3)
        assert (middle > 0).all() == (to == "T2")


def test_simulated_pairs_have_clean_targets_exactly_in_place(make, simulator, plain):
    run = make("simulated")
    share = share_of(run)
    pair = simulator.draw(3, 32, share.streams("simulated"), lesions=1.0)
    for to, source, clean, target in (
        ("T2", pair.t1, pair.t1_target, pair.t2_target),
        ("T1", pair.t2, pair.t2_target, pair.t1_target),
    ):
        sample = run.samples.simulated_sample(to, pair, share)
        assert torch.equal(sample.source, source)
        assert torch.equal(sample.clean, clean)
        assert torch.equal(sample.target, target)
        assert sample.tolerance == 0
        assert torch.equal(sample.lesion > 0, pair.lesion & (sample.mask > 0))
        assert (sample.mask[target > 0.1] == 1).all()


def test_lesions_are_in_both_contrasts_and_weigh_as_much_as_the_slice(make, plain):
    share = Share.deal(0, 0, 8, 1)[0]
    run, bare = make("pairs", implanted=1.0), make("pairs", out="bare", implanted=0.0)
    drawn = run.samples.draw_pairs(share, 32)
    sample, without = (r.samples.real_sample("T2", drawn, share) for r in (run, bare))
    inside = sample.lesion > 0.5
    assert inside.any()
    assert (sample.target - without.target)[inside].mean() > 0.05
    assert (sample.source - without.source)[inside].mean() < -0.01
    assert torch.equal(sample.clean, sample.source)
    assert (sample.weight >= without.weight).all()
    assert sample.weight.max() <= 101
    assert 1.2 < sample.weight.sum() / without.weight.sum() <= 2.01


def test_a_share_of_the_real_pairs_is_disturbed_and_the_target_never(make, plain, monkeypatch):
    run = make("pairs", implanted=0.0)
    share = Share.deal(2, 0, 12, 1)[0]
    drawn = run.samples.draw_pairs(share, 32)
    for probability, low, high in ((0.0, 0, 0), (0.5, 3, 9), (1.0, 12, 12)):
        monkeypatch.setattr(samples, "DISTURBED", probability)
        sample = run.samples.real_sample("T2", drawn, share)
        changed = int((sample.source != sample.clean).flatten(1).any(1).sum())
        assert low <= changed <= high
        assert torch.equal(sample.target, drawn.images["T2"])


def test_target_and_reference_share_a_tone_in_some_samples(make, plain, monkeypatch):
    run = make("pairs", implanted=0.0)
    share = Share.deal(0, 0, 16, 1)[0]
    drawn = run.samples.draw_pairs(share, 32)
    monkeypatch.setattr(samples, "STYLED", 0.5)
    monkeypatch.setattr(samples, "seen_elsewhere", lambda images, draw: images)
    sample = run.samples.real_sample("T2", drawn, share)
    styled = sample.reference.amax((1, 2, 3)) > 0
    assert 3 < styled.sum() < 13
    assert torch.equal(sample.reference[styled], sample.target[styled])
    difference = (sample.target - drawn.images["T2"]).abs().amax((1, 2, 3))
    assert difference[styled].min() > 0.02
    assert difference[~styled].max() == 0


def test_a_reference_lies_elsewhere(slices):
    image = slices["T2"][:1].float()
    seen = seen_elsewhere(image.expand(16, 1, 32, 32), Draw(16, torch.Generator().manual_seed(0)))
    share = (seen > 0.05).float().mean((1, 2, 3)) / (image > 0.05).float().mean()
    assert share.min() > 0.2
    assert 3 <= (share < 0.75).sum() <= 13  # half covered
    assert (seen - image).abs().mean((1, 2, 3)).min() > 0.02


def test_references_of_unpaired_slices_are_of_the_contrast_that_is_made(make, monkeypatch):
    run = make("unpaired", "pairs", batch=4, supervised=0.0, size=64, start_size=64)
    monkeypatch.setattr(samples, "seen_elsewhere", lambda images, draw: images)
    monkeypatch.setattr(samples, "STYLED", 1.0)
    share = Share.deal(0, 0, 4, 1)[0]
    batch = run.samples.draw(
        share, 64, run.samples.kinds, run.samples.read(share, run.samples.kinds)
    )
    for to in ("T1", "T2"):
        for c in ("T1", "T2"):
            assert torch.equal(batch.references[to][c], batch.unpaired[c].images)


def test_unpaired_slices_are_cropped_beside_pairs_and_whole_alone(make):
    for kinds, side in ((("unpaired", "pairs"), 48), (("unpaired",), 64)):
        run = make(*kinds, out=f"{side}", batch=4, size=64, start_size=64)
        share = Share.deal(0, 0, 4, 1)[0]
        batch = run.samples.draw(share, 64, kinds, run.samples.read(share, kinds))
        images, masks, _ = batch.unpaired["T2"]
        assert images.shape[-1] == masks.shape[-1] == side
        assert images[masks == 0].mean() < 0.05  # cut alike


def test_the_filter_on_the_grid_is_that_of_the_product(slices):
    source = slices["T1"][:1].float()
    output = torch.rand(source.shape, generator=torch.manual_seed(0))
    frame = Frame(32, 32, 0, 0, 32, 32)
    expected = guided(output, source, source[0].numpy(), frame)
    assert np.abs(guided_grid(output, source)[0].numpy() - expected).max() < 1e-6
