"""One way in: any supported image file becomes a `Volume`, anything else a `ReadError`.

The content of a file decides what it is, never its name. Sizes that a header claims are checked
against the caps below before anything is decoded or allocated. Reading writes nothing to disk.
"""

from __future__ import annotations

import contextlib
import glob
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

if TYPE_CHECKING:
    import pydicom

MAX_FILE_BYTES = 2**30
MAX_PIXELS = 64 * 2**20  # per slice: 8192 x 8192, far above any MR matrix
MAX_VOXELS = 512**3  # half a gigabyte once in float32
MIN_SIDE = 32  # pixels; below this no anatomy can be told

ZIP_MAGIC = b"PK\x03\x04"
SUPPORTED = "DICOM, NIfTI (.nii, .nii.gz), PNG, JPEG, TIFF or BMP"
ORIENTATION_UNKNOWN = "The file does not say how the slice lies: orientation unknown."

# What a file of a given kind is called in messages, and the module of this package that reads it.
_READERS = {
    "DICOM": "dicom",
    "NIfTI": "nifti",
    "PNG": "raster",
    "JPEG": "raster",
    "BMP": "raster",
    "TIFF": "tiff",
}


class ReadError(ValueError):
    """A file cannot be read as an MR image; the message is a sentence for who sent it."""


@dataclass(frozen=True, eq=False)
class DicomSource:
    """What a derived DICOM object must say about the objects that it was made from.

    Attributes:
        common: attributes of the first source object, without pixels, per-frame groups,
            private and overlay groups. It still identifies the patient.
        instances: (SOP class UID, SOP instance UID, frame number from 1 or None for an object of
            one frame) of each slice, in the order of axis 0 of `Volume.pixels`.
    """

    common: pydicom.Dataset
    instances: tuple[tuple[str, str, int | None], ...]


@dataclass(frozen=True, eq=False)
class Volume:
    """A stack of slices as they are shown, and where they lie in the patient.

    Attributes:
        pixels: (Z, H, W) float32, C-contiguous, finite, in the file's physical values (after
            rescale slope and intercept). Where the file tells how the slices lie, axial slices
            are anterior up with the patient's right on the left, ordered from foot to head.
        spacing: (slice, row, column) distance between pixel centres in mm, or None.
        affine: (4, 4) float64 taking (column, row, slice, 1) indices of `pixels` to RAS+ mm
            (x to the patient's right, y anterior, z superior), or None.
        directions: patient direction at the (left, right, top, bottom) edge of the shown slice,
            letters out of R L A P S I, or None when the file does not tell.
        window: (center, width) in the values of `pixels` as the file suggests it, or None.
        contrast_hint: "T1" or "T2" as the header suggests it, or None. A hint, not the truth.
        name: file name without folders.
        notes: plain sentences that a reader of the image should know.
        stored_affine: (4, 4) float64 like `affine`, for the axes in the order the file stores
            them, or None. `inv(stored_affine) @ affine` is the signed permutation back to the
            file's own grid.
        dicom: what a derived DICOM object needs of its source, or None for other files.
    """

    pixels: np.ndarray
    spacing: tuple[float, float, float] | None
    affine: np.ndarray | None
    directions: tuple[str, str, str, str] | None
    window: tuple[float, float] | None
    contrast_hint: str | None
    name: str
    notes: tuple[str, ...] = ()
    stored_affine: np.ndarray | None = None
    dicom: DicomSource | None = None


def read_volume(path: str | os.PathLike[str]) -> Volume:
    """Read a DICOM, NIfTI, Analyze, PNG, JPEG, TIFF or BMP file into a `Volume`.

    The other half of an .hdr/.img pair is looked for beside the one that is named. A zip archive
    is read if it holds one volume or series; `series.open_files` offers a choice of several.

    Raises:
        ReadError: the file is missing, is none of these, is damaged, holds colour, is constant,
            smaller than `MIN_SIDE` or larger than the caps of this module, or holds several
            volumes. No other exception leaves this function.
    """
    path = Path(path)
    head = file_head(path)
    if head[:4] != ZIP_MAGIC:
        header, image = _pair(path, head)
        try:
            with header.open("rb") as stream, (image or header).open("rb") as pixels:
                return decoded(stream, path.name, image=pixels if image else None)
        except OSError as error:
            raise ReadError(f"{path.name}: it cannot be opened ({error.strerror}).") from error
    from cyclegan.series import open_files

    selection = open_files([path])
    if len(selection.choices) > 1:
        raise ReadError(
            f"{path.name}: the archive holds {len(selection.choices)} images or series "
            f"({'; '.join(selection.choices[:3])}{' ...' * (len(selection.choices) > 3)}); "
            "unpack it and choose one."
        )
    return replace(selection.read(0), name=path.name)


def file_head(path: Path) -> bytes:
    """The first kilobyte of a file of acceptable size.

    Raises:
        ReadError: the file is missing, empty, larger than `MAX_FILE_BYTES` or cannot be opened.
    """
    try:
        if not path.is_file():
            raise ReadError(f"{path.name}: there is no such file; choose a {SUPPORTED} file.")
        size = path.stat().st_size
        with path.open("rb") as stream:
            head = stream.read(1024)
    except OSError as error:
        raise ReadError(f"{path.name}: the file cannot be opened ({error.strerror}).") from error
    if size == 0:
        raise ReadError(f"{path.name}: the file is empty; choose a {SUPPORTED} file.")
    if size > MAX_FILE_BYTES:
        raise ReadError(
            f"{path.name}: the file has {size / 2**20:.0f} MiB; "
            f"up to {MAX_FILE_BYTES / 2**20:.0f} MiB are read."
        )
    return head


def decoded(stream: BinaryIO, name: str, *, image: BinaryIO | None = None, **which) -> Volume:
    """Read one volume from a seekable stream.

    Args:
        stream: at its start; the .hdr where the file is half of a pair.
        name: file name for messages and for the volume.
        image: the .img of a pair.
        which: what of the file is wanted, as the reader of its kind takes it.

    Raises:
        ReadError: as for `read_volume`.
    """
    kind = file_kind(stream.read(1024), name)
    stream.seek(0)
    if kind == "NIfTI" and image is not None:
        which["image"] = image
    with damage_refused(name, kind):
        reader = import_module(f"{__package__}.reading.{_READERS[kind]}")
        return checked(reader.read(stream, name, **which))


@contextlib.contextmanager
def damage_refused(name: str, kind: str) -> Iterator[None]:
    """Turn what decoders raise on damaged bytes, which is anything at all, into a `ReadError`."""
    try:
        yield
    except ReadError:
        raise
    except Exception as error:
        raise ReadError(
            f"{name}: the {kind} file is damaged or truncated and cannot be decoded; "
            "export or copy it again."
        ) from error


def parts(path: Path) -> tuple[Path, ...]:
    """The files that `read_volume(path)` decodes: both halves of an .hdr/.img pair, else the one.

    Raises:
        ReadError: a file with one of these two extensions is missing or cannot be opened.
    """
    if split_name(path.name)[1] not in (".hdr", ".img"):
        return (path,)
    header, image = _pair(path, file_head(path))
    return (header, image) if image else (path,)


def _pair(path: Path, head: bytes) -> tuple[Path, Path | None]:
    """The header and the image of a pair as far as they lie side by side, else (path, None)."""
    stem, suffix = split_name(path.name)
    wanted = {".hdr": ".img", ".img": ".hdr"}.get(suffix)
    if wanted is None or (suffix == ".img" and is_nifti(head)):
        return path, None
    for other in sorted(path.parent.glob(f"{glob.escape(stem)}.*")):
        if split_name(other.name) == (stem, wanted):
            return (path, other) if suffix == ".hdr" else (other, path)
    return path, None


def split_name(name: str) -> tuple[str, str]:
    """Stem and lower-case extension of a file name, a .gz behind them left out."""
    path = Path(name)
    if path.suffix.lower() == ".gz":
        path = path.with_suffix("")
    return path.stem, path.suffix.lower()


def check_claimed_size(name: str, rows: int, columns: int, slices: int = 1) -> None:
    """Refuse sizes outside `MIN_SIDE`, `MAX_PIXELS` and `MAX_VOXELS`; call before decoding.

    Args:
        name: file name for the message.
        rows, columns, slices: what the file's header claims.

    Raises:
        ReadError: the size is outside the limits.
    """
    shape = f"{columns} x {rows}" + (f" x {slices}" if slices != 1 else "")
    if min(rows, columns) < MIN_SIDE or slices < 1:
        raise ReadError(
            f"{name}: {shape} pixels are too few for a brain slice; "
            f"at least {MIN_SIDE} x {MIN_SIDE} are needed."
        )
    if rows * columns > MAX_PIXELS or rows * columns * slices > MAX_VOXELS:
        raise ReadError(
            f"{name}: {shape} pixels are more than an MR image has; up to "
            f"{MAX_PIXELS / 2**20:.0f} million per slice and {MAX_VOXELS / 2**20:.0f} million "
            "per file are read."
        )


def file_kind(head: bytes, name: str) -> str:
    """Tell the kind of a file from its first kilobyte: "DICOM", "NIfTI", "PNG", "JPEG", ...

    Raises:
        ReadError: the file is of no kind that can be read.
    """
    if head[128:132] == b"DICM":  # first: the preamble before it may pose as TIFF (PS3.10 7.1)
        return "DICOM"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if is_nifti(head):
        return "NIfTI"
    if head.startswith(b"\x1f\x8b"):
        try:
            inner = zlib.decompressobj(31).decompress(head, 1024)
        except zlib.error:
            inner = b""
        if is_nifti(inner):
            return "NIfTI"
        raise ReadError(
            f"{name}: the gzip file holds no NIfTI volume; unpack it and choose the image inside."
        )
    if head.startswith(b"BM"):
        return "BMP"
    # DICOM without its preamble starts with a small element of group 2 or 8, in either byte order.
    for order in ("little", "big"):
        group, element = (int.from_bytes(head[i : i + 2], order) for i in (0, 2))
        if group in (0x0002, 0x0008) and element <= 0x0100 and len(head) > 8:
            return "DICOM"
    if head.startswith(ZIP_MAGIC):
        raise ReadError(f"{name}: this is an archive inside another; unpack it first.")
    raise ReadError(f"{name}: this is not an image that can be read; choose a {SUPPORTED} file.")


def is_nifti(head: bytes) -> bool:
    """Whether a header of NIfTI-1, NIfTI-2 or its ancestor Analyze 7.5 starts here.

    All three start with their own length: https://nifti.nimh.nih.gov/nifti-1, -2.
    """
    return any(int.from_bytes(head[:4], order) in (348, 540) for order in ("little", "big"))


def checked(volume: Volume) -> Volume:
    """Make pixels finite float32 and refuse images without content."""
    name, notes = volume.name, volume.notes
    with np.errstate(over="ignore"):  # beyond float32 becomes infinite and is dealt with here
        pixels = np.ascontiguousarray(volume.pixels, dtype=np.float32)
    check_claimed_size(name, *pixels.shape[1:], pixels.shape[0])
    # The sum is finite only if every value is; it saves a mask as large as a third of the volume.
    if not np.isfinite(pixels.sum(dtype=np.float64)):
        finite = np.isfinite(pixels)
        if not finite.any():
            raise ReadError(f"{name}: no pixel holds a number; choose an image with content.")
        low, high = pixels[finite].min(), pixels[finite].max()
        pixels = np.nan_to_num(pixels, nan=low, posinf=high, neginf=low)
        count = finite.size - np.count_nonzero(finite)
        notes += (f"{count} pixels held no finite number; they are shown as the nearest value.",)
    if pixels.min() == pixels.max():
        raise ReadError(
            f"{name}: all pixels have the same value, so there is nothing to translate; "
            "choose an image with content."
        )
    return replace(volume, pixels=pixels, notes=notes)
