"""What training makes of a file: framed slices with their head masks, and a name for how."""

from __future__ import annotations

import functools
import hashlib

import numpy as np
import torch

from cyclegan.model.head import head_mask
from cyclegan.model.preprocess import Frame, scale_intensity

SMALLEST_HEAD = 0.04  # of a volume's slice: emptier slices at either end teach nothing


def frame_slices(
    scaled: np.ndarray, size: int, spacing: tuple[float, float] | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Frame a file's slices, the nearly empty ones left out, and find the heads in them.

    Args:
        scaled: (Z, H, W) float32 in [0, 1], scaled as one volume.
        size: side of the network's grid.
        spacing: (row, column) in mm, for pixels that are not square; as `Frame.fit` takes it.

    Returns:
        (N, 1, size, size) float16 slices, and their bool head masks.
    """
    if len(scaled) > 1:
        areas = np.array([head_mask(image).mean() for image in scaled])
        scaled = scaled[areas > SMALLEST_HEAD * areas.max()]
    slices = Frame.fit(scaled, size, spacing).apply(scaled).half()
    return slices, head_masks(slices)


def head_masks(slices: torch.Tensor) -> torch.Tensor:
    """Head masks of (N, 1, S, S) float16 slices: the same shape, bool."""
    heads = [head_mask(image) for image in slices[:, 0].float().numpy()]
    return torch.from_numpy(np.stack(heads))[:, None]


@functools.cache
def recipe() -> str:
    """Eight hexadecimal digits that change when scaling, framing or head masks do.

    Computed from what two made-up images become, so that nobody has to remember to raise a number:
    a volume that is windowed by percentiles, and an 8-bit export that is taken as it is, that also
    with pixels that are not square.
    """
    y, x = np.mgrid[-1:1:80j, -1:1:64j]
    radius = np.hypot(1.1 * x, y)
    head = np.clip(1.5 - 2 * radius, 0, 1)
    texture = 1 + 0.3 * np.sin(9 * x + 4 * y) * np.cos(7 * y)
    volume = 700 * np.stack([head * texture, head**4 * texture, radius < 0.1]) + 40
    total = hashlib.sha256()
    export = (170 * head * texture)[None].round()  # fills its range without reaching white
    for image, spacing in ((volume, None), (export, None), (export, (1.0, 1.5))):
        slices, heads = frame_slices(scale_intensity(image), 48, spacing)
        # In 256 steps, as processors differ in the last bit of a float.
        total.update((255 * slices.float()).round().byte().numpy().tobytes())
        total.update(heads.numpy().tobytes())
    return total.hexdigest()[:8]
