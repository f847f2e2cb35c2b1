"""Intact files of rare kinds: read to the last bit, or called by their name; never damaged."""

from __future__ import annotations

import io
import struct
import zlib

import nibabel as nib
import numpy as np
import pydicom
import pytest
import tifffile
from dicom_files import mr_image, saved
from PIL import Image
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
)

from cyclegan.reading.read import read_volume
from cyclegan.reading.selection import open_files
from cyclegan.reading.volume import ReadError

RNG = np.random.default_rng(7)


def bits_of(values: np.ndarray, bits: int, order: str) -> np.ndarray:
    """(..., N * bits) of the bits of values, lowest or highest first."""
    shifts = np.arange(bits) if order == "little" else np.arange(bits)[::-1]
    flags = (values[..., None] >> shifts) & 1
    return flags.astype(np.uint8).reshape(*values.shape[:-1], -1)


# DICOM


def packed(values: np.ndarray, bits: int, signed: bool = False):
    """A DICOM object whose pixels share bytes, as PS3.5 of 1993 packs them."""
    dataset = mr_image(np.zeros(values.shape, np.uint16))
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, int(signed)
    data = np.packbits(bits_of(values.ravel(), bits, "little"), bitorder="little").tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    return dataset


@pytest.mark.parametrize("bits", [4, 10, 12, 14])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("shape", [(41, 37), (3, 41, 37)])
@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_packed_dicom_is_read(tmp_path, bits, signed, shape, syntax):
    values = RNG.integers(0, 2**bits, shape)
    dataset = packed(values, bits, signed)
    dataset.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    path = tmp_path / "a.dcm"
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    expected = np.where(values >= 2 ** (bits - 1), values - 2**bits, values) if signed else values
    assert np.array_equal(read_volume(path).pixels.reshape(shape), expected)
    assert np.array_equal(open_files([path]).read(0).pixels.reshape(shape), expected)


def test_twelve_bits_that_are_not_packed_after_all(tmp_path):
    values = RNG.integers(0, 4096, (40, 36)).astype(np.uint16)
    dataset = mr_image(values)
    dataset.BitsAllocated = dataset.BitsStored = 12
    dataset.HighBit = 11
    assert np.array_equal(read_volume(saved(tmp_path, dataset)).pixels[0], values)


def test_a_short_packed_file_is_damaged(tmp_path):
    dataset = packed(RNG.integers(0, 4096, (40, 36)), 12)
    dataset.PixelData = dataset.PixelData[:-200]
    with pytest.raises(ReadError, match="damaged or truncated"):
        read_volume(saved(tmp_path, dataset))


def test_bits_without_a_decoder_are_named(tmp_path):
    dataset = mr_image(RNG.integers(0, 4096, (40, 36)).astype(np.uint16))
    dataset.BitsAllocated = 24
    with pytest.raises(ReadError, match="24 bits per pixel, which no decoder here knows"):
        read_volume(saved(tmp_path, dataset))


# TIFF


def tiff(values: np.ndarray, bits: int, *, white=1, fill=1, compression=1, order="<") -> bytes:
    """A TIFF of strips of ten rows, each row from a byte on; TIFF 6.0, p. 32."""
    strips = []
    for start in range(0, len(values), 10):
        flags = bits_of(values[start : start + 10], bits, "big")
        fills = "big" if fill == 1 else "little"
        rows = np.packbits(flags, axis=1, bitorder=fills).tobytes()
        strips.append(zlib.compress(rows) if compression == 8 else rows)
    tags = {256: [values.shape[1]], 257: [values.shape[0]], 258: [bits], 259: [compression]}
    tags |= {262: [white], 266: [fill], 273: [0] * len(strips), 277: [1], 278: [10]}
    tags[279] = [len(strip) for strip in strips]
    behind = 8 + 2 + 12 * len(tags) + 4
    first = behind + 8 * len(strips)
    tags[273] = [first + sum(tags[279][:at]) for at in range(len(strips))]
    entries, arrays = b"", b""
    for tag, numbers in sorted(tags.items()):
        data = struct.pack(f"{order}{len(numbers)}I", *numbers)
        if len(numbers) > 1:
            place, arrays = behind + len(arrays), arrays + data
            data = struct.pack(f"{order}I", place)
        entries += struct.pack(f"{order}HHI", tag, 4, len(numbers)) + data
    start = b"II*\0" if order == "<" else b"MM\0*"
    head = start + struct.pack(f"{order}IH", 8, len(tags)) + entries + bytes(4)
    return head + arrays + b"".join(strips)


@pytest.mark.parametrize("bits", [6, 10, 12, 14])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("white", "fill"), [(1, 1), (0, 1), (1, 2)])
def test_packed_tiff_is_read(tmp_path, bits, order, white, fill):
    values = RNG.integers(0, 2**bits, (41, 37))
    (tmp_path / "a.tif").write_bytes(tiff(values, bits, white=white, fill=fill, order=order))
    expected = values if white else 2**bits - 1 - values
    assert np.array_equal(read_volume(tmp_path / "a.tif").pixels[0], expected)


@pytest.mark.parametrize(
    ("bits", "compression", "words"),
    [
        (12, 8, "12 bits per pixel"),
        (24, 1, "24 bits per pixel"),
        (8, 34712, "compressed by JPEG2000"),
        (8, 50002, "compressed by JPEGXL"),
        (8, 6, "compressed by OJPEG"),
    ],
)
def test_tiff_without_a_decoder_is_named(tmp_path, bits, compression, words):
    values = RNG.integers(0, 2**8, (41, 37))
    (tmp_path / "a.tif").write_bytes(tiff(values, bits, compression=compression))
    with pytest.raises(ReadError, match=rf"{words}.*save it uncompressed"):
        read_volume(tmp_path / "a.tif")


def test_half_precision_tiff_is_read(tmp_path):
    values = RNG.random((40, 36)).astype(np.float16)
    tifffile.imwrite(tmp_path / "a.tif", values)
    assert np.array_equal(read_volume(tmp_path / "a.tif").pixels[0], values)


# JPEG


def lossless_jpeg(values: np.ndarray, bits: int) -> bytes:
    """A lossless JPEG of predictor 1 (ISO/IEC 10918-1, annex H), all codes 5 bits long."""
    rows, columns = values.shape
    differences = np.empty((rows, columns), np.int64)
    differences[:, 1:] = values[:, 1:].astype(np.int64) - values[:, :-1]
    differences[1:, 0] = values[1:, 0].astype(np.int64) - values[:-1, 0]
    differences[0, 0] = int(values[0, 0]) - 2 ** (bits - 1)
    text = []
    for difference in differences.ravel().tolist():
        size = abs(difference).bit_length()
        text.append(f"{size:05b}")
        if size:
            code = difference if difference > 0 else difference + 2**size - 1
            text.append(f"{code:0{size}b}")
    stream = "".join(text)
    stream += "1" * (-len(stream) % 8)
    scan = int(stream, 2).to_bytes(len(stream) // 8, "big").replace(b"\xff", b"\xff\0")
    lengths = bytes([0] * 4 + [17] + [0] * 11)
    table = b"\xff\xc4" + struct.pack(">HB", 2 + 1 + 16 + 17, 0) + lengths + bytes(range(17))
    frame = b"\xff\xc3" + struct.pack(">HBHHBBBB", 11, bits, rows, columns, 1, 1, 0x11, 0)
    start = b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0, 1, 0, 0)
    return b"\xff\xd8" + table + frame + start + scan + b"\xff\xd9"


@pytest.mark.parametrize("bits", [8, 12, 14])
def test_lossless_jpeg_is_read(tmp_path, bits):
    values = RNG.integers(0, 2**bits, (40, 36))
    (tmp_path / "a.jpg").write_bytes(lossless_jpeg(values, bits))
    assert np.array_equal(read_volume(tmp_path / "a.jpg").pixels[0], values)
    assert open_files([tmp_path / "a.jpg"]).choices == ("a.jpg, 1 slice, 36 x 40",)


def test_jpeg_ls_is_read(tmp_path):
    dataset = pydicom.dcmread(pydicom.data.get_testdata_file("MR_small_jpeg_ls_lossless.dcm"))
    assert dataset.file_meta.TransferSyntaxUID == JPEGLSLossless
    frame = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))
    (tmp_path / "a.jls").write_bytes(frame)
    plain = pydicom.dcmread(pydicom.data.get_testdata_file("MR_small.dcm")).pixel_array
    assert np.array_equal(read_volume(tmp_path / "a.jls").pixels[0], plain.astype(np.uint16))


def test_jpeg_of_twelve_bits_is_named(tmp_path):
    name = pydicom.data.get_testdata_file("JPGExtended.dcm")
    frames = pydicom.encaps.generate_frames(pydicom.dcmread(name).PixelData, number_of_frames=1)
    (tmp_path / "a.jpg").write_bytes(next(frames))
    with pytest.raises(ReadError, match="this is a JPEG of 12 bits, which no decoder here reads"):
        read_volume(tmp_path / "a.jpg")
    with pytest.raises(ReadError, match=r"compressed as JPEG of 12 bits.*DCMTK's dcmdjpeg"):
        read_volume(name)


@pytest.mark.parametrize(
    ("marker", "words"),
    [(0xCB, "lossless arithmetic-coded JPEG"), (0xC5, "hierarchical JPEG")],
)
def test_jpeg_without_a_decoder_is_named(tmp_path, marker, words):
    data = lossless_jpeg(RNG.integers(0, 256, (40, 36)), 8)
    (tmp_path / "a.jpg").write_bytes(data.replace(b"\xff\xc3", bytes([0xFF, marker])))
    with pytest.raises(ReadError, match=rf"this is an? {words}.*save it as PNG"):
        read_volume(tmp_path / "a.jpg")


def test_a_damaged_lossless_jpeg_and_one_that_claims_too_much(tmp_path):
    data = lossless_jpeg(RNG.integers(0, 4096, (40, 36)), 12)
    (tmp_path / "a.jpg").write_bytes(data.replace(b"\0\x28\0\x24", b"\xff\xff\xff\xff"))
    with pytest.raises(ReadError, match="more than an MR image has"):
        read_volume(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes(data[:30])
    with pytest.raises(ReadError, match="damaged"):
        read_volume(tmp_path / "a.jpg")


# Apple's PNG


def apple_png(image: Image.Image, **options) -> bytes:
    """A PNG as Apple's pngcrush rewrites it: raw deflate, blue first, times opacity."""
    if image.mode == "RGBA":
        pixels = np.array(image).astype(int)
        pixels[..., :3] = pixels[..., :3] * pixels[..., 3:] // 255
        image = Image.fromarray(pixels[..., [2, 1, 0, 3]].astype(np.uint8))
    elif image.mode == "RGB":
        image = Image.fromarray(np.array(image)[..., ::-1].copy())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    data, at, found, pixels = buffer.getvalue(), 8, [], b""
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        kind, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        if kind == b"IDAT":
            pixels += content
        else:
            found.append((kind, content))
        at += 12 + length
    packer = zlib.compressobj(9, wbits=-15)
    raw = packer.compress(zlib.decompress(pixels)) + packer.flush()
    half = len(raw) // 2
    found = [(b"CgBI", b"\x50\0\x20\x02"), *found[:-1], (b"IDAT", raw[:half])]
    found += [(b"IDAT", raw[half:]), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in found
    )


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_apple_png_is_read(tmp_path, mode):
    grey = RNG.integers(0, 256, (40, 36)).astype(np.uint8)
    image = Image.fromarray(grey).convert(mode)
    expected = grey.astype(int)
    if mode == "RGBA":
        opacity = RNG.integers(0, 256, (40, 36)).astype(np.uint8)
        image.putalpha(Image.fromarray(opacity))
        expected = expected * opacity // 255
    (tmp_path / "a.png").write_bytes(apple_png(image))
    np.testing.assert_allclose(read_volume(tmp_path / "a.png").pixels[0], expected, atol=1e-4)


def test_an_apple_png_that_unpacks_to_more_is_refused(tmp_path):
    data = apple_png(Image.fromarray(np.zeros((2000, 2000), np.uint8)))
    size = struct.pack(">II", 2000, 2000)
    header = data[data.index(b"IHDR") : data.index(b"IHDR") + 17]
    small = header.replace(size, struct.pack(">II", 40, 40))
    checksums = (struct.pack(">I", zlib.crc32(each)) for each in (header, small))
    data = data.replace(header, small).replace(*checksums)
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(ReadError, match="more pixels than its header gives"):
        read_volume(tmp_path / "a.png")


# NIfTI with channels first


AFFINE = np.array([[4, 0, 0, -72], [0, 4, 0, -88], [0, 0, 5, -56], [0, 0, 0, 1.0]])


@pytest.mark.parametrize("shape", [(1,), (1, 1), (1, 0), (1, 1, 0, 0)])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_channels_first_is_one_volume(tmp_path, shape, kind):
    voxels = RNG.integers(0, 999, (36, 44, 28)).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels, AFFINE), tmp_path / "plain.nii")
    before, behind = shape.count(1), shape.count(0)
    with_axes = voxels.reshape(*[1] * before, *voxels.shape, *[1] * behind)
    nib.save(kind(with_axes, AFFINE), tmp_path / "a.nii.gz")
    plain, volume = read_volume(tmp_path / "plain.nii"), read_volume(tmp_path / "a.nii.gz")
    assert np.array_equal(volume.pixels, plain.pixels)
    assert np.array_equal(volume.affine, plain.affine)
    assert volume.spacing == (5, 4, 4)
    assert open_files([tmp_path / "a.nii.gz"]).choices == ("a.nii.gz, 28 slices, 36 x 44",)


def test_sides_of_all_axes_of_a_file_without_a_place(tmp_path):
    for sides in ((1, 4, 4, 5), (4, 4, 5, 1)):
        image = nib.Nifti1Image(RNG.random((1, 36, 44, 28), np.float32), None)
        image.header.set_zooms(sides)
        nib.save(image, tmp_path / "a.nii")
        assert read_volume(tmp_path / "a.nii").spacing == (5, 4, 4)


def test_channels_first_of_two_volumes_and_of_one_slice(tmp_path):
    voxels = RNG.random((1, 36, 44, 28, 2), np.float32)
    nib.save(nib.Nifti1Image(voxels, AFFINE), tmp_path / "a.nii")
    assert len(open_files([tmp_path / "a.nii"]).choices) == 2
    nib.save(nib.Nifti1Image(voxels[None, ..., 3, 0], AFFINE), tmp_path / "a.nii")
    assert read_volume(tmp_path / "a.nii").pixels.shape == (1, 44, 36)


def test_one_sagittal_slice_stays_one_and_so_does_its_time_series(tmp_path):
    image = nib.Nifti1Image(RNG.random((1, 44, 36, 9), np.float32), np.diag([6, 1, 1, 1.0]))
    nib.save(nib.Nifti1Image(image.dataobj[..., 0], image.affine), tmp_path / "a.nii")
    assert read_volume(tmp_path / "a.nii").directions == ("A", "P", "S", "I")
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, tmp_path / "a.nii")
    assert len(open_files([tmp_path / "a.nii"]).choices) == 9
