"""Shades of grey that a file stores as colours, or beside an opacity, as one channel."""

from __future__ import annotations

import numpy as np

from cyclegan.reading.volume import ReadError

MAX_CHANNEL_SPREAD = 0.08  # of the brightest value; JPEG's chroma noise stays below it
MAX_COLOURED_SHARE = 0.01  # of the pixels; a few coloured marks on a screenshot are tolerated


def grey(pixels: np.ndarray, name: str) -> np.ndarray:
    """Reduce grey, grey + alpha, RGB or RGBA pixels to one channel.

    Args:
        pixels: (H, W) or (H, W, C) with C from 1 to 4; the last of 2 or 4 channels is opacity.
        name: file name for the message.

    Returns:
        (H, W), unchanged where there was one channel, else float32; transparent parts over black.

    Raises:
        ReadError: the channels differ too much for a grey image.
    """
    if pixels.ndim == 2:
        return pixels
    channels = pixels.shape[2]
    opacity = None
    if channels in (2, 4):
        full = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1.0
        opacity = pixels[..., -1].astype(np.float32) / full
        pixels = pixels[..., :-1]
        if not opacity.any():  # a channel that was never filled in
            opacity = None
    if pixels.shape[2] == 3:
        spread = pixels.max(axis=2).astype(np.float32) - pixels.min(axis=2)
        if opacity is not None:
            spread *= opacity
        allowed = max(MAX_CHANNEL_SPREAD * float(pixels.max()), 4.0 * (pixels.dtype == np.uint8))
        if np.mean(spread > allowed) > MAX_COLOURED_SHARE:
            raise ReadError(
                f"{name}: this is a colour image; choose a grey MR slice without a colour map."
            )
    # The sum of three 16-bit values is exact in float32, so equal channels give back their value.
    single = pixels.sum(axis=2, dtype=np.float32) / pixels.shape[2]
    return single if opacity is None else single * opacity
