"""Files whose every number is known: values, windows and sizes as they are read."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import tifffile
from dicom_files import AXIAL, axial_series, mr_image, saved
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from cyclegan.reading.read import read_volume
from cyclegan.reading.selection import open_files

RAMP = np.arange(40 * 36, dtype=np.uint16).reshape(40, 36)


def test_a_window_is_read_in_the_values_that_are_shown(tmp_path):
    dataset = mr_image(RAMP)
    dataset.RescaleSlope, dataset.RescaleIntercept = 2, 10
    dataset.WindowCenter, dataset.WindowWidth = [210, 99], [40, 9]
    volume = read_volume(saved(tmp_path, dataset))
    np.testing.assert_allclose(volume.pixels[0], 2.0 * RAMP + 10)
    assert volume.window == (210, 40)
    world = Dataset()
    world.RealWorldValueSlope, world.RealWorldValueIntercept = 0.5, 100
    dataset.RealWorldValueMappingSequence = Sequence([world])
    volume = read_volume(saved(tmp_path, dataset))
    np.testing.assert_allclose(volume.pixels[0], 0.5 * RAMP + 100)
    assert volume.window == (150, 10)  # stored values 90 to 110 in both


def test_an_image_whose_lowest_value_is_white_is_turned_over_with_its_window(tmp_path):
    dataset = mr_image(RAMP)
    dataset.PhotometricInterpretation = "MONOCHROME1"
    dataset.WindowCenter, dataset.WindowWidth = 100, 40
    volume = read_volume(saved(tmp_path, dataset))
    np.testing.assert_allclose(volume.pixels[0], RAMP.max() - RAMP.astype(float))
    assert volume.window == (RAMP.max() - 100, 40)


def test_window_and_contrast_are_those_of_the_middle_slice(tmp_path):
    datasets = axial_series(np.stack([RAMP] * 5), ScanningSequence="SE")
    for number, dataset in enumerate(datasets):
        dataset.WindowCenter, dataset.WindowWidth = 100 + number, 40
        # As no protocol has it: by its times only the middle one is a T1.
        dataset.RepetitionTime, dataset.EchoTime = 500 if number == 2 else 4000, 12
    paths = [saved(tmp_path, d, f"{n}.dcm") for n, d in enumerate(datasets)]
    volume = open_files(paths).read(0)
    assert volume.window == (102, 40)
    assert volume.contrast_hint == "T1"


@pytest.mark.parametrize(
    ("repetition", "echo", "hint"), [(500, 12, "T1"), (4000, 95, "T2"), (3000, 20, None)]
)
def test_times_of_a_spin_echo_tell_its_contrast(tmp_path, repetition, echo, hint):
    dataset = mr_image(RAMP)
    dataset.ScanningSequence = "SE"
    dataset.RepetitionTime, dataset.EchoTime = repetition, echo
    assert read_volume(saved(tmp_path, dataset)).contrast_hint == hint


@pytest.mark.parametrize(
    ("told", "slice_mm"),
    [({"SpacingBetweenSlices": 5.5}, 5.5), ({"SpacingBetweenSlices": -5.5}, 5.5), ({}, 4.0)],
)
def test_a_lone_slice_has_the_distance_that_its_header_tells(tmp_path, told, slice_mm):
    dataset = mr_image(RAMP, AXIAL, spacing=(0.5, 0.75))
    for keyword, value in told.items():
        setattr(dataset, keyword, value)
    assert read_volume(saved(tmp_path, dataset)).spacing == (slice_mm, 0.5, 0.75)


@pytest.mark.parametrize(("value", "limit"), [(5, None), (5, 20), (20, 5)])
def test_padding_is_as_dark_as_the_darkest_pixel(tmp_path, value, limit):
    dataset = mr_image(RAMP + 200)
    stored = np.array(RAMP + 200)
    ends = sorted((value, value if limit is None else limit))
    stored[0, :8] = np.linspace(*ends, 8).astype(np.uint16)
    dataset.PixelData = stored.tobytes()
    dataset.PixelPaddingValue = value
    if limit is not None:
        dataset.PixelPaddingRangeLimit = limit
    pixels = read_volume(saved(tmp_path, dataset)).pixels[0]
    assert (pixels[0, :8] == 208).all()  # the first of the ramp that is no padding
    np.testing.assert_allclose(pixels[1:], stored[1:])


def test_padding_below_zero_is_known_in_either_way_of_writing_it(tmp_path):
    stored = RAMP.astype(np.int16)
    stored[0, :8] = -2000
    for value in (-2000, 2**16 - 2000):  # of the wrong sign, as writers have it
        dataset = mr_image(stored)
        dataset.add_new(0x00280120, "SS" if value < 0 else "US", value)
        pixels = read_volume(saved(tmp_path, dataset)).pixels[0]
        assert (pixels[0, :8] == 8).all()


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_tiff_whose_zero_is_white_is_turned_over(tmp_path, compression):
    path = tmp_path / "scan.tif"
    tifffile.imwrite(path, RAMP, photometric="miniswhite", compression=compression)
    np.testing.assert_allclose(read_volume(path).pixels[0], 65535.0 - RAMP)


@pytest.mark.parametrize(("unit", "factor"), [("µm", 1000), ("mm", 1), ("cm", 0.1), ("nm", 1e6)])
def test_sizes_of_a_tiff_are_read_in_their_unit(tmp_path, unit, factor):
    stack = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]])
    told = {"PhysicalSizeZ": 3.0 * factor, "PhysicalSizeY": 0.5 * factor}
    told |= {"PhysicalSizeX": 0.75 * factor, "axes": "ZYX"}
    told |= {f"PhysicalSize{axis}Unit": unit for axis in "XYZ"}
    path = tmp_path / "scan.ome.tif"
    tifffile.imwrite(path, stack, ome=True, metadata=told, photometric="minisblack")
    volume = read_volume(path)
    np.testing.assert_allclose(volume.spacing, (3.0, 0.5, 0.75), rtol=1e-6)
    np.testing.assert_allclose(volume.pixels, stack)


@pytest.mark.parametrize(("unit", "factor"), [("micron", 1000), ("mm", 1), ("cm", 0.1)])
def test_sizes_of_an_imagej_stack_are_read_in_their_unit(tmp_path, unit, factor):
    path = tmp_path / "scan.tif"
    tifffile.imwrite(
        path,
        np.stack([RAMP] * 3),
        imagej=True,
        resolution=(1 / (0.75 * factor), 1 / (0.5 * factor)),
        metadata={"spacing": 3.0 * factor, "unit": unit, "axes": "ZYX"},
    )
    np.testing.assert_allclose(read_volume(path).spacing, (3.0, 0.5, 0.75), rtol=1e-4)


def test_a_turned_tiff_has_its_sizes_turned_with_it(tmp_path):
    path = tmp_path / "scan.tif"
    tifffile.imwrite(path, RAMP, resolution=(1 / 0.75, 1 / 0.5), extratags=[(274, "H", 1, 6, True)])
    volume = read_volume(path)
    assert volume.pixels.shape == (1, 36, 40)
    row, column = volume.aspect
    assert row / column == pytest.approx(0.75 / 0.5, rel=1e-4)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_volume_of_several_is_the_one_that_is_asked_for(tmp_path, index):
    stack = np.random.default_rng(0).random((40, 36, 34, 3)).astype(np.float32)
    nib.save(nib.Nifti1Image(stack, np.diag([-1.0, -1, 2, 1])), tmp_path / "scan.nii.gz")
    selection = open_files([tmp_path / "scan.nii.gz"])
    assert [label.split(", ")[1] for label in selection.choices] == [
        f"volume {n} of 3" for n in (1, 2, 3)
    ]
    pixels = selection.read(index).pixels
    np.testing.assert_allclose(pixels.transpose(2, 1, 0), stack[..., index])


@pytest.mark.parametrize(("code", "factor"), [("meter", 1000.0), ("micron", 1e-3), ("mm", 1.0)])
def test_sizes_of_a_nifti_are_read_in_their_unit(tmp_path, code, factor):
    affine = np.diag([0.75 / factor, 0.5 / factor, 3.0 / factor, 1.0])
    affine[:3, 3] = np.array([10.0, -20, 30]) / factor
    image = nib.Nifti1Image(np.random.default_rng(0).random((40, 36, 34)), affine)
    image.header.set_xyzt_units(code)
    nib.save(image, tmp_path / "scan.nii")
    volume = read_volume(tmp_path / "scan.nii")
    np.testing.assert_allclose(volume.spacing, (3.0, 0.5, 0.75), rtol=1e-5)
    np.testing.assert_allclose(volume.stored_affine[:3, 3], (10, -20, 30), rtol=1e-5)
    # The first voxel's place, found by the affine of what is shown.
    there = np.linalg.solve(volume.affine, [10, -20, 30, 1])[:3].round().astype(int)
    assert volume.pixels[tuple(there[::-1])] == pytest.approx(image.get_fdata()[0, 0, 0])


def test_pixels_without_end_become_the_nearest_number(tmp_path):
    stack = np.random.default_rng(0).random((40, 36, 34)).astype(np.float32)
    stack[5, 5, 5], stack[6, 6, 6], stack[7, 7, 7] = np.inf, -np.inf, np.nan
    nib.save(nib.Nifti1Image(stack, np.eye(4)), tmp_path / "scan.nii")
    volume = read_volume(tmp_path / "scan.nii")
    finite = stack[np.isfinite(stack)]
    places = np.linalg.inv(volume.affine) @ np.array([[5, 5, 5, 1], [6, 6, 6, 1], [7, 7, 7, 1]]).T
    found = [volume.pixels[tuple(p[2::-1])] for p in places.T.round().astype(int)]
    assert found == [finite.max(), finite.min(), finite.min()]
