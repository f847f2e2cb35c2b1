"""Arrays that users pass, checked before anything is made of them; each error is a sentence."""

from __future__ import annotations

from typing import Any

import numpy as np

from cyclegan.reading.volume import MIN_SIDE

MOST_CHANNELS = 4  # red, green, blue and opacity; no brain slice is so narrow


def real_array(image: Any) -> np.ndarray:
    """An array of real numbers, (H, W) or (Z, H, W).

    Args:
        image: an array, or what numpy makes one of: nested lists, a PIL image, a tensor.

    Raises:
        ValueError: it is none, or its last axis holds colours; the message is a sentence.
    """
    try:
        array = np.asarray(image)
    except Exception as error:  # ragged lists; tensors on a GPU or with a gradient
        raise ValueError(
            f"image: no array can be made of this {type(image).__name__}; expected (H, W) or "
            "(Z, H, W) real numbers"
        ) from error
    if array.dtype.kind == "c":
        raise ValueError("complex image: pass its magnitude, abs(image)")
    if array.dtype.kind not in "buif":
        hint = "; read_volume reads a file" if isinstance(image, str) else ""
        raise ValueError(f"image of type {array.dtype}: expected real numbers{hint}")
    if array.ndim not in (2, 3) or array.size == 0:
        raise ValueError(f"image of shape {array.shape}: expected (H, W) or (Z, H, W)")
    shape = array.shape
    if array.ndim == 3 and shape[-1] <= MOST_CHANNELS < shape[1]:
        raise ValueError(
            f"image of shape {shape}: (H, W, {shape[-1]}) looks like colour channels; expected "
            "(H, W) or (Z, H, W), for example image[..., 0]"
        )
    return array


def checked_image(image: Any, *, as_slices: bool = True) -> np.ndarray:
    """A slice or volume with enough pixels; as `real_array` takes and gives it.

    Args:
        image: (H, W) or (Z, H, W).
        as_slices: whether H and W have to be `MIN_SIDE` at least; else two sides of three, as of
            a narrow volume that is cut across its slices.

    Raises:
        ValueError: as `real_array`; too few pixels, or no number that float32 holds.
    """
    array = real_array(image)
    shape = array.shape
    sides = shape[-2:] if as_slices else sorted(shape)[-2:]
    if min(sides) < MIN_SIDE or min(shape[-2:]) <= MOST_CHANNELS:
        order = "; slices come first, (Z, H, W)" if array.ndim == 3 else ""
        raise ValueError(
            f"image of shape {shape}: too few pixels for a brain slice, at least {MIN_SIDE} x "
            f"{MIN_SIDE} are needed{order}"
        )
    if array.dtype.kind == "f" and not (np.abs(array) <= np.finfo(np.float32).max).any():
        raise ValueError(f"image of shape {shape}: no pixel holds a finite number of 32 bits")
    return array


def checked_spacing(spacing: Any) -> tuple[float, float]:
    """(row, column) of a pixel; one number is that of square pixels.

    Raises:
        ValueError: it is not two positive numbers.
    """
    try:
        values = np.asarray(spacing, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.array([np.nan])
    if values.ndim == 0:
        values = np.repeat(values, 2)
    if values.shape == (2,) and np.isfinite(values).all() and (values > 0).all():
        return float(values[0]), float(values[1])
    hint = "; of a Volume pass its pixel_spacing" if values.shape == (3,) else ""
    raise ValueError(f"spacing={spacing}: expected two positive numbers, (row, column) in mm{hint}")
