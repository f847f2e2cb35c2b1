"""Losses: zero where they should be, blind to what they should ignore."""

import pytest
import torch

from cyclegan.training.losses import gradient_field, intensity_distribution, l1, lsgan, ssim_loss


@pytest.fixture
def image():
    y, x = torch.meshgrid(torch.linspace(0, 9, 64), torch.linspace(0, 9, 64), indexing="ij")
    return (0.5 + 0.3 * torch.sin(x + y / 2) * torch.cos(y))[None, None]


def test_lsgan_wants_one_for_real_and_zero_for_generated():
    scores, tissue = torch.full((2, 1, 4, 4), 0.5), torch.ones(2, 1, 32, 32)
    assert lsgan(scores, tissue, real=True) == pytest.approx(0.25)
    assert lsgan(scores, tissue, real=False) == pytest.approx(0.25)
    assert lsgan(torch.ones(2, 1, 4, 4), tissue, real=True) == 0


def test_air_does_not_count_in_the_gan_loss():
    scores, image = torch.ones(1, 1, 4, 4), torch.ones(1, 1, 32, 32)
    scores[..., 2:], image[..., 16:] = 0.5, 0
    assert lsgan(scores, image, real=True) == 0
    assert lsgan(scores, image, real=False) == 1


def test_reversed_contrast_keeps_the_structure_loss_low_and_a_shift_raises_it(image):
    same = gradient_field(image, image)
    reversed_contrast = gradient_field(image, 1 - image)
    moved = gradient_field(image, torch.roll(image, 5, dims=-1))
    flat = gradient_field(image, torch.full_like(image, 0.5))
    assert reversed_contrast == pytest.approx(same.item(), abs=1e-4)
    assert moved > 3 * same
    assert flat > 0.9


def test_ssim_loss_agrees_with_the_library_up_to_the_window(image):
    from skimage.metrics import structural_similarity

    noisy = (image + 0.05 * torch.randn(image.shape, generator=torch.manual_seed(0))).clamp(0, 1)
    reference = structural_similarity(
        noisy[0, 0].numpy(), image[0, 0].numpy(), data_range=1.0, use_sample_covariance=False
    )
    assert 1 - ssim_loss(noisy, image).item() == pytest.approx(reference, abs=0.02)
    assert ssim_loss(image, image) == pytest.approx(0, abs=1e-4)


def test_air_does_not_count_in_the_ssim_loss(image):
    target = image.clone()
    target[..., :32] = 0
    wrong_in_air = target.clone()
    wrong_in_air[..., :20] = 0.5
    assert ssim_loss(wrong_in_air, target) == pytest.approx(0, abs=1e-3)


def test_l1(image):
    assert l1(image, image + 0.25) == pytest.approx(0.25)


def test_intensity_loss_sees_brightness_but_not_place(image):
    other_place = torch.flip(image, dims=[-1, -2])
    assert intensity_distribution(other_place, image) == pytest.approx(0, abs=1e-6)
    assert intensity_distribution(image * 0.5, image) > 0.1
    with_air = torch.cat([image, torch.zeros_like(image)], dim=-1)[..., 32:96]
    assert intensity_distribution(with_air, image) < 0.08  # less tissue is not darker tissue
