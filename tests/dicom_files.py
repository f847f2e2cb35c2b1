"""Minimal valid DICOM images for tests."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    generate_uid,
)

from cyclegan.reading.selection import open_files

AXIAL = (1, 0, 0, 0, 1, 0)
CORONAL = (1, 0, 0, 0, 0, -1)
SAGITTAL = (0, 1, 0, 0, 0, -1)


def item(**values) -> Dataset:
    """A data set of some attributes, such as an item of a sequence."""
    return described(Dataset(), **values)


def described(dataset: Dataset, **values) -> Dataset:
    """A data set with attributes set, or taken out where the value is None."""
    for keyword, value in values.items():
        if value is None:
            dataset.pop(keyword, None)
        else:
            setattr(dataset, keyword, value)
    return dataset


def mr_image(
    stored: np.ndarray, cosines=AXIAL, position=(-20, -30, 40), spacing=(0.5, 0.75), **values
):
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
    return described(dataset, **values)


def enhanced(stored: np.ndarray, positions, cosines=AXIAL, slopes=None, kinds=None):
    """An enhanced multi-frame object, (Z, H, W), with shared and per-frame functional groups."""
    dataset = mr_image(stored, cosines=None)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    shared = item(
        PixelMeasuresSequence=[item(PixelSpacing=[0.5, 0.75], SliceThickness=4)],
        PlaneOrientationSequence=[item(ImageOrientationPatient=list(cosines))],
    )
    groups = []
    for index, position in enumerate(positions):
        slope = (slopes or [1] * 99)[index]
        kind = ["ORIGINAL", "PRIMARY", "T1", (kinds or "M" * 99)[index]]
        group = item(
            PlanePositionSequence=[item(ImagePositionPatient=list(position))],
            PixelValueTransformationSequence=[item(RescaleSlope=slope, RescaleIntercept=0)],
            MRImageFrameTypeSequence=[item(FrameType=kind)],
        )
        groups.append(group)
    return described(
        dataset, SharedFunctionalGroupsSequence=[shared], PerFrameFunctionalGroupsSequence=groups
    )


def saved(tmp_path: Path, dataset: Dataset, name: str = "slice.dcm") -> Path:
    path = tmp_path / name
    dataset.save_as(path, enforce_file_format=True)
    return path


def axial_series(stack: np.ndarray, step: float = 3.0, **attributes) -> list[FileDataset]:
    """One MR image for each slice of (Z, H, W), foot to head, all of one series."""
    attributes = {"SeriesInstanceUID": generate_uid(), **attributes}
    return [
        mr_image(
            stored,
            position=(-20, -30, 40 + step * index),
            **{"InstanceNumber": index + 1, **attributes},
        )
        for index, stored in enumerate(stack)
    ]


def written(folder: Path, datasets, seed: int | None = None) -> list[Path]:
    """Files of data sets, with names that say nothing; in an order that says nothing for a seed."""
    names = [f"IM{number:03}.dcm" for number in range(len(datasets))]
    if seed is not None:
        random.Random(seed).shuffle(names)
    return sorted(saved(folder, d, name) for d, name in zip(datasets, names, strict=True))


def read_only(paths):
    """The volume of files that hold one."""
    selection = open_files(paths)
    assert len(selection.choices) == 1, selection.choices
    return selection.read(0)
