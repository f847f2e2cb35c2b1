"""A step's samples are dealt out completely, and each draws the same whoever handles it."""

import numpy as np
import pytest
import torch

from cyclegan.simulation.augment import Draw, disturb
from cyclegan.simulation.phantom import draw_slice
from cyclegan.simulation.simulate import Simulator
from cyclegan.training import losses
from cyclegan.training.samples import seen_elsewhere, toned
from cyclegan.training.sharing import Share, stream


def numbers(generator):
    return torch.rand(3, generator=generator).tolist()


@pytest.mark.parametrize(("batch", "parts"), [(4, 1), (1, 4), (3, 2)])
def test_every_place_is_dealt_once(batch, parts):
    shares = Share.deal(0, 7, batch, parts)
    assert sorted(p for s in shares for p in s.places) == list(range(batch * parts))
    assert {len(s) for s in shares} == {batch}
    assert sum(s.weight for s in shares) == pytest.approx(1)
    for start, stop in ((0, 0), (0, 1), (1, 4), (2, batch * parts)):
        some = [s.part(start, stop) for s in shares]
        assert sorted(p for s in some for p in s.places) == list(range(start, stop))
        assert sum(s.weight for s in some) == pytest.approx(1.0 if stop > start else 0.0)
        assert max(map(len, some)) - min(map(len, some)) <= 1


def test_a_stream_is_of_one_seed_step_purpose_and_place():
    first = numbers(stream(0, 5, "slices", 2))
    assert numbers(stream(0, 5, "slices", 2)) == first
    for other in (
        (1, 5, "slices", 2),
        (0, 6, "slices", 2),
        (0, 5, "pairs", 2),
        (0, 5, "slices", 3),
    ):
        assert numbers(stream(*other)) != first


def test_a_sample_does_not_depend_on_its_companions():
    simulator = Simulator(np.stack([draw_slice(s, 0.5, 64) for s in range(3)]))
    whole = Share.deal(0, 3, 4, 1)[0]
    together = simulator.draw(4, 48, whole.streams("pairs"))
    images = torch.rand(4, 1, 48, 48, generator=torch.manual_seed(0))
    disturbed = disturb(images, torch.ones_like(images), Draw(4, whole.streams("given")))

    def styled(images, share):
        draw = Draw(len(images), share.streams("style"))
        tone = toned(images, draw)
        return tone, seen_elsewhere(tone, draw)

    styles = styled(images, whole)
    for part in Share.deal(0, 3, 2, 2):
        at = list(part.places)
        apart = simulator.draw(2, 48, part.streams("pairs"))
        for name in ("t1", "t2", "t1_target", "lesion"):
            difference = getattr(apart, name).float() - getattr(together, name)[at].float()
            assert difference.abs().max() < 1e-5
        again = disturb(images[at], torch.ones_like(images[at]), Draw(2, part.streams("given")))
        assert torch.allclose(again, disturbed[at], atol=1e-6)
        for one, other in zip(styled(images[at], part), styles, strict=True):
            assert torch.allclose(one, other[at], atol=1e-6)


def test_losses_are_means_over_images():
    rng = torch.manual_seed(1)
    given, made = torch.rand(4, 1, 32, 32, generator=rng), torch.rand(4, 1, 32, 32, generator=rng)
    for k in range(4):  # heads of four sizes
        given[k, :, : 6 * k], made[k, :, : 6 * k] = 0, 0
    scores = torch.randn(4, 1, 4, 4, generator=rng)
    for loss in (
        lambda at: losses.lsgan(scores[at], made[at], real=True),
        lambda at: losses.dissimilarity(made[at], given[at]),
        lambda at: losses.gradient_field(given[at], made[at]),
        lambda at: losses.intensity_distribution(made[at], given[at]),
    ):
        apart = np.mean([loss([k]).item() for k in range(4)])
        assert loss([0, 1, 2, 3]).item() == pytest.approx(apart, rel=1e-5)


def test_as_many_generators_as_images_or_one():
    with pytest.raises(ValueError, match="2 generators for 3 images; give one"):
        Draw(3, [torch.Generator(), torch.Generator()])
