"""Losses between a translation and the true slice beside it, which may lie a pixel or two away.

Images are (B, 1, S, S) in [0, 1], weights (B, 1, S, S); every loss is a scalar, a weighted mean
within each image and then over the images, as in `losses.py`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from cyclegan.training.losses import mean_within

LEVELS = 4  # of the pyramid: details of about 1, 2, 4 and 8 pixels
BLOB_LEVELS = (1, 2, 3)  # lesions; a pixel alone is a vessel or noise
SHOWN = 0.01  # local contrast, of white, from which on an image shows something


def bands(images: torch.Tensor, levels: int = LEVELS) -> list[torch.Tensor]:
    """Differences of ever smoother copies (Burt & Adelson 1983), finest first.

    Band k is (B, C, S / 2^k, S / 2^k): what is smaller than about 2^(k + 1) pixels and larger than
    half of that, bright spots positive.
    """
    found = []
    for _ in range(levels):
        coarse = F.avg_pool2d(_smooth(images), 2, ceil_mode=True)
        found.append(images - F.interpolate(coarse, images.shape[-2:], mode="bilinear"))
        images = coarse
    return found


def sharpness(answer: torch.Tensor, truth: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of the bands, added up: detail counts at every size.

    In a plain L1 the largest structures decide, and a blur of thin sulci costs next to nothing.
    """
    total = answer.new_zeros(())
    for difference in bands(answer.float() - truth.float()):  # bands are linear
        total = total + mean_within(difference.abs(), _to_size(weight, difference))
    return total


def faded_blobs(
    answer: torch.Tensor, truth: torch.Tensor, source: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    """How much local contrast is missing where source and truth both show a spot, reversed.

    A lesion is dark in T1 and bright in T2. Where the source shows such a spot and the truth says
    that it is one, an answer fainter than the truth is punished, one as strong or stronger is not:
    the mean error is content with a faint answer, and a reader of it misses the lesion.
    """
    total = answer.new_zeros(())
    found, true, given = (bands(x.float()) for x in (answer, truth, source))
    for k in BLOB_LEVELS:
        sign = true[k].sign()
        shown = ((sign * true[k] > SHOWN) & (sign * given[k] < -SHOWN)).float()
        missing = (sign * (true[k] - found[k])).clamp_min(0)
        total = total + mean_within(missing * shown, _to_size(weight, shown))
    return total


@torch.no_grad()
def aligned(truth: torch.Tensor, answer: torch.Tensor, reach: int) -> torch.Tensor:
    """Move each part of the truth onto the answer, by at most `reach` whole pixels each way.

    Pairs of two scans are registered to a pixel or two. An answer lies where its source does; held
    to a truth beside it, a generator learns to blur. Parts of about 40 pixels move together, by
    the shift at which the details of both images agree best; whole pixels, so that nothing blurs.

    Args:
        truth, answer: (B, 1, S, S); no gradient flows into either.
        reach: 0 leaves the truth as it is.

    Returns:
        (B, 1, S, S), pixels of `truth`.
    """
    if reach == 0:
        return truth
    found, margin = _detail(answer), [reach] * 4
    true = F.pad(_detail(truth), margin, mode="replicate")
    size = truth.shape[-1]
    costs, moved = [], []
    padded = F.pad(truth, margin, mode="replicate")
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            rows = slice(reach + dy, reach + dy + size)
            window = (..., rows, slice(reach + dx, reach + dx + size))
            error = F.avg_pool2d((true[window] - found).abs(), 8, ceil_mode=True)
            for _ in range(2):
                error = F.avg_pool2d(error, 5, stride=1, padding=2, count_include_pad=False)
            # Of two shifts that agree alike, the smaller.
            costs.append(error * (1 + 0.02 * (dy * dy + dx * dx) ** 0.5))
            moved.append(padded[window])
    best = torch.cat(costs, 1).argmin(1, keepdim=True).float()  # (B, 1, S / 8, S / 8)
    best = F.interpolate(best, scale_factor=8, mode="nearest")[..., :size, :size].long()
    return torch.cat(moved, 1).gather(1, best)


def _detail(images: torch.Tensor) -> torch.Tensor:
    """What is smaller than about eight pixels."""
    images = images.float()
    coarse = F.avg_pool2d(_smooth(images), 4, ceil_mode=True)
    return images - F.interpolate(coarse, images.shape[-2:], mode="bilinear")


def _smooth(images: torch.Tensor) -> torch.Tensor:
    return F.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)


def _to_size(weight: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    if weight.shape[-2:] == like.shape[-2:]:
        return weight
    return F.adaptive_avg_pool2d(weight, like.shape[-2:])
