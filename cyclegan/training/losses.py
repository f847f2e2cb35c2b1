"""Training losses. Images are (B, 1, H, W) in [0, 1]; every loss is a scalar.

Each is a mean over images, also where a part of an image decides (tissue, edges): weights are
normalised within the image. So equal batches in several processes, or one after another, average to
what one large batch gives, and a small head counts as much as a large one.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

AIR = 0.02  # below this a pixel says nothing of tissue
# Of the likely errors' loss: their layers have no other, so it only has to be small beside the rest
# where gradients are clipped together.
WEIGHT_BAND = 0.02


def lsgan(scores: torch.Tensor, images: torch.Tensor, real: bool) -> torch.Tensor:
    """Least-squares GAN loss (Mao et al. 2017): real patches score 1, generated ones 0.

    Only patches on tissue count. Air is half of a slice and the same in both, so with it a
    discriminator's loss sits near chance and its gradient is half as strong.

    Args:
        scores: (B, 1, h, w) of a patch discriminator.
        images: (B, 1, H, W), what was scored.
    """
    with torch.no_grad():
        tissue = F.adaptive_avg_pool2d((images > AIR).float(), scores.shape[-2:]) > 0.1
    error = (scores.float() - (1.0 if real else 0.0)).square()
    return mean_within(error, tissue.float())


def l1(
    prediction: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean absolute difference: the cycle and identity losses of Zhu et al. 2017.

    Args:
        weight: (B, 1, H, W), how much each pixel counts; default: all alike.
    """
    difference = (prediction.float() - target.float()).abs()
    return difference.mean() if weight is None else mean_within(difference, weight)


def ssim_loss(
    prediction: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """1 - SSIM (Wang et al. 2004) with a 7x7 box window and data range 1, over the non-air part.

    Air is left out as in the validation metric; otherwise it dominates the mean. `weight` as in
    `l1`.
    """
    x, y = prediction.float(), target.float()

    def mean(values: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(values, 7, stride=1, padding=3, count_include_pad=False)

    mean_x, mean_y = mean(x), mean(y)
    var_x, var_y = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    ssim = ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    )
    tissue = (mean_y > AIR).float()
    return mean_within(1 - ssim, tissue if weight is None else tissue * weight)


def unlikeness(
    prediction: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """L1 + half of (1 - SSIM): what a result and the image that it should be are judged by."""
    return l1(prediction, target, weight) + 0.5 * ssim_loss(prediction, target, weight)


def laplace(
    answer: torch.Tensor, truth: torch.Tensor, log_error: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    """Negative log-likelihood of the errors under Laplace distributions, less a constant.

    Teaches `log_error` alone: the answer is not moved by it (Kendall & Gal 2017 move both).

    Args:
        log_error: (B, 1, H, W), the log of each distribution's scale, the mean absolute error.
    """
    error = (answer.detach().float() - truth.float()).abs()
    return mean_within(error * (-log_error).exp() + log_error, weight)


def gradient_field(source: torch.Tensor, translated: torch.Tensor) -> torch.Tensor:
    """Normalised gradient field distance (Haber & Modersitzki 2006), weighted by edge strength.

    Near 0 where both images have their edges along the same lines, whatever their sign and height;
    1 where they are perpendicular or missing in the translation. Edges of the source count by
    their strength, so noise on flat ground does not.
    """
    edge, faint = 0.03, 0.01  # gradients per two pixels: noise in the source, in the translation

    def gradient(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        image = F.avg_pool2d(image.float(), 3, stride=1)
        dy = image[..., 2:, 1:-1] - image[..., :-2, 1:-1]
        dx = image[..., 1:-1, 2:] - image[..., 1:-1, :-2]
        return dy, dx

    ay, ax = gradient(source)
    by, bx = gradient(translated)
    squared_a, squared_b = ay**2 + ax**2, by**2 + bx**2
    agreement = (ay * by + ax * bx) ** 2 / (squared_a * (squared_b + faint**2) + 1e-12)
    strength = squared_a / (squared_a + edge**2)  # 0 on flat ground, towards 1 on edges
    return mean_within(1 - agreement, strength)


def intensity_distribution(translated: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """1-D Wasserstein distance between the tissue intensities of unpaired slices.

    Each translation is compared with a real slice of the same source and the wanted contrast, by 64
    quantiles. Patch discriminators are slow to notice that a whole image is too bright; this says
    it directly, and says nothing of where a value belongs.

    Args:
        translated, real: (B, 1, H, W); the slices at one place in the batch share a source.
    """
    levels = torch.linspace(0.01, 0.995, 64, device=real.device)

    def quantiles(images: torch.Tensor) -> torch.Tensor:
        values = images.float().flatten(1).sort(dim=1, descending=True).values
        count = (values.detach() > AIR).sum(1, keepdim=True).clamp_min(1)
        return values.gather(1, ((1 - levels) * (count - 1)).round().long())  # (B, 64)

    return (quantiles(translated) - quantiles(real)).abs().mean()


def mean_within(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Weighted mean of (B, 1, H, W) within each image, then over the images; no weight, zero."""
    inside = (1, 2, 3)
    return ((values * weight).sum(inside) / weight.sum(inside).clamp_min(1)).mean()
