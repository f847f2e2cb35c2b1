"""The place of a result in the grid of the file that it was made from."""

from __future__ import annotations

import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

from cyclegan.reading.volume import Volume


def in_source_grid(
    pixels: np.ndarray, volume: Volume, slice_index: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Turn a result back from the shown order of pixels to the stored one; nothing is resampled.

    Args:
        pixels: (Z, H, W) of the shape of `volume.pixels`, or one slice (H, W) of it.
        volume: the source as `read_volume` returned it.
        slice_index: which slice of the volume an (H, W) result is; may be omitted if it has one.

    Returns:
        The result with the axes of the source's file, for DICOM (column, row, slice), and the
        (4, 4) affine from those indices to RAS+ mm. Where the source has no place in space the
        order is the shown one and the affine says the spacing only.

    Raises:
        ValueError: shape and volume do not belong together.
    """
    pixels = np.asarray(pixels)
    depth = len(volume.pixels)
    if slice_index is None and depth == 1:
        slice_index = 0
    if pixels.ndim == 2:
        fits = pixels.shape == volume.pixels.shape[1:] and slice_index in range(depth)
    else:
        fits = pixels.shape == volume.pixels.shape
    if not fits:
        raise ValueError(
            f"a result of shape {pixels.shape} at slice {slice_index} does not lie in a volume of "
            f"shape {volume.pixels.shape}"
        )
    whole = pixels.ndim == 3 or depth == 1
    stack = pixels.reshape(-1, *pixels.shape[-2:]).transpose(2, 1, 0)
    affine = volume.affine
    if affine is None:
        slice_mm, row_mm, column_mm = volume.spacing or (1.0, 1.0, 1.0)
        affine = np.diag([column_mm, row_mm, slice_mm, 1.0])
    placed = np.array(affine, dtype=np.float64)
    if not whole:
        placed[:3, 3] += slice_index * placed[:3, 2]
    if volume.stored_affine is None:
        return stack, placed
    turn = io_orientation(np.linalg.inv(volume.stored_affine) @ affine)
    if whole:  # the source's own affine, not one with the rounding of two turns
        return apply_orientation(stack, turn), np.array(volume.stored_affine, dtype=np.float64)
    return apply_orientation(stack, turn), placed @ inv_ornt_aff(turn, stack.shape)
