"""How slices lie in the patient, and how they are turned for reading.

Positions are RAS+ millimetres throughout: x grows to the patient's right, y to anterior, z to
superior (NIfTI's convention; DICOM's LPS+ is converted where it is read).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from nibabel.orientations import aff2axcodes, apply_orientation, inv_ornt_aff, io_orientation

MAX_AXIAL_TILT = 30.0  # degrees; planes along the canthomeatal or AC-PC line stay below this

_OPPOSITE = dict(zip("RLAPSI", "LRPAIS", strict=True))
_PLANES = ("sagittal", "coronal", "axial")  # by the axis (x, y, z) the slice normal is closest to


def is_usable(affine: np.ndarray) -> bool:
    """Whether a (4, 4) affine is finite and invertible, so that it places voxels in space."""
    affine = np.asarray(affine, dtype=np.float64)
    if not np.isfinite(affine).all() or np.abs(affine).max() > 1e6:
        return False
    lengths = spacing_of(affine)
    return min(lengths) > 1e-6 and abs(np.linalg.det(affine[:3, :3])) > 1e-3 * np.prod(lengths)


def spacing_of(affine: np.ndarray) -> tuple[float, float, float]:
    """(slice, row, column) spacing in mm of an affine on (column, row, slice) indices."""
    column, row, plane = np.linalg.norm(affine[:3, :3], axis=0)
    return float(plane), float(row), float(column)


@dataclass(frozen=True, eq=False)
class Turn:
    """Flips and transpositions that bring a stored stack to the radiological convention.

    Attributes:
        shape: (Z, H, W) of the turned stack.
        affine: (4, 4) taking its (column, row, slice, 1) to RAS+ mm; every voxel keeps its place.
        directions: letters at the (left, right, top, bottom) edge of its slices.
        notes: sentences for the reader.
        orientation: (3, 2) nibabel orientation from stored to turned (column, row, slice).
    """

    shape: tuple[int, int, int]
    affine: np.ndarray
    directions: tuple[str, str, str, str]
    notes: tuple[str, ...]
    orientation: np.ndarray

    @property
    def reverses_slices(self) -> bool:
        """Whether the last stored slice is the first one shown."""
        return bool(self.orientation[2, 1] < 0)

    def stored_view(self, turned: np.ndarray) -> np.ndarray:
        """A view of a turned (Z, H, W) stack in the axes and order of the stored one.

        Writing stored slices through it turns them without a second copy of the volume.
        """
        back = np.empty((3, 2))
        for axis, (target, sign) in enumerate(self.orientation):
            back[int(target)] = axis, sign
        return apply_orientation(turned.transpose(2, 1, 0), back).transpose(2, 1, 0)


def turn_for_reading(affine: np.ndarray, shape: tuple[int, int, int]) -> Turn:
    """Choose the flips and transpositions for reading; no value is interpolated.

    Axial slices come out anterior up with the patient's right on the left, ordered foot to head;
    coronal ones superior up, right on the left; sagittal ones superior up, anterior on the left.
    Oblique slices keep their plane and are turned to the nearest of these.

    Args:
        affine: (4, 4) taking stored (column, row, slice, 1) to RAS+ mm; must be `is_usable`.
        shape: (Z, H, W) of the stored stack.
    """
    axes = io_orientation(affine)  # per array axis: nearest of x, y, z, and its sign
    normal_axis = int(axes[2, 0])
    vertical = 2 if normal_axis != 2 else 1
    orientation = np.empty((3, 2))
    for axis, (world, sign) in enumerate(axes):
        # Left and top are the positive ends (right, anterior, superior); slices run upwards.
        orientation[axis] = (
            (2, sign) if axis == 2 else (1, -sign) if world == vertical else (0, -sign)
        )
    sides = shape[::-1]
    turned = affine @ inv_ornt_aff(orientation, sides)
    right, bottom, _ = aff2axcodes(turned)
    sides = tuple(sides[int(axis)] for axis in np.argsort(orientation[:, 0]))
    return Turn(
        shape=sides[::-1],
        affine=turned,
        directions=(_OPPOSITE[right], right, _OPPOSITE[bottom], bottom),
        notes=_plane_notes(turned, normal_axis),
        orientation=orientation,
    )


def plane_of(affine: np.ndarray) -> str:
    """ "sagittal", "coronal" or "axial": the plane that the slices of an affine lie closest to."""
    return _PLANES[int(io_orientation(affine)[2, 0])]


def _plane_notes(affine: np.ndarray, normal_axis: int) -> tuple[str, ...]:
    """Say so when the slices are not axial, which is all that the models have learned."""
    if normal_axis != 2:
        return (f"The slices are {_PLANES[normal_axis]}; the models learned axial slices only.",)
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    tilt = np.degrees(np.arccos(min(1.0, abs(normal[2]) / np.linalg.norm(normal))))
    if tilt > MAX_AXIAL_TILT:
        return (f"The slices are tilted {tilt:.0f}° from axial; the models learned axial slices.",)
    return ()
