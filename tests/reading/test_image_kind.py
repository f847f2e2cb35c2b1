"""What is opened first: MR before others, images before label maps, T1 and T2 before the rest."""

from __future__ import annotations

import io
import zipfile

import nibabel as nib
import numpy as np
import pytest
from dicom_files import axial_series, mr_image, saved
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from cyclegan.reading.choice import value_statistics
from cyclegan.reading.selection import open_files
from cyclegan.reading.volume import NoMRImage, ReadError
from cyclegan.simulation.phantom import draw_volume

SEG, SC, US = ("1.2.840.10008.5.1.4.1.1." + end for end in ("66.4", "7", "6.1"))
SR, PR, RTSTRUCT = ("1.2.840.10008.5.1.4.1.1." + end for end in ("88.11", "11.1", "481.3"))
RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 4096, (6, 40, 48), dtype=np.uint16)
DISC = (np.hypot(*np.mgrid[-20:20, -24:24]) < 18) * np.ones((6, 1, 1))
HEAD = (DISC * RNG.integers(300, 900, DISC.shape)).astype(np.int16)
LABELS = (draw_volume(1, slices=6, size=96) % 251).astype(np.int16)


def dicom(tmp_path, name, slices=4, **attributes):
    paths = []
    for number, dataset in enumerate(axial_series(NOISE[:slices], **attributes)):
        if "SOPClassUID" in attributes:
            dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        paths.append(saved(tmp_path, dataset, f"{name}{number}.dcm"))
    return paths


def nifti(tmp_path, name, values, intent=None):
    image = nib.Nifti1Image(np.asarray(values).transpose(2, 1, 0), np.diag([-2, -2, 3, 1]))
    if intent:
        image.header.set_intent(intent, allow_unknown=True)
    nib.save(image, tmp_path / name)
    return tmp_path / name


def opened(paths):
    selection = open_files(paths)
    return selection.choices[selection.best]


@pytest.mark.parametrize(
    "other",
    [
        {"Modality": "CT"},
        {"Modality": "PT"},
        {"Modality": "NM"},
        {"Modality": "SEG", "SOPClassUID": SEG},
        {"Modality": "MR", "SOPClassUID": SEG},  # of a program that keeps the source's
        {"Modality": "US", "SOPClassUID": US},
        {"Modality": "", "SOPClassUID": US},
        {"Modality": "RTDOSE"},
        {"Modality": "OT", "SOPClassUID": SC},
        {"Modality": "MR", "SOPClassUID": SC},
        {"Modality": "MR", "SeriesDescription": "T2 FLAIR"},
        {"Modality": "MR", "SeriesDescription": "ADC map"},
        {"Modality": "MR", "SeriesDescription": "T1 localizer"},
        {"Modality": "MR", "SeriesDescription": "T1 +C"},
        {"Modality": "MR", "SeriesDescription": "t1 phase", "ImageType": ["ORIGINAL", "M", "P"]},
    ],
)
def test_the_t1_of_few_slices_is_opened_before(tmp_path, other):
    paths = dicom(tmp_path, "a", 6, **other)
    paths += dicom(tmp_path, "b", 3, SeriesDescription="t1_se_tra")
    for order in (paths, paths[::-1]):
        assert opened(order).startswith("t1_se_tra axial, 3 slices")


def test_what_is_unknown_comes_before_what_is_known_to_be_another(tmp_path):
    paths = dicom(tmp_path, "a", 6, SeriesDescription="T2 FLAIR")
    paths += dicom(tmp_path, "b", 3, SeriesDescription="head")
    assert opened(paths).startswith("head")


def test_a_time_of_the_header_is_enough_for_t2(tmp_path):
    paths = dicom(tmp_path, "a", 6, SeriesDescription="head")
    paths += dicom(tmp_path, "b", 3, SeriesDescription="tse", EchoTime=95, RepetitionTime=5000)
    assert opened(paths).startswith("tse")


@pytest.mark.parametrize(
    ("name", "labels", "intent"),
    [
        ("brainmask.nii.gz", HEAD > 0, None),
        ("aparc+aseg.nii.gz", np.repeat(LABELS[:, :40, :48] * 37, 3, 0), None),
        ("a.nii.gz", np.kron(LABELS, np.ones((1, 2, 2))).astype(np.float32), None),
        ("a.nii", LABELS, None),
        ("T1_label.nii", LABELS, 1002),
        ("a_T1.nii", HEAD / 9.7, 5),  # z scores
        ("lesion.nii", (HEAD > 800) * 255, None),
    ],
)
def test_images_come_before_label_maps_and_statistics(tmp_path, name, labels, intent):
    labels = labels.astype(labels.dtype if labels.dtype != bool else np.uint8)
    labels = labels.astype(np.int16) if labels.dtype.kind == "i" else labels
    paths = [nifti(tmp_path, name, labels, intent), nifti(tmp_path, "z.nii.gz", HEAD)]
    selection = open_files(paths)
    assert selection.choices[selection.best].startswith("z.nii.gz")
    np.testing.assert_array_equal(selection.read(selection.best).pixels, HEAD[:, ::1])


def test_a_mask_by_name_that_is_an_image_stays_one(tmp_path):
    paths = [nifti(tmp_path, "brainmask.nii.gz", HEAD)]  # FreeSurfer calls a stripped T1 so
    selection = open_files(paths)
    assert selection.not_mr(0) == ""


def test_folders_of_an_archive_tell_the_contrast(tmp_path):
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for folder, values in (("FLAIR", HEAD), ("T2", HEAD[:4] // 2), ("masks", HEAD > 0)):
            source = nifti(tmp_path, "v.nii", values.astype(np.int16))
            archive.write(source, f"{folder}/v.nii")
    assert opened([path]) == "v.nii, 4 slices, 48 x 40"


def test_pictures_of_masks_come_after_their_image(tmp_path):
    for name, pixels in (("a.png", (HEAD[2] > 0) * 255), ("b.png", HEAD[2] % 251)):
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / name)
    assert opened([tmp_path / "a.png", tmp_path / "b.png"]).startswith("b.png")


@pytest.mark.parametrize("levels", [256, 64, 32, 16])
def test_a_real_image_of_few_grey_values_is_no_label_map(levels):
    shading = np.linspace(0.5, 1, 96)
    image = (LABELS > 0) * (LABELS % 7 + 3) * shading + RNG.normal(0, 0.3, LABELS.shape)
    grey = np.round((levels - 1) * np.clip(image / 10, 0, 1))
    assert not value_statistics(grey).are_labels


def test_label_maps_are_told_by_their_values():
    whole = draw_volume(1, slices=6, size=160) % 251
    for labels in (whole, whole.astype(np.float32), whole * 37, whole % 3):
        values = value_statistics(labels)
        assert values.count == len(np.unique(labels))
        assert values.are_labels
    coarse = value_statistics(LABELS)
    assert coarse.may_be_labels
    assert not coarse.are_labels
    assert value_statistics(HEAD > 0).are_labels
    ids = RNG.permutation(14_000)[:144].reshape(1, 12, 12)  # as an atlas numbers its regions
    assert value_statistics(np.kron(ids, np.ones((8, 8)))).are_labels
    for image in (LABELS + 0.5, NOISE, np.full((2, 40, 40), np.nan), np.ones((2, 40, 40))):
        assert value_statistics(image) == (0, 0, 0, False)


@pytest.mark.parametrize("storage", [SR, PR, RTSTRUCT])
def test_objects_without_an_image_are_named(tmp_path, storage):
    report = mr_image(NOISE[0])
    for keyword in ("Rows", "Columns", "BitsAllocated", "PhotometricInterpretation", "PixelData"):
        delattr(report, keyword)
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = storage
    path = saved(tmp_path, report, "report.dcm")
    with pytest.raises(
        NoMRImage, match=r"^report\.dcm: this DICOM file \(.+ Storage\) holds no im"
    ):
        open_files([path])
    selection = open_files([path, *dicom(tmp_path, "a")])
    assert len(selection.choices) == 1
    assert len(selection.foreign) == 1
    assert selection.failures == ()


def test_colour_screens_are_foreign_and_damaged_files_are_failures(tmp_path):
    screen = mr_image(NOISE[0].astype(np.uint8))
    screen.SamplesPerPixel, screen.PhotometricInterpretation = 3, "RGB"
    screen.PlanarConfiguration, screen.SOPInstanceUID = 0, generate_uid()
    screen.PixelData = RNG.integers(0, 255, (40, 48, 3), dtype=np.uint8).tobytes()
    paths = [saved(tmp_path, screen, "screen.dcm"), *dicom(tmp_path, "a")]
    paths.append(nifti(tmp_path, "cut.nii.gz", HEAD))
    paths[-1].write_bytes(paths[-1].read_bytes()[:-900])
    selection = open_files([*paths, nifti(tmp_path, "short.nii", HEAD)])
    assert [sentence.partition(":")[0] for sentence in selection.foreign] == ["screen.dcm"]
    (tmp_path / "short.nii").write_bytes((tmp_path / "short.nii").read_bytes()[:-900])
    selection = open_files([*paths, tmp_path / "short.nii"])
    assert [sentence.partition(":")[0] for sentence in selection.failures] == ["short.nii"]
    assert set(selection.foreign + selection.failures) <= set(selection.notes)


def test_lost_members_of_an_archive_are_failures(tmp_path):
    inner = io.BytesIO()
    zipfile.ZipFile(inner, "w").close()
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(nifti(tmp_path, "v.nii", HEAD), "v.nii")
        archive.writestr("inner.zip", inner.getvalue() + b"PK\x03\x04")
        archive.writestr("more.zip", b"PK\x03\x04" + bytes(99))
        archive.writestr("README.txt", "hello")
    failures = open_files([path]).failures
    assert len(failures) == 1
    assert "more.zip" in failures[0]
    assert "README" not in failures[0]


def test_more_images_than_a_list_shows_are_there_for_the_command(tmp_path):
    volume = np.stack([HEAD.transpose(2, 1, 0) + n for n in range(66)], axis=3)
    nib.save(nib.Nifti1Image(volume, np.eye(4)), tmp_path / "many.nii")
    assert len(open_files([tmp_path / "many.nii"]).choices) == 64
    assert len(open_files([tmp_path / "many.nii"], most=None).choices) == 66


def test_an_empty_dataset_is_no_image_of_a_known_kind(tmp_path):
    dataset = Dataset()
    dataset.PatientName = "nobody"
    path = tmp_path / "a.dcm"
    path.write_bytes(bytes(128) + b"DICM" + bytes(64))
    with pytest.raises(ReadError):
        open_files([path])
