"""Read PNG, JPEG, BMP, GIF and WebP, and turn what such files do to grey back into grey.

Pillow decodes, except 16-bit PNG with more than one channel, which it would squeeze into 8 bits.
"""

from __future__ import annotations

import io
from dataclasses import replace
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageSequence

from cyclegan.reading import apple_png
from cyclegan.reading.deadline import check_time
from cyclegan.reading.volume import ORIENTATION_UNKNOWN, ReadError, Volume, check_claimed_size

MAX_CHANNEL_SPREAD = 0.08  # of the brightest value; JPEG's chroma noise stays below it
MAX_COLOURED_SHARE = 0.01  # of the pixels; a few coloured marks on a screenshot are tolerated

SQUARE = 1.01  # ratio of two resolutions up to here is rounding
MOST_UNEVEN = 8.0  # beyond it, it is a mistake

_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
_ANIMATED = ("GIF", "WEBP")  # of a PNG the picture that stands for its animation
_WORDS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
_EXIF_ORIENTATION = 0x0112
_DIRECT_MODES = ("L", "LA", "RGB", "RGBA", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")


def read(stream: BinaryIO, name: str) -> Volume:
    """Read a picture as one slice in the values that it stores, an animation as a stack."""
    start = stream.read(16)
    stream.seek(0)
    if start.startswith(b"\xff\xd8") and (pixels := _decode_rare_jpeg(stream, name)) is not None:
        return slices_without_geometry(grey(pixels, name)[None], name)
    if is_apple := apple_png.is_apple(start):
        stream = io.BytesIO(apple_png.ordinary(stream.read(), name))
    stream = _without_words(stream)
    with Image.open(stream, formats=_FORMATS) as image:
        check_claimed_size(name, image.height, image.width)
        image.verify()  # PNG checksums; decoding stops at the last pixel, short of some of them
    stream.seek(0)
    with Image.open(stream, formats=_FORMATS) as image:  # verify uses an image up
        upright = image.getexif().get(_EXIF_ORIENTATION, 1)
        if image.format in _ANIMATED:
            frames = image.n_frames  # type: ignore[attr-defined]
            check_claimed_size(name, image.height, image.width, frames)
            slices = [grey(_decode_frame(each), name) for each in ImageSequence.Iterator(image)]
            return slices_without_geometry(np.stack(slices), name)
        deep = image.format == "PNG" and _is_deep_colour_png(stream)
        pixels = _decode_deep_png(stream) if deep else decode(image)
        aspect = _aspect(image)
    if is_apple and pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        pixels = pixels[..., :-1]  # multiplied by their opacity: over black already
    pixels = apply_exif_orientation(grey(pixels, name), upright)
    if aspect and upright in (5, 6, 7, 8):
        aspect = aspect[::-1]
    return replace(slices_without_geometry(pixels[None], name), aspect=aspect)


def _decode_rare_jpeg(stream: BinaryIO, name: str) -> np.ndarray | None:
    # Imported here: it brings pydicom, which takes a while and which other pictures do not need.
    from cyclegan.reading.jpeg import decode_rare

    return decode_rare(stream, name)


def _without_words(stream: BinaryIO) -> BinaryIO:
    """A PNG without its texts and colour profile, which may be damaged or longer than Pillow
    reads and say nothing of the pixels; any other file as it is."""
    start = stream.read(8)
    if start != b"\x89PNG\r\n\x1a\n":
        stream.seek(0)
        return stream
    data, kept, at = stream.read(), [start], 0
    while at < len(data):
        check_time()
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] not in _WORDS:
            kept.append(data[at:end])
        at = end
    return io.BytesIO(b"".join(kept))


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
    return Volume(
        pixels=pixels,
        spacing=None,
        affine=None,
        directions=None,
        window=None,
        contrast_hint=None,
        name=name,
        notes=(ORIENTATION_UNKNOWN,),
    )


def decode(image: Image.Image) -> np.ndarray:
    """Pixels of an opened image, (H, W) or (H, W, C), palettes resolved, bit depth kept."""
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


def apply_exif_orientation(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn (H, W) pixels upright by the TIFF/EXIF tag Orientation, 1 to 8 (TIFF 6.0, p. 36)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.T
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def _is_deep_colour_png(stream: BinaryIO) -> bool:
    """Whether IHDR says 16 bits and more than one channel (PNG specification, 11.2.1)."""
    at = stream.tell()
    stream.seek(0)
    header = stream.read(26)
    stream.seek(at)
    return header[24] == 16 and header[25] != 0


def _decode_deep_png(stream: BinaryIO) -> np.ndarray:
    """(H, W, C) uint16 of a 16-bit PNG with 2 to 4 channels."""
    # Imported here: only this rare case needs torch, and importing it takes seconds.
    import torch
    from torchvision.io import ImageReadMode, decode_png

    stream.seek(0)
    data = torch.frombuffer(bytearray(stream.read()), dtype=torch.uint8)
    return decode_png(data, mode=ImageReadMode.UNCHANGED).permute(1, 2, 0).numpy()
