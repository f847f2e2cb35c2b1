"""How close a translated slice is to the true one: similarity, error, anatomy.

Pure functions on two-dimensional arrays in [0, 1]. Inside the head is what counts: air is most of
an MR image and trivially right, so whole-image scores flatter every method. They are there only
because papers print them.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.metrics import structural_similarity

from cyclegan.model.head import joint_head

PSNR_CEILING = 100.0  # dB, what identical images score, so that means stay finite


def ssim_map(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """SSIM at each pixel, (H, W) float64 in [-1, 1].

    Wang et al. 2004, section III-B: Gaussian window of sigma 1.5, population statistics, data
    range 1. Raises ValueError when the shapes differ or a side is shorter than the window (11).
    """
    predicted, truth = _as_pair(predicted, truth)
    _, similarity = structural_similarity(
        predicted,
        truth,
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    return similarity


def ssim(predicted: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Mean of `ssim_map` over `mask` ((H, W) bool; None: the whole image), in [-1, 1]."""
    return float(ssim_map(predicted, truth)[_inside(mask)].mean())


def psnr(predicted: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio in dB for a peak of 1, at most `PSNR_CEILING`, over `mask`."""
    predicted, truth = _as_pair(predicted, truth)
    mean_squared_error = np.square(predicted - truth)[_inside(mask)].mean()
    return float(-10 * np.log10(max(mean_squared_error, 10 ** (-PSNR_CEILING / 10))))


def mae(predicted: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Mean absolute error, in [0, 1] as the images are, over `mask`."""
    predicted, truth = _as_pair(predicted, truth)
    return float(np.abs(predicted - truth)[_inside(mask)].mean())


def gradient_correlation(
    predicted: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None
) -> float:
    """Correlation of gradient magnitudes (Gaussian, sigma 1 pixel) over `mask`, in [-1, 1].

    High when edges lie where they should, whatever their sign: anatomy, not contrast. 0 where it
    says nothing: 50 pixels or fewer, or a flat image.
    """
    predicted, truth = _as_pair(predicted, truth)
    edges = [ndimage.gaussian_gradient_magnitude(x, 1.0)[_inside(mask)] for x in (predicted, truth)]
    if edges[0].size <= 50 or min(e.std() for e in edges) == 0:
        return 0.0
    return float(np.corrcoef(edges[0].ravel(), edges[1].ravel())[0, 1])


def slice_scores(predicted: np.ndarray, truth: np.ndarray, source: np.ndarray) -> dict[str, float]:
    """Every score of one translated slice; inside the head unless the name starts with `full_`.

    `predicted`, `truth`, `source`: (H, W) in [0, 1], registered; values of `predicted` outside
    are clipped. The head is that of `source` and `truth`: it does not depend on the prediction.
    Returns ssim, psnr (dB), mae, gradient_correlation, full_ssim and full_psnr (dB).
    Raises ValueError when there is no head, when shapes differ, or on NaN.
    """
    predicted, truth = _as_pair(predicted, truth)
    if not np.isfinite(predicted).all():
        raise ValueError("the predicted slice holds NaN or infinity")
    predicted = np.clip(predicted, 0, 1)
    mask = joint_head(source, truth)
    if not mask.any():
        raise ValueError("no head in this slice: source and truth are both air")
    similarity = ssim_map(predicted, truth)
    return {
        "ssim": float(similarity[mask].mean()),
        "psnr": psnr(predicted, truth, mask),
        "mae": mae(predicted, truth, mask),
        "gradient_correlation": gradient_correlation(predicted, truth, mask),
        "full_ssim": float(similarity.mean()),
        "full_psnr": psnr(predicted, truth),
    }


def _as_pair(predicted: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    predicted = np.asarray(predicted, dtype=np.float64)
    truth = np.asarray(truth, dtype=np.float64)
    if predicted.shape != truth.shape or truth.ndim != 2:
        raise ValueError(
            f"scores compare two (H, W) slices of one shape, not {predicted.shape} and "
            f"{truth.shape}"
        )
    return predicted, truth


def _inside(mask: np.ndarray | None) -> np.ndarray | slice:
    if mask is None:
        return slice(None)
    mask = np.asarray(mask, dtype=bool)
    if not mask.any():
        raise ValueError("the mask is empty: there is nothing to score")
    return mask
