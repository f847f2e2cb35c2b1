"""The headers of NIfTI-1, NIfTI-2, Analyze 7.5 and FreeSurfer's MGH, none of them trusted.

nibabel parses them; what a header claims is checked here against the limits and the file's size.
"""

from __future__ import annotations

import gzip
import io
import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

import nibabel as nib
import numpy as np

from cyclegan.reading.archive import Member
from cyclegan.reading.formats import GZIP_MAGIC, half_of_pair, is_mgh
from cyclegan.reading.geometry import is_usable
from cyclegan.reading.volume import MAX_FILE_BYTES, ReadError, check_claimed_size

MAX_HEADER_BYTES = 16 * 2**20  # header and extensions before the voxels start
MGH_START = 284  # byte at which the voxels of an MGH file start
_DEFLATE_RATIO = 1032  # no deflate stream unpacks to more times its size (zlib's technical notes)
_TIME_UNITS = 0x38  # seconds, milliseconds, microseconds and units of frequency
_THICK = 1.5  # times as thick as a pixel is wide
_MILLIMETRES = {1: 1000.0, 3: 1e-3}  # metres and microns; other units are mm or missing
# Where each version keeps its magic, and what that is in a single file and in a pair.
_MAGICS = {348: (344, b"n+1\0", b"ni1\0"), 540: (4, b"n+2\0", b"ni2\0")}
_SILENT = logging.getLogger(f"{__name__}.silent")  # header repairs of nibabel's; not for our log
_SILENT.disabled = True


@dataclass(frozen=True, eq=False)
class Layout:
    """What a header says of the voxels, checked.

    Attributes:
        voxels: the file they are in, plain or gzip.
        start: byte of that file, unpacked, at which they start.
        dtype: of one voxel; a structured one for colours, which may be shades of grey.
        sides: (i, j, k) voxels of one volume.
        count: volumes, the product of the fourth and higher dimensions.
        scale: slope and intercept that turn stored into physical values.
        affine: (4, 4) taking (i, j, k, 1) to RAS+ mm; from spacing alone where `oriented` is False.
        oriented: whether the header places the voxels in the patient.
        intent: what the header calls the values (nifti1.h, intent_code); 0 where it says nothing.
    """

    voxels: bytes
    start: int
    dtype: np.dtype
    sides: tuple[int, int, int]
    count: int
    scale: tuple[float, float]
    affine: np.ndarray
    oriented: bool
    intent: int


def read_layout(member: Member) -> Layout:
    """Parse a header and check every claim in it against the limits and the size of the file.

    Args:
        member: the file, or the .hdr of a pair; plain or gzip.

    Raises:
        ReadError: the header cannot be believed, or its numbers are not grey values.
    """
    name, image = member.name, member.image
    header, least = _header(member.data)
    is_nifti = isinstance(header, nib.Nifti1Header)
    if not least and image is None and is_nifti and _holds_voxels(member.data, header, name):
        least = int(header["sizeof_hdr"])
    if not least and image is None:
        raise half_of_pair(name)
    voxels = member.data if least else image.data
    sides, count = _shape(header, name)
    start = int(header["vox_offset"]) or (header.single_vox_offset if least else 0)
    if not least <= start <= MAX_HEADER_BYTES:
        raise ReadError(f"{name}: the header puts the voxels at byte {start}; it is damaged.")
    dtype = header.get_data_dtype()
    needed = int(np.prod(sides)) * dtype.itemsize * count
    if needed > MAX_FILE_BYTES:
        raise ReadError(
            f"{name}: {count} volumes of {' x '.join(map(str, sides))} voxels are "
            f"{needed / 2**30:.1f} GiB, more than the {MAX_FILE_BYTES / 2**30:.0f} GiB that are "
            "read; save fewer volumes."
        )
    most = len(voxels) * (_DEFLATE_RATIO if voxels.startswith(GZIP_MAGIC) else 1)
    if most < start + needed:
        raise ReadError(
            f"{name}: the file ends early (the header promises {needed} bytes of voxels); copy it "
            "again."
        )
    affines = _placements(header)
    return Layout(
        voxels=voxels,
        start=start,
        dtype=dtype,
        sides=sides,
        count=count,
        scale=_linear(header),
        affine=affines[0] if affines else header.get_base_affine(),
        oriented=bool(affines),
        intent=int(header["intent_code"]) if is_nifti else 0,
    )


def unpacked(data: bytes) -> BinaryIO:
    """A file from its start, inflated on the way where it is gzip."""
    stream = io.BytesIO(data)
    return gzip.GzipFile(fileobj=stream) if data.startswith(GZIP_MAGIC) else stream


def _holds_voxels(data: bytes, header: nib.Nifti1Header, name: str) -> bool:
    """Whether a file that calls itself half of a pair holds the other half all the same."""
    shape, count = _shape(header, name)
    voxels = int(np.prod(shape)) * count * header.get_data_dtype().itemsize
    is_long_enough = len(data) >= header.single_vox_offset + voxels
    return is_long_enough and not data.startswith(GZIP_MAGIC)


def _header(data: bytes) -> tuple[nib.analyze.AnalyzeHeader, int]:
    """The fixed part of the header, repaired, and its length where the voxels follow in the same
    file, else 0.

    Extensions are never parsed.
    """
    with unpacked(data) as stream:
        block = stream.read(348)
        if is_mgh(block):
            return _mgh_header(block), MGH_START
        length = next(
            n for order in ("little", "big") if (n := int.from_bytes(block[:4], order)) < 2**16
        )
        block += stream.read(length - 348)
    start, single, pair = _MAGICS[length]
    magic = block[start : start + 4]
    kind = nib.Nifti1Header if length == 348 else nib.Nifti2Header
    if magic not in (single, pair) and length == 348:
        kind = nib.Spm99AnalyzeHeader  # Analyze with SPM's scale factor, absent where it is 0
    header = kind(block, check=False)
    _repair(header)
    _drop_leading_axes(header)
    return header, length if magic == single else 0


def _repair(header: nib.analyze.AnalyzeHeader) -> None:
    """Repair what has an obvious value, and make missing sides of voxels NaN."""
    missing, start = header["pixdim"][1:4] == 0, header["vox_offset"].copy()
    header.check_fix(logger=_SILENT, error_level=100)  # what cannot be believed is refused later
    if not start > 0:
        header["vox_offset"] = start
    flat = header["dim"][1:4] <= 1
    flat[max(0, int(header["dim"][0])) :] = True
    header["pixdim"][1:4][missing & ~flat] = np.nan


def _mgh_header(block: bytes) -> nib.Nifti1Header:
    """What a header of FreeSurfer's MGH says, in the words of NIfTI; its voxels are big-endian."""
    mgh = nib.freesurfer.mghformat.MGHHeader(block[: nib.freesurfer.mghformat.DATA_OFFSET])
    header = nib.Nifti1Header(endianness=">")
    sides = [int(side) for side in mgh["dims"]]
    header.set_data_shape(sides if sides[3] > 1 else sides[:3])
    header.set_data_dtype(mgh.get_data_dtype())
    header.set_xyzt_units("mm")
    header.set_sform(mgh.get_affine(), code=int(mgh["goodRASFlag"] == 1))
    header["pixdim"][1:4] = mgh["delta"]
    header["vox_offset"] = MGH_START
    return header


def _shape(header: nib.analyze.AnalyzeHeader, name: str) -> tuple[tuple[int, int, int], int]:
    """Three dimensions and the number of volumes, or a refusal."""
    shape = [int(side) for side in header.get_data_shape()]
    shape = [side if place < 3 else side or 1 for place, side in enumerate(shape)]
    if any(side < 1 for side in shape) or len(shape) < 2:
        raise ReadError(f"{name}: the header gives the dimensions {shape}, which hold no image.")
    try:
        dtype = header.get_data_dtype()
        usable = bool(dtype.names) or (dtype.kind in "iuf" and dtype.itemsize <= 8)
    except nib.spatialimages.HeaderDataError:
        usable = False
    if not usable:
        raise ReadError(
            f"{name}: the voxels are no real numbers (NIfTI data type {int(header['datatype'])}: "
            "complex, single bits or longer than 64 bits); save one grey, real-valued channel."
        )
    count = int(np.prod(shape[3:], dtype=object))
    shape = [*shape, 1, 1][:3]
    # Which side is the slice is not known yet: refuse by the total and by the largest plane.
    small, middle, large = sorted(shape)
    check_claimed_size(name, large, middle, small)
    return tuple(shape), count


def _drop_leading_axes(header: nib.analyze.AnalyzeHeader) -> None:
    """Take axes of one channel out that stand before those of the voxels, in place.

    Programs that learn write (1, i, j, k), and the affine is that of (i, j, k). A time series of a
    single thick slice across the first axis has the same shape, and a unit of time.
    """
    shape = [int(side) for side in header.get_data_shape()]
    leading = next((at for at, side in enumerate(shape) if side != 1), 0)
    rest = shape[leading:]
    while rest and rest[-1] == 1:
        rest.pop()
    if not leading or len(shape) < 4 or len(rest) < min(3, 4 - leading):
        return
    sides = header["pixdim"][1:].copy()
    units = int(header["xyzt_units"]) if isinstance(header, nib.Nifti1Header) else 0
    if units & _TIME_UNITS and sides[0] > _THICK * max(sides[1:3]):
        return
    header.set_data_shape(rest)
    shifted = sides[leading : leading + 3]
    of_all_axes = (sides[:leading] == 1).all() and not np.isin(shifted[-leading:], (0, 1)).all()
    if of_all_axes and not _placements(header):
        header["pixdim"][1:4] = shifted


def _placements(header: nib.analyze.AnalyzeHeader) -> list[np.ndarray]:
    """Usable affines in mm that a header gives, best first: sform, then qform (nifti1.h)."""
    affines = []
    if isinstance(header, nib.Nifti1Header):
        scale = _MILLIMETRES.get(int(header["xyzt_units"]) % 8, 1.0)
        for code, form in (("sform_code", header.get_sform), ("qform_code", header.get_qform)):
            with suppress(nib.spatialimages.HeaderDataError, ValueError):  # no quaternion
                affine = np.diag([scale, scale, scale, 1.0]) @ form()
                if header[code] > 0 and is_usable(affine):
                    affines.append(affine)
    return affines


def _linear(header: nib.analyze.AnalyzeHeader) -> tuple[float, float]:
    """Slope and intercept for stored values; a part that is no number counts as absent."""
    try:
        slope, intercept = header.get_slope_inter()
    except nib.spatialimages.HeaderDataError:  # an intercept that is not finite
        slope, intercept = float(header["scl_slope"]), 0.0
    return (1.0, 0.0) if slope is None else (float(slope), float(intercept or 0.0))
