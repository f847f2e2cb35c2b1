"""Read NIfTI-1 and NIfTI-2 single files (.nii, .nii.gz) without trusting their headers.

The header is parsed by nibabel; the bytes are read here, because only so can a header's claims
be checked first and a compressed file be stopped soon after what its header accounts for.
"""

from __future__ import annotations

import gzip
import logging
from pathlib import Path
from typing import BinaryIO

import nibabel as nib
import numpy as np
from nibabel.orientations import io_orientation

from .geometry import is_usable, spacing_of, turn_for_reading
from .volume import MIN_SIDE, ORIENTATION_UNKNOWN, ReadError, Volume, check_claimed_size

MAX_HEADER_BYTES = 16 * 2**20  # header and extensions before the voxels start
MAX_TAIL_BYTES = 64 * 2**20  # unpacked behind the voxels in search of gzip's checksum
_MAGICS = {348: (344, b"n+1\0"), 540: (4, b"n+2\0")}
_SILENT = logging.getLogger(f"{__name__}.silent")  # header repairs of nibabel's; not for our log
_SILENT.disabled = True


def read(path: Path) -> Volume:
    """Read a NIfTI file as axial slices of the closest canonical axes.

    Axial slices are cut from the stack whatever plane it was scanned in, unless that would leave
    a side below `MIN_SIDE`; then slices are shown in the plane the file stores them in.
    """
    name = path.name
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        with gzip.GzipFile(fileobj=raw) if packed else raw as stream:
            header = _header(stream, name)
            shape = _shape(header, name)
            stored = _voxels(stream, header, shape, name)

    affine = header.get_best_affine().astype(np.float64)
    notes: tuple[str, ...] = ()
    oriented = is_usable(affine) and bool(header["qform_code"] > 0 or header["sform_code"] > 0)
    if not is_usable(affine):
        affine = np.eye(4)
    slice_axis = _slice_axis(shape, io_orientation(affine))
    column_axis, row_axis = (axis for axis in range(3) if axis != slice_axis)
    order = [column_axis, row_axis, slice_axis]
    check_claimed_size(name, shape[row_axis], shape[column_axis], shape[slice_axis])
    pixels = _scaled(stored.transpose(slice_axis, row_axis, column_axis), header)
    pixels, turned, directions, plane_notes = turn_for_reading(pixels, affine[:, [*order, 3]])
    spacing = spacing_of(turned)
    if oriented:
        notes += plane_notes
        if max(spacing[1:]) > 2 * min(spacing[1:]):
            notes += (
                "The stack was scanned in another plane; axial cuts through it are coarse "
                f"({spacing[1]:.1f} x {spacing[2]:.1f} mm).",
            )
    else:
        notes += (ORIENTATION_UNKNOWN,)
    return Volume(
        pixels=pixels,
        spacing=spacing if is_usable(header.get_best_affine()) else None,
        affine=turned,
        directions=directions if oriented else None,
        window=None,
        contrast_hint=None,
        name=name,
        notes=notes,
        stored_affine=affine,
    )


def _header(stream: BinaryIO, name: str) -> nib.Nifti1Header:
    """Parse and repair the fixed part of the header; extensions are never looked at."""
    block = stream.read(348)
    length = next(
        n for order in ("little", "big") if (n := int.from_bytes(block[:4], order)) < 2**16
    )
    block += stream.read(length - 348)
    start, magic = _MAGICS[length]
    found = block[start : start + 4]
    if found != magic:
        raise ReadError(
            f"{name}: this is half of an Analyze or NIfTI .hdr/.img pair; convert the pair to one "
            ".nii or .nii.gz file."
        )
    kind = nib.Nifti1Header if length == 348 else nib.Nifti2Header
    header = kind(block, check=False)
    header.check_fix(logger=_SILENT, error_level=40)
    return header


def _shape(header: nib.Nifti1Header, name: str) -> tuple[int, int, int]:
    """Three dimensions, or a refusal."""
    shape = [int(side) for side in header.get_data_shape()]
    if any(side < 1 for side in shape) or len(shape) < 2:
        raise ReadError(f"{name}: the header gives the dimensions {shape}, which hold no image.")
    if any(side > 1 for side in shape[3:]):
        raise ReadError(
            f"{name}: the file holds {int(np.prod(shape[3:], dtype=object))} volumes (dimensions "
            f"{' x '.join(map(str, shape))}); save one of them as a 3-D file."
        )
    dtype = header.get_data_dtype()
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise ReadError(
            f"{name}: the voxels are colour or complex numbers (NIfTI data type "
            f"{int(header['datatype'])}); save one grey, real-valued channel."
        )
    shape = [*shape, 1, 1][:3]
    # Which side is the slice is not known yet: refuse by the total and by the largest plane.
    small, middle, large = sorted(shape)
    check_claimed_size(name, large, middle, small)
    return tuple(shape)


def _voxels(
    stream: BinaryIO, header: nib.Nifti1Header, shape: tuple[int, int, int], name: str
) -> np.ndarray:
    """The stored values, (i, j, k), unpacked no further than the header accounts for."""
    dtype = header.get_data_dtype()
    offset = int(header["vox_offset"]) or header.single_vox_offset
    if not int(header["sizeof_hdr"]) <= offset <= MAX_HEADER_BYTES:
        raise ReadError(f"{name}: the header puts the voxels at byte {offset}; it is damaged.")
    wanted = int(np.prod(shape)) * dtype.itemsize
    stream.read(offset - stream.tell())
    data = stream.read(wanted)
    if len(data) < wanted:
        raise ReadError(
            f"{name}: the file ends early ({len(data)} of {wanted} bytes of voxels); copy it again."
        )
    for _ in range(MAX_TAIL_BYTES // 2**20):  # gzip verifies its checksum at the very end
        if not stream.read(2**20):
            break
    return np.frombuffer(data, dtype=dtype).reshape(shape, order="F")


def _slice_axis(shape: tuple[int, int, int], orientation: np.ndarray) -> int:
    """The voxel axis to leaf through: foot to head, or the shortest if that leaves a sliver."""
    axial = int(np.flatnonzero(orientation[:, 0] == 2)[0])
    if min(side for axis, side in enumerate(shape) if axis != axial) >= MIN_SIDE:
        return axial
    return int(np.argmin(shape))


def _scaled(stored: np.ndarray, header: nib.Nifti1Header) -> np.ndarray:
    """float32 physical values of a (Z, H, W) view, slice by slice to keep memory at one copy."""
    slope, intercept = header.get_slope_inter()
    slope, intercept = (1.0, 0.0) if slope is None else (float(slope), float(intercept))
    pixels = np.empty(stored.shape, dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for index, plane in enumerate(stored):
            pixels[index] = plane.astype(np.float64) * slope + intercept
    return pixels
