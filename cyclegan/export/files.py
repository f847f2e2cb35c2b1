"""Results to take away: a labelled PNG, and a NIfTI that overlays its source.

Writers return bytes; nothing is written to disk here. Derived DICOM is in `derived`, a zip of
everything in `bundle`.
"""

from __future__ import annotations

import gzip
import io
import math
from collections.abc import Mapping, Sequence

import nibabel as nib
import numpy as np
from nibabel.nifti1 import Nifti1Extension
from nibabel.orientations import apply_orientation, io_orientation
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from cyclegan.export.provenance import CAVEAT, SOURCE_TYPE
from cyclegan.reading.volume import Volume

Window = tuple[float, float]  # (center, width) in the values of an image

MIN_PNG_SIDE = 512  # shorter pictures are enlarged, or the label would be wider than the slice
_FONT_SIZE = 16
_MARGIN = 8
_NIFTI_COMPRESSION = 1  # float noise packs to 0.91 of its size at this level and at level 6
_MAX_PROPORTION = 10  # pixels longer than that are a broken header, not an MR slice
_SCALE_BARS_MM = (100, 50, 20, 10, 5, 2, 1)
# XMP part 3, 1.1.5, with the IPTC extension schema: what photo software and search engines read.
_XMP = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}"/>
</rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""


def labelled_png(
    image: np.ndarray,
    *,
    label: str,
    volume: Volume | None = None,
    index: int | None = None,
    window: Window | None = None,
    provenance: Mapping[str, str] | None = None,
    min_width: int = 0,
) -> bytes:
    """Draw a slice as an 8-bit grey PNG with its label burnt into a strip below it.

    The strip extends the canvas, so nothing covers anatomy but the two letters of the sides at the
    rim: a picture that was turned or cut out must still say which side is which. Slices shorter
    than `MIN_PNG_SIDE` are enlarged by a whole factor, repeating pixels; only where pixels are not
    square is one axis interpolated to give the picture its true proportions.

    Args:
        image: (H, W) real numbers, shown black at 0 and white at 1 unless `window` says otherwise.
        label: what the picture is, for example `synthetic_label("T2")`.
        volume: whose pixels have the size of those of `image`; where it says millimetres, a scale
            bar is drawn.
        index: which slice of `volume` it is: its number is written below, and the letters of the
            patient's sides, where the file says them, at the left and the right edge.
        window: of the picture; PS3.3 C.11.2.1.3.2, LINEAR_EXACT.
        provenance: names (1 to 79 Latin-1 characters) and values for the PNG's text chunks.
        min_width: of the picture, in pixels.

    Raises:
        ValueError: `image` is not a finite 2-D array, the label is empty, or the window's width
            is not positive.
    """
    image = np.asarray(image, dtype=np.float64)
    if image.ndim != 2 or 0 in image.shape or not np.isfinite(image).all():
        raise ValueError(f"expected one finite (H, W) slice, got an array of shape {image.shape}")
    if not label.strip():
        raise ValueError("a picture that leaves the page needs a label")
    picture = Image.fromarray(np.rint(windowed(image, window) * 255).astype(np.uint8))
    picture, mm_per_pixel = _enlarged(picture, volume and volume.pixel_spacing, min_width)
    if volume is None or volume.spacing is None:  # proportions have no millimetres
        mm_per_pixel = None
    place = ""
    if volume is not None and index is not None:
        if len(volume.pixels) > 1:
            place = f"Slice {index + 1} of {len(volume.pixels)}"
        if volume.directions:  # half-way up both edges, white with a black rim
            font, draw = ImageFont.load_default(_FONT_SIZE), ImageDraw.Draw(picture)
            rim = {"fill": 255, "stroke_width": 2, "stroke_fill": 0, "font": font}
            middle, right = picture.height // 2, picture.width - _MARGIN
            draw.text((_MARGIN, middle), volume.directions[0], anchor="lm", **rim)
            draw.text((right, middle), volume.directions[1], anchor="rm", **rim)

    metadata = PngImagePlugin.PngInfo()
    chunks = {"Description": label, "DigitalSourceType": SOURCE_TYPE, "XML:com.adobe.xmp": _XMP}
    chunks |= {"Caveat": CAVEAT, **(provenance or {})}
    if window is not None:
        chunks["Window"] = "center {:.3f}, width {:.3f}".format(*window)
    for key, value in chunks.items():
        metadata.add_itxt(key, value)
    buffer = io.BytesIO()
    _with_strip(picture, label, place, mm_per_pixel).save(buffer, "PNG", pnginfo=metadata)
    return buffer.getvalue()


def windowed(image: np.ndarray, window: Window | None) -> np.ndarray:
    """An image as it is seen through a window, black 0 and white 1; default all of [0, 1].

    Raises:
        ValueError: the window's width is not positive.
    """
    center, width = window or (0.5, 1.0)
    if not width > 0:
        raise ValueError(f"the window width must be positive, got {width}")
    return np.clip((image - center) / width + 0.5, 0.0, 1.0)


def in_source_grid(pixels: np.ndarray, volume: Volume) -> tuple[np.ndarray, np.ndarray]:
    """Turn a result back from the shown order of pixels to the stored one; nothing is resampled.

    Args:
        pixels: (Z, H, W) of the shape of `volume.pixels`.
        volume: the source as `read_volume` returned it.

    Returns:
        The result with the axes of the source's file, for DICOM (column, row, slice), and the
        (4, 4) affine from those indices to RAS+ mm. Where the source has no place in space the
        order is the shown one and the affine says the spacing only.

    Raises:
        ValueError: shape and volume do not belong together.
    """
    if np.shape(pixels) != volume.pixels.shape:
        raise ValueError(
            f"a result of shape {np.shape(pixels)} does not lie in a volume of shape "
            f"{volume.pixels.shape}"
        )
    stack = np.transpose(pixels, (2, 1, 0))
    if volume.affine is None:
        return stack, np.diag([*(volume.spacing or (1.0, 1.0, 1.0))[::-1], 1.0])
    if volume.stored_affine is None:
        return stack, volume.affine
    turn = io_orientation(np.linalg.inv(volume.stored_affine) @ volume.affine)
    return apply_orientation(stack, turn), volume.stored_affine


def nifti(pixels: np.ndarray, volume: Volume, *, description: str) -> bytes:
    """Write a result as .nii.gz (float32) in the grid and affine of the file it came from.

    Voxels lie at the same millimetre positions as the source's. For a NIfTI source the array also
    has the source's own axis order, so that it matches index by index, not only in space.

    Args:
        pixels: (Z, H, W) of the shape of `volume.pixels`.
        volume: the source as `read_volume` returned it. Without an affine only its spacing is
            used, and the file says that its place is unknown (form codes 0).
        description: stored in full as a comment extension, its first 79 bytes in `descrip`.

    Raises:
        ValueError: shape and volume do not belong together.
    """
    placed, affine = in_source_grid(np.asarray(pixels, dtype=np.float32), volume)
    image = nib.Nifti1Image(placed, affine)
    if volume.directions is None or volume.affine is None:  # form codes 0: spacing only
        zooms = image.header.get_zooms()
        image = nib.Nifti1Image(image.dataobj, None)
        image.header.set_zooms(zooms)
    else:
        image.set_sform(image.affine, "scanner")
        image.set_qform(image.affine, "scanner", strip_shears=True)
        if not np.allclose(image.get_qform(), image.affine, atol=1e-3):
            image.set_qform(None, "unknown")  # no quaternion says this affine; the sform does
    header = image.header
    header.set_xyzt_units("mm")
    encoded = description.encode("utf-8")
    header["descrip"] = encoded[:79].decode("utf-8", "ignore").encode("utf-8")
    header.extensions.append(Nifti1Extension("comment", encoded))
    return gzip.compress(image.to_bytes(), _NIFTI_COMPRESSION, mtime=0)


def _enlarged(
    picture: Image.Image, spacing: Sequence[float] | None, min_width: int
) -> tuple[Image.Image, float | None]:
    """Square pixels, at least `MIN_PNG_SIDE` on the longer side and `min_width` across; and mm per
    pixel, if known."""
    width, height = picture.size
    fine = None
    if spacing is not None:
        row_mm, column_mm = (float(mm) for mm in tuple(spacing)[-2:])
        fine = min(row_mm, column_mm)
        proportion = max(row_mm, column_mm) / fine
        if not proportion <= _MAX_PROPORTION:
            return _enlarged(picture, None, min_width)
        if proportion > 1.01:
            width = round(width * column_mm / fine)
            height = round(height * row_mm / fine)
            picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    factor = max(1, math.ceil(MIN_PNG_SIDE / max(width, height)), math.ceil(min_width / width))
    picture = picture.resize((width * factor, height * factor), Image.Resampling.NEAREST)
    return picture, None if fine is None else fine / factor


def _with_strip(
    picture: Image.Image, label: str, place: str, mm_per_pixel: float | None
) -> Image.Image:
    """The picture on a canvas with a strip below for the label, `place` and the scale bar."""
    font = ImageFont.load_default(_FONT_SIZE)
    label = label.replace("→", "to")  # the built-in font has no arrow
    width = max(picture.width, 2 * _MARGIN + math.ceil(max(map(font.getlength, label.split()))))
    lines = [*_wrapped(label, font, width - 2 * _MARGIN), *filter(None, [place])]
    line_height = sum(font.getmetrics()) + 2
    bars = [(round(mm / mm_per_pixel), mm) for mm in _SCALE_BARS_MM] if mm_per_pixel else []
    # The longest round one that takes up to a third of the width.
    bar = next((bar for bar in bars if bar[0] <= picture.width / 3), None)
    height = 2 * _MARGIN + line_height * (len(lines) + (bar is not None))
    canvas = Image.new("L", (width, picture.height + height))
    canvas.paste(picture, ((width - picture.width) // 2, 0))
    draw = ImageDraw.Draw(canvas)
    draw.line([(0, picture.height), (width, picture.height)], fill=96)
    y = picture.height + _MARGIN
    for line in lines:
        draw.text((_MARGIN, y), line, fill=255, font=font)
        y += line_height
    if bar is not None:
        pixels, millimetres = bar
        middle = y + line_height // 2
        draw.rectangle([_MARGIN, middle - 1, _MARGIN + pixels - 1, middle + 1], fill=255)
        draw.text((_MARGIN + pixels + _MARGIN, y), f"{millimetres} mm", fill=255, font=font)
    return canvas


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """Break text between words so that each line fits into `width` pixels."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return [line for line in lines if line]
