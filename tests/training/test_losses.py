"""Losses: numbers worked out by hand, zero where they should be, blind where they should be;
and the pool of images resumes, and starts again at a new resolution."""

import math

import pytest
import torch
from skimage.metrics import structural_similarity

from cyclegan.training.losses import (
    ImagePool,
    aligned,
    bands,
    dissimilarity,
    faded_spots,
    gradient_field,
    intensity_distribution,
    l1,
    laplace,
    lesion_contrast,
    lsgan,
    sharpness,
    ssim_loss,
)


@pytest.fixture
def image():
    y, x = torch.meshgrid(torch.linspace(0, 9, 64), torch.linspace(0, 9, 64), indexing="ij")
    return (0.5 + 0.3 * torch.sin(x + y / 2) * torch.cos(y))[None, None]


@pytest.fixture(scope="module")
def spots():
    """(1, 1, 96, 96): spots of many sizes in a disc."""
    noise = torch.randn(1, 1, 24, 24, generator=torch.manual_seed(0))
    blobs = torch.nn.functional.interpolate(noise, (96, 96), mode="bicubic").clamp(-2, 2)
    axis = torch.linspace(-1, 1, 96)
    return (0.5 + 0.15 * blobs) * (axis[:, None] ** 2 + axis**2 < 0.8)


def test_lsgan_is_the_squared_distance_to_one_for_real_and_to_zero_for_generated():
    tissue = torch.ones(2, 1, 32, 32)
    for score, real, generated in ((1.0, 0.0, 1.0), (0.0, 1.0, 0.0), (0.25, 0.5625, 0.0625)):
        scores = torch.full((2, 1, 4, 4), score)
        assert lsgan(scores, tissue, real=True) == pytest.approx(real)
        assert lsgan(scores, tissue, real=False) == pytest.approx(generated)


def test_air_does_not_count_in_the_gan_loss():
    scores, image = torch.ones(1, 1, 4, 4), torch.ones(1, 1, 32, 32)
    scores[..., 2:], image[..., 16:] = 0.5, 0
    assert lsgan(scores, image, real=True) == 0
    assert lsgan(scores, image, real=False) == 1


def test_l1_is_the_mean_difference_weighted_within_each_image():
    target = torch.zeros(2, 1, 4, 4)
    output = torch.zeros(2, 1, 4, 4)
    output[0, :, :2], output[1] = 0.5, 0.1
    assert l1(output, target) == pytest.approx((0.25 + 0.1) / 2)
    weight = torch.ones_like(target)
    weight[0, :, :2] = 3  # (8 x 3 x 0.5) / (8 x 3 + 8) = 0.375
    assert l1(output, target, weight) == pytest.approx((0.375 + 0.1) / 2)


def test_ssim_loss_agrees_with_the_library_up_to_the_window(image):
    noisy = (image + 0.05 * torch.randn(image.shape, generator=torch.manual_seed(0))).clamp(0, 1)
    reference = structural_similarity(
        noisy[0, 0].numpy(), image[0, 0].numpy(), data_range=1.0, use_sample_covariance=False
    )
    loss = ssim_loss(noisy, image).item()
    assert 1 - loss == pytest.approx(reference, abs=0.02)
    assert dissimilarity(noisy, image) == pytest.approx(l1(noisy, image).item() + 0.5 * loss)
    flat = torch.full((1, 1, 16, 16), 0.4), torch.full((1, 1, 16, 16), 0.6)
    expected = 1 - (2 * 0.4 * 0.6 + 1e-4) / (0.4**2 + 0.6**2 + 1e-4)
    assert ssim_loss(*flat) == pytest.approx(expected, abs=1e-4)


def test_air_does_not_count_in_the_ssim_loss(image):
    target = image.clone()
    target[..., :32] = 0
    wrong_in_air = target.clone()
    wrong_in_air[..., :20] = 0.5
    assert ssim_loss(wrong_in_air, target) == pytest.approx(0, abs=1e-3)


def test_reversed_contrast_keeps_the_structure_loss_low_and_a_shift_raises_it(image):
    same = gradient_field(image, image)
    reversed_contrast = gradient_field(image, 1 - image)
    moved = gradient_field(image, torch.roll(image, 5, dims=-1))
    flat = gradient_field(image, torch.full_like(image, 0.5))
    assert reversed_contrast == pytest.approx(same.item(), abs=1e-4)
    assert moved > 3 * same
    assert flat > 0.9


def test_perpendicular_edges_have_the_whole_structure_loss():
    ramp = torch.linspace(0, 1, 32).expand(1, 1, 32, 32)
    assert gradient_field(ramp, ramp.transpose(2, 3)) == pytest.approx(1, abs=1e-5)
    # Slope 2 / 31 a two pixels: f = (2/31)^2 / ((2/31)^2 + 0.01^2) of it agrees.
    slope = (2 / 31) ** 2
    assert gradient_field(ramp, ramp) == pytest.approx(1 - slope / (slope + 1e-4), abs=1e-4)


def test_intensity_loss_is_the_distance_of_quantiles_and_blind_to_place(image):
    other_place = torch.flip(image, dims=[-1, -2])
    assert intensity_distribution(other_place, image) == pytest.approx(0, abs=1e-6)
    assert intensity_distribution(image + 0.1, image) == pytest.approx(0.1, abs=1e-5)
    with_air = torch.cat([image, torch.zeros_like(image)], dim=-1)[..., 32:96]
    assert intensity_distribution(with_air, image) < 0.08  # less tissue is not darker tissue


def test_bands_are_finest_first_and_empty_where_nothing_changes(spots):
    pyramid = bands(spots)
    assert [band.shape[-1] for band in pyramid] == [96, 48, 24, 12]
    flat = bands(torch.full((1, 1, 32, 32), 0.7))
    assert max(band.abs().max().item() for band in flat) < 1e-6


def test_sharpness_minds_a_blur_and_not_a_brightness(spots):
    weight = torch.ones_like(spots)
    blurred = torch.nn.functional.avg_pool2d(spots, 5, stride=1, padding=2)
    assert sharpness(spots, spots, weight) == 0
    assert sharpness(blurred, spots, weight) > 10 * sharpness(spots + 0.05, spots, weight)


def test_spots_that_fade_are_punished_and_those_that_are_too_strong_are_not(spots):
    weight, source = torch.ones_like(spots), 1 - spots
    assert faded_spots(spots, spots, source, weight) == 0
    assert faded_spots(1.2 * spots, spots, source, weight) == pytest.approx(0, abs=1e-4)
    faint = faded_spots(0.5 * spots, spots, source, weight)
    assert faint > 0.004
    assert faded_spots(source, spots, source, weight) > 2 * faint  # dark where it should be bright
    # What the source shows just as bright, or not at all, is no lesion that can be held against it.
    assert faded_spots(0.5 * spots, spots, spots, weight) == 0
    assert faded_spots(0.5 * spots, spots, torch.full_like(spots, 0.5), weight) == 0


@pytest.fixture
def lesion():
    """Flat tissue of 0.4 with a lesion: mask, and a function that makes one of a contrast."""
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 28:36, 28:36] = 1
    return mask, lambda contrast: 0.4 + contrast * mask


def test_a_lesion_too_faint_costs_four_times_one_too_strong(lesion):
    mask, tissue = lesion
    head = torch.ones_like(mask)

    def loss(output, target=0.2):
        return lesion_contrast(tissue(output), tissue(target), mask, head).item()

    assert loss(0.2) == pytest.approx(0, abs=1e-6)
    assert loss(0.1) == pytest.approx(0.8 * 0.1, abs=1e-5)
    assert loss(0.3) == pytest.approx(0.2 * 0.1, abs=1e-5)
    assert loss(-0.1, target=-0.2) == pytest.approx(0.8 * 0.1, abs=1e-5)  # in T1: dark
    assert loss(-0.3, target=-0.2) == pytest.approx(0.2 * 0.1, abs=1e-5)
    # A scanner that shows everything brighter loses nothing, and no lesion no loss.
    assert lesion_contrast(tissue(0.2) + 0.2, tissue(0.2), mask, head) == pytest.approx(0, abs=1e-5)
    assert lesion_contrast(tissue(0.0), tissue(0.2), 0 * mask, head) == 0


def test_the_predicted_error_is_learnt_and_moves_no_output():
    target, output = torch.zeros(1, 1, 8, 8), torch.full((1, 1, 8, 8), 0.1, requires_grad=True)
    everywhere = torch.ones(1, 1, 8, 8)
    log_error = torch.full((1, 1, 8, 8), -3.0, requires_grad=True)
    loss = laplace(output, target, log_error, everywhere)
    assert loss.item() == pytest.approx(0.1 * math.exp(3) - 3, rel=1e-5)
    loss.backward()
    assert output.grad is None
    assert (log_error.grad < 0).all()  # 0.1 is more than exp(-3): expect more
    best = torch.full((1, 1, 8, 8), 0.1).log().requires_grad_()
    laplace(output, target, best, everywhere).backward()
    assert best.grad.abs().max() < 1e-6


def test_the_target_may_lie_two_pixels_beside(spots):
    noise = torch.randn(spots.shape, generator=torch.manual_seed(1))
    output = (spots + 0.02 * noise).clamp(0, 1)
    straight = dissimilarity(output, spots)
    for shift in ((2, -2), (0, 1), (-2, 0)):
        beside = torch.roll(spots, shift, (2, 3))
        assert dissimilarity(output, aligned(beside, output, 2)) < 1.1 * straight
        assert dissimilarity(output, beside) > 2 * straight
        assert torch.equal(aligned(beside, output, 0), beside)
    far = torch.roll(spots, (6, 6), (2, 3))  # further than it tolerates stays wrong
    assert dissimilarity(output, aligned(far, output, 2)) > 2 * straight


def test_the_pool_resumes_and_restarts_at_a_new_resolution():
    pool, rng = ImagePool(3), torch.Generator().manual_seed(0)
    pool.query(torch.rand(3, 1, 4, 4, generator=rng), torch.arange(3), rng)
    copy = ImagePool(3)
    copy.load_state_dict(pool.state_dict())
    assert torch.equal(torch.stack(copy.images), torch.stack(pool.images))
    shown, _ = pool.query(torch.zeros(1, 1, 8, 8), torch.tensor([0]), rng)
    assert shown.shape[-1] == 8
    assert len(pool.images) == 1
