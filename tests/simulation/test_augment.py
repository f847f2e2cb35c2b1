"""What training does to real slices: moved alike with their head, disturbed inside it only."""

import pytest
import torch

from cyclegan.simulation.augment import (
    RandomStream,
    blur,
    disturb,
    fading_rim,
    move_real,
    resample,
    sampling_grid,
)
from cyclegan.simulation.lesions import implant_lesions


@pytest.fixture
def head():
    """(4, 1, 128, 128) slices with a mask: a disc of tissue, nothing around it."""
    axis = torch.arange(128) - 63.5
    mask = (axis[:, None] ** 2 + axis**2 < 50**2).float().expand(4, 1, -1, -1)
    return (0.3 + 0.4 * torch.rand(4, 1, 128, 128, generator=torch.manual_seed(0))) * mask, mask


def stream(seed=1):
    return RandomStream(4, torch.Generator().manual_seed(seed))


def test_slice_and_head_move_alike(head):
    images, masks = head
    moved, moved_masks = move_real(images, masks, 128, stream())
    assert not torch.equal(moved_masks, masks)
    assert ((moved > 0.15) == (moved_masks > 0.5)).float().mean() > 0.98


def test_a_disturbed_slice_stays_in_range_and_its_air_stays_air(head):
    images, masks = head
    disturbed = disturb(images, masks, stream())
    assert disturbed.min() >= 0
    assert disturbed.max() <= 1
    assert torch.equal(disturbed[masks == 0], images[masks == 0])
    change = (disturbed - images).abs()[masks > 0].mean()
    assert 0.01 < change < 0.2
    images = images.clone().requires_grad_()  # black has a finite gradient
    disturb(images, torch.ones_like(images), stream()).sum().backward()
    assert torch.isfinite(images.grad).all()


def test_a_rim_fades_to_nothing_at_the_outline_and_not_inside(head):
    mask = head[1]
    assert torch.equal(fading_rim(mask, stream(), 0.0), torch.ones_like(mask))
    fade = fading_rim(mask, stream(), 1.0)
    deep = torch.nn.functional.avg_pool2d(mask, 29, 1, 14).ge(0.999)
    outline = mask * (torch.nn.functional.avg_pool2d(mask, 3, 1, 1) < 0.999)
    assert (fade[deep] == 1).all()
    assert (fade[mask == 0] == 0).all()
    at_outline = (fade * outline).sum((1, 2, 3)) / outline.sum((1, 2, 3))
    assert (at_outline < 0.7).all()
    assert at_outline.std() > 0.02  # outlines are of many kinds


def test_some_lesions_wash_out_what_lies_under_them(head):
    stripes = head[1] * (0.3 + 0.4 * (torch.arange(128) % 4 < 2))
    source, *_ = implant_lesions(stripes, stripes, head[1], "T2", stream(2))
    rows = source[:, 0, 40:90, 60:64]
    contrast = rows.std(dim=2) / rows.mean(dim=2)
    left = contrast.min(dim=1).values / contrast.max(dim=1).values
    assert left.min() < 0.6
    assert left.max() > 0.85


@pytest.mark.parametrize("to", ["T1", "T2"])
def test_a_lesion_is_dark_in_t1_and_bright_in_t2_at_the_same_place(head, to):
    inner = torch.nn.functional.avg_pool2d(head[1], 11, 1, 5).ge(0.999)
    waves = 0.4 + 0.1 * torch.sin(torch.arange(128.0) / 2).expand_as(head[1])
    image = torch.where(inner, waves, 0.9 * head[1])  # its fluid says how bright a lesion may be
    implanted = implant_lesions(image, image, head[1], to, stream())
    source, target, lesion, around = implanted
    t1, t2 = (source, target) if to == "T2" else (target, source)
    inside = lesion > 0.5
    assert inside.any()
    assert (t1 - image)[inside].mean() < -0.02
    assert (t2 - image)[inside].mean() > 0.04
    for changed in (t1, t2):
        assert torch.equal(changed[around == 0], image[around == 0])
        assert 0 <= changed.min() <= changed.max() <= 1
    outline = head[1] - torch.nn.functional.avg_pool2d(head[1], 5, 1, 2).ge(0.999).float()
    assert torch.equal(source[outline > 0], image[outline > 0])


def test_slices_are_mirrored_left_to_right_and_never_upside_down():
    rng = RandomStream(64, torch.Generator().manual_seed(0))
    marked = torch.zeros(64, 1, 64, 64)
    marked[:, :, 8:16, 8:16] = 1  # top left
    still = {"rotation": 0.0, "stretch": 0.0, "shift": 0.0}
    whole = torch.ones(64)
    grid = sampling_grid(rng, 64, torch.zeros(64, 2), whole, **still)
    moved = resample(marked, grid)[:, 0]
    at_left = moved[:, 8:16, 8:16].mean((1, 2)) > 0.9
    at_right = moved[:, 8:16, 48:56].mean((1, 2)) > 0.9
    assert (at_left | at_right).all()
    assert 0.3 < at_left.float().mean() < 0.7
    images, _ = move_real(marked * 0.8, torch.ones_like(marked), 64, rng)
    assert (images[:, 0, :32].sum((1, 2)) > 10 * images[:, 0, 32:].sum((1, 2))).all()


def test_a_blur_has_a_width_for_rows_and_one_for_columns():
    dot = torch.zeros(2, 1, 33, 33)
    dot[:, :, 16, 16] = 1
    down, across = blur(dot, torch.tensor([[1.5, 0.0], [0.0, 1.5]]))[:, 0]
    offsets = torch.arange(33) - 16.0
    for image, along, other in ((down, 1, 0), (across, 0, 1)):
        assert image.sum() == pytest.approx(1, abs=1e-5)
        spread = (image.sum(along) * offsets**2).sum().sqrt()
        assert spread == pytest.approx(1.5, rel=0.05)
        assert (image.sum(other) * offsets**2).sum() == pytest.approx(0, abs=1e-5)
