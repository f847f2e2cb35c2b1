"""How close a translated slice is to the true one: similarity, error, anatomy, lesions.

Pure functions on two-dimensional arrays in [0, 1]. Inside the head is what counts: air is most of
an MR image and trivially right, so whole-image scores flatter every method. They are there only
because papers print them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.metrics import structural_similarity

from cyclegan.model.head import foreground, joint_head

PSNR_CEILING = 100.0  # dB, what identical images score, so that means stay finite

MIN_LESION_PIXELS = 20  # fewer, and the contrast is one of noise
SHOWN_BY_SOURCE = -0.2  # contrast in the source: from here on down it shows the lesion as dark
VISIBLE_CONTRAST = 0.3  # head standard deviations by which the true lesion stands out
SIZES = (50, 100, 200)  # pixels, where the bins of `lesion_report` end

SPOT_SCALES = (1.6, 2.4, 3.6)  # pixels: sigmas of the narrower Gaussian, for spots of 5 to 12
SPOT = 0.06  # of white: a difference of Gaussians of at least this is a spot
NO_SPOT = 0.02  # of white: one below this is none
OUTLINE = 12  # pixels: what lies deeper is brain and its fluid in head-in slices, too
SPOT_DISTANCE = 3  # pixels within which two spots are the same


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


class Lesion(NamedTuple):
    """One lesion of a slice.

    Attributes:
        size: in pixels.
        source_contrast: in the source, in standard deviations of the head; negative where dark.
        ratio: predicted over true contrast: 1 as in the truth, 0 vanished, below 0 dark where it
            should be bright.
    """

    size: int
    source_contrast: float
    ratio: float


def lesion_parts(lesion: np.ndarray, head: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each lesion with what lies around it.

    `lesion`, `head`: (H, W), non-zero inside. A lesion is a 4-connected component of at least
    `MIN_LESION_PIXELS`. Yields (inside, tissue of the head 3 to 6 pixels away), (H, W) bools;
    lesions with less tissue around them than that are left out.
    """
    lesion = np.asarray(lesion) > 0
    near_a_lesion = ndimage.binary_dilation(lesion, iterations=2)
    components, count = ndimage.label(lesion)
    for index in range(1, count + 1):
        inside = components == index
        ring = ndimage.binary_dilation(inside, iterations=6) & ~near_a_lesion & head
        if min(inside.sum(), ring.sum()) >= MIN_LESION_PIXELS:
            yield inside, ring


def measure_lesions(
    predicted: np.ndarray, truth: np.ndarray, source: np.ndarray, lesion: np.ndarray
) -> list[Lesion]:
    """How much of its true contrast each visible lesion has.

    `predicted`, `truth`, `source`: (H, W) in [0, 1]; `lesion`: (H, W), non-zero inside lesions.
    The contrast of one of `lesion_parts` is its mean minus that of the tissue around it, in
    standard deviations of the head, so that a paler or brighter prediction is not punished for its
    style. Lesions that do not stand out bright in the truth by `VISIBLE_CONTRAST` are left out.
    """
    head = foreground(source)
    if not head.any():
        return []
    lesions = []
    for inside, ring in lesion_parts(lesion, head):
        of_source, of_truth, of_predicted = (
            float((x[inside].mean() - x[ring].mean()) / max(x[head].std(), 1e-6))
            for x in (np.asarray(image, np.float64) for image in (source, truth, predicted))
        )
        if of_truth >= VISIBLE_CONTRAST:
            ratio = of_predicted / of_truth
            lesions.append(Lesion(int(inside.sum()), of_source, ratio))
    return lesions


def lesion_fidelity(ratios: Iterable[float]) -> dict[str, float | int | None]:
    """Sum up `Lesion.ratio` of many slices.

    Returns `lesions` (how many) and the shares of them that are `kept` (at least half of the true
    contrast), `lost` (less than a fifth) and `inverted` (dark where bright is true), each in
    [0, 1], and the `median_ratio`. Shares and median are None without a single lesion.
    """
    ratios = np.asarray(list(ratios), dtype=np.float64)
    if ratios.size == 0:
        return dict.fromkeys(("kept", "lost", "inverted", "median_ratio")) | {"lesions": 0}
    return {
        "lesions": int(ratios.size),
        "kept": float((ratios >= 0.5).mean()),
        "lost": float(((ratios >= 0) & (ratios < 0.2)).mean()),
        "inverted": float((ratios < 0).mean()),
        "median_ratio": float(np.median(ratios)),
    }


def lesion_report(lesions: Iterable[Lesion]) -> dict:
    """`lesion_fidelity` of the lesions of many slices, and of those that the source shows.

    Only a guess can bring back a lesion that the source does not show, so `in_source` (contrast of
    `SHOWN_BY_SOURCE` or below) is what a translator can be judged by. Of those, `by_size` holds a
    `lesion_fidelity` each, of the lesions between two of `SIZES`, below and above them.
    """
    lesions = list(lesions)
    shown = [lesion for lesion in lesions if lesion.source_contrast <= SHOWN_BY_SOURCE]
    bins = np.searchsorted(SIZES, [lesion.size for lesion in shown], side="right")
    between = [f"{start} to {end - 1}" for start, end in itertools.pairwise(SIZES)]
    names = [f"below {SIZES[0]}", *between, f"{SIZES[-1]} and more"]
    return lesion_fidelity(lesion.ratio for lesion in lesions) | {
        "in_source": lesion_fidelity(lesion.ratio for lesion in shown),
        "by_size": {
            name: lesion_fidelity(
                lesion.ratio for lesion, its in zip(shown, bins, strict=True) if its == number
            )
            for number, name in enumerate(names)
        },
    }


def bright_spots(predicted: np.ndarray, truth: np.ndarray, head: np.ndarray) -> dict[str, int]:
    """Count bright spots of a lesion's size that only one of two images has.

    A spot is a maximum of a difference of Gaussians (Lowe 2004, section 3) over place and scale of
    at least `SPOT`, `OUTLINE` pixels or more inside the head.

    Args:
        predicted, truth: (H, W) in [0, 1].
        head: (H, W) bool.

    Returns:
        `shown`: spots of the prediction; `invented`: those of them with nothing in the truth
        (below `NO_SPOT` within `SPOT_DISTANCE` pixels); `true` and `missing`: the same of the
        truth.
    """
    inner = ndimage.distance_transform_edt(np.pad(head, 1))[1:-1, 1:-1] >= OUTLINE
    counts = {}
    strengths = _spot_strength(predicted), _spot_strength(truth)
    for (own, other), counted, alone in (
        (strengths, "shown", "invented"),
        (strengths[::-1], "true", "missing"),
    ):
        peaks = peak_local_max(own * inner, SPOT_DISTANCE, threshold_abs=SPOT, exclude_border=False)
        nearby = ndimage.maximum_filter(other, 2 * SPOT_DISTANCE + 1)
        counts[counted] = len(peaks)
        counts[alone] = int(sum(nearby[y, x] < NO_SPOT for y, x in peaks))
    return counts


def _spot_strength(image: np.ndarray) -> np.ndarray:
    """(H, W): the largest difference of Gaussians, the wider 1.6 times the narrower."""
    image = np.asarray(image, np.float64)
    scales = ((ndimage.gaussian_filter(image, s) for s in (k, 1.6 * k)) for k in SPOT_SCALES)
    return np.max([narrow - wide for narrow, wide in scales], axis=0)
