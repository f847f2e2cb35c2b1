import numpy as np
import pytest
from scipy import ndimage

from cyclegan.evaluation import metrics
from cyclegan.model.head import joint_head

SIZE = 96


@pytest.fixture
def head():
    """A disc with texture, air around it, in [0, 1]."""
    rng = np.random.default_rng(3)
    rows, columns = np.indices((SIZE, SIZE)) - SIZE / 2
    texture = ndimage.gaussian_filter(rng.normal(size=(SIZE, SIZE)), 2)
    return np.where(np.hypot(rows, columns) < 36, np.clip(0.5 + texture, 0.2, 0.9), 0.0)


def disc(row, column, radius):
    rows, columns = np.indices((SIZE, SIZE))
    return np.hypot(rows - row, columns - column) < radius


def test_identity_is_perfect(head):
    scores = metrics.slice_scores(head, head, head)
    assert scores["ssim"] == pytest.approx(1)
    assert scores["full_ssim"] == pytest.approx(1)
    assert scores["gradient_correlation"] == pytest.approx(1)
    assert scores["mae"] == 0
    assert scores["psnr"] == scores["full_psnr"] == pytest.approx(metrics.PSNR_CEILING)


def test_psnr_and_mae_of_a_known_offset(head):
    mask = joint_head(head, head)
    shifted = head + np.where(mask, 0.1, 0)
    assert metrics.psnr(shifted, head, mask) == pytest.approx(20)  # 10 log10(1 / 0.01)
    assert metrics.mae(shifted, head, mask) == pytest.approx(0.1)
    share = mask.mean()  # air is right, so the whole image looks better
    assert metrics.psnr(shifted, head) == pytest.approx(20 - 10 * np.log10(share))
    assert metrics.mae(shifted, head) == pytest.approx(0.1 * share)


def test_ssim_over_the_mask_leaves_out_air(head):
    mask = joint_head(head, head)
    noisy = np.clip(head + np.random.default_rng(0).normal(0, 0.1, head.shape) * mask, 0, 1)
    similarity = metrics.ssim_map(noisy, head)
    assert metrics.ssim(noisy, head, mask) == pytest.approx(similarity[mask].mean())
    assert metrics.ssim(noisy, head, mask) < metrics.ssim(noisy, head)


def test_ssim_of_reversed_contrast_is_negative(head):
    mask = ndimage.binary_erosion(head > 0, iterations=8)  # without the edge of the head
    reversed_contrast = np.where(head > 0, 2 * head[mask].mean() - head, 0)
    assert metrics.ssim(reversed_contrast, head, mask) < -0.3


def test_the_joint_head_covers_both_contrasts_fills_holes_and_leaves_air(head):
    ventricle, bright_only_in_b = disc(48, 48, 6), disc(48, 8, 4)
    a = np.where(ventricle, 0, head)
    b = np.where(bright_only_in_b, 0.8, 0)
    mask = joint_head(a, b)
    assert mask.dtype == bool
    assert mask.shape == head.shape
    assert mask[ventricle].all()
    assert mask[bright_only_in_b].all()
    assert not mask[:5].any()
    noise = np.abs(np.random.default_rng(0).normal(0, 0.02, head.shape))
    assert not joint_head(noise, noise).any()


def test_gradient_correlation_ignores_the_sign_of_contrast_but_not_place(head):
    mask = joint_head(head, head)
    assert metrics.gradient_correlation(1 - head, head, mask) == pytest.approx(1)
    assert metrics.gradient_correlation(np.roll(head, 5, axis=1), head, mask) < 0.6
    assert metrics.gradient_correlation(np.full_like(head, 0.5), head) == 0


def test_predictions_outside_the_range_are_clipped(head):
    white = np.where(head > 0.5, 1.0, 0.0)
    assert metrics.slice_scores(3 * white, head, head) == metrics.slice_scores(white, head, head)


def test_what_cannot_be_scored_is_refused(head):
    air = np.zeros_like(head)
    with pytest.raises(ValueError, match="no head"):
        metrics.slice_scores(air, air, air)
    with pytest.raises(ValueError, match="NaN"):
        metrics.slice_scores(np.full_like(head, np.nan), head, head)
    with pytest.raises(ValueError, match=r"\(95, 96\)"):
        metrics.slice_scores(head[1:], head, head)
    with pytest.raises(ValueError, match="empty"):
        metrics.mae(head, head, np.zeros_like(head, dtype=bool))
