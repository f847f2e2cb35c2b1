"""What was dropped together: sorted by place, told apart, and nothing inflated on trust."""

from __future__ import annotations

import gzip
import io
import random
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicom_files import CORONAL, SAGITTAL, axial_series, enhanced, mr_image, saved
from PIL import Image
from pydicom.uid import generate_uid

from cyclegan.reading.read import read_volume
from cyclegan.reading.series import open_files
from cyclegan.reading.volume import ReadError

AFFINE = np.diag([-1.0, -1, 2, 1])


@pytest.fixture
def stack() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 4096, (5, 40, 48), dtype=np.uint16)


def shuffled(tmp_path: Path, datasets, seed: int = 0) -> list[Path]:
    """Paths of the data sets, under names that say nothing, in an order that says nothing."""
    names = [f"IM{number:04d}" for number in range(len(datasets))]
    random.Random(seed).shuffle(names)
    paths = [saved(tmp_path, each, name) for each, name in zip(datasets, names, strict=True)]
    return sorted(paths)


def zipped(tmp_path: Path, members: dict[str, bytes], name: str = "study.zip") -> Path:
    path = tmp_path / name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    return path


def test_a_series_is_sorted_by_place_and_not_by_name(tmp_path, stack):
    datasets = axial_series(stack, SeriesDescription="T2 TSE", PatientName="Doe^Jane")
    datasets[1].InstanceNumber = 90  # nor by number
    selection = open_files(shuffled(tmp_path, datasets))
    assert selection.choices == ("T2 TSE axial, 5 slices, 48 x 40",)
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
    datasets = axial_series(stack)
    for dataset in datasets:  # reversed normal: rows run up
        dataset.ImageOrientationPatient = [1, 0, 0, 0, -1, 0]
    volume = open_files(shuffled(tmp_path, datasets)).read(0)
    np.testing.assert_array_equal(volume.pixels, stack[:, ::-1])
    assert [uid for _, uid, _ in volume.dicom.instances] == [d.SOPInstanceUID for d in datasets]
    assert {number for *_, number in volume.dicom.instances} == {None}


def test_frames_of_enhanced_objects_are_named_by_number(tmp_path, stack):
    heights = [4.0, 0.0, 8.0, 2.0, 6.0]
    dataset = enhanced(stack, [(0, 0, height) for height in heights])
    volume = read_volume(saved(tmp_path, dataset))
    assert [number for *_, number in volume.dicom.instances] == [2, 4, 1, 5, 3]
    common = volume.dicom.common
    assert "PixelData" not in common
    assert "PerFrameFunctionalGroupsSequence" not in common
    assert "SharedFunctionalGroupsSequence" in common


def test_private_and_overlay_groups_stay_behind(tmp_path, stack):
    dataset = mr_image(stack[0])
    dataset.private_block(0x0029, "ACME", create=True).add_new(1, "LO", "secret")
    dataset.add_new(0x60003000, "OW", bytes(240))
    common = read_volume(saved(tmp_path, dataset)).dicom.common
    assert {element.tag.group for element in common} <= {0x0008, 0x0010, 0x0018, 0x0020, 0x0028}


def test_several_series_are_a_choice(tmp_path, stack):
    datasets = axial_series(stack, SeriesDescription="T1 SE", SeriesNumber=3)
    datasets += axial_series(stack[:3] // 2, SeriesDescription="T2 TSE", SeriesNumber=4)
    selection = open_files(shuffled(tmp_path, datasets))
    assert sorted(selection.choices) == [
        "T1 SE axial, 5 slices, 48 x 40",
        "T2 TSE axial, 3 slices, 48 x 40",
    ]
    assert selection.choices[selection.best].startswith("T1 SE")
    other = 1 - selection.best
    np.testing.assert_array_equal(selection.read(other).pixels, stack[:3] // 2)


def test_a_localizer_comes_apart_into_its_planes(tmp_path, stack):
    datasets = axial_series(stack[:2])
    for cosines in (CORONAL, SAGITTAL):
        for index in range(2):
            normal = np.cross(cosines[:3], cosines[3:])
            datasets.append(mr_image(stack[index], cosines, position=5 * index * normal))
            datasets[-1].SeriesInstanceUID = datasets[0].SeriesInstanceUID
    selection = open_files(shuffled(tmp_path, datasets))
    assert sorted(label.split()[1] for label in selection.choices) == [
        "axial,",
        "coronal,",
        "sagittal,",
    ]
    for index, label in enumerate(selection.choices):
        volume = selection.read(index)
        assert len(volume.pixels) == 2
        assert any("learned axial slices only" in note for note in volume.notes) == (
            "axial" not in label
        )


def test_echoes_and_repeats_of_one_series_are_told_apart(tmp_path, stack):
    datasets = axial_series(stack, EchoTime=14.0)
    for echo in axial_series(stack // 2, EchoTime=100.0):
        echo.SeriesInstanceUID = datasets[0].SeriesInstanceUID
        datasets.append(echo)
    selection = open_files(shuffled(tmp_path, datasets))
    assert sorted(selection.choices) == [
        "MR axial, 5 slices, 48 x 40, echo time 100 ms",
        "MR axial, 5 slices, 48 x 40, echo time 14 ms",
    ]
    late = next(i for i, label in enumerate(selection.choices) if "100" in label)
    np.testing.assert_array_equal(selection.read(late).pixels, stack // 2)

    for dataset in datasets:
        dataset.EchoTime = 14.0
    for dataset in datasets[5:]:
        dataset.AcquisitionNumber = 2
    selection = open_files(shuffled(tmp_path, datasets, seed=1))
    assert selection.choices == (
        "MR axial, 5 slices, 48 x 40, no acquisition given",
        "MR axial, 5 slices, 48 x 40, acquisition 2",
    )
    np.testing.assert_array_equal(selection.read(1).pixels, stack // 2)


def test_an_enhanced_time_series_is_a_choice(tmp_path, stack):
    frames = np.stack([stack[0], stack[1], stack[2], stack[3]])
    places = [(0, 0, 0), (0, 0, 3), (0, 0, 0), (0, 0, 3)]
    path = saved(tmp_path, enhanced(frames, places))
    selection = open_files([path])
    assert len(selection.choices) == 2
    np.testing.assert_array_equal(selection.read(1).pixels, frames[2:])


def test_duplicates_are_left_out_with_a_note(tmp_path, stack):
    datasets = axial_series(stack)
    selection = open_files(
        [*shuffled(tmp_path, datasets), saved(tmp_path, datasets[2], "zz_copy_of_2")]
    )
    assert selection.choices == ("MR axial, 5 slices, 48 x 40",)
    assert selection.notes == ("1 file left out (repeats another image): zz_copy_of_2.",)
    again = []
    for dataset in datasets:  # sent twice, with new identifiers
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        again.append(saved(tmp_path, dataset, f"again{dataset.InstanceNumber}"))
    selection = open_files([*sorted(tmp_path.glob("[0-9]*")), *again])
    assert selection.choices == ("MR axial, 5 slices, 48 x 40",)


def test_one_uid_for_a_whole_series_does_not_make_duplicates(tmp_path, stack):
    datasets = axial_series(stack)
    uid = generate_uid()
    for dataset in datasets:
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
    volume = open_files(shuffled(tmp_path, datasets)).read(0)
    np.testing.assert_array_equal(volume.pixels, stack)


def test_a_missing_slice_is_told_and_no_geometry_is_made_up(tmp_path, stack):
    datasets = axial_series(stack)
    del datasets[3]
    volume = open_files(shuffled(tmp_path, datasets)).read(0)
    np.testing.assert_array_equal(volume.pixels, stack[[0, 1, 2, 4]])
    assert any("varies, 3.0 to 6.0 mm" in note for note in volume.notes)
    assert volume.affine is None
    assert volume.stored_affine is None
    assert volume.spacing == (3.0, 0.5, 0.75)
    assert volume.directions == ("R", "L", "A", "P")


def test_images_without_position_keep_the_order_of_their_numbers(tmp_path, stack):
    datasets = axial_series(stack)
    for dataset in datasets:
        del dataset.ImagePositionPatient
    volume = open_files(shuffled(tmp_path, datasets)).read(0)
    np.testing.assert_array_equal(volume.pixels, stack)
    assert (volume.affine, volume.directions) == (None, None)


@pytest.mark.parametrize("description", ["DOE head", "jane", "T1 doe^jane"])
def test_labels_never_name_the_patient(tmp_path, stack, description):
    datasets = axial_series(stack, SeriesDescription=description, PatientName="Doe^Jane")
    assert open_files(shuffled(tmp_path, datasets)).choices == ("MR axial, 5 slices, 48 x 40",)


def test_an_archive_with_folders_and_clutter(tmp_path, stack):
    members = {"DICOMDIR": b"\0" * 128 + b"DICM" + bytes(100), "study/README.txt": b"hello"}
    members |= {"study/.DS_Store": b"x", "__MACOSX/study/._IM0": b"x", "empty": b""}
    members["of\\Windows\\DICOMDIR"] = members["DICOMDIR"]
    logo = io.BytesIO()
    Image.fromarray(stack[0].astype(np.uint8)).save(logo, "GIF")
    members["viewer/logo.gif"] = logo.getvalue()
    for number, dataset in enumerate(axial_series(stack)):
        buffer = io.BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        members[f"study/../../{number % 2}/IM{9 - number}"] = buffer.getvalue()
    path = zipped(tmp_path, members)
    selection = open_files([path])
    assert selection.choices == ("MR axial, 5 slices, 48 x 40",)
    assert len(selection.notes) == 3
    assert "1 file left out (a picture on a patient's disc): logo.gif." in selection.notes
    assert any("README.txt" in note and "no image" in note for note in selection.notes)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.pixels, stack)
    assert volume.name == "study.zip"
    assert [each.name for each in tmp_path.iterdir()] == ["study.zip"]


def test_read_volume_refuses_an_archive_with_a_choice(tmp_path, stack):
    picture = io.BytesIO()
    Image.fromarray(stack[0]).save(picture, "PNG")
    nifti = nib.Nifti1Image(stack.T, AFFINE).to_bytes()
    path = zipped(tmp_path, {"a/t1.png": picture.getvalue(), "b/t2.nii.gz": gzip.compress(nifti)})
    selection = open_files([path])
    assert selection.choices == ("t1.png, 1 slice, 48 x 40", "t2.nii.gz, 5 slices, 48 x 40")
    assert selection.best == 1
    np.testing.assert_array_equal(selection.read(0).pixels[0], stack[0])
    np.testing.assert_array_equal(selection.read(1).pixels, stack)
    with pytest.raises(ReadError, match=r"^study\.zip: the archive holds 2 images or series"):
        read_volume(path)


def test_an_archive_without_images_is_refused(tmp_path):
    path = zipped(tmp_path, {"notes.txt": b"no image", "more/readme": b"nor here"})
    with pytest.raises(ReadError, match=r"^study\.zip: nothing in it can be read as an MR image"):
        read_volume(path)


def test_an_archive_is_inflated_no_further_than_its_caps(tmp_path, monkeypatch):
    bomb = zipped(tmp_path, {"slice.dcm": bytes(2**25)})
    with pytest.raises(ReadError, match=r"study\.zip: .*unpacks to more than 300 times"):
        open_files([bomb])
    noise = random.Random(0).randbytes(2**16)
    many = zipped(tmp_path, {f"{n}": noise for n in range(8)}, "many.zip")
    monkeypatch.setattr("cyclegan.reading.archive.MAX_FILE_BYTES", 2**18)
    with pytest.raises(ReadError, match=r"many\.zip: together the files have more than"):
        open_files([many])
    monkeypatch.setattr("cyclegan.reading.archive.MAX_ENTRIES", 7)
    with pytest.raises(ReadError, match=r"many\.zip: the archive holds 8 files"):
        open_files([many])
    monkeypatch.setattr("cyclegan.reading.archive.MAX_DIRECTORY_BYTES", 100)
    with pytest.raises(ReadError, match=r"many\.zip: the archive lists too many files"):
        open_files([many])


def test_files_together_are_bounded_too(tmp_path, stack, monkeypatch):
    paths = shuffled(tmp_path, axial_series(stack))
    monkeypatch.setattr("cyclegan.reading.archive.MAX_FILE_BYTES", 3 * paths[0].stat().st_size)
    with pytest.raises(ReadError, match="together the files have more than"):
        open_files(paths)


@pytest.mark.parametrize("kind", [nib.Nifti1Pair, nib.AnalyzeImage])
@pytest.mark.parametrize("packed", [False, True])
def test_both_halves_of_a_pair(tmp_path, stack, kind, packed):
    image = kind(stack.T.astype(np.int16), AFFINE if kind is nib.Nifti1Pair else None)
    end = ".gz" if packed else ""
    nib.save(image, tmp_path / f"scan.img{end}")
    header, voxels = tmp_path / f"scan.hdr{end}", tmp_path / f"scan.img{end}"
    members = {f"deep/{each.name}": each.read_bytes() for each in (header, voxels)}
    volumes = [
        open_files([voxels, header]).read(0),
        read_volume(header),
        read_volume(voxels),
        read_volume(zipped(tmp_path, members)),
    ]
    # Analyze says nothing of directions; by its convention j runs to anterior, so rows turn over.
    expected = stack if kind is nib.Nifti1Pair else stack[:, ::-1]
    for volume in volumes:
        np.testing.assert_array_equal(volume.pixels, expected)
        assert volume.directions == (("R", "L", "A", "P") if kind is nib.Nifti1Pair else None)
    voxels.unlink()
    with pytest.raises(ReadError, match=r"half of an Analyze or NIfTI \.hdr/\.img pair"):
        read_volume(header)


def test_4d_nifti_offers_the_volumes_with_content(tmp_path, stack):
    volumes = np.stack([stack.T, np.zeros_like(stack.T), stack.T // 2], axis=3)
    path = tmp_path / "two.nii.gz"
    nib.save(nib.Nifti1Image(volumes, AFFINE), path)
    selection = open_files([path])
    assert selection.choices == (
        "two.nii.gz, volume 1 of 3, 5 slices, 48 x 40",
        "two.nii.gz, volume 3 of 3, 5 slices, 48 x 40",
    )
    assert selection.notes == ("two.nii.gz: 1 of its 3 volumes are empty.",)
    np.testing.assert_array_equal(selection.read(1).pixels, stack // 2)
    with pytest.raises(ReadError, match=r"two\.nii\.gz: the file holds 3 volumes"):
        read_volume(path)
    nib.save(nib.Nifti1Image(volumes[..., 1:], AFFINE), path)
    np.testing.assert_array_equal(read_volume(path).pixels, stack // 2)


def test_a_bad_file_among_good_ones_is_a_note(tmp_path, stack):
    paths = shuffled(tmp_path, axial_series(stack))
    colour = mr_image(stack[0])
    colour.PhotometricInterpretation = "PALETTE COLOR"
    paths += [saved(tmp_path, colour, "colour.dcm"), tmp_path / "letter.txt"]
    paths[-1].write_text("Dear colleague")
    selection = open_files(paths)
    assert selection.choices == ("MR axial, 5 slices, 48 x 40",)
    assert any(
        note.startswith("colour.dcm: the DICOM image is in colour") for note in selection.notes
    )
    assert any("letter.txt" in note for note in selection.notes)


def test_one_unreadable_file_gives_its_own_sentence(tmp_path):
    path = tmp_path / "letter.txt"
    path.write_text("Dear colleague")
    with pytest.raises(ReadError, match=r"^letter\.txt: this is not an image that can be read"):
        open_files([path])
    with pytest.raises(ReadError, match=r"^gone\.dcm: there is no such file"):
        open_files([tmp_path / "gone.dcm"])


def test_real_oblique_series(shared_data):
    paths = list(shared_data("readers/dicom_t1_oblique").glob("*.dcm"))
    random.Random(0).shuffle(paths)
    selection = open_files(paths)
    assert len(selection.choices) == 1
    volume = selection.read(0)
    assert volume.pixels.shape == (12, 384, 274)
    assert volume.spacing[0] == pytest.approx(0.6667, abs=1e-3)
    assert volume.contrast_hint == "T1"
    for path in paths:
        one = read_volume(path)
        place = np.linalg.solve(volume.affine, one.affine[:, 3])
        np.testing.assert_allclose(place[[0, 1]], 0, atol=1e-3)
        np.testing.assert_array_equal(volume.pixels[round(place[2])], one.pixels[0])


def test_numbered_pictures_of_equal_size_are_one_stack(tmp_path):
    paths = []
    for contrast, numbers, side in (
        ("T1", (9, 10, 11), 40),
        ("T2", (9, 10, 11), 40),
        ("T1", (12,), 48),
    ):
        for number in numbers:
            path = tmp_path / f"{contrast} - slice_{number}.png"
            pixels = np.tile(np.arange(side, dtype=np.uint8), (40, 1))
            pixels[0, 0] = 10 * number
            Image.fromarray(pixels).save(path)
            paths.append(path)
    selection = open_files(paths[::-1])  # in no order
    assert sorted(selection.choices) == [
        "T1 - slice_12.png, 1 slice, 48 x 40",  # of another size
        "T1 - slice_9.png to T1 - slice_11.png, 3 slices, 40 x 40",
        "T2 - slice_9.png to T2 - slice_11.png, 3 slices, 40 x 40",
    ]
    volume = selection.read(selection.best)
    assert volume.pixels[:, 0, 0].tolist() == [90, 100, 110]  # by number, not by letter
    assert "3 numbered pictures of equal size" in volume.notes[0]
    two = open_files(paths[:2])  # rather a pair
    assert len(two.choices) == 2
