"""How slices lie in the patient, and how they are reoriented for reading.

Positions are RAS+ millimetres throughout: x grows to the patient's right, y to anterior, z to
superior (NIfTI's convention; DICOM's LPS+ is converted where it is read).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from nibabel.orientations import (
    aff2axcodes,
    apply_orientation,
    axcodes2ornt,
    inv_ornt_aff,
    io_orientation,
    ornt_transform,
)

from cyclegan.reading.volume import ORIENTATION_UNKNOWN, Volume

MAX_AXIAL_TILT = 30.0  # degrees; planes along the canthomeatal or AC-PC line stay below this
# What makes a stack a volume that can be cut across its slices; see `slice_axis`.
THIN = 2.0  # mm; three-dimensional scans have thinner slices, two-dimensional ones thicker
OBLONG = 2.0  # longer over shorter side of a voxel in the cut; at 3 x 6 mm a head is still one
WIDE = 32  # voxels across the cut that always suffice
FEWEST, NARROWEST = 8, 30.0  # voxels and mm that do, too; below the cut shows a strip of a head
GAPLESS = 1.1  # distance of slices over their thickness; scanners round both

_OPPOSITE = dict(zip("RLAPSI", "LRPAIS", strict=True))
_SHOWN = ("PIR", "LIA", "LPS")  # where columns, rows and slices go, by plane as below
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
class Reorientation:
    """Flips and transpositions that bring a stored stack to the radiological convention.

    Attributes:
        shape: (Z, H, W) of the turned stack.
        affine: (4, 4) taking its (column, row, slice, 1) to RAS+ mm; every voxel keeps its place.
        directions: letters at the (left, right, top, bottom) edge of its slices.
        notes: sentences for the user.
        orientation: (3, 2) nibabel orientation from stored to turned (column, row, slice).
    """

    shape: tuple[int, int, int]
    affine: np.ndarray
    directions: tuple[str, str, str, str]
    notes: tuple[str, ...]
    orientation: np.ndarray

    @property
    def reverses_slices(self) -> bool:
        """Whether the stored slices are the shown ones, the last one first."""
        return tuple(self.orientation[2]) == (2, -1)

    def stored_view(self, turned: np.ndarray) -> np.ndarray:
        """A view of a turned (Z, H, W) stack in the axes and order of the stored one.

        Writing stored slices through it turns them without a second copy of the volume.
        """
        back = ornt_transform([[0, 1], [1, 1], [2, 1]], self.orientation)
        return apply_orientation(turned.transpose(2, 1, 0), back).transpose(2, 1, 0)


def slice_axis(
    affine: np.ndarray,
    sides: tuple[int, int, int],
    *,
    acquired: int | None = None,
    thickness: float | None = None,
) -> int:
    """Which array axis the shown slices lie along: foot to head where the stack is a volume.

    The models know axial slices only, so a volume is cut axially whatever plane it was scanned
    in. A stack is a volume when slices across its own show anatomy: its voxels there are at most
    `THIN` mm long or at most `OBLONG` times as long as wide, there is no gap between the scanned
    slices as far as the file says, and the cut is at least `WIDE` voxels wide, or `FEWEST` voxels
    and `NARROWEST` mm.
    Every other stack keeps the plane it was scanned in.

    Args:
        affine: (4, 4) taking array indices to RAS+ mm; must be `is_usable`.
        sides: voxels along each array axis.
        acquired: the axis across the slices as they were scanned; None where the file does not
            say: then the shortest one of a few slices, else the one with the longest voxels.
        thickness: of a scanned slice in mm, where the file says it.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    axial = int(np.flatnonzero(io_orientation(affine)[:, 0] == 2)[0])
    across = [axis for axis in range(3) if axis != axial]
    fine, coarse = sorted(spacing[across])
    thin = coarse <= max(THIN, OBLONG * fine) * (1 + 1e-3)
    wide = all(
        sides[axis] >= WIDE or (sides[axis] >= FEWEST and sides[axis] * spacing[axis] >= NARROWEST)
        for axis in across
    )
    gapless = acquired is None or not thickness or spacing[acquired] <= GAPLESS * thickness
    if axial == acquired or (thin and wide and gapless):
        return axial
    if acquired is not None:
        return acquired
    return int(np.argmin(sides) if min(sides) < FEWEST or not wide else np.argmax(spacing))


def reorient(affine: np.ndarray, shape: tuple[int, int, int], slice_axis: int = 2) -> Reorientation:
    """Choose the flips and transpositions for reading; no value is interpolated.

    Axial slices come out anterior up with the patient's right on the left, ordered foot to head;
    coronal ones superior up, right on the left; sagittal ones superior up, anterior on the left.
    Oblique slices keep their plane and are turned to the nearest of these.

    Args:
        affine: (4, 4) taking stored (column, row, slice, 1) to RAS+ mm; must be `is_usable`.
        shape: (Z, H, W) of the stored stack.
        slice_axis: which stored axis (column, row, slice) becomes the slices, as the function says.
    """
    axes = io_orientation(affine)  # per array axis: nearest of x, y, z, and its sign
    normal_axis = int(axes[slice_axis, 0])
    orientation = ornt_transform(axes, axcodes2ornt(_SHOWN[normal_axis]))
    sides = shape[::-1]
    turned = affine @ inv_ornt_aff(orientation, sides)
    right, bottom, _ = aff2axcodes(turned)
    sides = tuple(sides[int(axis)] for axis in np.argsort(orientation[:, 0]))
    return Reorientation(
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


def volume_reorientation(
    affine: np.ndarray, sides: tuple[int, int, int], oriented: bool = True
) -> Reorientation:
    """How a volume of voxels (i, j, k) is shown: as slices of the closest canonical axes, cut
    axially whatever plane it was scanned in, where `slice_axis` says that it is a volume.

    Args:
        affine, sides, oriented: as for `placed_volume`.
    """
    axis = slice_axis(affine if oriented else np.eye(4), sides)
    return reorient(affine if is_usable(affine) else np.eye(4), sides[::-1], axis)


def placed_volume(
    name: str,
    planes: Iterable[np.ndarray],
    affine: np.ndarray,
    sides: tuple[int, int, int],
    oriented: bool = True,
) -> Volume:
    """A volume of voxels (i, j, k), turned by `volume_reorientation`.

    Args:
        name: of the file.
        planes: the values at each k, (i, j).
        affine: (4, 4) taking (i, j, k, 1) to RAS+ mm; where it is not `is_usable`, no size is
            known.
        sides: voxels along i, j and k.
        oriented: whether the file says how the voxels lie in the patient; if not, the affine gives
            their sizes only.
    """
    reorientation, usable = volume_reorientation(affine, sides, oriented), is_usable(affine)
    pixels = np.empty(reorientation.shape, dtype=np.float32)
    for stored, values in zip(reorientation.stored_view(pixels), planes, strict=True):
        stored[:] = values.T
    notes = (*reorientation.notes, *_cut_notes(reorientation))
    return Volume(
        pixels=pixels,
        spacing=spacing_of(reorientation.affine) if usable else None,
        affine=reorientation.affine,
        directions=reorientation.directions if oriented else None,
        name=name,
        notes=notes if oriented else (ORIENTATION_UNKNOWN,),
        stored_affine=affine if usable else np.eye(4),
    )


def _cut_notes(reorientation: Reorientation) -> tuple[str, ...]:
    """Say where axial cuts are coarse, or would be and are therefore not made."""
    between, row, column = spacing_of(reorientation.affine)
    scanned = "The stack was scanned in another plane; axial cuts through it"
    if plane_of(reorientation.affine) != "axial":
        thick = reorientation.shape[0] > 1 and between > OBLONG * min(row, column)
        return (f"{scanned} would be coarse ({between:.1f} mm), so it keeps its own.",) * thick
    coarse = max(row, column) > OBLONG * min(row, column)
    return (f"{scanned} are coarse ({row:.1f} x {column:.1f} mm).",) * coarse
