"""Read PNG, JPEG, BMP, GIF and WebP.

Pillow decodes, except 16-bit PNG with more than one channel, which it would squeeze into 8 bits.
Apple's tools rewrite PNG for iPhones: such a file starts with a chunk CgBI; its pixels are deflated
without zlib's header and checksum, in the order blue, green, red, and multiplied by their opacity.
Lossless JPEG and JPEG-LS go through DICOM's decoders; other rare JPEGs are named.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

import numpy as np
from PIL import Image, ImageSequence

from cyclegan.reading.archive import Member
from cyclegan.reading.choice import Choice, ImageKind
from cyclegan.reading.deadline import check_time
from cyclegan.reading.formats import FORMATS
from cyclegan.reading.sequence_names import read_names
from cyclegan.reading.volume import (
    ORIENTATION_UNKNOWN,
    ReadError,
    Volume,
    check_claimed_size,
    checked,
    damage_refused,
    grey,
)

SQUARE = 1.01  # ratio of two resolutions up to here is rounding
MOST_UNEVEN = 8.0  # beyond it, it is a mistake

_FORMATS = tuple(each.name for each in FORMATS if each.module_name == "raster")
_ANIMATED = ("GIF", "WEBP")  # of a PNG the picture that stands for its animation
_EXIF_ORIENTATION = 0x0112
_DIRECT_MODES = ("L", "LA", "RGB", "RGBA", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type (PNG specification, 11.2.1)
_ZLIB = b"\x78\x01"  # header: deflate, window of 32 KiB, no dictionary (RFC 1950)
_STEP = 2**16  # bytes unpacked at once
# Frame markers of ISO/IEC 10918-1, table B.1, and 14495-1 that are none of Pillow's (libjpeg's).
_LOSSLESS, _JPEG_LS = 0xFFC3, 0xFFF7
_JPEG_NAMES = {
    _LOSSLESS: "lossless JPEG",
    _JPEG_LS: "JPEG-LS",
    **dict.fromkeys((0xFFC5, 0xFFC6, 0xFFC7), "hierarchical JPEG"),
    0xFFCB: "lossless arithmetic-coded JPEG",
    **dict.fromkeys((0xFFCD, 0xFFCE, 0xFFCF), "hierarchical arithmetic-coded JPEG"),
}
_SAVE = "save it as PNG with the program that it came from."


def choices(member: Member, alone: bool) -> list[Choice]:
    """The picture or animation in a file, as one choice; see `picture_choices`."""
    return picture_choices(member, {"": lambda: _read(member.data, member.name)}, alone)


def picture_choices(
    member: Member, parts: Mapping[str, Callable[[], Volume]], alone: bool
) -> list[Choice]:
    """One choice for each part of a picture, decoded once to see whether it can be.

    Args:
        member: the file.
        parts: by the name of the part, what reads it.
        alone: whether nothing else came with the file. Then its pixels stay in memory until they
            are read for the first time.
    """
    names = read_names(member.names)

    def choice(part: str, read: Callable[[], Volume]) -> Choice:
        decoded = [checked(read())]
        shape = decoded[0].pixels.shape
        if not alone or len(parts) > 1:
            decoded.clear()

        def load() -> Volume:
            with suppress(IndexError):
                return decoded.pop()
            with damage_refused(member.name, "picture"):
                return checked(read())

        kind = ImageKind(
            names.rank, is_named_labels=names.is_label_map, planes=lambda: iter(load().pixels)
        )
        return Choice(", ".join(filter(None, [member.name, part])), shape, load, kind=kind)

    return [choice(part, read) for part, read in parts.items()]


def _read(data: bytes, name: str) -> Volume:
    """A picture as one slice in the values that it stores, an animation as a stack."""
    if data.startswith(b"\xff\xd8") and (pixels := decode_rare_jpeg(data, name)) is not None:
        return slices_without_geometry(grey(pixels, name)[None], name)
    is_apple = is_apple_png(data)
    if data.startswith(PNG_MAGIC):
        data = standard_png(data, name)
    with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        check_claimed_size(name, image.height, image.width)
        image.verify()  # PNG checksums; decoding stops at the last pixel, short of some of them
    with Image.open(io.BytesIO(data), formats=_FORMATS) as image:  # verify uses an image up
        upright = image.getexif().get(_EXIF_ORIENTATION, 1)
        if image.format in _ANIMATED:
            frames = image.n_frames  # type: ignore[attr-defined]
            check_claimed_size(name, image.height, image.width, frames)
            slices = [grey(_decode_frame(each), name) for each in ImageSequence.Iterator(image)]
            return slices_without_geometry(np.stack(slices), name)
        # IHDR says 16 bits and more than one channel (PNG specification, 11.2.1).
        is_deep = image.format == "PNG" and data[24] == 16 and data[25] != 0
        pixels = _decode_deep_png(data) if is_deep else decode(image)
        aspect = _aspect(image)
    if is_apple and pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        pixels = pixels[..., :-1]  # multiplied by their opacity: over black already
    pixels = apply_exif_orientation(grey(pixels, name), upright)
    if aspect and upright in (5, 6, 7, 8):
        aspect = aspect[::-1]
    return replace(slices_without_geometry(pixels[None], name), aspect=aspect)


def _decode_frame(image: Image.Image) -> np.ndarray:
    check_time()
    return np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"))


def _aspect(image: Image.Image) -> tuple[float, float] | None:
    """(row, column) sides of a pixel where the file says that they differ (PNG pHYs, JFIF, BMP).

    Most writers state the resolution of a screen or printer; only its proportion tells something.
    """
    for key in ("aspect", "jfif_density", "dpi"):
        density = image.info.get(key)
        if isinstance(density, tuple) and len(density) == 2 and min(density) > 0:
            across, down = map(float, density)
            uneven = SQUARE < max(across, down) / min(across, down) <= MOST_UNEVEN
            return (1 / down, 1 / across) if uneven else None
    return None


def slices_without_geometry(pixels: np.ndarray, name: str) -> Volume:
    """Wrap (Z, H, W) pixels of a file that knows nothing about the patient."""
    return Volume(pixels, name=name, notes=(ORIENTATION_UNKNOWN,))


def decode(image: Image.Image) -> np.ndarray:
    """Pixels of an opened image, (H, W) or (H, W, C), palettes resolved, bit depth unchanged."""
    if image.mode in ("1", "L", "I", "I;16", "RGB") and "transparency" in image.info:
        return _opaque(image)
    if image.mode == "1":
        image = image.convert("L")
    elif image.mode not in _DIRECT_MODES:
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    return np.asarray(image)


def _opaque(image: Image.Image) -> np.ndarray:
    """Pixels of an image that calls one of its values transparent (PNG tRNS), those black."""
    clear = image.info["transparency"]
    pixels = np.array(image.convert("L") if image.mode == "1" else image)
    if image.mode == "1" and isinstance(clear, int):
        clear = 255 * min(clear, 1)
    if isinstance(clear, int | tuple):  # a list of opacities belongs to palettes
        match = pixels == np.asarray(clear, dtype=np.int64)
        pixels[match.all(axis=-1) if pixels.ndim == 3 else match] = 0
    return pixels


def apply_exif_orientation(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn (H, W) pixels upright by the TIFF/EXIF tag Orientation, 1 to 8 (TIFF 6.0, p. 36)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.T
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def _decode_deep_png(data: bytes) -> np.ndarray:
    """(H, W, C) uint16 of a 16-bit PNG with 2 to 4 channels."""
    # Imported here: only this rare case needs torch, and importing it takes seconds.
    import torch
    from torchvision.io import ImageReadMode, decode_png

    buffer = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    return decode_png(buffer, mode=ImageReadMode.UNCHANGED).permute(1, 2, 0).numpy()


def is_apple_png(data: bytes) -> bool:
    """Whether a file is a PNG of Apple's."""
    return data.startswith(PNG_MAGIC) and data[12:16] == b"CgBI"


def standard_png(data: bytes, name: str) -> bytes:
    """A PNG as Pillow reads it, the colours of Apple's still in their order.

    Texts and colour profile, which may be damaged or longer than Pillow reads, are left out: they
    say nothing of the pixels. Nothing is unpacked beyond the size that the header gives.

    Raises:
        ReadError: the size is outside the limits, or there are more pixels than it gives.
    """
    chunks, at = [], len(PNG_MAGIC)
    while at < len(data):
        check_time()
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if (kind := data[at + 4 : at + 8]) not in _TEXT_CHUNKS:
            chunks.append((kind, data[at:end]))
        at = end
    if is_apple_png(data):
        header = next(chunk for kind, chunk in chunks if kind == b"IHDR")[8:]
        columns, rows = (int.from_bytes(header[i : i + 4], "big") for i in (0, 4))
        check_claimed_size(name, rows, columns)
        row_bytes = -(-columns * _CHANNELS[header[9]] * header[8] // 8)
        packed = b"".join(chunk[8:-4] for kind, chunk in chunks if kind == b"IDAT")
        # Interlaced pictures have up to 15 bytes of filters for each 8 rows, and rounded rows.
        checksum = _checksum(packed, 2 * (row_bytes + 8) * (rows + 8), name)
        pixels = _ZLIB + packed + checksum.to_bytes(4, "big")
        chunks = [(kind, chunk) for kind, chunk in chunks if kind in (b"IHDR", b"PLTE", b"tRNS")]
        chunks += [(b"IDAT", _chunk(b"IDAT", pixels)), (b"IEND", _chunk(b"IEND", b""))]
    return PNG_MAGIC + b"".join(chunk for _, chunk in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content).to_bytes(4, "big")
    return len(content).to_bytes(4, "big") + kind + content + checksum


def _checksum(packed: bytes, most: int, name: str) -> int:
    """Adler-32 of what is packed, at most `most` bytes."""
    inflator, total, checksum = zlib.decompressobj(-zlib.MAX_WBITS), 0, 1
    while packed and not inflator.eof:
        check_time()
        part = inflator.decompress(packed, _STEP)
        packed = inflator.unconsumed_tail
        total += len(part)
        if total > most:
            raise ReadError(f"{name}: the PNG unpacks to more pixels than its header gives.")
        checksum = zlib.adler32(part, checksum)
    return zlib.adler32(inflator.flush(), checksum)


def decode_rare_jpeg(data: bytes, name: str) -> np.ndarray | None:
    """Pixels of a JPEG that Pillow does not read, (H, W) or (H, W, 3); None for any other file.

    Raises:
        ReadError: the size is outside the limits, or the kind has no decoder here; it is named.
    """
    # Imported here: they bring pydicom, which takes a while and which other pictures do not need.
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGLossless, JPEGLSLossless

    from cyclegan.reading.dicom.decoder import frames
    from cyclegan.reading.dicom.parse import frame_header

    header = frame_header(data)
    if header is None:
        return None
    marker, at = header
    bits, components = data[at + 4], data[at + 9]
    rows, columns = (int.from_bytes(data[i : i + 2], "big") for i in (at + 5, at + 7))
    kind = _JPEG_NAMES.get(marker, f"JPEG of {bits} bits" if bits != 8 else "")
    if not kind:
        return None
    check_claimed_size(name, rows, columns)
    if marker not in (_LOSSLESS, _JPEG_LS) or components not in (1, 3):
        article = "an" if kind[0] in "aeiou" else "a"
        raise ReadError(f"{name}: this is {article} {kind}, which no decoder here reads; {_SAVE}")
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = JPEGLossless if marker == _LOSSLESS else JPEGLSLossless
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = rows, columns, components
    dataset.PhotometricInterpretation = "MONOCHROME2" if components == 1 else "RGB"
    dataset.PlanarConfiguration = 0
    dataset.BitsAllocated, dataset.BitsStored = 8 if bits <= 8 else 16, bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, 0
    dataset.PixelData = encapsulate([data])
    dataset["PixelData"].is_undefined_length = True
    try:
        (pixels,) = frames(dataset)
    except (RuntimeError, ValueError) as error:
        raise ReadError(
            f"{name}: this {kind} file is damaged or of a variant that the decoder does not know; "
            f"{_SAVE}"
        ) from error
    return pixels
