"""DICOM: values, order of frames and place in space, from files written here and by others."""

from __future__ import annotations

import signal
import zlib

import numpy as np
import pydicom
import pytest
from dicom_files import AXIAL, CORONAL, SAGITTAL, enhanced, mr_image, saved
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from cyclegan.reading import dicom_decode
from cyclegan.reading.dicom_syntax import codestream_size
from cyclegan.reading.read import read_volume
from cyclegan.reading.series import open_files
from cyclegan.reading.volume import ORIENTATION_UNKNOWN, ReadError


@pytest.fixture
def stored() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 4096, (40, 48), dtype=np.uint16)


def test_values_after_rescale_are_exact_for_signed_data(tmp_path, stored):
    signed = stored.astype(np.int16) - 2000
    dataset = mr_image(signed)
    dataset.RescaleSlope, dataset.RescaleIntercept = "0.5", "-3"
    dataset.WindowCenter, dataset.WindowWidth = ["100", "5"], ["400", "9"]
    volume = read_volume(saved(tmp_path, dataset, "no_extension"))
    np.testing.assert_array_equal(volume.pixels[0], signed * 0.5 - 3)
    assert volume.window == (100.0, 400.0)
    assert volume.directions == ("R", "L", "A", "P")
    assert volume.spacing == (4.0, 0.5, 0.75)
    assert volume.notes == ()


def test_monochrome1_is_shown_as_monochrome2(tmp_path, stored):
    dataset = mr_image(stored.max() - stored + stored.min())
    dataset.PhotometricInterpretation = "MONOCHROME1"
    dataset.WindowCenter, dataset.WindowWidth = float(stored.max() + stored.min() - 900), 200
    volume = read_volume(saved(tmp_path, dataset))
    np.testing.assert_array_equal(volume.pixels[0], stored)
    assert volume.window == (900.0, 200.0)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_as_dark_as_air(tmp_path, stored, photometric):
    signed = stored.astype(np.int16)
    signed[:5] = -2000
    signed[5:7] = -1990
    dataset = mr_image(signed)
    dataset.PhotometricInterpretation = photometric
    dataset.add_new("PixelPaddingValue", "SS", -2000)
    dataset.add_new("PixelPaddingRangeLimit", "SS", -1985)
    pixels = read_volume(saved(tmp_path, dataset)).pixels[0]
    rest = stored[7:]
    assert pixels.min() == rest.min()
    assert (pixels[:7] == rest.min()).all()
    expected = rest if photometric == "MONOCHROME2" else rest.max() + rest.min() - rest
    np.testing.assert_array_equal(pixels[7:], expected)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_compressed_equals_uncompressed(tmp_path, stored, syntax):
    dataset = mr_image(np.stack([stored, stored // 2]))
    dataset.compress(syntax)
    pixels = read_volume(saved(tmp_path, dataset)).pixels
    np.testing.assert_array_equal(pixels, np.stack([stored, stored // 2]))


@pytest.mark.parametrize(
    "name",
    ["RLE", "jp2klossless", "jpeg_ls_lossless", "bigendian", "implicit", "padded", "expb"],
)
def test_every_syntax_of_the_same_slice_gives_the_same_volume(name):
    reference = read_volume(get_testdata_file("MR_small.dcm"))
    volume = read_volume(get_testdata_file(f"MR_small_{name}.dcm"))
    np.testing.assert_array_equal(volume.pixels, reference.pixels)
    np.testing.assert_array_equal(volume.affine, reference.affine)
    assert reference.contrast_hint == "T2"
    assert (
        reference.pixels.max()
        == pydicom.dcmread(get_testdata_file("MR_small.dcm")).pixel_array.max()
    )


def test_sign_that_the_codestream_gets_wrong_is_corrected():
    volume = read_volume(get_testdata_file("J2K_pixelrep_mismatch.dcm"))
    assert volume.pixels.min() == -2000  # what surrounds the field of view of this CT


def test_syntax_without_decoder_is_named(tmp_path, stored):
    dataset = mr_image(stored)
    dataset.PixelData = pydicom.encaps.encapsulate([b"\0" * 64])
    dataset.file_meta.TransferSyntaxUID = MPEG2MPML
    dataset["PixelData"].is_undefined_length = True
    with pytest.raises(ReadError, match=r"slice\.dcm: .*MPEG2 Main Profile.*gdcmconv"):
        read_volume(saved(tmp_path, dataset))


def test_without_preamble_and_meta_information(tmp_path, stored):
    bare = Dataset({element.tag: element for element in mr_image(stored)})
    path = tmp_path / "bare"
    pydicom.dcmwrite(path, bare, implicit_vr=True, little_endian=True)
    assert path.read_bytes()[128:132] != b"DICM"
    np.testing.assert_array_equal(read_volume(path).pixels[0], stored)


def test_tiff_in_the_preamble_does_not_mislead(tmp_path, stored):
    path = saved(tmp_path, mr_image(stored), "dual.tif")
    data = path.read_bytes()
    path.write_bytes(b"II*\0" + data[4:])
    np.testing.assert_array_equal(read_volume(path).pixels[0], stored)


@pytest.mark.parametrize("plane", [AXIAL, CORONAL, SAGITTAL])
@pytest.mark.parametrize("flips", [(1, 1), (-1, 1), (1, -1), (-1, -1)])
@pytest.mark.parametrize("transposed", [False, True])
def test_turning_keeps_every_voxel_at_its_position(tmp_path, stored, plane, flips, transposed):
    row = flips[0] * np.array(plane[:3])
    column = flips[1] * np.array(plane[3:])
    if transposed:
        row, column = column, row
    spacing, position = (0.5, 0.75), np.array([11.0, -7.0, 42.0])
    volume = read_volume(saved(tmp_path, mr_image(stored, (*row, *column), position, spacing)))
    expected = {
        AXIAL: ("R", "L", "A", "P"),
        CORONAL: ("R", "L", "S", "I"),
        SAGITTAL: ("A", "P", "S", "I"),
    }
    assert volume.directions == expected[plane]
    assert bool(volume.notes) == (plane != AXIAL)
    # PS3.3 C.7.6.2.1.1: position of the pixel in column i and row j, LPS; then RAS.
    i, j = 5, 33
    point = position + row * spacing[1] * i + column * spacing[0] * j
    point = np.array([-point[0], -point[1], point[2], 1])
    at = np.linalg.solve(volume.affine, point)
    x, y, z = np.rint(at[:3]).astype(int)
    np.testing.assert_allclose(at[:3], [x, y, z], atol=1e-6)
    assert volume.pixels[z, y, x] == stored[j, i]
    # And back: the stored grid is a signed permutation away.
    back = np.linalg.inv(volume.stored_affine) @ volume.affine
    np.testing.assert_allclose(np.abs(back[:3, :3]).sum(axis=0), 1, atol=1e-9)
    np.testing.assert_allclose(back @ [x, y, z, 1], [i, j, 0, 1], atol=1e-6)


@pytest.mark.parametrize(("tilt", "told"), [(20, False), (40, True)])
def test_strong_tilt_is_told(tmp_path, stored, tilt, told):
    angle = np.radians(tilt)
    cosines = (1, 0, 0, 0, np.cos(angle), np.sin(angle))
    volume = read_volume(saved(tmp_path, mr_image(stored, cosines)))
    assert any("tilted 40°" in note for note in volume.notes) == told
    assert volume.directions == ("R", "L", "A", "P")


def test_enhanced_frames_are_sorted_and_scaled_one_by_one(tmp_path, stored):
    frames = np.stack([stored, stored // 2, stored // 4])
    heights = [5.0, -1.0, 2.0]
    dataset = enhanced(frames, [(0, 0, h) for h in heights], slopes=[1, 2, 4])
    volume = read_volume(saved(tmp_path, dataset))
    expected = [stored // 2 * 2, stored // 4 * 4, stored]
    np.testing.assert_array_equal(volume.pixels, expected)
    assert volume.spacing == (3.0, 0.5, 0.75)
    np.testing.assert_allclose(volume.affine @ [0, 0, 2, 1], [0, 0, 5, 1])


def test_uneven_slice_distances_are_told(tmp_path, stored):
    frames = np.stack([stored, stored // 2, stored // 4])
    volume = read_volume(saved(tmp_path, enhanced(frames, [(0, 0, 0), (0, 0, 3), (0, 0, 9)])))
    assert any("varies, 3.0 to 6.0 mm" in note for note in volume.notes)


def test_magnitude_is_picked_and_time_series_is_refused(tmp_path, stored):
    frames = np.stack([stored, stored // 2, stored // 4, stored // 8])
    places = [(0, 0, 0), (0, 0, 3), (0, 0, 0), (0, 0, 3)]
    volume = read_volume(saved(tmp_path, enhanced(frames, places, kinds="PMMP")))
    np.testing.assert_array_equal(volume.pixels, [stored // 4, stored // 2])
    assert any("2 images per slice" in note for note in volume.notes)
    with pytest.raises(ReadError, match="4 frames at 2 positions"):
        read_volume(saved(tmp_path, enhanced(frames, places)))


def test_multi_frame_without_positions_has_no_letters(tmp_path, stored):
    frames = np.stack([stored, stored // 2])
    volume = read_volume(saved(tmp_path, mr_image(frames)))
    np.testing.assert_array_equal(volume.pixels, frames)
    assert volume.affine is None
    assert volume.directions is None
    assert ORIENTATION_UNKNOWN in volume.notes


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("examples_palette.dcm", r"in colour \(PALETTE COLOR\)"),
        ("SC_rgb_rle.dcm", r"in colour \(RGB\)"),
        ("reportsi.dcm", r"Basic Text SR Storage\) holds no image"),
        ("rtplan.dcm", "holds no image"),
        ("MR_truncated.dcm", "truncated"),
        ("rtdose.dcm", "too few"),
    ],
)
def test_objects_without_a_grey_slice_are_refused_in_words(name, reason):
    with pytest.raises(ReadError, match=f"^{name}: .*{reason}"):
        read_volume(get_testdata_file(name))


def test_other_modalities_are_told():
    assert any("CT" in note for note in read_volume(get_testdata_file("CT_small.dcm")).notes)


@pytest.mark.parametrize("key", ["Rows", "NumberOfFrames"])
def test_claimed_sizes_are_refused_before_decoding(tmp_path, stored, key):
    dataset = mr_image(stored)
    setattr(dataset, key, 60000 if key == "Rows" else 2_000_000)
    dataset.Columns = 60000 if key == "Rows" else dataset.Columns
    with pytest.raises(ReadError, match="more than an MR image"):
        read_volume(saved(tmp_path, dataset))


def test_codestream_that_claims_another_size_is_refused(tmp_path, stored):
    dataset = mr_image(stored)
    dataset.compress(JPEG2000Lossless)
    data = bytearray(dataset.PixelData)
    siz = data.index(b"\xff\x4f\xff\x51")
    data[siz + 8 : siz + 12] = (50_000).to_bytes(4, "big")
    dataset.PixelData = bytes(data)
    with pytest.raises(ReadError, match="48 x 40 pixels that the header promises"):
        read_volume(saved(tmp_path, dataset))


def test_codestream_size_of_each_family():
    for name, size in [
        ("MR_small_jp2klossless", (64, 64)),
        ("MR_small_jpeg_ls_lossless", (64, 64)),
        ("JPGExtended", (1024, 256)),
    ]:
        dataset = pydicom.dcmread(get_testdata_file(f"{name}.dcm"))
        frame = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))
        assert codestream_size(frame) == size
    assert codestream_size(b"\x01\0\0\0" * 16) is None


def test_deflated_data_set_is_read_and_a_bomb_is_not(tmp_path, stored, monkeypatch):
    dataset = mr_image(stored)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    path = saved(tmp_path, dataset)
    np.testing.assert_array_equal(read_volume(path).pixels[0], stored)
    monkeypatch.setattr("cyclegan.reading.dicom_parse.MAX_INFLATED_BYTES", 2**16)
    head = path.read_bytes()
    meta_end = 132 + 12 + int.from_bytes(head[140:144], "little")  # PS3.10 table 7.1-1
    packer = zlib.compressobj(9, wbits=-15)
    bomb = packer.compress(bytes(2**18)) + packer.flush()
    path.write_bytes(head[:meta_end] + bomb)
    with pytest.raises(ReadError, match="deflated"):
        read_volume(path)


def test_real_oblique_series_is_in_register(shared_data):
    paths = sorted(shared_data("readers/dicom_t1_oblique").glob("*.dcm"))
    volumes = [read_volume(path) for path in paths]
    assert len(volumes) == 12
    for volume in volumes:
        assert volume.pixels.shape == (1, 384, 274)
        assert volume.directions == ("R", "L", "A", "P")
        assert volume.contrast_hint == "T1"
    steps = np.diff([volume.affine[:3, 3] for volume in volumes], axis=0)
    np.testing.assert_allclose(np.linalg.norm(steps, axis=1), 0.6667, atol=1e-3)


def test_real_enhanced_files(shared_data):
    folder = shared_data("readers/dicom_enhanced")
    philips = read_volume(folder / "Philips/IM_0027_fMAP.dcm")
    assert philips.pixels.shape == (32, 64, 64)
    assert philips.spacing == pytest.approx((4, 4, 4), abs=1e-4)
    assert any("magnitude" in note for note in philips.notes)
    siemens = read_volume(folder / "Siemens/XA10/6_1.dcm")
    assert siemens.pixels.shape == (6, 64, 64)
    assert siemens.spacing == pytest.approx((2.4, 3.375, 3.375), abs=1e-3)
    assert siemens.window is not None


def test_implicit_little_endian(tmp_path, stored):
    dataset = mr_image(stored)
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    np.testing.assert_array_equal(read_volume(saved(tmp_path, dataset)).pixels[0], stored)


@pytest.mark.parametrize("seed", range(12))
def test_any_orientation_and_number_type_keeps_values_at_their_place(tmp_path, seed):
    rng = np.random.default_rng(seed)
    dtype = np.dtype(rng.choice(["uint8", "int8", "uint16", "int16", "uint32", "int32"]))
    bits = min(8 * dtype.itemsize, 20)  # more is not exact in float32
    low = -(2 ** (bits - 1)) if dtype.kind == "i" else 0
    stack = rng.integers(low, low + 2**bits, (3, 34, 37)).astype(dtype)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    along_row, along_column = rotation[:, 0], rotation[:, 1]
    normal = np.cross(along_row, along_column)
    origin, spacing, step = rng.uniform(-90, 90, 3), rng.uniform(0.4, 2, 2), rng.uniform(1, 6)
    slope = 2.0 ** rng.integers(-2, 3)
    datasets = []
    for index, stored in enumerate(stack):
        dataset = mr_image(
            stored, (*along_row, *along_column), origin + index * step * normal, spacing
        )
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, -3
        datasets.append(dataset)
    order = rng.permutation(3)
    paths = [saved(tmp_path, datasets[k], f"IM{n}") for n, k in enumerate(order)]
    volume = open_files(paths).read(0)
    single = read_volume(paths[0])
    for k, row, column in rng.integers(0, (3, 34, 37), (40, 3)):
        # PS3.3 C.7.6.2.1.1: PixelSpacing is (between rows, between columns); LPS becomes RAS.
        at = origin + k * step * normal
        at = at + column * spacing[1] * along_row + row * spacing[0] * along_column
        for read in [volume, single] if k == order[0] else [volume]:
            place = np.linalg.solve(read.affine, [*(at * [-1, -1, 1]), 1])[:3]
            np.testing.assert_allclose(place, np.rint(place), atol=2e-3)
            i, j, z = np.rint(place).astype(int)
            assert read.pixels[z, j, i] == float(stack[k, row, column]) * slope - 3


def with_map(dataset: Dataset, **attributes) -> Dataset:
    """Add a real-world value map; PS3.3 C.7.6.16.2.11."""
    world = Dataset()
    for keyword, value in attributes.items():
        setattr(world, f"RealWorldValue{keyword}", value)
    dataset.RealWorldValueMappingSequence = [world]
    return dataset


def test_a_linear_real_world_map_is_used_and_the_window_follows(tmp_path, stored):
    dataset = with_map(mr_image(stored), Slope=0.5, Intercept=10.0)
    dataset.RescaleSlope, dataset.RescaleIntercept = 2, 100
    dataset.WindowCenter, dataset.WindowWidth = 2100, 400
    volume = read_volume(saved(tmp_path, dataset))
    np.testing.assert_array_equal(volume.pixels[0], stored * 0.5 + 10)
    assert volume.window == (510.0, 100.0)  # stored 1000, 200 wide
    assert volume.notes == ()


def test_a_real_world_table_is_not_used_and_that_is_told(tmp_path, stored):
    dataset = with_map(mr_image(stored), LUTData=[1.0, 2.0])
    dataset.RescaleSlope, dataset.RescaleIntercept = 2, 100
    volume = read_volume(saved(tmp_path, dataset))
    np.testing.assert_array_equal(volume.pixels[0], stored * 2.0 + 100)
    assert any("real-world value map" in note for note in volume.notes)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_window_functions_give_center_and_width(tmp_path, stored, function):
    dataset = mr_image(stored)
    dataset.WindowCenter, dataset.WindowWidth = [600, 1], [400, 2]
    dataset.VOILUTFunction = function
    assert read_volume(saved(tmp_path, dataset)).window == (600.0, 400.0)


def test_bits_above_the_stored_ones_are_not_values(tmp_path, stored):
    dataset = mr_image(stored | np.uint16(0xA000))  # an overlay of old in the upper four
    dataset.BitsStored, dataset.HighBit = 12, 11
    np.testing.assert_array_equal(read_volume(saved(tmp_path, dataset)).pixels[0], stored)


def test_an_enhanced_localizer_opens_its_largest_plane(tmp_path, stored):
    frames = np.stack([stored, stored // 2, stored // 4])
    dataset = enhanced(frames, [(0, 0, 0), (0, 0, 3), (0, 0, 6)])
    plane = Dataset()
    plane.ImageOrientationPatient = list(CORONAL)
    dataset.PerFrameFunctionalGroupsSequence[2].PlaneOrientationSequence = [plane]
    volume = read_volume(saved(tmp_path, dataset))
    np.testing.assert_array_equal(volume.pixels, frames[:2])
    assert any("2 of 3 images are shown" in note for note in volume.notes)


def test_the_decoder_is_replaced_when_it_dies(tmp_path, stored):
    dataset = mr_image(stored)
    dataset.compress(RLELossless)
    path = saved(tmp_path, dataset)
    read_volume(path)
    dicom_decode._helper._process.kill()
    dicom_decode._helper._process.wait()
    np.testing.assert_array_equal(read_volume(path).pixels[0], stored)


def test_a_decoder_that_never_answers_is_given_up(tmp_path, stored, monkeypatch):
    dataset = mr_image(stored)
    dataset.compress(RLELossless)
    path = saved(tmp_path, dataset)
    read_volume(path)
    monkeypatch.setattr(dicom_decode, "FRAME_LIMIT_S", 0.3)
    dicom_decode._helper._process.send_signal(signal.SIGSTOP)
    with pytest.raises(ReadError, match="damaged"):
        read_volume(path)
    monkeypatch.undo()
    np.testing.assert_array_equal(read_volume(path).pixels[0], stored)
