"""Read NIfTI-1, NIfTI-2, Analyze 7.5 and FreeSurfer's MGH without trusting their headers.

The header is parsed by nibabel; the voxels are read here, plane by plane into the result, because
only so can a header's claims be checked first, a compressed file be stopped soon after what its
header accounts for, and memory stay at the result and one plane.
"""

from __future__ import annotations

import gzip
import io
import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

import nibabel as nib
import numpy as np

from cyclegan.reading.archive import Member
from cyclegan.reading.choice import Choice, ImageKind
from cyclegan.reading.deadline import check_time
from cyclegan.reading.formats import GZIP_MAGIC, half_of_pair, is_mgh
from cyclegan.reading.geometry import (
    OBLONG,
    Reorientation,
    is_usable,
    plane_of,
    reorient,
    slice_axis,
    spacing_of,
)
from cyclegan.reading.sequence_names import read_names
from cyclegan.reading.volume import (
    MAX_FILE_BYTES,
    ORIENTATION_UNKNOWN,
    ReadError,
    Volume,
    check_claimed_size,
    checked,
    damage_refused,
    grey,
)

MAX_HEADER_BYTES = 16 * 2**20  # header and extensions before the voxels start
MAX_TAIL_BYTES = 64 * 2**20  # unpacked behind the voxels in search of gzip's checksum
MGH_START = 284  # byte at which the voxels of an MGH file start
_DEFLATE_RATIO = 1032  # no deflate stream unpacks to more times its size (zlib's technical notes)
_TIME_UNITS = 0x38  # seconds, milliseconds, microseconds and units of frequency
_THICK = 1.5  # times as thick as a pixel is wide
_INTENT_LABEL = 1002  # nifti1.h; 2 to 24 are statistics
_INTENTS_OF_STATISTICS = range(2, 25)
_MILLIMETRES = {1: 1000.0, 3: 1e-3}  # metres and microns; other units are mm or missing
# Where each version keeps its magic, and what that is in a single file and in a pair.
_MAGICS = {348: (344, b"n+1\0", b"ni1\0"), 540: (4, b"n+2\0", b"ni2\0")}
_SILENT = logging.getLogger(f"{__name__}.silent")  # header repairs of nibabel's; not for our log
_SILENT.disabled = True


@dataclass(frozen=True, eq=False)
class Layout:
    """What a header says of the voxels, checked.

    Attributes:
        header: nibabel's, repaired.
        voxels: the file they are in, plain or gzip.
        shape: (i, j, k) of one volume.
        count: volumes, the product of the fourth and higher dimensions.
        start: byte of the (unpacked) image file at which the voxels start.
        axes: which of (i, j, k) run across the slices, down and along a slice.
    """

    header: nib.analyze.AnalyzeHeader
    voxels: bytes
    shape: tuple[int, int, int]
    count: int
    start: int
    axes: tuple[int, int, int]

    @property
    def coloured(self) -> bool:
        """Whether voxels are colours, which may be shades of grey."""
        return bool(self.header.get_data_dtype().names)

    @property
    def slices(self) -> tuple[int, int, int]:
        """(Z, H, W) before the slices are turned."""
        return tuple(self.shape[axis] for axis in self.axes)

    @property
    def intent(self) -> int:
        """What the header calls the values (nifti1.h, intent_code); 0 where it says nothing."""
        return int(self.header["intent_code"]) if isinstance(self.header, nib.Nifti1Header) else 0

    @property
    def affine(self) -> np.ndarray:
        """(4, 4) taking (i, j, k, 1) to RAS+ mm; from spacing alone where `oriented` is False."""
        return next(iter(_placements(self.header)), self.header.get_base_affine())

    @property
    def oriented(self) -> bool:
        """Whether the header places the voxels in the patient."""
        return bool(_placements(self.header))


def choices(member: Member, image: Member | None = None, *, alone: bool = False) -> list[Choice]:
    """One choice for each volume with content of a NIfTI, Analyze or MGH file.

    Args:
        member: the file, or the .hdr of a pair; plain or gzip.
        image: the .img of the pair.
        alone: whether nothing else came with the file.

    Raises:
        ReadError: the header cannot be believed, the file is damaged, or none of its volumes has
            content.
    """
    layout = read_layout(member, image)
    indices = [0]
    if layout.count > 1 or layout.coloured:
        indices = _volumes_with_content(member.name, layout)
    if not indices:
        raise ReadError(f"{member.name}: none of its {layout.count} volumes has content.")
    names = read_names(member.names)
    is_statistics = layout.intent in _INTENTS_OF_STATISTICS
    foreign = f"it is a statistical map (intent code {layout.intent})" if is_statistics else ""
    is_labels = layout.intent == _INTENT_LABEL or names.is_label_map
    empty = layout.count - len(indices)
    note = f"{member.name}: {empty} of its {layout.count} volumes are empty." if empty else ""

    def choice(index: int) -> Choice:
        def load() -> Volume:
            with damage_refused(member.name, "NIfTI"):
                return checked(_read(member.name, layout, index))

        planes = partial(_planes, member.name, layout, range(index, index + 1))
        kind = ImageKind(names.rank, foreign, is_named_labels=is_labels, planes=planes)
        number = f", volume {index + 1} of {layout.count}" if layout.count > 1 else ""
        return Choice(f"{member.name}{number}", layout.slices, load, kind=kind, note=note)

    return [choice(index) for index in indices]


def _read(name: str, layout: Layout, index: int) -> Volume:
    """One volume as slices of the closest canonical axes.

    Volumes are cut axially whatever plane they were scanned in; what is a volume, and what keeps
    its plane, `geometry.slice_axis` says.
    """
    affine = layout.affine
    usable, oriented = is_usable(affine), layout.oriented
    if not usable:
        affine = np.eye(4)
    plane, row, column = layout.axes
    reorientation = reorient(affine[:, [column, row, plane, 3]], layout.slices)
    pixels = np.empty(reorientation.shape, dtype=np.float32)
    stored = reorientation.stored_view(pixels).transpose(np.argsort(layout.axes))
    for k, values in enumerate(_planes(name, layout, range(index, index + 1))):
        stored[:, :, k] = values
    cut_notes = _cut_notes(reorientation)
    return Volume(
        pixels=pixels,
        spacing=spacing_of(reorientation.affine) if usable else None,
        affine=reorientation.affine,
        directions=reorientation.directions if oriented else None,
        name=name,
        notes=(*reorientation.notes, *cut_notes) if oriented else (ORIENTATION_UNKNOWN,),
        stored_affine=affine,
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


def read_layout(member: Member, image: Member | None = None) -> Layout:
    """Parse a header and check every claim in it against the limits and the size of the file.

    Args:
        member, image: as for `choices`.

    Raises:
        ReadError: the header cannot be believed, or its numbers are not grey values.
    """
    name = member.name
    header, single = _header(member.data)
    if not single and image is None and isinstance(header, nib.Nifti1Header):
        single = _holds_voxels(member.data, header, name)
    if not single and image is None:
        raise half_of_pair(name)
    voxels = member.data if single else image.data
    shape, count = _shape(header, name)
    least = int(header["sizeof_hdr"]) if single else 0
    start = int(header["vox_offset"]) or (header.single_vox_offset if single else 0)
    if isinstance(header, _MghAsNifti):
        least = start = MGH_START
    if not least <= start <= MAX_HEADER_BYTES:
        raise ReadError(f"{name}: the header puts the voxels at byte {start}; it is damaged.")
    needed = int(np.prod(shape)) * header.get_data_dtype().itemsize * count
    if needed > MAX_FILE_BYTES:
        raise ReadError(
            f"{name}: {count} volumes of {' x '.join(map(str, shape))} voxels are "
            f"{needed / 2**30:.1f} GiB, more than the {MAX_FILE_BYTES / 2**30:.0f} GiB that are "
            "read; save fewer volumes."
        )
    most = len(voxels) * (_DEFLATE_RATIO if voxels.startswith(GZIP_MAGIC) else 1)
    if most < start + needed:
        raise ReadError(
            f"{name}: the file ends early (the header promises {needed} bytes of voxels); copy it "
            "again."
        )
    plane = slice_axis(next(iter(_placements(header)), np.eye(4)), shape)
    column, row = (axis for axis in range(3) if axis != plane)
    return Layout(header, voxels, shape, count, start, (plane, row, column))


def _holds_voxels(data: bytes, header: nib.Nifti1Header, name: str) -> bool:
    """Whether a file that calls itself half of a pair holds the other half all the same."""
    shape, count = _shape(header, name)
    voxels = int(np.prod(shape)) * count * header.get_data_dtype().itemsize
    is_long_enough = len(data) >= header.single_vox_offset + voxels
    return is_long_enough and not data.startswith(GZIP_MAGIC)


def _volumes_with_content(name: str, layout: Layout) -> list[int]:
    """Which volumes of a file hold more than one finite value, in one pass over the file.

    Raises:
        ReadError: the file is damaged, or in colours that are more than shades of grey.
    """
    ranges = np.tile([np.inf, -np.inf], (layout.count, 1))
    planes = _planes(name, layout, range(layout.count))
    for number, values in enumerate(planes):
        low_high = ranges[number // layout.shape[2]]
        if low_high[0] >= low_high[1]:
            finite = values[np.isfinite(values)]
            if finite.size:
                low_high[:] = min(low_high[0], finite.min()), max(low_high[1], finite.max())
    return [int(index) for index in np.flatnonzero(ranges[:, 0] < ranges[:, 1])]


def _unpacked(data: bytes) -> BinaryIO:
    """A file from its start, inflated on the way where it is gzip."""
    stream = io.BytesIO(data)
    return gzip.GzipFile(fileobj=stream) if data.startswith(GZIP_MAGIC) else stream


def _header(data: bytes) -> tuple[nib.analyze.AnalyzeHeader, bool]:
    """The fixed part of the header, repaired, and whether the voxels follow in the same file.

    Extensions are never parsed.
    """
    with _unpacked(data) as unpacked:
        block = unpacked.read(348)
        if is_mgh(block):
            return _mgh_header(block), True
        length = next(
            n for order in ("little", "big") if (n := int.from_bytes(block[:4], order)) < 2**16
        )
        block += unpacked.read(length - 348)
    start, single, pair = _MAGICS[length]
    magic = block[start : start + 4]
    kind = nib.Nifti1Header if length == 348 else nib.Nifti2Header
    if magic not in (single, pair) and length == 348:
        kind = nib.Spm99AnalyzeHeader  # Analyze with SPM's scale factor, absent where it is 0
    header = kind(block, check=False)
    _repair(header)
    _drop_leading_axes(header)
    return header, magic == single


def _repair(header: nib.analyze.AnalyzeHeader) -> None:
    """Repair what has an obvious value, and make missing sides of voxels NaN."""
    missing, start = header["pixdim"][1:4] == 0, header["vox_offset"].copy()
    header.check_fix(logger=_SILENT, error_level=100)  # what cannot be believed is refused later
    if not start > 0:
        header["vox_offset"] = start
    flat = header["dim"][1:4] <= 1
    flat[max(0, int(header["dim"][0])) :] = True
    header["pixdim"][1:4][missing & ~flat] = np.nan


class _MghAsNifti(nib.Nifti1Header):
    """What an MGH header says, in the words of a NIfTI header."""


def _mgh_header(block: bytes) -> _MghAsNifti:
    """FreeSurfer's MGH: voxels as NIfTI has them, big-endian, from byte `MGH_START`."""
    mgh = nib.freesurfer.mghformat.MGHHeader(block[: nib.freesurfer.mghformat.DATA_OFFSET])
    header = _MghAsNifti(endianness=">")
    sides = [int(side) for side in mgh["dims"]]
    header.set_data_shape(sides if sides[3] > 1 else sides[:3])
    header.set_data_dtype(mgh.get_data_dtype())
    header.set_xyzt_units("mm")
    header.set_sform(mgh.get_affine(), code=int(mgh["goodRASFlag"] == 1))
    header["pixdim"][1:4] = mgh["delta"]
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


def _planes(name: str, layout: Layout, volumes: range) -> Iterator[np.ndarray]:
    """Yield the planes (i, j) of volumes in physical values; read to the end behind the last."""
    header, (height, width, depth) = layout.header, layout.shape
    dtype = header.get_data_dtype()
    slope, intercept = _linear(header)
    plane_bytes = height * width * dtype.itemsize
    with _unpacked(layout.voxels) as unpacked, np.errstate(over="ignore", invalid="ignore"):
        unpacked.seek(layout.start + volumes.start * depth * plane_bytes)
        for number in range(len(volumes) * depth):
            check_time()
            data = unpacked.read(plane_bytes)
            if len(data) < plane_bytes:
                raise ReadError(
                    f"{name}: the file ends early, after {number} of {len(volumes) * depth} "
                    "planes; copy it again."
                )
            stored = np.frombuffer(data, dtype=dtype).reshape((height, width), order="F")
            if dtype.names:  # red, green, blue and perhaps opacity
                stored = grey(np.stack([stored[part] for part in dtype.names], axis=-1), name)
            plain = (slope, intercept) == (1.0, 0.0)
            yield stored if plain else stored.astype(np.float64) * slope + intercept
        try:  # gzip verifies its checksum at the very end
            for _ in range(MAX_TAIL_BYTES // 2**20):
                if not unpacked.read(2**20):
                    break
        except gzip.BadGzipFile as error:
            if not str(error).startswith("Not a gzipped"):  # what a transfer left behind it
                raise
