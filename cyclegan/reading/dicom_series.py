"""Which DICOM series a file belongs to, for grouping many files before any of them is opened."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pydicom

from cyclegan.reading.dicom_parse import quiet
from cyclegan.reading.volume import file_head, file_kind


class Series(NamedTuple):
    """What the images of one series have in common."""

    patient: str
    study: str
    series: str


def series_of(path: Path) -> Series | None:
    """The series of a DICOM image; None for other files and images that do not name one."""
    try:
        if file_kind(file_head(path), path.name) != "DICOM":
            return None
        with quiet():
            wanted = ["PatientID", "StudyInstanceUID", "SeriesInstanceUID"]
            header = pydicom.dcmread(
                path, force=True, stop_before_pixels=True, specific_tags=wanted
            )
            found = Series(*(str(header.get(keyword) or "") for keyword in wanted))
    except Exception:  # of a damaged header anything; what is wrong is said when it is read
        return None
    return found if found.series else None
