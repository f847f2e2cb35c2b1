"""Where DICOM slices lie: order, orientation, gaps, and what the objects of a series share."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest
from dicom_files import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    axial_series,
    described,
    enhanced,
    item,
    mr_image,
    read_only,
    saved,
    written,
)
from pydicom.uid import generate_uid

from cyclegan.reading.read import read_volume
from cyclegan.reading.selection import open_files
from cyclegan.reading.volume import ORIENTATION_UNKNOWN, ReadError

LETTERS = {AXIAL: "RLAP", CORONAL: "RLSI", SAGITTAL: "APSI"}
PLACES = [(-20, -30, 40 + 3 * index) for index in range(5)]


def sent_again(datasets):
    for dataset in datasets:
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    return datasets


@pytest.mark.parametrize("plane", LETTERS)
@pytest.mark.parametrize("flips", [(1, 1), (-1, 1), (1, -1), (-1, -1)])
@pytest.mark.parametrize("transposed", [1, -1])
def test_slices_are_turned_to_the_letters_of_their_plane(
    tmp_path, stored, plane, flips, transposed
):
    row, column = (flips[0] * np.array(plane[:3]), flips[1] * np.array(plane[3:]))[::transposed]
    volume = read_volume(saved(tmp_path, mr_image(stored, (*row, *column))))
    assert "".join(volume.directions) == LETTERS[plane]
    assert bool(volume.notes) == (plane != AXIAL)


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
    slope, cosines = 2.0 ** rng.integers(-2, 3), (*along_row, *along_column)
    rescale = {"RescaleSlope": slope, "RescaleIntercept": -3}
    datasets = [
        mr_image(plane, cosines, origin + index * step * normal, spacing, **rescale)
        for index, plane in enumerate(stack)
    ]
    order = rng.permutation(3)
    paths = written(tmp_path, [datasets[k] for k in order])
    volume, single = open_files(paths).read(0), read_volume(paths[0])
    assert open_files(paths[:1]).shapes == (single.pixels.shape,)
    for k, row, column in rng.integers(0, (3, 34, 37), (40, 3)):
        # PS3.3 C.7.6.2.1.1: PixelSpacing is (between rows, between columns); LPS becomes RAS.
        at = origin + k * step * normal
        at = at + column * spacing[1] * along_row + row * spacing[0] * along_column
        for read in [volume, single] if k == order[0] else [volume]:
            place = np.linalg.solve(read.affine, [*(at * [-1, -1, 1]), 1])[:3]
            np.testing.assert_allclose(place, np.rint(place), atol=2e-3)
            i, j, z = np.rint(place).astype(int)
            assert read.pixels[z, j, i] == float(stack[k, row, column]) * slope - 3
            # And back: the stored grid is a signed permutation away.
            back = np.linalg.inv(read.stored_affine) @ read.affine @ [i, j, z, 1]
            slice_at = k if read is volume else 0
            np.testing.assert_allclose(back, [column, row, slice_at, 1], atol=1e-6)


@pytest.mark.parametrize("tilt", [20, 40])
def test_strong_tilt_has_a_note(tmp_path, stored, tilt):
    angle = np.radians(tilt)
    cosines = (1, 0, 0, 0, np.cos(angle), np.sin(angle))
    volume = read_volume(saved(tmp_path, mr_image(stored, cosines)))
    assert any("tilted 40°" in note for note in volume.notes) == (tilt == 40)
    assert volume.directions == ("R", "L", "A", "P")


def test_a_series_is_sorted_by_place_and_not_by_name_or_number(tmp_path, stack):
    datasets = axial_series(stack, SeriesDescription="T2 TSE", PatientName="Doe^Jane")
    datasets[1].InstanceNumber = 90
    selection = open_files(written(tmp_path, datasets, seed=0))
    assert selection.choices == ("T2 TSE axial, 5 slices, 48 x 40",)
    assert (selection.texts, selection.shapes) == (("T2 TSE axial",), ((5, 40, 48),))
    assert selection.notes == ()
    for path in tmp_path.iterdir():  # the files may go as soon as they were opened
        path.unlink()
    volume = selection.read(selection.best)
    np.testing.assert_array_equal(volume.pixels, stack)
    assert volume.spacing == (3.0, 0.5, 0.75)
    np.testing.assert_allclose(volume.affine @ [2, 3, 4, 1], [20 - 1.5, 30 - 1.5, 52, 1])
    assert [uid for _, uid, _ in volume.dicom.instances] == [d.SOPInstanceUID for d in datasets]
    assert volume.contrast_hint == "T2"


def test_slices_stored_head_to_foot_name_their_own_instances(tmp_path, stack):
    datasets = axial_series(stack, ImageOrientationPatient=[1, 0, 0, 0, -1, 0])  # rows run up
    volume = read_only(written(tmp_path, datasets, seed=0))
    np.testing.assert_array_equal(volume.pixels, stack[:, ::-1])
    instances = [(uid, number) for _, uid, number in volume.dicom.instances]
    assert instances == [(d.SOPInstanceUID, None) for d in datasets]


def test_frames_are_sorted_scaled_and_named_one_by_one(tmp_path, stack):
    heights, slopes = [4.0, 0.0, 8.0, 2.0, 6.0], [1, 2, 4, 8, 16]
    dataset = enhanced(stack, [(0, 0, height) for height in heights], slopes=slopes)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]  # which no multi-frame object is
    dataset.private_block(0x0029, "ACME", create=True).add_new(1, "LO", "secret")
    dataset.add_new(0x60003000, "OW", bytes(240))
    volume = read_volume(saved(tmp_path, dataset))
    order = np.argsort(heights)
    np.testing.assert_array_equal(volume.pixels, [stack[k] * slopes[k] for k in order])
    assert [number for *_, number in volume.dicom.instances] == [2, 4, 1, 5, 3]
    assert volume.spacing == (2.0, 0.5, 0.75)
    np.testing.assert_allclose(volume.affine @ [0, 0, 2, 1], [0, 0, 4, 1])
    common = volume.dicom.common
    groups = {element.tag.group for element in common}
    assert groups <= {0x0008, 0x0010, 0x0018, 0x0020, 0x0028, 0x5200}
    assert "PerFrameFunctionalGroupsSequence" not in common
    assert "SharedFunctionalGroupsSequence" in common


def test_a_missing_slice_has_a_note_and_no_geometry_is_made_up(tmp_path, stack):
    datasets = axial_series(stack)
    frames = enhanced(stack[[0, 1, 2, 4]], [PLACES[at] for at in (0, 1, 2, 4)])
    for paths in (written(tmp_path, datasets[:3] + datasets[4:]), [saved(tmp_path, frames)]):
        volume = read_only(paths)
        np.testing.assert_array_equal(volume.pixels, stack[[0, 1, 2, 4]])
        assert any("varies, 3.0 to 6.0 mm" in note for note in volume.notes)
        assert volume.affine is volume.stored_affine is None
        assert volume.spacing == (3.0, 0.5, 0.75)
        assert volume.directions == ("R", "L", "A", "P")


def test_a_short_file_is_named_and_left_out(tmp_path, stack):
    paths = written(tmp_path, axial_series(stack))
    paths[2].write_bytes(paths[2].read_bytes()[:-400])
    selection = open_files(paths)
    assert "4 slices" in selection.choices[0]
    volume = selection.read(0)
    np.testing.assert_array_equal(volume.pixels, np.delete(stack, 2, axis=0))
    assert "IM002.dcm" in volume.notes[0]
    assert len(volume.dicom.instances) == 4


@pytest.mark.parametrize(
    ("attributes", "step", "word"),
    [
        (lambda at: {"ImagePositionPatient": None}, 3, "InstanceNumber"),
        (
            lambda at: {
                "ImagePositionPatient": None,
                "InstanceNumber": 1,
                "SliceLocation": 4.0 * at,
            },
            *(3, "SliceLocation"),
        ),
        (
            lambda at: {"ImagePositionPatient": None, "InstanceNumber": None},
            *(3, "Nothing in the files tells"),
        ),
        (lambda at: {}, 0, "InstanceNumber"),  # all claim one place
    ],
)
def test_images_without_usable_positions_are_in_another_order(
    tmp_path, stack, attributes, step, word
):
    datasets = axial_series(stack, step=step)
    for at, dataset in enumerate(datasets):
        described(dataset, **attributes(at))
    seed = None if word.startswith("Nothing") else 4
    volume = read_only(written(tmp_path, datasets, seed))
    np.testing.assert_array_equal(volume.pixels, stack)
    assert volume.affine is None
    assert (volume.directions is None) == (step > 0)
    assert any(word in note for note in volume.notes)


def test_multi_frame_without_positions_has_no_letters(tmp_path, stack):
    volume = read_volume(saved(tmp_path, mr_image(stack)))
    np.testing.assert_array_equal(volume.pixels, stack)
    assert (volume.affine, volume.directions) == (None, None)
    assert ORIENTATION_UNKNOWN in volume.notes


def test_a_frame_without_a_place_and_one_of_another_plane_are_left_out_with_a_note(tmp_path, stack):
    for macro, others in (
        ("PlanePositionSequence", "do not say where they lie"),
        ("PlaneOrientationSequence", "lie in other planes"),
    ):
        dataset = enhanced(stack, PLACES)
        group = dataset.PerFrameFunctionalGroupsSequence[4]
        described(group, **{macro: None})
        if macro == "PlaneOrientationSequence":
            setattr(group, macro, [item(ImageOrientationPatient=list(CORONAL))])
        volume = read_volume(saved(tmp_path, dataset))
        np.testing.assert_array_equal(volume.pixels, stack[:4])
        assert f"4 of 5 images are shown; the others {others}." in volume.notes


def test_magnitude_is_picked_and_of_a_time_series_one_must_be_named(tmp_path, stack):
    frames, places = stack[:4], [(0, 0, 0), (0, 0, 3), (0, 0, 0), (0, 0, 3)]
    volume = read_volume(saved(tmp_path, enhanced(frames, places, kinds="PMMP")))
    np.testing.assert_array_equal(volume.pixels, frames[[2, 1]])
    assert any("2 images per slice" in note for note in volume.notes)
    path = saved(tmp_path, enhanced(frames, places))
    with pytest.raises(ReadError, match=r"the file holds 2 images or series .*choose one"):
        read_volume(path)
    np.testing.assert_array_equal(read_volume(path, choice=1).pixels, frames[2:])


@pytest.mark.parametrize("concatenation", [None, "1.2.826.0.1.3680043.8.498.7"])
def test_enhanced_objects_of_one_series_are_one_volume(tmp_path, stack, concatenation):
    ends = [0, 2, 5] if concatenation else range(6)
    series, datasets = generate_uid(), []
    for start, end in pairwise(ends):
        dataset = enhanced(stack[start:end], PLACES[start:end])
        described(dataset, NumberOfFrames=end - start, SeriesInstanceUID=series)
        datasets.append(described(dataset, ConcatenationUID=concatenation))
    np.testing.assert_array_equal(read_only(written(tmp_path, datasets)).pixels, stack)


def test_several_series_are_a_choice(tmp_path, stack):
    datasets = axial_series(stack, SeriesDescription="T1 SE", SeriesNumber=3)
    datasets += axial_series(stack[:3] // 2, SeriesDescription="T2 TSE", SeriesNumber=4)
    selection = open_files(written(tmp_path, datasets, seed=0))
    assert sorted(selection.choices) == [
        "T1 SE axial, 5 slices, 48 x 40",
        "T2 TSE axial, 3 slices, 48 x 40",
    ]
    assert selection.choices[selection.best].startswith("T1 SE")
    np.testing.assert_array_equal(selection.read(1 - selection.best).pixels, stack[:3] // 2)


def test_a_localizer_comes_apart_into_its_planes(tmp_path, stack):
    datasets = axial_series(stack[:2])
    for cosines in (CORONAL, SAGITTAL):
        normal = np.cross(cosines[:3], cosines[3:])
        for index in range(2):
            datasets.append(mr_image(stack[index], cosines, position=5 * index * normal))
            datasets[-1].SeriesInstanceUID = datasets[0].SeriesInstanceUID
    selection = open_files(written(tmp_path, datasets, seed=0))
    assert sorted(selection.texts) == ["MR axial", "MR coronal", "MR sagittal"]
    for index, text in enumerate(selection.texts):
        volume = selection.read(index)
        assert len(volume.pixels) == 2
        is_noted = any("learned axial slices only" in note for note in volume.notes)
        assert is_noted == ("axial" not in text)


def test_echoes_of_one_series_have_labels_apart(tmp_path, stack):
    series = generate_uid()
    datasets = [
        dataset
        for echo, values in ((14.0, stack), (100.0, stack // 2))
        for dataset in axial_series(values, EchoTime=echo, SeriesInstanceUID=series)
    ]
    selection = open_files(written(tmp_path, datasets, seed=0))
    assert sorted(selection.texts) == ["MR axial, echo time 100 ms", "MR axial, echo time 14 ms"]
    late = next(i for i, label in enumerate(selection.choices) if "100" in label)
    np.testing.assert_array_equal(selection.read(late).pixels, stack // 2)


@pytest.mark.parametrize(
    ("which", "attributes", "volumes"),
    [
        ([2], {"EchoTime": 4.6001}, 1),  # that hardly differ
        ([2], {"EchoTime": 4.7}, 2),
        ([1, 3], {"PixelSpacing": [0.6, 0.9]}, 2),
        (range(5), {"ImagePositionPatient": [0, 0, 0]}, 5),  # taken one after the other
    ],
)
def test_what_is_one_volume_and_what_is_several(tmp_path, stack, which, attributes, volumes):
    datasets = axial_series(stack, EchoTime=4.6)
    for index in which:
        described(datasets[index], **attributes, AcquisitionTime=f"12000{index}")
    if volumes < 5:
        for dataset in datasets:
            described(dataset, AcquisitionTime=None)
    assert len(open_files(written(tmp_path, datasets)).choices) == volumes


def test_duplicates_are_left_out_with_a_note(tmp_path, stack):
    datasets = axial_series(stack)
    paths = written(tmp_path, datasets, seed=0)
    copy = saved(tmp_path, datasets[2], "zz_copy_of_2")
    selection = open_files([*paths, copy])
    assert selection.choices == ("MR axial, 5 slices, 48 x 40",)
    assert selection.notes == ("1 file left out (repeats another image): zz_copy_of_2.",)
    (tmp_path / "again").mkdir()
    again = written(tmp_path / "again", sent_again(datasets))  # with new identifiers
    assert open_files([*paths, *again]).choices == ("MR axial, 5 slices, 48 x 40",)


def test_one_uid_for_a_whole_series_does_not_make_duplicates(tmp_path, stack):
    uid = generate_uid()
    datasets = axial_series(stack, SOPInstanceUID=uid)
    for dataset in datasets:
        dataset.file_meta.MediaStorageSOPInstanceUID = uid
    np.testing.assert_array_equal(read_only(written(tmp_path, datasets, seed=0)).pixels, stack)


@pytest.mark.parametrize("description", ["DOE head", "jane", "T1 doe^jane"])
def test_labels_never_name_the_patient(tmp_path, stack, description):
    datasets = axial_series(stack, SeriesDescription=description, PatientName="Doe^Jane")
    assert open_files(written(tmp_path, datasets)).choices == ("MR axial, 5 slices, 48 x 40",)


# Files of others


def test_real_oblique_series(shared_data):
    paths = list((shared_data("readers") / "dicom_t1_oblique").glob("*.dcm"))
    random.Random(0).shuffle(paths)
    volume = read_only(paths)
    assert volume.pixels.shape == (12, 384, 274)
    assert volume.spacing[0] == pytest.approx(0.6667, abs=1e-3)
    assert (volume.contrast_hint, volume.directions) == ("T1", ("R", "L", "A", "P"))
    for path in paths:
        one = read_volume(path)
        place = np.linalg.solve(volume.affine, one.affine[:, 3])
        np.testing.assert_allclose(place[[0, 1]], 0, atol=1e-3)
        np.testing.assert_array_equal(volume.pixels[round(place[2])], one.pixels[0])


def test_real_enhanced_files(shared_data):
    readers = shared_data("readers")
    philips = read_volume(readers / "dicom_enhanced/Philips/IM_0027_fMAP.dcm")
    assert philips.pixels.shape == (32, 64, 64)
    assert philips.spacing == pytest.approx((4, 4, 4), abs=1e-4)
    assert any("magnitude" in note for note in philips.notes)
    siemens = read_volume(readers / "dicom_enhanced/Siemens/XA10/6_1.dcm")
    assert siemens.pixels.shape == (6, 64, 64)
    assert siemens.spacing == pytest.approx((2.4, 3.375, 3.375), abs=1e-3)
    assert siemens.window is not None
