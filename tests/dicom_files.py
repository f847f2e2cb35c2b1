"""Minimal valid DICOM images for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    generate_uid,
)

AXIAL = (1, 0, 0, 0, 1, 0)
CORONAL = (1, 0, 0, 0, 0, -1)
SAGITTAL = (0, 1, 0, 0, 0, -1)


def mr_image(stored: np.ndarray, cosines=AXIAL, position=(-20, -30, 40), spacing=(0.5, 0.75)):
    """A minimal MR image of one (H, W) frame or, without geometry per frame, of (Z, H, W)."""
    dataset = FileDataset(None, {}, file_meta=FileMetaDataset(), preamble=bytes(128))
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = MRImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.Modality = "MR"
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    dataset.BitsAllocated = dataset.BitsStored = 8 * stored.dtype.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    if stored.ndim == 3:
        dataset.NumberOfFrames = len(stored)
    if cosines is not None:
        dataset.ImageOrientationPatient = list(cosines)
        dataset.ImagePositionPatient = list(position)
        dataset.PixelSpacing = list(spacing)
        dataset.SliceThickness = 4
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OW" if stored.dtype.itemsize > 1 else "OB"
    return dataset


def enhanced(stored: np.ndarray, positions, cosines=AXIAL, slopes=None, kinds=None):
    """An enhanced multi-frame object, (Z, H, W), with shared and per-frame functional groups."""
    dataset = mr_image(stored, cosines=None)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    shared, measures, plane = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.5, 0.75], 4
    plane.ImageOrientationPatient = list(cosines)
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PlaneOrientationSequence = Sequence([plane])
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    groups = []
    for index, position in enumerate(positions):
        group, place, values, kind = Dataset(), Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = list(position)
        values.RescaleSlope, values.RescaleIntercept = (slopes or [1] * 99)[index], 0
        kind.FrameType = ["ORIGINAL", "PRIMARY", "T1", (kinds or "M" * 99)[index]]
        group.PlanePositionSequence = Sequence([place])
        group.PixelValueTransformationSequence = Sequence([values])
        group.MRImageFrameTypeSequence = Sequence([kind])
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(groups)
    return dataset


def saved(tmp_path: Path, dataset: Dataset, name: str = "slice.dcm") -> Path:
    path = tmp_path / name
    dataset.save_as(path, enforce_file_format=True)
    return path


def axial_series(stack: np.ndarray, step: float = 3.0, **attributes) -> list[FileDataset]:
    """One MR image for each slice of (Z, H, W), foot to head, all of one series."""
    series = generate_uid()
    datasets = []
    for index, stored in enumerate(stack):
        dataset = mr_image(stored, position=(-20, -30, 40 + step * index))
        dataset.SeriesInstanceUID = series
        dataset.InstanceNumber = index + 1
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
        datasets.append(dataset)
    return datasets
