"""What all formats share: `Volume`, `ReadError`, the limits, shades of grey and notes.

Sizes that a header claims are checked against the limits before anything is decoded or allocated.
In notes, what comes out of a file stands in quotation marks, so that it can be left out: names of
files and values of headers often tell who the patient is. Who opened the file sees them; what is
saved or sent on goes through `without_quoted`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pydicom

MAX_FILE_BYTES = 2**30
MAX_PIXELS = 64 * 2**20  # per slice: 8192 x 8192, far above any MR matrix
MAX_VOXELS = 512**3  # half a gigabyte once in float32
MIN_SIDE = 32  # pixels; below this no anatomy can be recognised
MAX_CHANNEL_SPREAD = 0.08  # of the brightest value; JPEG's chroma noise stays below it
MAX_COLOURED_SHARE = 0.01  # of the pixels; a few coloured marks on a screenshot are tolerated
MOST_NAMED = 4  # files that a note names
_QUOTED = 120  # characters of one quotation

ORIENTATION_UNKNOWN = "The file does not say how the slice lies: orientation unknown."


class ReadError(ValueError):
    """A file cannot be read as an MR image; the message names the file and the fix."""


class NoMRImage(ReadError):
    """A file is whole, and holds something else than an image of MR."""


@dataclass(frozen=True, eq=False)
class DicomSource:
    """What a derived DICOM object must say about the objects that it was made from.

    Attributes:
        common: attributes of the first source object, without pixels, per-frame groups,
            private and overlay groups. It still identifies the patient.
        instances: (SOP class UID, SOP instance UID, frame number from 1 or None for an object of
            one frame) of each slice, in the order of axis 0 of `Volume.pixels`; of a stack that is
            shown cut across its slices, in the order of the third axis of `stored_affine`.
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
        other_contrast: by name what the header calls the image if that is neither T1 nor T2, such
            as "FLAIR", or None.
        name: file name without folders.
        notes: plain sentences that a user of the image should know.
        stored_affine: (4, 4) float64 like `affine`, for the axes in the order the file stores
            them, or None. `inv(stored_affine) @ affine` is the signed permutation back to the
            file's own grid.
        dicom: what a derived DICOM object needs of its source, or None for other files.
        aspect: (row, column) sides of a pixel in proportion, where the file tells their shape but
            not their size, else None.
    """

    pixels: np.ndarray
    spacing: tuple[float, float, float] | None = None
    affine: np.ndarray | None = None
    directions: tuple[str, str, str, str] | None = None
    window: tuple[float, float] | None = None
    contrast_hint: str | None = None
    name: str = ""
    notes: tuple[str, ...] = ()
    stored_affine: np.ndarray | None = None
    dicom: DicomSource | None = None
    aspect: tuple[float, float] | None = None
    other_contrast: str | None = None

    @property
    def pixel_spacing(self) -> tuple[float, float] | None:
        """(row, column) distance between pixel centres in mm, else in proportion, else None."""
        return self.spacing[1:] if self.spacing else self.aspect


@contextlib.contextmanager
def damage_refused(name: str, format_name: str) -> Iterator[None]:
    """Turn what decoders raise on damaged bytes, which is anything at all, into a `ReadError`."""
    try:
        yield
    except ReadError:
        raise
    except Exception as error:
        raise ReadError(
            f"{name}: the {format_name} file is damaged or truncated and cannot be decoded; "
            "export or copy it again."
        ) from error


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


def checked(volume: Volume) -> Volume:
    """Make pixels finite float32 and refuse images without content."""
    name, notes = volume.name, volume.notes
    with np.errstate(over="ignore"):  # beyond float32 becomes infinite and is dealt with here
        pixels = np.ascontiguousarray(volume.pixels, dtype=np.float32)
    short, *plane = sorted(pixels.shape)  # a narrow volume may be cut across its slices
    check_claimed_size(name, *plane, short)
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


def quoted(text: str) -> str:
    """A name or a header's value for a note: printable, on one line, in quotation marks."""
    shown = "".join(c if c.isprintable() and c != '"' else "?" for c in text)
    return f'"{shown[:_QUOTED]}"'


def first_of(names: Iterable[str]) -> str:
    """The first `MOST_NAMED` names, with "..." for the others."""
    names = list(names)
    return ", ".join(names[:MOST_NAMED]) + ", ..." * (len(names) > MOST_NAMED)


def without_quoted(note: str) -> str:
    """A note with "…" for everything in quotation marks."""
    return re.sub(r'"[^"]*"', "…", note)


def unpacked_bits(rows: np.ndarray, bits: int, count: int, order: str) -> np.ndarray:
    """Numbers that share bytes, such as those of 12 bits.

    Args:
        rows: (N, bytes) uint8; each row of numbers starts at a byte.
        bits: of a number, up to 16.
        count: of the numbers in a row.
        order: "big" where the highest bit of a number comes first, "little" for the lowest.

    Returns:
        (N, count) uint16.
    """
    flags = np.unpackbits(rows, axis=1, count=count * bits, bitorder=order)
    weights = (1 << np.arange(bits)).astype(np.uint16)
    return flags.reshape(len(rows), count, bits) @ (weights if order == "little" else weights[::-1])
