"""Derived DICOM: lies where its source lies, says what it is, and not who the patient is."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import gdcm  # the independent reader: a C++ library that shares no code with pydicom
import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_files import AXIAL, CORONAL, SAGITTAL, described, enhanced, mr_image, read_only, saved
from dicom_files import written as written_series
from exports import ORIGIN, derive, loaded
from nibabel.eulerangles import euler2mat
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.datadict import dictionary_VR, keyword_dict, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage, SecondaryCaptureImageStorage

from cyclegan.export.derived import WHITE, derived_dicom
from cyclegan.export.files import nifti
from cyclegan.reading.read import read_volume
from cyclegan.reading.selection import open_files

PLANES = {
    "axial": AXIAL,
    "upside down": (-1, 0, 0, 0, -1, 0),
    "feet last": (1, 0, 0, 0, -1, 0),
    "sagittal": SAGITTAL,
    "coronal": CORONAL,
    "oblique": tuple(np.round(euler2mat(0.2, -0.13, 0.1)[:, :2].T.ravel(), 9)),
}
# Every attribute of a person, a place, a time or free words, with a value of its kind (PS3.15 Table
# E.1-1 lists more than four hundred that lead to the patient).
BY_VR = {
    **dict.fromkeys(("LO", "SH"), "am Waldrand"),
    **dict.fromkeys(("LT", "ST", "UT"), "Herr Jörg, wohnhaft am Waldrand"),
    "PN": "Mustermann^Jörg",
    "DA": "19610203",
    "TM": "041511",
    "DT": "19610203041511",
    "AS": "057Y",
}
PERSONAL = {
    keyword: BY_VR[vr]
    for keyword in keyword_dict
    if 0x0008_0000 < tag_for_keyword(keyword) < 0x0050_0000
    and (vr := dictionary_VR(keyword)) in BY_VR
    and keyword not in ("RescaleType", "CodeValue", "CodingSchemeDesignator")
} | {
    "PatientID": "4711-0815",
    "PatientSex": "F",
    "PatientSize": "1.71",
    "PatientWeight": "63.5",
    "PregnancyStatus": 4,
    "MilitaryRank": "Major",
    "StudyInstanceUID": "1.2.3.4.5.20190405",
    "SeriesInstanceUID": "1.2.3.5",
}
# In the result under the same name, with what this program writes there.
OWN = (
    *("StudyInstanceUID", "SeriesInstanceUID", "SeriesDescription", "Manufacturer"),
    *("ManufacturerModelName", "SoftwareVersions", "DerivationDescription"),
    "DeidentificationMethod",
)
NOBODY = {"PatientName": "ANONYMOUS", "PatientID": "ANONYMOUS"}
COPIED = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "PatientSize"),
    *("PatientWeight", "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "StudyDescription"),
    *("IssuerOfPatientID", "ReferringPhysicianName", "StudyInstanceUID"),
)
FILE_NAME = "mustermann_joerg_t1.dcm"


def pattern(*shape: int) -> np.ndarray:
    """Pixels of 0 to `WHITE`, both of which occur."""
    pixels = np.random.default_rng(7).integers(0, WHITE + 1, shape, dtype=np.uint16)
    pixels.flat[0], pixels.flat[-1] = 0, WHITE
    return pixels


def identified(dataset: Dataset, **values) -> Dataset:
    """An image that says everything of a patient."""
    described(dataset, SpecificCharacterSet="ISO_IR 192", **PERSONAL)
    dataset.add_new(0x00091010, "LO", "private Mustermann")
    basics = {"FrameOfReferenceUID": "1.2.3.9", "PatientPosition": "HFS", "SeriesNumber": 5}
    return described(dataset, **{**basics, "EchoTime": 12, **values})


def single(tmp_path: Path, plane: str = "oblique", **values) -> Path:
    """A classic MR image; the values of its pixels are `pattern`'s."""
    position = [-70.123456789, 12.5, 33.987654321]
    dataset = mr_image(pattern(40, 36), PLANES[plane], position, (0.9, 0.7))
    return saved(tmp_path, identified(dataset, **values), FILE_NAME)


def multiple(tmp_path: Path, plane: str, steps=(0, 1, 2, 3, 4)) -> Path:
    """An enhanced object of five frames, 4.5 mm times `steps` apart."""
    normal = np.cross(PLANES[plane][:3], PLANES[plane][3:])
    places = [[round(v, 6) for v in (-60, 10, 20) + 4.5 * n * normal] for n in steps]
    dataset = enhanced(pattern(5, 40, 36), places, PLANES[plane])
    (measures,) = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    described(measures, PixelSpacing=[0.9, 0.7], SliceThickness=3)
    return saved(tmp_path, identified(dataset), FILE_NAME)


def uneven(tmp_path: Path, plane: str) -> Path:
    """An enhanced object with a gap before its last frame."""
    return multiple(tmp_path, plane, (0, 1, 2, 3, 7))


def by_gdcm(path: Path) -> tuple[np.ndarray, ...]:
    """Pixels and origin, direction cosines, spacing in LPS+ mm."""
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    image = reader.GetImage()
    size = image.GetDimension(1), image.GetDimension(0)
    buffer = image.GetBuffer().encode("utf-8", errors="surrogateescape")
    pixels = np.frombuffer(buffer, np.uint16).reshape(size)
    place = (image.GetOrigin(), image.GetDirectionCosines(), image.GetSpacing()[:2])
    return (pixels, *map(np.array, place))


# Place


@pytest.mark.parametrize("plane", [*PLANES, "real"])
def test_another_reader_overlays_a_slice_on_its_source(tmp_path, shared_data, plane):
    if plane == "real":
        path = sorted(shared_data("readers/dicom_t1_oblique").glob("*.dcm"))[0]
    else:
        path = single(tmp_path, plane)
    volume = read_volume(path)
    (derived,) = derive(volume)
    derived.save_as(tmp_path / "derived.dcm")
    pixels, *place = by_gdcm(path)
    derived_pixels, *derived_place = by_gdcm(tmp_path / "derived.dcm")
    np.testing.assert_array_equal(derived_pixels, np.minimum(pixels, WHITE))
    for ours, theirs in zip(derived_place, place, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-9)
    again = read_volume(tmp_path / "derived.dcm")
    np.testing.assert_array_equal(again.pixels, np.minimum(volume.pixels, WHITE))
    np.testing.assert_allclose(again.affine, volume.affine, atol=1e-9)
    assert again.directions == volume.directions
    assert again.contrast_hint != "T1"  # nothing of the source's protocol misleads


@pytest.mark.parametrize("plane", PLANES)
def test_frames_become_images_at_their_places(tmp_path, plane):
    path = multiple(tmp_path, plane)
    source, volume = pydicom.dcmread(path), read_volume(path)
    objects = derive(volume)
    frames = []
    for derived in objects:
        assert derived.SOPClassUID == MRImageStorage
        (reference,) = derived.SourceImageSequence
        assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
        frames.append(reference.ReferencedFrameNumber - 1)
        np.testing.assert_array_equal(derived.pixel_array, source.pixel_array[frames[-1]])
        group = source.PerFrameFunctionalGroupsSequence[frames[-1]].PlanePositionSequence[0]
        np.testing.assert_allclose(
            derived.ImagePositionPatient, group.ImagePositionPatient, atol=2e-6
        )
        np.testing.assert_allclose(derived.ImageOrientationPatient, PLANES[plane], atol=1e-9)
        assert (derived.PixelSpacing, derived.SliceThickness) == ([0.9, 0.7], 3)
        assert derived.SpacingBetweenSlices == pytest.approx(4.5, abs=1e-5)
    assert sorted(frames) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("PixelSpacing", [0.5, 0.75]), ("PixelAspectRatio", [3, 2]), ("PixelSpacing", None)],
)
def test_an_image_without_a_place_becomes_a_secondary_capture(tmp_path, keyword, value):
    dataset = mr_image(pattern(40, 36), cosines=None, **{keyword: value})
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    (derived,) = derive(read_volume(saved(tmp_path, dataset)))
    assert derived.SOPClassUID == SecondaryCaptureImageStorage
    assert derived.ConversionType == "SYN"
    assert "ImagePositionPatient" not in derived
    assert "BurnedInAnnotation" not in derived  # nobody knows
    assert derived.get(keyword) == value
    np.testing.assert_array_equal(derived.pixel_array, pattern(40, 36))


def test_slices_at_uneven_distances_get_no_made_up_place_and_pictures_no_object(tmp_path):
    for derived in derive(read_volume(uneven(tmp_path, "coronal"))):
        assert "ImagePositionPatient" not in derived
        assert derived.PatientOrientation == ["L", "F"]
    Image.fromarray(pattern(40, 36)).save(tmp_path / "slice.png")
    with pytest.raises(ValueError, match="was DICOM"):
        derive(read_volume(tmp_path / "slice.png"))


# What it says


def test_it_says_what_it_is(tmp_path):
    path = single(tmp_path)
    (derived,) = derive(read_volume(path))
    assert list(derived.ImageType) == ["DERIVED", "SECONDARY", "OTHER"]
    assert derived[0x0008001C].value == "YES"
    assert derived.ContentQualification == "RESEARCH"
    assert derived.SeriesDescription == "SYNTHETIC T2 from T1 - not for diagnosis"
    for line in ("T1 to T2", "ab" * 32, "cd" * 32, "0.1.0", "Model: 1.2"):
        assert line in derived.DerivationDescription
    (equipment,) = derived.ContributingEquipmentSequence
    assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109100"
    assert derived.FrameOfReferenceUID == pydicom.dcmread(path).FrameOfReferenceUID
    assert derived.EchoTime is None
    assert (derived.WindowCenter, derived.WindowWidth) == (WHITE / 2, WHITE)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({}, {"BurnedInAnnotation": "NO", "SeriesNumber": 1005, "InstanceNumber": 1}),
        ({"BurnedInAnnotation": "YES"}, {"BurnedInAnnotation": "YES"}),
        ({"BurnedInAnnotation": "NO"}, {"BurnedInAnnotation": "NO"}),
        ({"LossyImageCompression": "01"}, {"LossyImageCompression": "01"}),
        ({"SeriesNumber": 0, "InstanceNumber": 4}, {"SeriesNumber": 1000, "InstanceNumber": 1}),
        ({"SeriesNumber": 1007}, {"SeriesNumber": 1007}),
    ],
)
def test_what_follows_from_the_source(tmp_path, source, expected):
    (derived,) = derive(read_volume(single(tmp_path, **source)))
    assert {keyword: derived[keyword].value for keyword in expected} == expected


def test_uids_are_new_and_the_same_when_made_again(tmp_path):
    path = multiple(tmp_path, "axial")
    source, volume = pydicom.dcmread(path), read_volume(path)
    first, second = derive(volume), derive(volume)
    instances = [d.SOPInstanceUID for d in first]
    assert instances == [d.SOPInstanceUID for d in second]
    assert len(set(instances)) == 5
    assert instances == [d.file_meta.MediaStorageSOPInstanceUID for d in first]
    assert source.SOPInstanceUID not in instances
    assert {d.SeriesInstanceUID for d in first} == {second[0].SeriesInstanceUID}
    assert first[0].StudyInstanceUID == second[0].StudyInstanceUID != source.StudyInstanceUID


TYPE_1 = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality"),
    *("FrameOfReferenceUID", "PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient"),
    *("SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated"),
    *("BitsStored", "HighBit", "PixelRepresentation", "PixelData", "ImageType"),
    *("ScanningSequence", "SequenceVariant"),
)
TYPE_2 = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"),
    *("ReferringPhysicianName", "StudyID", "AccessionNumber", "SeriesNumber", "PatientPosition"),
    *("PositionReferenceIndicator", "Manufacturer", "InstanceNumber", "SliceThickness"),
    *("ScanOptions", "MRAcquisitionType", "RepetitionTime", "EchoTime", "EchoTrainLength"),
)


@pytest.mark.parametrize("keep_identity", [False, True])
@pytest.mark.parametrize("source", [single, multiple, uneven, None])
def test_attributes_that_the_standard_demands(tmp_path, source, keep_identity):
    path = source(tmp_path, "oblique") if source else Path(get_testdata_file("MR_small.dcm"))
    for derived in derive(read_volume(path), keep_identity=keep_identity):
        if source is not uneven:  # the modules of PS3.3 Table A.4-1; known without a validator
            assert [k for k in TYPE_1 if derived.get(k) in (None, "", [])] == []
            assert [k for k in TYPE_2 if k not in derived] == []
        if not shutil.which("dciodvfy"):  # Debian: dicom3tools
            continue
        file = tmp_path / "derived.dcm"
        derived.save_as(file)
        output = subprocess.run(["dciodvfy", "-new", file], capture_output=True, text=True).stderr
        assert ("SCImage" if source is uneven else "MRImage") in output
        errors = [line for line in output.splitlines() if line.startswith("Error")]
        # Synthetic Data came into the standard after the validator of 2022.
        assert [line for line in errors if "(0008,001c)" not in line] == []


# Who the patient is


def test_nothing_tells_who_the_patient_is_unless_that_is_asked_for(tmp_path):
    assert len(PERSONAL) > 300
    path = multiple(tmp_path, "oblique")
    source, volume = pydicom.dcmread(path), read_volume(path)
    files, removed = derived_dicom(volume.pixels / WHITE, volume, provenance=ORIGIN)
    nobodys, local = pydicom.dcmread(io.BytesIO(files[0])), derive(volume, keep_identity=True)[0]
    for keyword in PERSONAL:
        value = nobodys.get(keyword)
        assert value != source[keyword].value, keyword
        if keyword not in OWN:
            assert value in (None, "", NOBODY.get(keyword)), keyword
        assert (local.get(keyword) == source[keyword].value) == (keyword in COPIED), keyword
    assert str(local.PatientName) == "Mustermann^Jörg"
    assert (nobodys.PatientIdentityRemoved, local.PatientIdentityRemoved) == ("YES", "NO")
    assert nobodys.DeidentificationMethod
    assert not any(element.tag.is_private for element in local)
    for data in (*files, " ".join(removed).encode()):
        for word in ("mustermann", "4711", "waldrand", "19610203", "20190405", "jörg"):
            for encoding in ("utf-8", "latin-1"):
                assert word.encode(encoding) not in data.lower()
    for name in ("Patient's Name", "Birth Date", "Institution Name", "Study Date", "private"):
        assert name in " ".join(removed)


def test_damaged_attributes_are_left_behind(tmp_path):
    path = single(tmp_path, SeriesNumber="12345", PatientBirthDate="19600101")
    data = path.read_bytes()
    for good, bad in ((b"12345 ", b"no no "), (b"19600101", b"yesterda"), (b"HFS ", b"h\xff\xfe ")):
        assert data.count(good) == 1
        data = data.replace(good, bad)
    path.write_bytes(data)
    (derived,) = derive(read_volume(path), keep_identity=True)
    assert (derived.SeriesNumber, derived.PatientPosition) == (1000, "")
    assert not derived.PatientBirthDate


# Volumes scanned sagittally or coronally: cut axially, and exported on their own slices

TILTED = (0, np.cos(0.2), np.sin(0.2), 0, np.sin(0.2), -np.cos(0.2))
TO_RAS = np.diag([-1.0, -1, 1, 1])


def scan(cosines, shape=(34, 40, 48), step=1.5, pixel=(1.0, 1.25), thickness=1.5):
    """Objects of a scan of random values, and their affine from (column, row, slice) to RAS+."""
    stack = np.random.default_rng(0).integers(0, WHITE, shape).astype(np.uint16)
    row, column = np.reshape(np.array(cosines, float), (2, 3))
    normal, origin = np.cross(row, column), np.array([-20.0, -30, 40])
    values = {"SeriesInstanceUID": "1.2.3.8", "SliceThickness": thickness}
    datasets = [
        mr_image(
            plane, cosines, origin + at * step * normal, pixel, InstanceNumber=at + 1, **values
        )
        for at, plane in enumerate(stack)
    ]
    affine = np.eye(4)
    affine[:3] = np.stack([row * pixel[1], column * pixel[0], normal * step, origin], axis=1)
    return datasets, stack, TO_RAS @ affine


@pytest.mark.parametrize("cosines", [SAGITTAL, CORONAL, TILTED, (0, -1, 0, 0, 0, 1)])
def test_dicom_and_nifti_of_a_scan_give_equal_pixels_and_exports_overlay_it(tmp_path, cosines):
    datasets, stack, affine = scan(cosines)
    paths = written_series(tmp_path, datasets, seed=0)
    volume = read_only(paths)
    image = nib.Nifti1Image(stack.transpose(2, 1, 0), affine)
    nib.save(image, tmp_path / "scan.nii.gz")
    same = read_volume(tmp_path / "scan.nii.gz")
    assert volume.directions == same.directions == ("R", "L", "A", "P")
    np.testing.assert_array_equal(volume.pixels, same.pixels)
    np.testing.assert_allclose(volume.affine, same.affine, atol=1e-4)
    np.testing.assert_allclose(volume.spacing, same.spacing, atol=1e-5)
    assert "cut axially" in open_files(paths).choices[0]
    assert any("exports lie on its own slices" in note for note in volume.notes)
    # A translation that changes nothing must lie where it was.
    for derived, source in zip(derive(volume), datasets, strict=True):
        np.testing.assert_array_equal(derived.pixel_array, source.pixel_array)
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
            np.testing.assert_allclose(derived[keyword].value, source[keyword].value, atol=1e-4)
        assert derived.InstanceNumber == source.InstanceNumber
        (reference,) = derived.SourceImageSequence
        assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
    for read in (volume, same):
        placed = loaded(nifti(read.pixels / WHITE, read, description="-"))
        np.testing.assert_allclose(placed.affine, affine, atol=1e-4)
        np.testing.assert_allclose(placed.get_fdata() * WHITE, image.get_fdata(), atol=1e-2)


def test_a_multi_frame_object_is_cut_axially_too(tmp_path):
    places = [(-30 + index, -30, 40) for index in range(40)]
    volume = read_volume(saved(tmp_path, enhanced(pattern(40, 44, 48), places, SAGITTAL)))
    assert volume.pixels.shape == (44, 48, 40)
    assert [frame for *_, frame in volume.dicom.instances] == list(range(40, 0, -1))


@pytest.mark.parametrize(
    ("cosines", "changes", "plane"),
    [
        (SAGITTAL, {"step": 5.0, "thickness": 5.0}, "sagittal"),  # thick
        (CORONAL, {"step": 5.0, "thickness": 5.0}, "coronal"),
        (SAGITTAL, {"step": 2.0, "thickness": 1.5}, "sagittal"),  # gaps
        (SAGITTAL, {"shape": (1, 40, 48)}, "sagittal"),
        (SAGITTAL, {"shape": (9, 40, 48)}, "sagittal"),  # a strip of a head
        (AXIAL, {"pixel": (1.0, 3.0)}, None),
        (SAGITTAL, {"shape": (10, 64, 80), "step": 4.0, "pixel": (3.0, 3.0), "thickness": 6.0}, ""),
        (SAGITTAL, "a missing slice", "sagittal"),
    ],
)
def test_what_is_no_volume_keeps_its_plane(tmp_path, cosines, changes, plane):
    datasets, *_ = scan(cosines, **({} if isinstance(changes, str) else changes))
    if changes == "a missing slice":
        del datasets[20]
    paths = written_series(tmp_path, datasets)
    volume, is_cut = read_only(paths), "cut axially" in open_files(paths).choices[0]
    assert is_cut == (plane == "")
    assert (volume.pixels.shape == (len(datasets), *datasets[0].pixel_array.shape)) != is_cut
    notes = [note for note in volume.notes if "learned axial slices only" in note]
    assert notes == [f"The slices are {plane}; the models learned axial slices only."] * bool(plane)
