"""Pixels that are stored otherwise than declared, and shades of grey that are stored as colours."""

from __future__ import annotations

import io

import numpy as np
import pydicom
import pytest
from dicom_files import mr_image, saved
from pydicom.pixels.utils import set_pixel_data
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from cyclegan.export.derived import derived_dicom
from cyclegan.export.provenance import Provenance
from cyclegan.reading.read import read_volume
from cyclegan.reading.selection import open_files
from cyclegan.reading.volume import ReadError

GE = UID("1.2.840.113619.5.2")  # little endian with big-endian pixels
PAPYRUS = UID("1.2.840.10008.1.20")  # retired; plain
PRIVATE = UID("1.3.46.670589.33.1.4.1")


@pytest.fixture
def stored():
    return np.random.default_rng(5).integers(0, 4000, (40, 48)).astype(np.uint16)


def declared_as(path, dataset, syntax, *, implicit):
    """The file of a data set with another transfer syntax in its meta information."""
    meta, body = io.BytesIO(), io.BytesIO()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    pydicom.filewriter.write_file_meta_info(meta, dataset.file_meta)
    plain = pydicom.Dataset({element.tag: element for element in dataset})
    pydicom.dcmwrite(body, plain, implicit_vr=implicit, little_endian=True)
    path.write_bytes(bytes(128) + b"DICM" + meta.getvalue() + body.getvalue())
    return path


@pytest.mark.parametrize(
    ("syntax", "implicit"),
    [
        (GE, True),
        (PAPYRUS, True),
        (PRIVATE, False),
        (RLELossless, False),  # unpacked by a program that left the declaration as it was
        (JPEG2000Lossless, True),
        (ExplicitVRLittleEndian, True),
        (ImplicitVRLittleEndian, False),
    ],
)
def test_plain_pixels_under_another_declaration(tmp_path, stored, syntax, implicit):
    dataset = mr_image(stored)
    if syntax == GE:
        dataset.PixelData = stored.astype(">u2").tobytes()
    path = declared_as(tmp_path / "a.dcm", dataset, syntax, implicit=implicit)
    np.testing.assert_array_equal(read_volume(path).pixels[0], stored)
    assert open_files([path]).choices == ("MR axial, 1 slice, 48 x 40",)


@pytest.mark.parametrize("declared", [ExplicitVRLittleEndian, PRIVATE])
@pytest.mark.parametrize("packed", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_compressed_pixels_under_another_declaration(tmp_path, stored, packed, declared):
    dataset = mr_image(stored)
    if packed == JPEGLSLossless:  # as small as such a stream can be told by its start
        dataset = pydicom.dcmread(pydicom.data.get_testdata_file("MR_small_jpeg_ls_lossless.dcm"))
        stored = dataset.pixel_array
    else:
        dataset.compress(packed)
    path = declared_as(tmp_path / "a.dcm", dataset, declared, implicit=False)
    np.testing.assert_array_equal(read_volume(path).pixels[0], stored)


def test_an_unknown_compression_is_named(tmp_path, stored):
    dataset = mr_image(stored)
    dataset.PixelData = pydicom.encaps.encapsulate([b"wavelets" * 9])
    dataset["PixelData"].is_undefined_length = True
    path = declared_as(tmp_path / "a.dcm", dataset, PRIVATE, implicit=False)
    with pytest.raises(ReadError, match=r"no decoder here.*1\.3\.46\.670589\.33\.1\.4\.1"):
        read_volume(path)


@pytest.mark.parametrize("kind", [np.uint16, np.int16])
def test_values_beyond_the_bits_that_are_declared(tmp_path, stored, kind):
    values = (stored.astype(np.int32) * 7 - (20000 if kind == np.int16 else 0)).astype(kind)
    dataset = mr_image(values)
    dataset.BitsStored, dataset.HighBit = 12, 11
    np.testing.assert_array_equal(read_volume(saved(tmp_path, dataset)).pixels[0], values)


def test_signs_that_the_unused_bits_do_not_repeat(tmp_path, stored):
    values = stored.astype(np.int32) - 2000
    dataset = mr_image((values & 0xFFF).astype(np.uint16))
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 1
    np.testing.assert_array_equal(read_volume(saved(tmp_path, dataset)).pixels[0], values)


def coloured(values, photometric, planar=0):
    """A capture of (H, W) uint8 values as RGB, YBR or by a table of colours."""
    dataset = mr_image(values)
    if photometric == "PALETTE COLOR":
        dataset.PhotometricInterpretation = photometric
        for colour in ("Red", "Green", "Blue"):
            setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
            table = np.arange(256, dtype="<u2") * 257
            setattr(dataset, f"{colour}PaletteColorLookupTableData", table.tobytes())
        return dataset
    channels = (
        [values] * 3 if photometric == "RGB" else [values, values * 0 + 128, values * 0 + 128]
    )
    set_pixel_data(dataset, np.stack(channels, axis=-1), photometric, 8)
    dataset.PlanarConfiguration = planar
    if planar:
        dataset.PixelData = np.stack(channels).tobytes()
    return dataset


@pytest.mark.parametrize(
    ("photometric", "planar", "packed"),
    [
        ("RGB", 0, None),
        ("RGB", 1, None),
        ("RGB", 0, RLELossless),
        ("YBR_FULL", 0, None),
        ("PALETTE COLOR", 0, None),
    ],
)
def test_shades_of_grey_stored_as_colours(tmp_path, stored, photometric, planar, packed):
    values = (stored // 16).astype(np.uint8)
    dataset = coloured(values, photometric, planar)
    if packed:
        dataset.compress(packed)
    volume = read_volume(saved(tmp_path, dataset))
    factor = 257 if photometric == "PALETTE COLOR" else 1
    np.testing.assert_array_equal(volume.pixels[0], values * float(factor))
    origin = Provenance("1.2", "ab" * 32, "T1 to T2", "cd" * 32, "0.1.0")
    (data,), _ = derived_dicom(volume.pixels / 65535, volume, to="T2", provenance=origin)
    result = pydicom.dcmread(io.BytesIO(data))
    assert result.pixel_array.shape == values.shape
    assert "PlanarConfiguration" not in result


def test_real_colours_are_left_out_before_they_are_offered(tmp_path, stored):
    dataset = coloured((stored // 16).astype(np.uint8), "RGB")
    pixels = dataset.pixel_array.copy()
    pixels[..., 1] //= 2
    dataset.PixelData = pixels.tobytes()
    paths = [saved(tmp_path, dataset, "map.dcm"), saved(tmp_path, mr_image(stored), "grey.dcm")]
    selection = open_files(paths)
    assert len(selection.choices) == 1
    assert selection.notes == (
        "map.dcm: the DICOM image is in colour (RGB); choose the original grey MR image.",
    )
