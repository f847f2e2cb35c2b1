"""Derived DICOM: translated slices as MR images that overlay the images they were made from.

Each slice becomes one MR Image Storage object (PS3.3 A.4), also where the source was multi-frame:
every archive takes it. A source that does not say where its slices lie, or whose slices lie at
uneven distances, becomes Secondary Capture (A.8.1), since an MR image needs its place. The data
set is built from a short list of attributes; nothing else of the source's header gets into it.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from fractions import Fraction

import numpy as np
import pydicom
from nibabel.orientations import io_orientation
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import (
    ExplicitVRLittleEndian,
    MRImageStorage,
    SecondaryCaptureImageStorage,
    generate_uid,
)
from pydicom.valuerep import format_number_as_ds

from cyclegan.export.deidentify import code_item, copied, patient_and_study, removed
from cyclegan.export.placement import in_source_grid
from cyclegan.export.provenance import SOFTWARE, Provenance, synthetic_label
from cyclegan.reading.dicom.header import FrameHeader, names_patient
from cyclegan.reading.volume import Volume

# Stored value of a 1.0. Fourteen bits, where scanners store twelve; and whole numbers without a
# slope, since many viewers move the window in steps of 1.
WHITE = 10_000
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])

# What a derived image shares with its source besides geometry: how the patient lay, how the slices
# were acquired, and that its pixels once were compressed with loss, which every derivative says.
_SHARED = (
    *("PatientPosition", "BodyPartExamined", "MRAcquisitionType", "MagneticFieldStrength"),
    *("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"),
)


def derived_dicom(
    translated: np.ndarray,
    volume: Volume,
    *,
    to: str,
    provenance: Provenance,
    slice_index: int | None = None,
    keep_identity: bool = False,
    window: tuple[float, float] = (0.5, 1.0),
) -> tuple[list[bytes], list[str]]:
    """Write a result as DICOM Part 10 files, one for each slice, in a new series.

    Rows, columns and positions are those of the source's file, so that both overlay in any viewer.

    Args:
        translated: (Z, H, W) in [0, 1] of the shape of `volume.pixels`, or one slice (H, W) of it;
            stored as unsigned integers, 0 to `WHITE`.
        volume: the source, read from DICOM.
        to: the contrast of `translated`, "T1" or "T2".
        provenance: goes into the derivation description.
        slice_index: which slice of the volume an (H, W) result is; may be omitted if it has one.
        keep_identity: put the result into the source's own study with patient and dates, for use
            where the source itself may stay. By default anonymous, see `patient_and_study`.
        window: (center, width) in values of `translated`, with which viewers open the images
            (PS3.3 C.11.2.1.2).

    Returns:
        The files in the order of the source's stack, and what of the source's header is not in
        them, in words.

    Raises:
        ValueError: shape and volume do not belong together, the source was not DICOM, or one
            slice is passed of a volume that is shown cut across the source's slices.
    """
    if volume.dicom is None:
        raise ValueError("a derived DICOM object needs a source that was DICOM")
    placed, affine = in_source_grid(translated, volume, slice_index)
    stored = np.rint(np.clip(placed, 0, 1) * WHITE).astype("<u2").transpose(2, 1, 0)
    whole = np.ndim(translated) == 3
    numbered = _source_slices(volume, len(placed.T), None if whole else slice_index or 0)

    common = volume.dicom.common
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom quotes header values, which are the patient's
        dataset = patient_and_study(common, keep_identity=keep_identity)
        _describe(dataset, common, to, provenance)
        center, width = window
        dataset.WindowCenter = round(center * WHITE)
        dataset.WindowWidth = max(1, round(width * WHITE))
        # Made again, a result is the same objects, and no archive holds it twice.
        content = hashlib.sha256(stored.tobytes()).hexdigest()
        sources = [uid for _, uid, _ in volume.dicom.instances]
        dataset.SeriesInstanceUID = generate_uid(
            entropy_srcs=[str(provenance), str(keep_identity), content, *sources]
        )
        if volume.affine is None:
            _capture(dataset, volume)
        else:
            _place(dataset, common, affine)
            if len(volume.dicom.instances) > 1:
                dataset.SpacingBetweenSlices = _decimal(np.linalg.norm(affine[:3, 2]))
        files = []
        for index, (number, instance) in enumerate(numbered):
            if volume.affine is not None:
                position = _RAS_TO_LPS @ (affine[:3, 3] + index * affine[:3, 2])
                dataset.ImagePositionPatient = [_decimal(value) for value in position]
            dataset.InstanceNumber = number + 1
            dataset.SourceImageSequence = [_reference(*instance)] if instance[1] else []
            files.append(_file(dataset, stored[index]))
        return files, removed(common, dataset)


def _source_slices(
    volume: Volume, count: int, one: int | None
) -> list[tuple[int, tuple[str, str, int | None]]]:
    """The source's slices that `count` slices of a result lie on, each with its number in the
    source's stack; `one` of them alone unless it is None."""
    numbered = list(enumerate(volume.dicom.instances))
    if count != (len(numbered) if one is None else 1):
        raise ValueError("a slice across those of the source has no place among them")
    if one is not None:
        numbered = [numbered[one]]
    if volume.affine is not None:
        turn = io_orientation(np.linalg.inv(volume.stored_affine) @ volume.affine)
        if tuple(turn[2]) == (2, -1):  # shown from the last stored slice to the first
            numbered = [(len(volume.pixels) - 1 - i, instance) for i, instance in numbered[::-1]]
    return numbered


def _describe(dataset: Dataset, common: Dataset, to: str, provenance: Provenance) -> None:
    """Everything but the place: series, equipment, derivation, MR and pixel modules."""
    for keyword in _SHARED:
        element = copied(common, keyword)
        if element is not None and not names_patient(common, str(element.value)):
            dataset.add(element)
    label = synthetic_label(to)
    dataset.SOPClassUID = MRImageStorage
    dataset.add_new(0x0008001C, "CS", "YES")  # Synthetic Data, PS3.3 C.12.1; not in pydicom 3.0
    dataset.Modality = "MR"
    number = copied(common, "SeriesNumber")
    dataset.SeriesNumber = 1000 + (int(number.value) % 1000 if number is not None else 0)
    dataset.SeriesDescription = label
    dataset.setdefault("PatientPosition", "")
    dataset.setdefault("BodyPartExamined", "BRAIN")

    dataset.Manufacturer = SOFTWARE
    dataset.ManufacturerModelName = "CycleGAN"
    versions = [provenance.software_version, f"model {provenance.model_version}"]
    dataset.SoftwareVersions = [version[:64] for version in versions]
    equipment = Dataset()
    equipment.Manufacturer = SOFTWARE
    equipment.ManufacturerModelName = dataset.ManufacturerModelName
    equipment.SoftwareVersions = dataset.SoftwareVersions
    equipment.ContributionDescription = label
    equipment.PurposeOfReferenceCodeSequence = [code_item(codes.DCM.SynthesizingEquipment)]
    dataset.ContributingEquipmentSequence = [equipment]

    # Value 3 of MR: C.8.3.1.1.1. A "T2 MAP" would be a map of relaxation times, which this is not.
    dataset.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    # No code of CID 7203 means translation, so the derivation is described in words alone.
    dataset.DerivationDescription = (
        f"{label}. Estimated by a neural network, not acquired; grey 0 to 1 stored as 0 to "
        f"{WHITE}. {provenance}"
    )
    dataset.ContentQualification = "RESEARCH"  # of the enhanced IOD; a standard extension here
    # The label is in the header alone. What was burnt into the source may have been translated.
    burned_in = copied(common, "BurnedInAnnotation")
    if burned_in is not None:
        dataset.add(burned_in)
    elif common.get("SOPClassUID") == MRImageStorage:
        dataset.BurnedInAnnotation = "NO"

    # How the source was acquired would be wrong of the result: echo times tell contrasts apart.
    dataset.ScanningSequence = "RM"  # research mode
    dataset.SequenceVariant = "NONE"
    for keyword in ("ScanOptions", "MRAcquisitionType"):
        dataset.setdefault(keyword, "")
    for keyword in ("RepetitionTime", "EchoTime", "EchoTrainLength"):
        setattr(dataset, keyword, None)

    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 14, 13
    dataset.PixelRepresentation = 0
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = 0, 1, "US"


def _place(dataset: Dataset, common: Dataset, affine: np.ndarray) -> None:
    """Frame of reference and image plane, without the position (PS3.3 C.7.4.1, C.7.6.2)."""
    source = FrameHeader(common)
    frame = copied(common, "FrameOfReferenceUID")
    new_uid = generate_uid(entropy_srcs=["frame", dataset.SeriesInstanceUID])
    dataset.FrameOfReferenceUID = new_uid if frame is None else frame.value
    dataset.PositionReferenceIndicator = ""
    column_mm, row_mm = np.linalg.norm(affine[:3, :2], axis=0)
    dataset.PixelSpacing = [_decimal(row_mm), _decimal(column_mm)]
    cosines = (_RAS_TO_LPS @ affine[:3, :2] / (column_mm, row_mm)).T.ravel()
    # The source's own digits where they say the same; reading made the vectors exactly unit length.
    own = source.first(("PlaneOrientationSequence", "ImageOrientationPatient"))
    if own is not None and len(own) == 6 and np.allclose(cosines, own, atol=1e-4):
        cosines = np.array(own, dtype=np.float64)
    dataset.ImageOrientationPatient = [_decimal(value) for value in cosines]
    dataset.SliceThickness = None
    for keyword in ("SliceThickness", "SpacingBetweenSlices"):
        if (value := source.first(("PixelMeasuresSequence", keyword))) is not None:
            setattr(dataset, keyword, _decimal(value))


def _capture(dataset: Dataset, volume: Volume) -> None:
    """Turn the data set into a Secondary Capture (PS3.3 C.8.6.1), for what no affine places."""
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.ConversionType = "SYN"
    edges = volume.directions or ("", "", "", "")  # of slices at uneven distances they are known
    feet_and_head = str.maketrans("IS", "FH")
    dataset.PatientOrientation = [edges[i].translate(feet_and_head) for i in (1, 3) if edges[i]]
    if volume.spacing is not None:
        dataset.PixelSpacing = [_decimal(mm) for mm in volume.spacing[1:]]
    elif volume.aspect is not None:  # whole numbers, PS3.3 C.7.6.3.1.7
        row, column = volume.aspect
        sides = Fraction(row / column).limit_denominator(1000)
        dataset.PixelAspectRatio = [sides.numerator, sides.denominator]


def _reference(sop_class: str, instance: str, frame: int | None) -> Dataset:
    """The source image of a slice (PS3.3 C.7.6.1.1.4)."""
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class
    item.ReferencedSOPInstanceUID = instance
    if frame is not None:
        item.ReferencedFrameNumber = frame
    item.SpatialLocationsPreserved = "YES"
    purpose = codes.DCM.SourceImageForImageProcessingOperation
    item.PurposeOfReferenceCodeSequence = [code_item(purpose)]
    return item


def _file(dataset: Dataset, pixels: np.ndarray) -> bytes:
    """`dataset` with (H, W) uint16 `pixels` as a new instance in a Part 10 file."""
    dataset.SOPInstanceUID = generate_uid(
        entropy_srcs=[dataset.SeriesInstanceUID, str(dataset.InstanceNumber)]
    )
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def _decimal(value: float) -> float:
    """The nearest number that a decimal string, of sixteen characters, can hold."""
    return float(format_number_as_ds(float(value)))
