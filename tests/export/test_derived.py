"""Derived DICOM: lies where its source lies, says what it is, and not who the patient is."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import gdcm  # the independent reader: a C++ library that shares no code with pydicom
import numpy as np
import pydicom
import pytest
from nibabel.eulerangles import euler2mat
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from cyclegan.export.bundle import result_zip
from cyclegan.export.derived import WHITE, derived_dicom
from cyclegan.export.files import labelled_png, nifti
from cyclegan.export.provenance import Provenance
from cyclegan.reading.read import read_volume

ORIGIN = Provenance("1.2", "ab" * 32, "T1 to T2", "cd" * 32, "0.1.0")
PLANES = {
    "axial": (1, 0, 0, 0, 1, 0),
    "upside down": (-1, 0, 0, 0, -1, 0),
    "feet last": (1, 0, 0, 0, -1, 0),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "coronal": (1, 0, 0, 0, 0, -1),
    "oblique": tuple(np.round(euler2mat(0.2, -0.13, 0.1)[:, :2].T.ravel(), 9)),
}
IDENTITY = {
    "PatientName": "Mustermann^Jörg",
    "PatientID": "MRN-4711-0815",
    "PatientBirthDate": "19610203",
    "InstitutionName": "Waldklinik Nirgendwo",
    "ReferringPhysicianName": "Hausarzt^Hilde",
    "AccessionNumber": "ACC998877",
    "StudyDate": "20190405",
    "AcquisitionDateTime": "20190405101112",
    "StudyDescription": "Kopf Herr Mustermann",
    "SeriesDescription": "t1 Mustermann",
    "ProtocolName": "Mustermann_Hirn",
    "StationName": "MRRAUM3",
    "DeviceSerialNumber": "SN556677",
    "PatientComments": "wohnt am Waldrand",
    "StudyInstanceUID": "1.2.3.4.5.20190405",
}
FILE_NAME = "mustermann_joerg_t1.dcm"


def identified(rows: int, columns: int) -> Dataset:
    """A data set of an MR image, without place and pixels, that tells everything of a patient."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for keyword, value in IDENTITY.items():
        setattr(dataset, keyword, value)
    dataset.add_new(0x00091010, "LO", "private Mustermann")
    dataset.SOPInstanceUID = generate_uid()
    dataset.FrameOfReferenceUID = "1.2.3.9"
    dataset.Modality, dataset.PatientPosition, dataset.SeriesNumber = "MR", "HFS", 5
    dataset.EchoTime = 12
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = rows, columns, 1
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
    return dataset


def saved(dataset: Dataset, stored: np.ndarray, sop_class: str, path: Path) -> Path:
    dataset.SOPClassUID = sop_class
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return path


def pattern(*shape: int) -> np.ndarray:
    """Pixels of 0 to `WHITE`, both of which occur."""
    pixels = np.random.default_rng(7).integers(0, WHITE + 1, shape, dtype=np.uint16)
    pixels.flat[0], pixels.flat[-1] = 0, WHITE
    return pixels


def single(tmp_path: Path, plane: str = "oblique", **attributes) -> Path:
    """A classic MR image; the values of its pixels are `pattern`'s."""
    dataset = identified(40, 36)
    dataset.ImageOrientationPatient = list(PLANES[plane])
    dataset.ImagePositionPatient = [-70.123456789, 12.5, 33.987654321]
    dataset.PixelSpacing, dataset.SliceThickness = [0.9, 0.7], 4
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return saved(dataset, pattern(40, 36), MRImageStorage, tmp_path / FILE_NAME)


def multiple(tmp_path: Path, plane: str) -> Path:
    """An enhanced object of five frames."""
    dataset = identified(40, 36)
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.9, 0.7], 3
    orientation.ImageOrientationPatient = list(PLANES[plane])
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    dataset.SharedFunctionalGroupsSequence = [shared]
    normal = np.cross(PLANES[plane][:3], PLANES[plane][3:])
    groups = []
    for number in range(5):
        group, place = Dataset(), Dataset()
        place.ImagePositionPatient = [round(v, 6) for v in (-60, 10, 20) + 4.5 * number * normal]
        group.PlanePositionSequence = [place]
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence, dataset.NumberOfFrames = groups, 5
    return saved(dataset, pattern(5, 40, 36), EnhancedMRImageStorage, tmp_path / FILE_NAME)


def uneven(tmp_path: Path, plane: str) -> Path:
    """An enhanced object with a gap before its last frame."""
    dataset = pydicom.dcmread(multiple(tmp_path, plane))
    place = dataset.PerFrameFunctionalGroupsSequence[-1].PlanePositionSequence[0]
    normal = np.cross(PLANES[plane][:3], PLANES[plane][3:])
    place.ImagePositionPatient = [round(v, 6) for v in (-60, 10, 20) + 30 * normal]
    path = tmp_path / FILE_NAME
    dataset.save_as(path)
    return path


def derive(path: Path, **options) -> tuple[list[bytes], list[str]]:
    """Derived objects of a "translation" that is the source itself, so that pixels can be found."""
    volume = read_volume(path)
    return derived_dicom(volume.pixels / WHITE, volume, to="T2", provenance=ORIGIN, **options)


def parsed(data: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(data))


def by_gdcm(path: Path) -> tuple[np.ndarray, ...]:
    """Pixels and origin, direction cosines, spacing in LPS+ mm."""
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    image = reader.GetImage()
    size = image.GetDimension(1), image.GetDimension(0)
    buffer = image.GetBuffer().encode("utf-8", errors="surrogateescape")
    pixels = np.frombuffer(buffer, np.uint16).reshape(size)
    return (
        pixels,
        *map(np.array, (image.GetOrigin(), image.GetDirectionCosines())),
        np.array(image.GetSpacing()),
    )


@pytest.mark.parametrize("plane", PLANES)
def test_another_reader_overlays_a_slice_on_its_source(tmp_path, plane):
    path = single(tmp_path, plane)
    (data,), _ = derive(path)
    derived = tmp_path / "derived.dcm"
    derived.write_bytes(data)
    pixels, *place = by_gdcm(path)
    derived_pixels, *derived_place = by_gdcm(derived)
    np.testing.assert_array_equal(derived_pixels, pixels)
    for told, expected in zip(derived_place, place, strict=True):
        np.testing.assert_array_equal(told[:6], expected[:6])


@pytest.mark.parametrize("plane", PLANES)
def test_frames_become_images_at_their_places(tmp_path, plane):
    path = multiple(tmp_path, plane)
    source = pydicom.dcmread(path)
    files, _ = derive(path)
    assert len(files) == 5
    places = {}
    for data in files:
        derived = parsed(data)
        assert derived.SOPClassUID == MRImageStorage
        (reference,) = derived.SourceImageSequence
        assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
        frame = reference.ReferencedFrameNumber - 1
        places[frame] = derived.ImagePositionPatient
        np.testing.assert_array_equal(derived.pixel_array, source.pixel_array[frame])
        group = source.PerFrameFunctionalGroupsSequence[frame].PlanePositionSequence[0]
        np.testing.assert_allclose(
            derived.ImagePositionPatient, group.ImagePositionPatient, atol=2e-6
        )
        np.testing.assert_allclose(derived.ImageOrientationPatient, PLANES[plane], atol=1e-9)
        assert derived.PixelSpacing == [0.9, 0.7]
        assert derived.SliceThickness == 3
        assert derived.SpacingBetweenSlices == pytest.approx(4.5, abs=1e-5)
    assert sorted(places) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("index", [0, 3])
def test_one_slice_of_a_volume_is_the_same_as_in_the_whole(tmp_path, plane, index):
    path = multiple(tmp_path, plane)
    volume = read_volume(path)
    (data,), _ = derived_dicom(
        volume.pixels[index] / WHITE, volume, to="T2", provenance=ORIGIN, slice_index=index
    )
    alone = parsed(data)
    whole = [parsed(d) for d in derive(path)[0]]
    (same,) = [d for d in whole if d.InstanceNumber == alone.InstanceNumber]
    np.testing.assert_array_equal(alone.pixel_array, same.pixel_array)
    np.testing.assert_allclose(alone.ImagePositionPatient, same.ImagePositionPatient, atol=1e-9)
    assert alone.SourceImageSequence == same.SourceImageSequence


def test_reading_a_derived_image_gives_the_volume_it_was_made_of(tmp_path):
    volume = read_volume(single(tmp_path))
    (data,), _ = derive(single(tmp_path))
    path = tmp_path / "derived.dcm"
    path.write_bytes(data)
    again = read_volume(path)
    np.testing.assert_array_equal(again.pixels, volume.pixels)
    np.testing.assert_allclose(again.affine, volume.affine, atol=1e-9)
    assert again.directions == volume.directions
    assert again.contrast_hint != "T1"  # nothing of the source's protocol misleads


def test_it_says_what_it_is(tmp_path):
    source = pydicom.dcmread(single(tmp_path))
    (data,), _ = derive(single(tmp_path))
    derived = parsed(data)
    assert list(derived.ImageType) == ["DERIVED", "SECONDARY", "OTHER"]
    assert derived[0x0008001C].value == "YES"
    assert derived.ContentQualification == "RESEARCH"
    assert derived.BurnedInAnnotation == "NO"
    assert derived.SeriesDescription == "SYNTHETIC T2 from T1 - not for diagnosis"
    for line in ("T1 to T2", "ab" * 32, "cd" * 32, "0.1.0", "Model: 1.2"):
        assert line in derived.DerivationDescription
    (equipment,) = derived.ContributingEquipmentSequence
    assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109100"
    assert derived.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert derived.EchoTime is None
    assert (derived.WindowCenter, derived.WindowWidth) == (WHITE / 2, WHITE)


def test_uids_are_new_and_the_same_when_made_again(tmp_path):
    path = multiple(tmp_path, "axial")
    source = pydicom.dcmread(path)
    first, second = ([parsed(data) for data in derive(path)[0]] for _ in range(2))
    instances = [d.SOPInstanceUID for d in first]
    assert instances == [d.SOPInstanceUID for d in second]
    assert len(set(instances)) == 5
    assert source.SOPInstanceUID not in instances
    assert {d.SeriesInstanceUID for d in first} == {second[0].SeriesInstanceUID}
    assert first[0].StudyInstanceUID == second[0].StudyInstanceUID != source.StudyInstanceUID


def forms(text: str) -> list[bytes]:
    """The byte strings that would tell `text` or a word of it, in lower case."""
    words = [word for word in re.split(r"[\s^_]", text.lower()) if len(word) > 4]
    return [word.encode(code) for word in [text.lower(), *words] for code in ("utf-8", "latin-1")]


def test_no_export_tells_who_the_patient_is(tmp_path):
    path = multiple(tmp_path, "oblique")
    volume = read_volume(path)
    translated = volume.pixels / WHITE
    files, removed = derive(path)
    archive = result_zip(translated, volume, to="T2", provenance=ORIGIN, window=(0.5, 1))
    exports = [*files, archive, nifti(translated, volume, description="x").lower()]
    exports.append(labelled_png(translated[0], label="x", provenance=ORIGIN.lines()))
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        exports += [opened.read(name) for name in opened.namelist()]
        exports.append(" ".join(opened.namelist()).encode())
    exports.append(" ".join(removed).encode())
    assert len(exports) > 15
    for data in exports:
        for text in (*IDENTITY.values(), FILE_NAME):
            assert [form for form in forms(text) if form in data.lower()] == []
    derived = parsed(files[0])
    assert derived.PatientIdentityRemoved == "YES"
    assert derived.DeidentificationMethod
    assert derived.PatientName == derived.PatientID == "ANONYMOUS"
    listed = " ".join(removed)
    for name in ("Patient's Name", "Birth Date", "Institution Name", "Study Date", "private"):
        assert name in listed


def test_identity_is_kept_when_asked(tmp_path):
    source = pydicom.dcmread(single(tmp_path))
    (data,), removed = derive(single(tmp_path), keep_identity=True)
    derived = parsed(data)
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyInstanceUID"):
        assert derived[keyword].value == source[keyword].value
    assert str(derived.PatientName) == "Mustermann^Jörg"
    assert derived.StudyDate == "20190405"
    assert derived.PatientIdentityRemoved == "NO"
    assert derived.SeriesInstanceUID != source.get("SeriesInstanceUID")
    assert b"private Mustermann" not in data
    assert not any("Patient's Name" in words for words in removed)


@pytest.mark.parametrize(
    ("source", "derived"),
    [({}, "NO"), ({"BurnedInAnnotation": "YES"}, "YES"), ({"BurnedInAnnotation": "NO"}, "NO")],
)
def test_burned_in_annotation_is_the_sources(tmp_path, source, derived):
    (data,), _ = derive(single(tmp_path, **source))
    assert parsed(data).BurnedInAnnotation == derived


def test_loss_of_the_source_is_not_forgotten(tmp_path):
    (data,), _ = derive(single(tmp_path, LossyImageCompression="01"))
    assert parsed(data).LossyImageCompression == "01"


def test_damaged_attributes_are_left_behind(tmp_path):
    path = single(tmp_path, SeriesNumber="12345")
    data = path.read_bytes()
    for good, bad in ((b"12345 ", b"no no "), (b"19610203", b"yesterda"), (b"HFS ", b"h\xff\xfe ")):
        assert data.count(good) == 1
        data = data.replace(good, bad)
    path.write_bytes(data)
    (result,), _ = derive(path, keep_identity=True)
    derived = parsed(result)
    assert (derived.SeriesNumber, derived.PatientPosition) == (1000, "")
    assert not derived.PatientBirthDate


def test_an_image_without_a_place_becomes_a_secondary_capture(tmp_path):
    dataset = identified(40, 36)
    path = saved(dataset, pattern(40, 36), SecondaryCaptureImageStorage, tmp_path / FILE_NAME)
    (data,), _ = derive(path)
    derived = parsed(data)
    assert derived.SOPClassUID == SecondaryCaptureImageStorage
    assert derived.ConversionType == "SYN"
    assert "ImagePositionPatient" not in derived
    assert "BurnedInAnnotation" not in derived  # nobody knows
    np.testing.assert_array_equal(derived.pixel_array, pattern(40, 36))


def test_slices_at_uneven_distances_get_no_made_up_place(tmp_path):
    for data in derive(uneven(tmp_path, "coronal"))[0]:
        derived = parsed(data)
        assert "ImagePositionPatient" not in derived
        assert derived.PatientOrientation == ["L", "F"]


def test_a_source_that_was_not_dicom_is_refused(tmp_path):
    path = tmp_path / "slice.png"
    Image.fromarray(pattern(40, 36)).save(path)
    with pytest.raises(ValueError, match="was DICOM"):
        derive(path)


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
def test_attributes_that_an_mr_image_must_have(tmp_path, keep_identity):
    """The modules that PS3.3 Table A.4-1 makes mandatory; known without a validator."""
    (data,), _ = derive(single(tmp_path), keep_identity=keep_identity)
    derived = parsed(data)
    assert [k for k in TYPE_1 if derived.get(k) in (None, "", [])] == []
    assert [k for k in TYPE_2 if k not in derived] == []


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="needs dciodvfy (Debian: dicom3tools)")
@pytest.mark.parametrize("keep_identity", [False, True])
@pytest.mark.parametrize("source", [single, multiple, uneven, None])
def test_the_validator_finds_no_error(tmp_path, source, keep_identity):
    path = source(tmp_path, "oblique") if source else Path(get_testdata_file("MR_small.dcm"))
    for data in derive(path, keep_identity=keep_identity)[0]:
        file = tmp_path / "derived.dcm"
        file.write_bytes(data)
        said = subprocess.run(["dciodvfy", "-new", file], capture_output=True, text=True).stderr
        assert ("SCImage" if source is uneven else "MRImage") in said
        errors = [line for line in said.splitlines() if line.startswith("Error")]
        # Synthetic Data came into the standard after the validator of 2022.
        assert [line for line in errors if "(0008,001c)" not in line] == []


def test_a_real_oblique_slice_lies_on_its_source(tmp_path, shared_data):
    path = sorted(shared_data("readers/dicom_t1_oblique").glob("*.dcm"))[0]
    volume = read_volume(path)
    (data,), _ = derived_dicom(
        volume.pixels / volume.pixels.max(), volume, to="T2", provenance=ORIGIN
    )
    derived = tmp_path / "derived.dcm"
    derived.write_bytes(data)
    pixels, *place = by_gdcm(path)
    derived_pixels, *derived_place = by_gdcm(derived)
    np.testing.assert_allclose(derived_pixels, pixels * (WHITE / pixels.max()), atol=0.51)
    for told, expected in zip(derived_place, place, strict=True):
        np.testing.assert_allclose(told[:2], expected[:2], atol=1e-9)
