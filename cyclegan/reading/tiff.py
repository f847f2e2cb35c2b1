"""Read TIFF: 8 to 64 bits, integer or float, grey or grey-valued colour, one page or a stack.

tifffile reads what is stored uncompressed, in any number type. Compressed files go through
Pillow's libtiff, which never inflates a strip beyond the size it should have.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import BinaryIO

import numpy as np
import tifffile
from PIL import Image
from PIL.TiffImagePlugin import COMPRESSION_INFO

from cyclegan.reading.archive import Member
from cyclegan.reading.choice import Choice
from cyclegan.reading.deadline import check_time
from cyclegan.reading.raster import (
    apply_exif_orientation,
    decode,
    picture_choices,
    slices_without_geometry,
)
from cyclegan.reading.volume import ReadError, Volume, check_claimed_size, grey, unpacked_bits

_CHANNELS_LAST = {"YX": "YX", "YXS": "YXS", "SYX": "YXS"}
_MILLIMETRES = {"mm": 1.0, "cm": 10.0, "m": 1e3, "nm": 1e-6}
_MILLIMETRES |= dict.fromkeys(("micron", "um", "µm", "\\u00B5m"), 1e-3)
# Number types that Pillow decodes from compressed files without loss: (type, many channels?).
_PILLOW_TYPES = {
    ("uint8", True),
    *((dtype, False) for dtype in ("uint8", "uint16", "int16", "int32", "float32")),
}
_WHOLE_BITS = (1, 2, 4, 8, 16, 32, 64)
_CONVERT = "save it uncompressed, for example with tiffcp -c none."
# Of a big-endian file Pillow (12.3) turns their bytes twice, libtiff having done it before.
_SWAPPED = ("int16", "int32", "float32")


def choices(member: Member, alone: bool) -> list[Choice]:
    """The stack of pages of a TIFF file, of ImageJ and OME files one of each channel and time.

    Raises:
        ReadError: the file is damaged, too large, in colour, or compressed beyond decoding.
    """
    with tifffile.TiffFile(io.BytesIO(member.data), name=member.name) as file:
        parts = _parts(file, sum(not page.is_reduced for page in file.pages))
    reads = {name: partial(_read, member, numbers) for name, numbers in parts.items()}
    return picture_choices(member, reads, alone)


def _read(member: Member, numbers: np.ndarray | None) -> Volume:
    """Pages of equal size as the slices of a volume; `numbers` of them, None for all."""
    stream, name = io.BytesIO(member.data), member.name
    with tifffile.TiffFile(stream, name=name) as file:
        pages = list(file.pages)
        if _next_page_offset(file, pages[-1]) != 0:
            raise ReadError(f"{name}: the TIFF file ends before its last page does; copy it again.")
        pages = [page for page in pages if not page.is_reduced]
        _refuse_unsuitable(pages, name, file.filehandle.size)
        if numbers is not None:
            pages = [pages[number] for number in numbers]
        elif len(pages) == 1 and file.imagej_metadata and len(shape := file.series[0].shape) > 2:
            raise ReadError(
                f"{name}: this ImageJ stack of {shape} lists only its first slice; save it as an "
                "ordinary multi-page TIFF."
            )
        first = pages[0]
        if first.bitspersample not in _WHOLE_BITS:
            planes = (_unpacked(page) for page in pages)
        elif first.compression == tifffile.COMPRESSION.NONE and first.bitspersample >= 8:
            planes = (_plain(page) for page in pages)
        else:
            planes = _through_pillow(stream, pages, name)
        slices = [_upright(pixels, page, name) for pixels, page in zip(planes, pages, strict=True)]
        size = _pixel_size(file, first)
    return replace(slices_without_geometry(np.stack(slices), name), **size)


def _parts(file: tifffile.TiffFile, count: int) -> dict[str, np.ndarray | None]:
    """Name -> numbers of its pages, by what ImageJ or OME say of the order of the pages; an empty
    name and None where there is one channel and time."""
    if not (file.is_imagej or file.is_ome) or len(file.series) != 1:
        return {"": None}
    series = file.series[0]
    axes = series.get_axes(squeeze=False).removesuffix("S").removesuffix("YX")
    shape = series.get_shape(squeeze=False)[: len(axes)]
    several = [axis for axis, side in zip(axes, shape, strict=True) if axis in "CT" and side > 1]
    if int(np.prod(shape)) != count or not set(axes) <= set("TZCQI") or not several:
        return {"": None}
    numbers = np.arange(count).reshape(shape)
    numbers = np.moveaxis(numbers, [axes.index(axis) for axis in several], range(len(several)))
    words = [{"C": "channel", "T": "time"}[axis] for axis in several]
    counts = numbers.shape[: len(several)]
    return {
        ", ".join(
            f"{word} {at + 1} of {of}" for word, at, of in zip(words, where, counts, strict=True)
        ): numbers[where].ravel()
        for where in np.ndindex(counts)
    }


def _refuse_unsuitable(pages: list[tifffile.TiffPage], name: str, size: int) -> None:
    """Check every page's claims before any of them is decoded."""
    first = pages[0]
    check_claimed_size(name, first.imagelength, first.imagewidth, len(pages))
    for page in pages:
        if page.shape != first.shape or page.dtype != first.dtype or page.axes != first.axes:
            raise ReadError(
                f"{name}: the pages differ in size or number type; save slices of one size."
            )
    bits, compressed = first.bitspersample, first.compression != tifffile.COMPRESSION.NONE
    packed = bits not in _WHOLE_BITS
    if packed and (compressed or first.is_tiled or bits > 16 or first.sampleformat != 1):
        raise ReadError(
            f"{name}: the TIFF stores {bits} bits per pixel in a way that no decoder here knows; "
            "save it uncompressed with 16 bits per pixel."
        )
    if compressed and int(first.compression) not in COMPRESSION_INFO:
        raise ReadError(
            f"{name}: the TIFF is compressed by {first.compression.name}, for which there is no "
            f"decoder here; {_CONVERT}"
        )
    if first.axes not in _CHANNELS_LAST or first.samplesperpixel > 4 or first.dtype is None:
        raise ReadError(
            f"{name}: a TIFF page of the shape {first.shape} ({first.axes or 'no pixels'}) is not "
            "one grey slice; save each slice as a page with one channel."
        )
    if first.dtype.kind not in "uif":
        raise ReadError(f"{name}: the TIFF holds {first.dtype} values; save real numbers.")
    many = first.samplesperpixel > 1
    if compressed and first.bitspersample >= 8 and (first.dtype.name, many) not in _PILLOW_TYPES:
        raise ReadError(
            f"{name}: a compressed TIFF with {first.samplesperpixel} x {first.dtype} per pixel "
            "cannot be read without loss; save it uncompressed."
        )
    for page in pages:
        ends = zip(page.dataoffsets, page.databytecounts, strict=True)
        if not page.dataoffsets or any(n < 1 or at < 8 or at + n > size for at, n in ends):
            raise ReadError(f"{name}: the TIFF file ends before its pixels do; copy it again.")


def _next_page_offset(file: tifffile.TiffFile, page: tifffile.TiffPage) -> int:
    """Where the page after this one starts, 0 after the last (TIFF 6.0, p. 14).

    tifffile leaves out pages that it cannot find; a shortened stack must not pass for a whole one.
    """
    layout, handle = file.tiff, file.filehandle
    handle.seek(page.offset)
    tags = struct.unpack(layout.tagnoformat, handle.read(layout.tagnosize))[0]
    handle.seek(page.offset + layout.tagnosize + tags * layout.tagsize)
    return struct.unpack(layout.offsetformat, handle.read(layout.offsetsize))[0]


def _plain(page: tifffile.TiffPage) -> np.ndarray:
    """Decode an uncompressed page: (H, W) or (H, W, C), palette resolved, white highest."""
    pixels = page.asarray(maxworkers=1)
    if page.axes == "SYX":
        pixels = np.moveaxis(pixels, 0, -1)
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE:
        return np.moveaxis(page.colormap[:, pixels], 0, -1)
    return _white_high(pixels, page)


def _unpacked(page: tifffile.TiffPage) -> np.ndarray:
    """Decode an uncompressed page whose pixels share bytes, such as those of 12 bits.

    Each row starts at a byte, the highest bit first unless FillOrder is 2 (TIFF 6.0, p. 32).
    """
    bits, samples = page.bitspersample, page.samplesperpixel
    planes = samples if page.axes == "SYX" else 1
    per_row = page.imagewidth * samples // planes
    stride = -(-per_row * bits // 8)
    handle, rows = page.parent.filehandle, []
    for at, size in zip(page.dataoffsets, page.databytecounts, strict=True):
        check_time()
        handle.seek(at)
        strip = np.frombuffer(handle.read(size), np.uint8)
        if page.fillorder == 2:
            strip = np.packbits(np.unpackbits(strip, bitorder="little"))
        strip = strip[: strip.size // stride * stride].reshape(-1, stride)
        rows.append(unpacked_bits(strip, bits, per_row, "big"))
    pixels = np.concatenate(rows)
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        pixels = np.uint16(2**bits - 1) - pixels
    if planes > 1:
        return np.moveaxis(pixels.reshape(planes, page.imagelength, -1), 0, -1)
    return pixels.reshape(page.imagelength, page.imagewidth, *(() if samples == 1 else (samples,)))


def _through_pillow(
    stream: BinaryIO, pages: list[tifffile.TiffPage], name: str
) -> Iterator[np.ndarray]:
    """Yield the pages of a compressed file as `_plain` would."""
    stream.seek(0)
    with Image.open(stream, formats=("TIFF",)) as image:
        for page in pages:
            image.seek(page.index)
            if (image.height, image.width) != (page.imagelength, page.imagewidth):
                raise ReadError(f"{name}: the TIFF's page sizes are contradictory; save again.")
            try:
                pixels = decode(image)
            except (OSError, ValueError, SyntaxError) as error:
                raise ReadError(
                    f"{name}: the TIFF (compressed by {page.compression.name}) is damaged or of a "
                    f"variant that the decoder does not know; {_CONVERT}"
                ) from error
            if image.tag_v2.prefix == b"MM" and page.dtype.name in _SWAPPED:
                pixels = pixels.astype(page.dtype).byteswap()
            # Pillow turns white-is-zero around itself, but only up to 8 bits.
            yield pixels if page.bitspersample <= 8 else _white_high(pixels, page)


def _pixel_size(file: tifffile.TiffFile, page: tifffile.TiffPage) -> dict[str, tuple]:
    """`spacing` where OME or ImageJ tell it in a unit of length, else `aspect`, else nothing.

    The resolution of other programs is that of a printer, and tells the proportion only.
    """
    if spacing := _ome_spacing(file):
        return {"spacing": spacing}
    values = [page.tags.get(f"{axis}Resolution") for axis in "YX"]
    if any(tag is None for tag in values):
        return {}
    per_unit = [tag.value[0] / tag.value[1] if tag.value[1] else 0.0 for tag in values]
    if not all(0 < value < float("inf") for value in per_unit):
        return {}
    row, column = (1 / value for value in per_unit)
    tag = page.tags.get("Orientation")
    if tag and int(tag.value) in (5, 6, 7, 8):
        row, column = column, row
    metadata = file.imagej_metadata or {}
    factor = _MILLIMETRES.get(str(metadata.get("unit", "")))
    if factor is None:
        return {"aspect": (row, column)}
    between = metadata.get("spacing", 1 / factor)
    usable = isinstance(between, int | float) and 0 < between < float("inf")
    return {"spacing": (between * factor if usable else 1.0, row * factor, column * factor)}


def _ome_spacing(file: tifffile.TiffFile) -> tuple[float, float, float] | None:
    """(slice, row, column) in mm as PhysicalSizeZ, Y and X say; in µm without a unit."""
    try:
        image = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]
        pixels = (image[0] if isinstance(image, list) else image)["Pixels"]
        sizes = [
            float(pixels[f"PhysicalSize{axis}"])
            * _MILLIMETRES[str(pixels.get(f"PhysicalSize{axis}Unit", "µm"))]
            for axis in ("ZYX" if "PhysicalSizeZ" in pixels else "YX")
        ]
    except Exception:  # absent, of another unit or damaged: no reason to lose the picture
        return None
    if not all(0 < size < float("inf") for size in sizes):
        return None
    return tuple([1.0, *sizes][-3:])  # type: ignore[return-value]


def _white_high(pixels: np.ndarray, page: tifffile.TiffPage) -> np.ndarray:
    """Undo the white-is-zero photometric interpretation (TIFF 6.0, p. 37)."""
    if page.photometric != tifffile.PHOTOMETRIC.MINISWHITE:
        return pixels
    if pixels.dtype.kind == "u":
        return np.iinfo(pixels.dtype).max - pixels
    return pixels.max() + pixels.min() - pixels.astype(np.float64)


def _upright(pixels: np.ndarray, page: tifffile.TiffPage, name: str) -> np.ndarray:
    check_time()
    tag = page.tags.get("Orientation")
    return apply_exif_orientation(grey(pixels, name), int(tag.value) if tag else 1)
