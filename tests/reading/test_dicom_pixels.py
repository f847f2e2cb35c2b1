"""How pixels of DICOM are stored: compressed, packed, otherwise than declared, or as colours."""

from __future__ import annotations

import io
import os
import signal
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import mr_image, saved
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.utils import set_pixel_data

from cyclegan.reading.dicom import decoder
from cyclegan.reading.read import read_volume
from cyclegan.reading.selection import open_files
from cyclegan.reading.volume import ReadError

GE = uid.UID("1.2.840.113619.5.2")  # little endian with big-endian pixels
PAPYRUS = uid.UID("1.2.840.10008.1.20")  # retired; plain
PRIVATE = uid.UID("1.3.46.670589.33.1.4.1")


def with_codestream(stored, frame, syntax):
    dataset = mr_image(stored, PixelData=encapsulate([frame]))
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset["PixelData"].is_undefined_length = True
    return dataset


def declared_as(path, dataset, syntax, *, implicit):
    """The file of a data set with another transfer syntax in its meta information."""
    meta, body = io.BytesIO(), io.BytesIO()
    dataset.file_meta.TransferSyntaxUID = uid.UID(syntax)
    pydicom.filewriter.write_file_meta_info(meta, dataset.file_meta)
    plain = pydicom.Dataset({element.tag: element for element in dataset})
    pydicom.dcmwrite(body, plain, implicit_vr=implicit, little_endian=True)
    path.write_bytes(bytes(128) + b"DICM" + meta.getvalue() + body.getvalue())
    return path


@pytest.mark.parametrize(
    "name", ["RLE", "jp2klossless", "jpeg_ls_lossless", "bigendian", "implicit", "padded", "expb"]
)
def test_every_syntax_of_the_same_slice_gives_the_same_volume(name):
    path = get_testdata_file("MR_small.dcm")
    reference, volume = read_volume(path), read_volume(get_testdata_file(f"MR_small_{name}.dcm"))
    np.testing.assert_array_equal(volume.pixels, reference.pixels)
    np.testing.assert_array_equal(volume.affine, reference.affine)
    assert reference.contrast_hint == "T2"
    assert reference.pixels.max() == pydicom.dcmread(path).pixel_array.max()


def test_sign_that_the_codestream_gets_wrong_is_corrected():
    volume = read_volume(get_testdata_file("J2K_pixelrep_mismatch.dcm"))
    assert volume.pixels.min() == -2000  # what surrounds the field of view of this CT


def test_without_preamble_and_with_tiff_in_the_preamble(tmp_path, stored):
    bare = pydicom.Dataset({element.tag: element for element in mr_image(stored)})
    pydicom.dcmwrite(tmp_path / "bare", bare, implicit_vr=True, little_endian=True)
    assert (tmp_path / "bare").read_bytes()[128:132] != b"DICM"
    dual = saved(tmp_path, mr_image(stored), "dual.tif")
    dual.write_bytes(b"II*\0" + dual.read_bytes()[4:])
    for path in (tmp_path / "bare", dual):
        np.testing.assert_array_equal(read_volume(path).pixels[0], stored)


@pytest.mark.parametrize(
    ("syntax", "implicit"),
    [
        (GE, True),
        (PAPYRUS, True),
        (PRIVATE, False),
        (uid.RLELossless, False),  # unpacked by a program that left the declaration as it was
        (uid.JPEG2000Lossless, True),
        (uid.ExplicitVRLittleEndian, True),
        (uid.ImplicitVRLittleEndian, False),
    ],
)
def test_plain_pixels_under_another_declaration(tmp_path, stored, syntax, implicit):
    dataset = mr_image(stored)
    if syntax == GE:
        dataset.PixelData = stored.astype(">u2").tobytes()
    path = declared_as(tmp_path / "a.dcm", dataset, syntax, implicit=implicit)
    np.testing.assert_array_equal(read_volume(path).pixels[0], stored)
    assert open_files([path]).choices == ("MR axial, 1 slice, 48 x 40",)


@pytest.mark.parametrize("declared", [uid.ExplicitVRLittleEndian, PRIVATE])
@pytest.mark.parametrize("packed", [uid.RLELossless, uid.JPEG2000Lossless, uid.JPEGLSLossless])
def test_compressed_pixels_under_another_declaration(tmp_path, stored, packed, declared):
    dataset = mr_image(stored)
    if packed == uid.JPEGLSLossless:  # as small as such a stream can be recognised by its start
        dataset = pydicom.dcmread(get_testdata_file("MR_small_jpeg_ls_lossless.dcm"))
        stored = dataset.pixel_array
    else:
        dataset.compress(packed)
    path = declared_as(tmp_path / "a.dcm", dataset, declared, implicit=False)
    np.testing.assert_array_equal(read_volume(path).pixels[0], stored)


@pytest.mark.parametrize("kind", [np.uint16, np.int16])
def test_values_beyond_the_bits_that_are_declared(tmp_path, stored, kind):
    values = (stored.astype(np.int32) * 7 - (20000 if kind == np.int16 else 0)).astype(kind)
    dataset = mr_image(values, BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(read_volume(saved(tmp_path, dataset)).pixels[0], values)


def test_unused_bits_are_neither_values_nor_signs(tmp_path, stored):
    overlay = mr_image(stored | np.uint16(0xA000), BitsStored=12, HighBit=11)  # as of old
    np.testing.assert_array_equal(read_volume(saved(tmp_path, overlay)).pixels[0], stored)
    values = stored.astype(np.int32) - 2048
    bits = (values & 0xFFF).astype(np.uint16)
    signed = mr_image(bits, BitsStored=12, HighBit=11, PixelRepresentation=1)
    np.testing.assert_array_equal(read_volume(saved(tmp_path, signed)).pixels[0], values)


def packed(values: np.ndarray, bits: int, signed: bool = False):
    """A DICOM object whose pixels share bytes, as PS3.5 of 1993 packs them."""
    flags = (values.ravel()[:, None] >> np.arange(bits)) & 1
    data = np.packbits(flags.astype(np.uint8), bitorder="little").tobytes()
    return mr_image(
        np.zeros(values.shape, np.uint16),
        BitsAllocated=bits,
        BitsStored=bits,
        HighBit=bits - 1,
        PixelRepresentation=int(signed),
        PixelData=data + b"\0" * (len(data) % 2),
    )


@pytest.mark.parametrize(("bits", "signed"), [(4, False), (10, True), (12, False), (14, True)])
@pytest.mark.parametrize("shape", [(41, 37), (3, 41, 37)])
@pytest.mark.parametrize(
    "syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian]
)
def test_packed_pixels_are_read(tmp_path, bits, signed, shape, syntax):
    values = np.random.default_rng(7).integers(0, 2**bits, shape)
    dataset = packed(values, bits, signed)
    dataset.file_meta.TransferSyntaxUID = syntax
    if syntax == uid.ExplicitVRBigEndian:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    expected = np.where(values >= 2 ** (bits - 1), values - 2**bits, values) if signed else values
    pydicom.dcmwrite(tmp_path / "a.dcm", dataset, enforce_file_format=True)
    volume = read_volume(tmp_path / "a.dcm")
    np.testing.assert_array_equal(volume.pixels.reshape(shape), expected)


def test_twelve_bits_that_are_not_packed_after_all(tmp_path, stored):
    dataset = mr_image(stored, BitsAllocated=12, BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(read_volume(saved(tmp_path, dataset)).pixels[0], stored)


# Colours


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
    flat = values * 0 + 128
    channels = [values] * 3 if photometric == "RGB" else [values, flat, flat]
    set_pixel_data(dataset, np.stack(channels, axis=-1), photometric, 8)
    dataset.PlanarConfiguration = planar
    if planar:
        dataset.PixelData = np.stack(channels).tobytes()
    return dataset


@pytest.mark.parametrize(
    ("photometric", "planar", "syntax"),
    [
        ("RGB", 0, None),
        ("RGB", 1, None),
        ("RGB", 0, uid.RLELossless),
        ("YBR_FULL", 0, None),
        ("PALETTE COLOR", 0, None),
    ],
)
def test_shades_of_grey_stored_as_colours(tmp_path, stored, photometric, planar, syntax):
    values = (stored // 16).astype(np.uint8)
    dataset = coloured(values, photometric, planar)
    if syntax:
        dataset.compress(syntax)
    factor = 257 if photometric == "PALETTE COLOR" else 1
    pixels = read_volume(saved(tmp_path, dataset)).pixels
    np.testing.assert_array_equal(pixels[0], values * float(factor))


def test_real_colours_are_left_out_before_they_are_offered(tmp_path, stored):
    dataset = coloured((stored // 16).astype(np.uint8), "RGB")
    pixels = dataset.pixel_array.copy()
    pixels[..., 1] //= 2
    dataset.PixelData = pixels.tobytes()
    paths = [saved(tmp_path, dataset, "map.dcm"), saved(tmp_path, mr_image(stored), "grey.dcm")]
    selection = open_files(paths)
    assert len(selection.choices) == 1
    assert (
        selection.notes
        == selection.foreign
        == ("map.dcm: the DICOM image is in colour (RGB); choose the original grey MR image.",)
    )


# Refusals


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("examples_palette.dcm", r"in colour \(PALETTE COLOR\)"),
        ("SC_rgb_rle.dcm", r"in colour \(RGB\)"),
        ("reportsi.dcm", r"Basic Text SR Storage\) holds no image"),
        ("rtplan.dcm", "holds no image"),
        ("MR_truncated.dcm", "truncated"),
        ("rtdose.dcm", "too few"),
        ("JPGExtended.dcm", r"compressed as JPEG of 12 bits.*DCMTK's dcmdjpeg"),
    ],
)
def test_objects_without_a_readable_grey_slice_are_refused_in_words(name, reason):
    with pytest.raises(ReadError, match=f"^{name}: .*{reason}"):
        read_volume(get_testdata_file(name))


def resized_codestream(stored):
    dataset = mr_image(stored)
    dataset.compress(uid.JPEG2000Lossless)
    data = bytearray(dataset.PixelData)
    size = data.index(b"\xff\x4f\xff\x51") + 8
    data[size : size + 4] = (50_000).to_bytes(4, "big")
    dataset.PixelData = bytes(data)
    return dataset


@pytest.mark.parametrize(
    ("damaged", "words"),
    [
        (lambda s: mr_image(s, BitsAllocated=24), "24 bits per pixel, which no decoder here"),
        (lambda s: packed(s[:, :-4], 12), "damaged or truncated"),
        (lambda s: with_codestream(s, bytes(64), uid.MPEG2MPML), "MPEG2 Main Profile.*gdcmconv"),
        (lambda s: with_codestream(s, b"wavelets" * 9, PRIVATE), rf"no decoder here.*{PRIVATE}"),
        (resized_codestream, "48 x 40 pixels that the header promises"),
    ],
)
def test_pixels_that_cannot_be_decoded_are_refused_in_words(tmp_path, stored, damaged, words):
    dataset = damaged(stored)
    if words == "damaged or truncated":
        dataset.Columns = 48
    with pytest.raises(ReadError, match=rf"^slice\.dcm: .*{words}"):
        read_volume(saved(tmp_path, dataset))


def test_a_deflated_data_set_is_read(tmp_path, stored):
    dataset = mr_image(stored)
    dataset.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    np.testing.assert_array_equal(read_volume(saved(tmp_path, dataset)).pixels[0], stored)


# The process that decodes what strangers made


@pytest.fixture
def compressed(tmp_path, stored):
    dataset = mr_image(stored, PatientName="Doe^Jane")
    dataset.compress(uid.RLELossless)
    return saved(tmp_path, dataset)


@pytest.fixture
def process(monkeypatch):
    """The decoder of this test alone, which starts in the environment that the test sets."""
    helper = decoder.DecoderProcess()
    monkeypatch.setattr(decoder, "helper", helper)
    yield helper
    helper.close()


def test_the_decoder_is_replaced_when_it_dies_or_never_answers(
    compressed, process, stored, monkeypatch
):
    several = mr_image(np.stack([stored // 2] * 3))
    several.compress(uid.RLELossless)
    unfinished = decoder.frames(several)
    next(unfinished)
    unfinished.close()  # the other frames must not be taken for those of the next object
    np.testing.assert_array_equal(read_volume(compressed).pixels[0], stored)
    process.close()
    np.testing.assert_array_equal(read_volume(compressed).pixels[0], stored)
    monkeypatch.setattr(decoder, "FRAME_LIMIT_S", 0.3)
    os.kill(process.pid, signal.SIGSTOP)
    with pytest.raises(ReadError, match="damaged"):
        read_volume(compressed)
    monkeypatch.setattr(decoder, "FRAME_LIMIT_S", 30)
    np.testing.assert_array_equal(read_volume(compressed).pixels[0], stored)


def test_the_decoder_gets_no_secrets_and_no_module_of_the_current_folder(
    compressed, process, tmp_path, monkeypatch
):
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "https_proxy", "PYTHONSTARTUP", "ANY_NAME"):
        monkeypatch.setenv(name, "a secret")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("PYTHONPATH", "/somewhere/else")
    for name in ("numpy", "pydicom", "cyclegan"):
        (tmp_path / f"{name}.py").write_text("open('ran', 'w')\nraise SystemExit")
    monkeypatch.chdir(tmp_path)
    frames, sent = process.frames, []
    monkeypatch.setattr(process, "frames", lambda data: sent.append(data) or frames(data))
    assert read_volume(compressed).pixels.max() > 0
    assert sent
    assert b"Doe" not in sent[0]
    assert not (tmp_path / "ran").exists()
    if not Path("/proc/self/environ").exists():
        pytest.skip("no /proc: only Linux shows the environment of a process")
    lines = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
    environment = dict(os.fsdecode(line).split("=", 1) for line in lines if line)
    assert "a secret" not in environment.values()
    assert environment["LC_ALL"] == "C.UTF-8"
    assert environment["PYTHONPATH"].endswith(f"{os.pathsep}/somewhere/else")


def test_the_first_frame_of_a_jpeg_of_twelve_bits_is_no_picture(tmp_path):
    pixels = pydicom.dcmread(get_testdata_file("JPGExtended.dcm")).PixelData
    (tmp_path / "a.jpg").write_bytes(next(generate_frames(pixels, number_of_frames=1)))
    with pytest.raises(ReadError, match="this is a JPEG of 12 bits, which no decoder here reads"):
        read_volume(tmp_path / "a.jpg")
