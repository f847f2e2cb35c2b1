"""A step's samples are dealt out completely, and each is the same whoever handles it."""

import numpy as np
import pytest
import torch

from cyclegan.simulation.augment import RandomStream, disturb
from cyclegan.simulation.phantom import draw_slice
from cyclegan.simulation.simulate import Simulator
from cyclegan.training import losses
from cyclegan.training.samples import seen_elsewhere, toned
from cyclegan.training.sharing import Share, stream


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


def test_a_sample_does_not_depend_on_its_companions():
    simulator = Simulator(np.stack([draw_slice(s, 0.5, 64) for s in range(3)]))
    images = torch.rand(4, 1, 48, 48, generator=torch.manual_seed(0))

    def everything(share):
        pair = simulator.sample(len(share), 48, share.streams("simulated"))
        own = images[list(share.places)]
        disturbed = disturb(own, torch.ones_like(own), RandomStream(len(own), share.streams("d")))
        rng = RandomStream(len(own), share.streams("style"))
        tone = toned(own, rng)
        return [pair.t1, pair.t2, pair.t1_target, pair.lesion.float(), disturbed, tone,
                seen_elsewhere(tone, rng)]  # fmt: skip

    together = everything(Share.deal(0, 3, 4, 1)[0])
    for part in Share.deal(0, 3, 2, 2):
        for apart, whole in zip(everything(part), together, strict=True):
            assert torch.allclose(apart, whole[list(part.places)], atol=1e-5)


def test_losses_are_means_over_images():
    rng = torch.manual_seed(1)
    source, fake = torch.rand(2, 4, 1, 32, 32, generator=rng)
    for k in range(4):  # heads of four sizes
        source[k, :, : 6 * k], fake[k, :, : 6 * k] = 0, 0
    scores = torch.randn(4, 1, 4, 4, generator=rng)
    for loss in (
        lambda at: losses.lsgan(scores[at], fake[at], real=True),
        lambda at: losses.dissimilarity(fake[at], source[at]),
        lambda at: losses.gradient_field(source[at], fake[at]),
        lambda at: losses.intensity_distribution(fake[at], source[at]),
    ):
        apart = np.mean([loss([k]).item() for k in range(4)])
        assert loss([0, 1, 2, 3]).item() == pytest.approx(apart, rel=1e-5)
