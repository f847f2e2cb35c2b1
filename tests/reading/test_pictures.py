"""PNG, JPEG, BMP, GIF, WebP and TIFF: exact values, any bit depth, grey only; rare kinds named."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pydicom
import pytest
import tifffile
from dicom_files import mr_image
from intact_files import compressed, dicom_bytes
from PIL import Image, PngImagePlugin
from pydicom.encaps import generate_frames

from cyclegan.reading.read import read_volume
from cyclegan.reading.selection import open_files
from cyclegan.reading.volume import ORIENTATION_UNKNOWN, ReadError

RNG = np.random.default_rng(7)
# What each EXIF orientation means, from TIFF 6.0 p. 36: where the first row and column belong.
UPRIGHT = {
    1: lambda pixels: pixels,
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).T,
    8: np.rot90,
}


@pytest.fixture
def deep() -> np.ndarray:
    """(48, 40) uint16 using more than 8 bits, with no symmetry."""
    return np.random.default_rng(0).integers(0, 65536, (48, 40), dtype=np.uint16)


@pytest.fixture
def shallow() -> np.ndarray:
    """(48, 40) uint8, smooth enough for JPEG, with no symmetry."""
    rows, columns = np.mgrid[0:48, 0:40]
    return (4 * rows + columns).astype(np.uint8)


def assert_slice(path, expected, atol=0.0):
    volume = read_volume(path)
    assert volume.pixels.dtype == np.float32
    assert volume.pixels.flags.c_contiguous
    np.testing.assert_allclose(volume.pixels, np.asarray(expected, np.float32)[None], atol=atol)
    assert volume.name == path.name
    assert (volume.spacing, volume.affine, volume.directions) == (None, None, None)
    assert ORIENTATION_UNKNOWN in volume.notes


@pytest.mark.parametrize(
    ("name", "mode", "atol"),
    [
        *((f"a.{suffix}", mode, 0) for suffix in ("png", "tif") for mode in ("L", "RGB", "RGBA")),
        *(("a.png", "LA", 0), ("a.png", "P", 0), ("really.dcm", "L", 0), ("really.dcm", "RGB", 0)),
        *(("a.jpg", "L", 4), ("a.jpg", "RGB", 4), ("a.gif", "L", 0), ("a.webp", "L", 0)),
    ],
)
def test_grey_in_every_format_and_mode(tmp_path, shallow, name, mode, atol):
    kind = "BMP" if name == "really.dcm" else None  # content decides, not the name
    options = {"quality": 95} if name == "a.jpg" else {"lossless": True}
    Image.fromarray(shallow).convert(mode).save(tmp_path / name, kind, **options)
    assert_slice(tmp_path / name, shallow, atol)


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_animations_are_stacks_of_their_frames(tmp_path, shallow, suffix):
    slices = [shallow, shallow[::-1], shallow // 2]
    first, *others = map(Image.fromarray, slices)
    first.save(tmp_path / f"a.{suffix}", save_all=True, append_images=others, lossless=True)
    np.testing.assert_array_equal(read_volume(tmp_path / f"a.{suffix}").pixels, np.stack(slices))


def png(values, *, apple=False) -> bytes:
    """A PNG of (H, W) or (H, W, C) of 8 or 16 bits, which Pillow does not write in colours; as
    Apple's pngcrush rewrites it: raw deflate, blue first, times opacity."""
    values = np.atleast_3d(values)
    channels, bits = values.shape[2], 8 * values.dtype.itemsize
    if apple and channels == 4:
        values = values[..., [2, 1, 0, 3]].astype(int)
        values[..., :3] = values[..., :3] * values[..., 3:] // 255
    elif apple and channels == 3:
        values = values[..., ::-1]
    colour_type = {1: 0, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", *values.shape[1::-1], bits, colour_type, 0, 0, 0)
    rows = values.astype(f">u{bits // 8}").reshape(len(values), -1)
    packer = zlib.compressobj(9, wbits=-15 if apple else 15)
    packed = packer.compress(b"".join(b"\0" + row.tobytes() for row in rows)) + packer.flush()
    chunks = [(b"CgBI", b"\x50\0\x20\x02")] * apple + [(b"IHDR", header)]
    half = len(packed) // 2
    chunks += [(b"IDAT", packed[:half]), (b"IDAT", packed[half:]), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def test_png_of_16_bits_keeps_every_value(tmp_path, deep):
    for values in (deep, np.dstack([deep] * 3)):
        (tmp_path / "deep.png").write_bytes(png(values))
        assert_slice(tmp_path / "deep.png", deep)


def test_words_in_a_png_do_not_cost_the_picture(tmp_path, shallow):
    path, words = tmp_path / "a.png", PngImagePlugin.PngInfo()
    words.add_text("Comment", "hello world")
    words.add_itxt("XML:com.adobe.xmp", "x" * 2_000_000, zip=True)  # longer than Pillow reads
    Image.fromarray(shallow).save(path, pnginfo=words, icc_profile=b"none")
    path.write_bytes(path.read_bytes().replace(b"hello world", b"hello w0rld"))  # a wrong checksum
    assert_slice(path, shallow)


def test_transparent_parts_are_black_unless_all_is_transparent(tmp_path, shallow):
    black = np.where(np.arange(48)[:, None] < 10, 0, shallow)
    for opacity, expected in ((255 * (black > 0), black), (0 * shallow, shallow)):
        rgba = np.dstack([shallow, shallow, shallow, opacity]).astype(np.uint8)
        Image.fromarray(rgba).save(tmp_path / "a.png")
        assert_slice(tmp_path / "a.png", expected)
    Image.fromarray(shallow).save(tmp_path / "a.png", transparency=7)
    assert_slice(tmp_path / "a.png", np.where(shallow == 7, 0, shallow))


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_exif_orientation_is_honoured(tmp_path, shallow, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100} if suffix == "jpg" else {}
    Image.fromarray(shallow).save(tmp_path / f"turned.{suffix}", exif=exif, **options)
    expected = UPRIGHT[orientation](shallow)
    assert_slice(tmp_path / f"turned.{suffix}", expected, atol=2 if suffix == "jpg" else 0)


@pytest.mark.parametrize("ending", ["png", "jpg"])
@pytest.mark.parametrize(("dpi", "aspect"), [((150, 75), 2), ((300, 300), None), (None, None)])
def test_unequal_resolutions_are_the_shape_of_pixels(tmp_path, shallow, ending, dpi, aspect):
    options = {"dpi": dpi} if dpi else {}
    Image.fromarray(shallow).save(tmp_path / f"a.{ending}", **options)
    sides = read_volume(tmp_path / f"a.{ending}").aspect
    assert (sides and sides[0] / sides[1]) == (aspect and pytest.approx(aspect, rel=1e-2))


# TIFF


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize(
    "dtype", ["uint8", "int16", "uint16", "int32", "uint32", "float16", "float32", "float64"]
)
def test_tiff_number_types(tmp_path, deep, dtype, byteorder):
    values = (deep.astype(np.float64) - 20000).astype(np.int64)
    values = values % 256 if dtype in ("uint8", "float16") else values // 2
    values = abs(values) if dtype[0] == "u" else values
    tifffile.imwrite(tmp_path / "a.tif", values.astype(dtype), byteorder=byteorder)
    assert_slice(tmp_path / "a.tif", values)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "float32"])
def test_compressed_tiff_in_either_order_of_bytes(tmp_path, deep, dtype, byteorder):
    values = (deep // 256 - 90 * (dtype[0] != "u")).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", values, byteorder=byteorder, compression="zlib")
    assert_slice(tmp_path / "a.tif", values)


@pytest.mark.parametrize("compression", ["tiff_deflate", "tiff_lzw", "packbits"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_compressions_of_tiff(tmp_path, deep, compression, dtype):
    values = (deep >> 8 if dtype == "uint8" else deep).astype(dtype)
    Image.fromarray(values).save(tmp_path / "a.tif", compression=compression)
    assert_slice(tmp_path / "a.tif", values)


COLOURMAP = np.tile(np.arange(256, dtype=np.uint16) * 257, (3, 1))


@pytest.mark.parametrize(
    ("stored", "options", "expected"),
    [
        (
            lambda deep: deep.astype(np.uint8),
            {"photometric": "palette", "colormap": COLOURMAP},
            lambda deep: deep.astype(np.uint8) * 257.0,
        ),
        (lambda deep: deep, {"compression": "zlib", "predictor": 2}, lambda deep: deep),
        *(
            (
                lambda deep, dtype=dtype: deep.astype(dtype),
                {"photometric": "miniswhite", "compression": compression},
                lambda deep, dtype=dtype: np.iinfo(dtype).max - deep.astype(dtype),
            )
            for compression in (None, "zlib")
            for dtype in (np.uint8, np.uint16)
        ),
        *(
            (
                lambda deep, axis=axis: np.stack([deep] * 3, axis=axis),
                {"photometric": "rgb", "planarconfig": layout},
                lambda deep: deep,
            )
            for axis, layout in ((0, "separate"), (2, "contig"))
        ),
    ],
)
def test_tiff_is_read_to_the_last_bit(tmp_path, deep, stored, options, expected):
    tifffile.imwrite(tmp_path / "a.tif", stored(deep), **options)
    assert_slice(tmp_path / "a.tif", expected(deep))


@pytest.mark.parametrize(
    "options",
    [
        {"photometric": "minisblack"},
        {"photometric": "minisblack", "compression": "zlib"},
        {"imagej": True, "metadata": {"axes": "ZYX"}},
    ],
)
def test_tiff_pages_become_slices_in_order(tmp_path, deep, options):
    stack = np.stack([deep, deep[::-1], deep // 2])
    tifffile.imwrite(tmp_path / "a.tif", stack, **options)
    np.testing.assert_array_equal(read_volume(tmp_path / "a.tif").pixels, stack)


def test_channels_and_times_are_a_choice(tmp_path):
    pixels = RNG.integers(0, 999, (2, 5, 3, 48, 40)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, imagej=True, metadata={"axes": "TZCYX"})
    selection = open_files([tmp_path / "a.tif"])
    assert len(selection.choices) == 6
    assert selection.choices[4] == "a.tif, time 2 of 2, channel 2 of 3, 5 slices, 40 x 48"
    np.testing.assert_array_equal(selection.read(4).pixels, pixels[1, :, 1])
    with pytest.raises(ReadError, match="holds 6 images or series"):
        read_volume(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "a.ome.tif", pixels[:, :, 0], ome=True, metadata={"axes": "CZYX"})
    selection = open_files([tmp_path / "a.ome.tif"])
    assert len(selection.choices) == 2
    np.testing.assert_array_equal(selection.read(1).pixels, pixels[1, :, 0])


@pytest.mark.parametrize(
    ("kind", "unit", "factor"),
    [
        *(("ome", unit, f) for unit, f in (("µm", 1000), ("mm", 1), ("cm", 0.1), ("nm", 1e6))),
        *(("imagej", unit, f) for unit, f in (("micron", 1000), ("mm", 1), ("cm", 0.1))),
    ],
)
def test_sizes_of_a_tiff_are_read_in_their_unit(tmp_path, deep, kind, unit, factor):
    metadata = {"axes": "ZYX", "spacing": 3.0 * factor, "unit": unit}
    options = {"resolution": (1 / (0.75 * factor), 1 / (0.5 * factor))}
    if kind == "ome":
        sizes = {"Z": 3.0, "Y": 0.5, "X": 0.75}
        metadata = {f"PhysicalSize{axis}": mm * factor for axis, mm in sizes.items()}
        metadata |= {"axes": "ZYX", **{f"PhysicalSize{axis}Unit": unit for axis in sizes}}
        options = {"photometric": "minisblack"}
    tifffile.imwrite(
        tmp_path / "a.tif", np.stack([deep] * 3), metadata=metadata, **{kind: True}, **options
    )
    np.testing.assert_allclose(read_volume(tmp_path / "a.tif").spacing, (3, 0.5, 0.75), rtol=1e-4)


@pytest.mark.parametrize("orientation", [1, 6])
def test_the_resolution_of_tiff_is_the_shape_of_pixels(tmp_path, deep, orientation):
    tags = [(274, "H", 1, orientation, True)]
    tifffile.imwrite(tmp_path / "a.tif", deep, resolution=(200, 100), extratags=tags)
    volume = read_volume(tmp_path / "a.tif")
    assert volume.spacing is None
    row, column = volume.aspect
    assert row / column == pytest.approx(2 if orientation == 1 else 0.5)


def packed_tiff(values, bits, *, white=1, fill=1, compression=1, order="<") -> bytes:
    """A TIFF of two strips, each row from a byte on; TIFF 6.0, p. 32."""
    flags = ((values[..., None] >> np.arange(bits)[::-1]) & 1).astype(np.uint8)
    fills = "big" if fill == 1 else "little"
    rows = np.packbits(flags.reshape(len(values), -1), axis=1, bitorder=fills)
    strips = [strip.tobytes() for strip in (rows[:25], rows[25:])]
    strips = [zlib.compress(strip) for strip in strips] if compression == 8 else strips
    lengths = list(map(len, strips))
    behind = 8 + 2 + 12 * 10 + 4  # the header, and the list of ten tags
    places = [behind + 16, behind + 16 + lengths[0]]
    tags = {256: values.shape[1], 257: values.shape[0], 258: bits, 259: compression, 262: white}
    tags |= {266: fill, 273: behind, 277: 1, 278: 25, 279: behind + 8}
    entries = [
        struct.pack(f"{order}HHII", tag, 4, 1 + (tag in (273, 279)), value)
        for tag, value in tags.items()
    ]
    start = b"II*\0" if order == "<" else b"MM\0*"
    head = start + struct.pack(f"{order}IH", 8, len(tags)) + b"".join(entries) + bytes(4)
    return head + struct.pack(f"{order}4I", *places, *lengths) + b"".join(strips)


@pytest.mark.parametrize("bits", [6, 10, 12, 14])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("white", "fill"), [(1, 1), (0, 1), (1, 2)])
def test_packed_tiff_is_read(tmp_path, bits, order, white, fill):
    values = RNG.integers(0, 2**bits, (41, 37))
    data = packed_tiff(values, bits, white=white, fill=fill, order=order)
    (tmp_path / "a.tif").write_bytes(data)
    assert_slice(tmp_path / "a.tif", values if white else 2**bits - 1 - values)


# Rare JPEG and PNG


def rare_jpeg(values: np.ndarray, bits: int, syntax="JPEGLosslessProcess14_1") -> bytes:
    """A lossless JPEG or JPEG-LS of some bits."""
    values = values.astype(np.uint8 if bits == 8 else np.uint16)
    plain = dicom_bytes(mr_image(values, BitsStored=bits, HighBit=bits - 1))
    dataset = pydicom.dcmread(io.BytesIO(compressed(plain, syntax)))
    return next(generate_frames(dataset.PixelData, number_of_frames=1))


@pytest.mark.parametrize("bits", [8, 12, 14])
@pytest.mark.parametrize("syntax", ["JPEGLosslessProcess14_1", "JPEGLSLossless"])
def test_rare_jpeg_is_read(tmp_path, bits, syntax):
    values = RNG.integers(0, 2**bits, (40, 36))
    (tmp_path / "a.jpg").write_bytes(rare_jpeg(values, bits, syntax))
    assert_slice(tmp_path / "a.jpg", values)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_apple_png_is_read(tmp_path, channels):
    grey, opacity = RNG.integers(0, 256, (2, 40, 36)).astype(np.uint8)
    values = [grey] * min(channels, 3) + [opacity] * (channels == 4)
    expected = grey.astype(int) * opacity // 255 if channels == 4 else grey
    (tmp_path / "a.png").write_bytes(png(np.dstack(values), apple=True))
    assert_slice(tmp_path / "a.png", expected, atol=1e-4)


def test_an_apple_png_that_unpacks_to_more_is_refused(tmp_path):
    data = png(np.zeros((2000, 2000), np.uint8), apple=True)
    at = data.index(b"IHDR")
    small = struct.pack(">II", 40, 40) + data[at + 12 : at + 17]
    data = data[: at - 4] + png_chunk(b"IHDR", small) + data[at + 21 :]
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(ReadError, match="more pixels than its header gives"):
        read_volume(tmp_path / "a.png")


# Refusals


def two_sizes(values) -> bytes:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(values)
        writer.write(values[:40])
    return buffer.getvalue()


def tiff(values, **options) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.asarray(values), **options)
    return buffer.getvalue()


SMALL = RNG.integers(0, 256, (41, 37))
DEEP = RNG.integers(0, 1024, (48, 40)).astype(np.uint16)
JPEG = rare_jpeg(RNG.integers(0, 4096, (40, 36)), 12)
UNCOMPRESSED = "save it uncompressed"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (tiff(np.zeros((64, 64), np.uint8)), "same value"),
        (tiff(np.full((64, 64), 200, np.uint8)), "same value"),
        (tiff(np.eye(31, 64, dtype=np.uint8)), "at least 32 x 32"),
        (tiff(np.full((64, 64), np.nan, np.float32)), "no pixel holds a number"),
        (two_sizes(DEEP), "pages differ"),
        (tiff(np.dstack([DEEP] * 3), photometric="rgb", compression="zlib"), "uncompressed"),
        (tiff(np.dstack([DEEP, DEEP[::-1], DEEP[:, ::-1]]), photometric="rgb"), "colour"),
        (packed_tiff(SMALL, 12, compression=8), f"12 bits per pixel.*{UNCOMPRESSED}"),
        (packed_tiff(SMALL, 24), f"24 bits per pixel.*{UNCOMPRESSED}"),
        (packed_tiff(SMALL, 8, compression=34712), f"compressed by JPEG2000.*{UNCOMPRESSED}"),
        (packed_tiff(SMALL, 8, compression=50002), f"compressed by JPEGXL.*{UNCOMPRESSED}"),
        (packed_tiff(SMALL, 8, compression=6), f"compressed by OJPEG.*{UNCOMPRESSED}"),
        (JPEG.replace(b"\xff\xc3", b"\xff\xcb"), "a lossless arithmetic-coded JPEG.*as PNG"),
        (JPEG.replace(b"\xff\xc3", b"\xff\xc5"), "a hierarchical JPEG.*save it as PNG"),
        (JPEG.replace(b"\0\x28\0\x24", b"\xff\xff\xff\xff"), "more than an MR image has"),
        (JPEG[:30], "damaged"),
    ],
)
def test_pictures_that_cannot_be_read_are_refused_in_words(tmp_path, data, words):
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(ReadError, match=rf"^a\.tif: .*{words}"):
        read_volume(tmp_path / "a.tif")


def test_colours_are_refused_in_every_format_but_a_small_mark(tmp_path, shallow):
    for suffix in ("png", "jpg", "bmp", "tif"):
        path = tmp_path / f"photo.{suffix}"
        Image.fromarray(np.dstack([shallow, shallow[::-1], 255 - shallow])).save(path)
        with pytest.raises(ReadError, match=f"photo.{suffix}: this is a colour image"):
            read_volume(path)
    marked = np.dstack([np.tile(shallow, (4, 4))] * 3)
    marked[4:8, 4:12] = (255, 255, 0)
    Image.fromarray(marked).save(tmp_path / "marked.png")
    assert read_volume(tmp_path / "marked.png").pixels.shape == (1, 192, 160)


def test_values_that_are_no_numbers_become_the_nearest(tmp_path):
    values = np.linspace(-1.5, 2.5, 64 * 48, dtype=np.float32).reshape(64, 48)
    values[3, 4], values[5, 6] = np.nan, np.inf
    tifffile.imwrite(tmp_path / "gaps.tif", values)
    volume = read_volume(tmp_path / "gaps.tif")
    assert volume.pixels[0, [3, 5, 10], [4, 6, 10]].tolist() == [-1.5, 2.5, values[10, 10]]
    assert any(note.startswith("2 pixels") for note in volume.notes)


def test_torch_and_pydicom_are_not_imported_for_ordinary_pictures(tmp_path, shallow):
    Image.fromarray(shallow).save(tmp_path / "a.png")
    code = "import sys; from cyclegan import read_volume; read_volume(sys.argv[1])"
    code += "; print({'torch', 'pydicom', 'nibabel'} & set(sys.modules))"
    command = [sys.executable, "-c", code, str(tmp_path / "a.png")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
