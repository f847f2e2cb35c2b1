"""Pixels as they go to the browser."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from cyclegan.model.preprocess import scale_intensity
from cyclegan.reading.volume import Volume

THUMBNAIL = 96  # pixels: 64 on a screen of higher density


def encode_uint16(pixels: np.ndarray) -> bytes:
    """(H, W) real in [0, 1] as little-endian uint16, row by row, 65535 standing for 1.

    Sixteen bits keep the depth that a narrow window shows; eight would band.
    """
    return np.rint(np.clip(pixels, 0, 1) * 65535).astype("<u2").tobytes()


def encode_png(pixels: np.ndarray, size: tuple[int, int] | None = None) -> bytes:
    """A grey PNG of (H, W) in [0, 1], resized to (width, height)."""
    picture = Image.fromarray(np.rint(255 * np.clip(pixels, 0, 1)).astype(np.uint8))
    buffer = io.BytesIO()
    (picture.resize(size, Image.Resampling.BOX) if size else picture).save(buffer, "PNG")
    return buffer.getvalue()


def thumbnail(volume: Volume) -> bytes:
    """PNG of the middle slice, `THUMBNAIL` pixels on its longer side, in its proportions."""
    pixels = volume.pixels[len(volume.pixels) // 2]
    row, column = volume.pixel_spacing or (1.0, 1.0)
    height, width = pixels.shape[0] * row, pixels.shape[1] * column
    share = THUMBNAIL / max(height, width)
    size = max(1, round(share * width)), max(1, round(share * height))
    return encode_png(scale_intensity(pixels), size)
