"""Read PNG, JPEG, BMP, GIF and WebP.

Pillow decodes, except 16-bit PNG with more than one channel, which it would squeeze into 8 bits.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

import numpy as np
from PIL import Image, ImageSequence

from cyclegan.reading.archive import Member
from cyclegan.reading.choice import Choice, ImageKind
from cyclegan.reading.deadline import check_time
from cyclegan.reading.grey import grey
from cyclegan.reading.rare_pictures import (
    PNG_MAGIC,
    decode_rare_jpeg,
    is_apple_png,
    standard_png,
)
from cyclegan.reading.sequence_names import read_names
from cyclegan.reading.volume import (
    ORIENTATION_UNKNOWN,
    Volume,
    check_claimed_size,
    checked,
    damage_refused,
)

SQUARE = 1.01  # ratio of two resolutions up to here is rounding
MOST_UNEVEN = 8.0  # beyond it, it is a mistake

_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
_ANIMATED = ("GIF", "WEBP")  # of a PNG the picture that stands for its animation
_EXIF_ORIENTATION = 0x0112
_DIRECT_MODES = ("L", "LA", "RGB", "RGBA", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")


def choices(member: Member, image: Member | None = None, *, alone: bool = False) -> list[Choice]:
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
