"""Samples: the right contrast as source and target, with the lesions, tones and masks they say;
dealt out completely, with random numbers of one sample and purpose."""

import numpy as np
import pytest
import torch

from cyclegan import CONTRASTS, OTHER
from cyclegan.data.paired_slices import PairedSlices
from cyclegan.simulation.augment import RandomStream
from cyclegan.training import samples
from cyclegan.training.samples import seen_elsewhere
from cyclegan.training.sharing import Share, stream


def share_of(count, seed=0):
    return Share.deal(seed, 0, count, 1)[0]


@pytest.fixture
def plain(monkeypatch):
    """Nothing random but place: no tone, no disturbance, no fading rim, no stripped copy."""
    for name in ("STYLED", "DISTURBED", "FADING", "STRIPPED"):
        monkeypatch.setattr(samples, name, 0.0)


@pytest.fixture
def same_place(monkeypatch):
    """References lie where their images do."""
    monkeypatch.setattr(samples, "seen_elsewhere", lambda images, rng: images)


def test_source_and_target_are_the_two_contrasts_of_one_pair(make, plain):
    # Two pairs: T1 of 0.2 and 0.4, T2 of 0.6 and 0.8, in the middle of the frame.
    inside = torch.zeros(32, 32)
    inside[6:26, 6:26] = 1
    slices = {c: torch.stack([v * inside for v in values])[:, None].half()
              for c, values in (("T1", (0.2, 0.4)), ("T2", (0.6, 0.8)))}  # fmt: skip
    heads = dict.fromkeys(slices, (inside > 0).expand(2, 1, 32, 32))
    flat = PairedSlices(slices, heads, np.zeros(2, int), ["flat"])
    made, share = make(more={"pairs": flat}, implanted=0.0).samples, share_of(8)
    pairs = made.sample_pairs(share, 32)
    for to in CONTRASTS:
        sample = made.real_sample(to, pairs, share)
        assert torch.equal(sample.source, pairs.images[OTHER[to]])
        assert torch.equal(sample.target, pairs.images[to])
        assert sample.tolerance == 2
        assert sample.lesion.max() == 0
        middle = sample.target[:, 0, 16, 16] - sample.source[:, 0, 16, 16]
        assert middle.tolist() == pytest.approx([0.4 if to == "T2" else -0.4] * 8, abs=1e-3)


def test_simulated_pairs_have_clean_targets_exactly_in_place(make, simulator, plain):
    made, share = make("simulated").samples, share_of(3)
    pair = simulator.sample(3, 32, share.streams("simulated"), lesions=1.0)
    for to, source, clean, target in (
        ("T2", pair.t1, pair.t1_target, pair.t2_target),
        ("T1", pair.t2, pair.t2_target, pair.t1_target),
    ):
        sample = made.simulated_sample(to, pair, share)
        for image, expected in zip(sample, (source, clean, target), strict=False):
            assert torch.equal(image, expected)
        assert sample.tolerance == 0
        assert torch.equal(sample.lesion > 0, pair.lesion & (sample.mask > 0))
        assert (sample.mask[target > 0.1] == 1).all()


def test_lesions_are_in_both_contrasts_and_weigh_as_much_as_the_slice(make, plain):
    share = share_of(8)
    made, bare = (make("pairs", out=f"{p}", implanted=p).samples for p in (1.0, 0.0))
    pairs = made.sample_pairs(share, 32)
    sample, without = (s.real_sample("T2", pairs, share) for s in (made, bare))
    inside = sample.lesion > 0.5
    assert inside.any()
    assert (sample.target - without.target)[inside].mean() > 0.05
    assert (sample.source - without.source)[inside].mean() < -0.01
    assert torch.equal(sample.clean, sample.source)
    assert (sample.weight >= without.weight).all()
    assert sample.weight.max() <= 101
    assert 1.2 < sample.weight.sum() / without.weight.sum() <= 2.01


def test_a_share_of_the_real_pairs_is_disturbed_and_the_target_never(make, plain, monkeypatch):
    made, share = make("pairs", implanted=0.0).samples, share_of(12, seed=2)
    pairs = made.sample_pairs(share, 32)
    for probability, low, high in ((0.0, 0, 0), (0.5, 3, 9), (1.0, 12, 12)):
        monkeypatch.setattr(samples, "DISTURBED", probability)
        sample = made.real_sample("T2", pairs, share)
        changed = int((sample.source != sample.clean).flatten(1).any(1).sum())
        assert low <= changed <= high
        assert torch.equal(sample.target, pairs.images["T2"])


def test_target_and_reference_share_a_tone_in_some_samples(make, plain, same_place, monkeypatch):
    made, share = make("pairs", implanted=0.0).samples, share_of(16)
    pairs = made.sample_pairs(share, 32)
    monkeypatch.setattr(samples, "STYLED", 0.5)
    sample = made.real_sample("T2", pairs, share)
    styled = sample.reference.amax((1, 2, 3)) > 0
    assert 3 < styled.sum() < 13
    assert torch.equal(sample.reference[styled], sample.target[styled])
    difference = (sample.target - pairs.images["T2"]).abs().amax((1, 2, 3))
    assert difference[styled].min() > 0.02
    assert difference[~styled].max() == 0


def test_a_reference_lies_elsewhere(slices):
    image = slices["T2"][:1].float()
    rng = RandomStream(16, torch.Generator().manual_seed(0))
    seen = seen_elsewhere(image.expand(16, 1, 32, 32), rng)
    share = (seen > 0.05).float().mean((1, 2, 3)) / (image > 0.05).float().mean()
    assert share.min() > 0.2
    assert 3 <= (share < 0.75).sum() <= 13  # half covered
    assert (seen - image).abs().mean((1, 2, 3)).min() > 0.02


@pytest.mark.parametrize(("kinds", "side"), [(("unpaired", "pairs"), 48), (("unpaired",), 64)])
def test_unpaired_slices_are_cropped_beside_pairs_and_have_references(
    make, batch_of, same_place, monkeypatch, kinds, side
):
    monkeypatch.setattr(samples, "STYLED", 1.0)
    batch = batch_of(make(*kinds, batch=4, size=64, start_size=64))
    for c in CONTRASTS:
        images, masks, _ = batch.unpaired[c]
        assert images.shape[-1] == masks.shape[-1] == side
        assert images[masks == 0].mean() < 0.05  # cut alike
        for to in CONTRASTS:  # of the contrast that is made; none in the published setting
            reference = batch.references[to][c]
            assert reference is None if len(kinds) == 1 else torch.equal(reference, images)


@pytest.mark.parametrize(("batch", "parts"), [(4, 1), (1, 4), (3, 2)])
def test_every_place_is_dealt_once(batch, parts):
    shares = Share.deal(0, 7, batch, parts)
    assert sorted(p for s in shares for p in s.places) == list(range(batch * parts))
    assert {len(s) for s in shares} == {batch}
    assert sum(s.weight for s in shares) == pytest.approx(1)
    for start, stop in ((0, 0), (0, 1), (1, 4), (2, batch * parts)):
        some = [s.part(start, stop) for s in shares]
        assert sorted(p for s in some for p in s.positions) == list(range(stop - start))
        assert sum(s.weight for s in some) == pytest.approx(1.0 if stop > start else 0.0)
        assert max(map(len, some)) - min(map(len, some)) <= 1


def test_a_stream_is_of_one_seed_step_purpose_and_place():
    keys = [(0, 5, "slices", 2), (1, 5, "slices", 2), (0, 6, "slices", 2), (0, 5, "pairs", 2),
            (0, 5, "slices", 3)]  # fmt: skip
    first, again = ([torch.rand((), generator=stream(*key)).item() for key in keys] for _ in "ab")
    assert first == again
    assert len(set(first)) == len(keys)
