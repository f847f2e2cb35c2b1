"""Training losses. Images are (B, 1, H, W) in [0, 1]; every loss is a scalar.

Each is a mean over images, also where a part of an image decides (tissue, edges): weights are
normalised within the image. So equal batches in several processes, or one after another, average to
what one large batch gives, and a small head counts as much as a large one.

docs/training.md has the objective that they make up, with the weight of each.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from cyclegan.model.head import AIR
from cyclegan.simulation.augment import local_mean

LEVELS = 4  # of the pyramid: details of about 1, 2, 4 and 8 pixels
SPOT_LEVELS = (1, 2, 3)  # lesions; a pixel alone is a vessel or noise
SHOWN = 0.01  # local contrast, of white, from which on an image shows something
# Of the contrasts that a lesion may have for what its source shows, the one that is aimed at. Half
# of them are higher than the median, which the mean error aims at, and nobody misses a lesion that
# came out too bright. 0.8 makes a contrast that is too faint cost four times one that is too high.
QUANTILE = 0.8
REACH = 6  # pixels around a lesion that are no surroundings to compare it with


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


def dissimilarity(
    prediction: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """L1 + half of (1 - SSIM): between an output and the image that it should be."""
    return l1(prediction, target, weight) + 0.5 * ssim_loss(prediction, target, weight)


def laplace(
    output: torch.Tensor, target: torch.Tensor, log_error: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    """Negative log-likelihood of the errors under Laplace distributions, less a constant.

    Trains `log_error` alone: the output is not moved by it (Kendall & Gal 2017 move both).

    Args:
        log_error: (B, 1, H, W), the log of each distribution's scale, the mean absolute error.
    """
    error = (output.detach().float() - target.float()).abs()
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

    Each translation is compared with a real slice of the same source and the target contrast, by 64
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


def bands(images: torch.Tensor, levels: int = LEVELS) -> list[torch.Tensor]:
    """Differences of ever smoother copies (Burt & Adelson 1983), finest first.

    Band k is (B, C, S / 2^k, S / 2^k): what is smaller than about 2^(k + 1) pixels and larger than
    half of that, bright spots positive.
    """
    pyramid = []
    for _ in range(levels):
        coarse = F.avg_pool2d(_smooth(images), 2, ceil_mode=True)
        pyramid.append(images - F.interpolate(coarse, images.shape[-2:], mode="bilinear"))
        images = coarse
    return pyramid


def sharpness(output: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of the bands, added up: detail counts at every size.

    In a plain L1 the largest structures decide, and a blur of thin sulci costs next to nothing.
    """
    total = output.new_zeros(())
    for difference in bands(output.float() - target.float()):  # bands are linear
        total = total + mean_within(difference.abs(), _to_size(weight, difference))
    return total


def faded_spots(
    output: torch.Tensor, target: torch.Tensor, source: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    """How much local contrast is missing where source and target both show a spot, reversed.

    A lesion is dark in T1 and bright in T2. Where the source shows such a spot and the target says
    that it is one, an output fainter than the target is punished, one as strong or stronger is not:
    the mean error is content with a faint output, and a reader of it misses the lesion.
    """
    total = output.new_zeros(())
    pyramids = zip(*(bands(x.float()) for x in (output, target, source)), strict=True)
    for k, (shown, true, source_band) in enumerate(pyramids):
        if k in SPOT_LEVELS:
            sign = true.sign()
            spot = ((sign * true > SHOWN) & (sign * source_band < -SHOWN)).float()
            missing = (sign * (true - shown)).clamp_min(0)
            total = total + mean_within(missing * spot, _to_size(weight, spot))
    return total


def lesion_contrast(
    output: torch.Tensor, target: torch.Tensor, lesion: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Quantile loss (Koenker & Bassett 1978) of the contrast inside lesions, at `QUANTILE`.

    The contrast of a pixel is its difference to the mean of the tissue around, lesions left out:
    brightness that the scanner decides is no part of it. What is too faint costs `QUANTILE` of the
    difference, what is too strong the rest.

    Args:
        lesion: (B, 1, H, W) in [0, 1], where lesions are known to be.
        mask: (B, 1, H, W), the head.
    """
    window = 2 * REACH + 1
    around = mask * (1 - F.max_pool2d(lesion, window, stride=1, padding=REACH))

    def contrast(image: torch.Tensor) -> torch.Tensor:
        return image.float() - local_mean(image.float(), around, 1)

    true = contrast(target)
    missing = true.sign() * (true - contrast(output))
    return mean_within(torch.maximum(QUANTILE * missing, (QUANTILE - 1) * missing), lesion)


@torch.no_grad()
def aligned(target: torch.Tensor, output: torch.Tensor, reach: int) -> torch.Tensor:
    """Move each part of the target onto the output, by at most `reach` whole pixels each way.

    Pairs of two scans are registered to a pixel or two. An output lies where its source does; by
    a target beside it, a generator learns to blur. Parts of about 40 pixels move together, by
    the shift at which the details of both images agree best; whole pixels, so that nothing blurs.

    Args:
        target, output: (B, 1, S, S); no gradient flows into either.
        reach: 0 leaves the target as it is.

    Returns:
        (B, 1, S, S), pixels of `target`.
    """
    if reach == 0:
        return target
    detail, margin = _detail(output), [reach] * 4
    target_detail = F.pad(_detail(target), margin, mode="replicate")
    size = target.shape[-1]
    costs, moved = [], []
    padded = F.pad(target, margin, mode="replicate")
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            rows = slice(reach + dy, reach + dy + size)
            window = (..., rows, slice(reach + dx, reach + dx + size))
            error = F.avg_pool2d((target_detail[window] - detail).abs(), 8, ceil_mode=True)
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


def mean_within(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Weighted mean of (B, 1, H, W) within each image, then over the images; no weight, zero."""
    inside = (1, 2, 3)
    return ((values * weight).sum(inside) / weight.sum(inside).clamp_min(1)).mean()


class ImagePool:
    """History of generated images (Shrivastava et al. 2017, section 2.3), as in Zhu et al. 2017.

    `query` returns, for each image, either itself or, with probability 1/2 once the pool is full,
    an older one whose place it takes. Labels (data sources) travel with their images.
    """

    def __init__(self, size: int = 50):
        self.size = size
        self.images: list[torch.Tensor] = []
        self.labels: list[torch.Tensor] = []

    def query(
        self, images: torch.Tensor, labels: torch.Tensor, rng: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Swap (B, 1, H, W) images and their (B,) labels with the history."""
        if self.images and self.images[0].shape != images.shape[1:]:  # the resolution has grown
            self.images, self.labels = [], []
        images, labels = images.detach().clone(), labels.clone()
        for k in range(len(images)):
            if len(self.images) < self.size:
                self.images.append(images[k].clone())
                self.labels.append(labels[k].clone())
            elif torch.rand(1, generator=rng).item() < 0.5:
                place = int(torch.randint(self.size, (1,), generator=rng))
                older = self.images[place], self.labels[place]
                self.images[place], self.labels[place] = images[k].clone(), labels[k].clone()
                images[k], labels[k] = older
        return images, labels

    def state_dict(self) -> dict[str, torch.Tensor]:
        if not self.images:
            return {}
        return {"images": torch.stack(self.images), "labels": torch.stack(self.labels)}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        self.images, self.labels = list(state.get("images", [])), list(state.get("labels", []))
