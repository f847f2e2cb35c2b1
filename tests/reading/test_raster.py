"""PNG, JPEG, BMP and TIFF: exact values, any bit depth, grey only."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image, PngImagePlugin

from cyclegan.reading.read import read_volume
from cyclegan.reading.volume import ORIENTATION_UNKNOWN, ReadError


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


def test_png_16_bit_keeps_every_value(tmp_path, deep):
    path = tmp_path / "deep.png"
    Image.fromarray(deep).save(path)
    assert_slice(path, deep)


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [("png", "RGB"), ("png", "RGBA"), ("png", "LA"), ("png", "P"), ("tif", "RGB"), ("tif", "RGBA")],
)
def test_grey_in_disguise_becomes_grey(tmp_path, shallow, mode, suffix):
    path = tmp_path / f"grey.{suffix}"
    Image.fromarray(shallow).convert(mode).save(path)
    assert_slice(path, shallow)


def test_tiff_palette_is_looked_up_in_its_16_bits(tmp_path, shallow):
    path = tmp_path / "palette.tif"
    colormap = np.tile(np.arange(256, dtype=np.uint16) * 257, (3, 1))
    tifffile.imwrite(path, shallow, photometric="palette", colormap=colormap)
    assert_slice(path, shallow.astype(np.uint16) * 257)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_bmp_and_content_over_name(tmp_path, shallow, mode):
    path = tmp_path / "really_a_bitmap.dcm"
    Image.fromarray(shallow).convert(mode).save(path, "BMP")
    assert_slice(path, shallow)


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_animations_are_stacks_of_their_frames(tmp_path, shallow, suffix):
    slices = [shallow, shallow[::-1], shallow // 2]
    first, *others = [Image.fromarray(each) for each in slices]
    path = tmp_path / f"a.{suffix}"
    first.save(path, lossless=True)
    assert_slice(path, shallow)
    first.save(path, save_all=True, append_images=others, lossless=True)
    np.testing.assert_array_equal(read_volume(path).pixels, np.stack(slices))


def test_words_in_a_png_do_not_cost_the_picture(tmp_path, shallow):
    path, words = tmp_path / "a.png", PngImagePlugin.PngInfo()
    words.add_text("Comment", "hello world")
    words.add_itxt("XML:com.adobe.xmp", "x" * 2_000_000, zip=True)  # longer than Pillow reads
    Image.fromarray(shallow).save(path, pnginfo=words, icc_profile=b"none")
    path.write_bytes(path.read_bytes().replace(b"hello world", b"hello w0rld"))  # a wrong checksum
    assert_slice(path, shallow)


def test_jpeg_grey_and_rgb_agree(tmp_path, shallow):
    for mode in ("L", "RGB"):
        path = tmp_path / f"{mode}.jpg"
        Image.fromarray(shallow).convert(mode).save(path, quality=95)
        assert_slice(path, shallow, atol=4)


def test_transparent_parts_are_black(tmp_path, shallow):
    rgba = np.dstack([shallow, shallow, shallow, np.full_like(shallow, 255)])
    rgba[:10, :, 3] = 0
    path = tmp_path / "cut_out.png"
    Image.fromarray(rgba).save(path)
    expected = shallow.copy()
    expected[:10] = 0
    assert_slice(path, expected)


def test_png_16_bit_rgb_is_not_squeezed(tmp_path, deep):
    # torchvision writes 8 bits only, so the chunks are put together here.
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    height, width = deep.shape
    rows = np.repeat(deep[..., None], 3, axis=2).astype(">u2").reshape(height, -1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    path = tmp_path / "deep_rgb.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(raw))
        + chunk(b"IEND", b"")
    )
    assert_slice(path, deep)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_exif_orientation_is_honoured(tmp_path, shallow, orientation, suffix):
    path = tmp_path / f"turned.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(shallow)
    image.save(path, exif=exif, **({"quality": 100} if suffix == "jpg" else {}))
    # What each value means, from TIFF 6.0 p. 36: where the stored first row and column belong.
    shown = {
        1: shallow,
        2: np.fliplr(shallow),
        3: np.rot90(shallow, 2),
        4: np.flipud(shallow),
        5: shallow.T,
        6: np.rot90(shallow, -1),
        7: np.rot90(shallow, 2).T,
        8: np.rot90(shallow, 1),
    }[orientation]
    assert_slice(path, shown, atol=2 if suffix == "jpg" else 0)


@pytest.mark.parametrize(
    "dtype", ["uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"]
)
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_tiff_number_types(tmp_path, deep, dtype, byteorder):
    values = (deep.astype(np.float64) - 20000).astype(np.int64)
    values = values % 256 if dtype == "uint8" else abs(values) if dtype[0] == "u" else values // 2
    path = tmp_path / f"{dtype}.tif"
    tifffile.imwrite(path, values.astype(dtype), byteorder=byteorder)
    assert_slice(path, values)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "float32"])
def test_tiff_compressed_in_either_order_of_bytes(tmp_path, deep, dtype, byteorder):
    values = (deep // 256 - 90 * (dtype[0] != "u")).astype(dtype)
    path = tmp_path / "packed.tif"
    tifffile.imwrite(path, values, byteorder=byteorder, compression="zlib")
    assert_slice(path, values)


@pytest.mark.parametrize("compression", ["zlib", "lzw", "packbits"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_tiff_compressed(tmp_path, deep, compression, dtype):
    values = (deep >> 8).astype(dtype) if dtype == "uint8" else deep.astype(dtype)
    names = {"zlib": "tiff_deflate", "lzw": "tiff_lzw", "packbits": "packbits"}
    path = tmp_path / f"{compression}.tif"
    Image.fromarray(values).save(path, compression=names[compression])
    assert_slice(path, values)


def test_tiff_compressed_with_predictor(tmp_path, deep):
    path = tmp_path / "predictor.tif"
    tifffile.imwrite(path, deep, compression="zlib", predictor=2)
    assert_slice(path, deep)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_white_is_zero(tmp_path, deep, compression, dtype):
    values = deep.astype(dtype)
    path = tmp_path / "inverted.tif"
    tifffile.imwrite(path, values, photometric="miniswhite", compression=compression)
    assert_slice(path, np.iinfo(dtype).max - values)


def test_tiff_rgb_16_bit_both_planar_layouts(tmp_path, deep):
    for axis, layout in ((0, "separate"), (2, "contig")):
        path = tmp_path / f"{layout}.tif"
        rgb = np.stack([deep] * 3, axis=axis)
        tifffile.imwrite(path, rgb, photometric="rgb", planarconfig=layout)
        assert_slice(path, deep)


def test_tiff_compressed_16_bit_rgb_is_refused_rather_than_squeezed(tmp_path, deep):
    path = tmp_path / "deep.tif"
    tifffile.imwrite(path, np.dstack([deep] * 3), photometric="rgb", compression="zlib")
    with pytest.raises(ReadError, match=r"deep\.tif: .*uncompressed"):
        read_volume(path)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tiff_pages_become_slices_in_order(tmp_path, deep, compression):
    stack = np.stack([deep, deep[::-1], deep // 2])
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, stack, photometric="minisblack", compression=compression)
    np.testing.assert_array_equal(read_volume(path).pixels, stack.astype(np.float32))


def test_tiff_imagej_stack(tmp_path, deep):
    stack = np.stack([deep, deep[::-1], deep // 2])
    path = tmp_path / "imagej.tif"
    tifffile.imwrite(path, stack, imagej=True, metadata={"axes": "ZYX"})
    np.testing.assert_array_equal(read_volume(path).pixels, stack.astype(np.float32))


def test_tiff_pages_of_different_size_are_refused(tmp_path, deep):
    path = tmp_path / "mixed.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(deep)
        writer.write(deep[:40])
    with pytest.raises(ReadError, match=r"mixed\.tif: .*pages differ"):
        read_volume(path)


def test_float_tiff_keeps_fractions_and_mends_gaps(tmp_path):
    values = np.linspace(-1.5, 2.5, 64 * 48, dtype=np.float32).reshape(64, 48)
    values[3, 4], values[5, 6] = np.nan, np.inf
    path = tmp_path / "gaps.tif"
    tifffile.imwrite(path, values)
    volume = read_volume(path)
    assert volume.pixels[0, 3, 4] == -1.5
    assert volume.pixels[0, 5, 6] == 2.5
    assert volume.pixels[0, 10, 10] == values[10, 10]
    assert any(note.startswith("2 pixels") for note in volume.notes)


def test_colour_photograph_is_refused_in_every_format(tmp_path, shallow):
    colour = np.dstack([shallow, shallow[::-1], 255 - shallow])
    for suffix in ("png", "jpg", "bmp", "tif"):
        path = tmp_path / f"photo.{suffix}"
        Image.fromarray(colour).save(path)
        with pytest.raises(ReadError, match=f"photo.{suffix}: this is a colour image"):
            read_volume(path)


def test_dim_16_bit_colour_is_still_colour(tmp_path, deep):
    dim = (deep // 64).astype(np.uint16)  # 10 bits used of 16
    path = tmp_path / "dim.tif"
    tifffile.imwrite(path, np.dstack([dim, dim[::-1], dim[:, ::-1]]), photometric="rgb")
    with pytest.raises(ReadError, match="colour"):
        read_volume(path)


def test_a_coloured_mark_on_a_grey_screenshot_is_tolerated(tmp_path, shallow):
    rgb = np.dstack([np.tile(shallow, (4, 4))] * 3)
    rgb[4:8, 4:12] = (255, 255, 0)
    path = tmp_path / "marked.png"
    Image.fromarray(rgb).save(path)
    assert read_volume(path).pixels.shape == (1, 192, 160)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.zeros((64, 64), np.uint8), "same value"),
        (np.full((64, 64), 200, np.uint8), "same value"),
        (np.eye(31, 64, dtype=np.uint8), "at least 32 x 32"),
        (np.full((64, 64), np.nan, np.float32), "no pixel holds a number"),
    ],
)
def test_images_without_content_are_refused(tmp_path, values, reason):
    path = tmp_path / "nothing.tif"
    tifffile.imwrite(path, values)
    with pytest.raises(ReadError, match=f"nothing.tif: .*{reason}"):
        read_volume(path)


def test_torch_is_not_imported_for_ordinary_files():
    modules = "cyclegan.reading.volume, cyclegan.reading.raster, cyclegan.reading.tiff"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"
