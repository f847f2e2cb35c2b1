"""The images of DICOM objects, as far as sorting needs to know them.

An image is a classic object or a frame of a multi-frame one. A series may hold several images of
each place: b-values, time points, inversion times, the parts of a complex signal. What tells them
apart are its marks, standard attributes wherever they lie (PS3.3 C.8.3, C.8.13).
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

import numpy as np
import pydicom

from cyclegan.reading.dicom.header import (
    FrameHeader,
    Place,
    as_list,
    first_number,
    frame_count,
    number_of,
)

# Numbers and words that tell images of one place apart: name -> (functional group, attribute).
_NUMBERS: dict[str, tuple[Place, ...]] = {
    "inversion time": (("MRModifierSequence", "InversionTimes"), ("", "InversionTime")),
    "flip angle": (("MRTimingAndRelatedParametersSequence", "FlipAngle"),),
    "time point": (
        ("FrameContentSequence", "TemporalPositionIndex"),
        ("", "TemporalPositionIdentifier"),
    ),
    "time offset": (("TemporalPositionSequence", "TemporalPositionTimeOffset"),),
    "acquisition": (("FrameContentSequence", "FrameAcquisitionNumber"), ("", "AcquisitionNumber")),
    "trigger time": (
        ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
        ("CardiacSynchronizationSequence", "ActualCardiacTriggerDelayTime"),
        ("RespiratorySynchronizationSequence", "NominalRespiratoryTriggerDelayTime"),
        ("", "TriggerTime"),
    ),
    "echo": (("", "EchoNumbers"),),
    "repetition time": (("MRTimingAndRelatedParametersSequence", "RepetitionTime"),),
    "averages": (("MRAveragesSequence", "NumberOfAverages"),),
}
_WORDS: dict[str, tuple[Place, ...]] = {
    "sequence": (("", "SequenceName"), ("", "PulseSequenceName")),
    "label": (("MRArterialSpinLabelingSequence", "ASLContext"),),
    "saturation": (("MRModifierSequence", "MagnetizationTransfer"), ("", "ScanOptions")),
    "contrast": (("MRImageFrameTypeSequence", "AcquisitionContrast"),),
    "directionality": (("MRDiffusionSequence", "DiffusionDirectionality"),),
    "coil": (("MRReceiveCoilSequence", "ReceiveCoilName"),),
    "description": (("", "SeriesDescription"),),
    "protocol": (("", "ProtocolName"),),
    "derivation": (("", "DerivationDescription"),),
    "comment": (("FrameContentSequence", "FrameComments"), ("", "ImageComments")),
}
_TIMES: tuple[Place, ...] = (
    ("FrameContentSequence", "FrameAcquisitionDateTime"),
    ("FrameContentSequence", "FrameReferenceDateTime"),
    ("", "AcquisitionDateTime"),
)
_CLOCK = re.compile(r"(\d{2}):?(\d{2})?:?(\d{2})?(\.\d+)?")  # TM, and as ACR-NEMA wrote it
_IN_WORDS = {
    "b-value": "b {:g} s/mm²",
    "inversion time": "inversion time {:g} ms",
    "flip angle": "flip angle {:g}°",
    "time point": "time point {:g}",
    "time offset": "time offset {:g} s",
    "acquisition": "acquisition {:g}",
    "trigger time": "trigger time {:g} ms",
    "echo": "echo {:g}",
    "repetition time": "repetition time {:g} ms",
    "direction": "direction ({:.2f}, {:.2f}, {:.2f})",
}


class Traits(NamedTuple):
    """What images of one stack have in common.

    Attributes:
        series: SeriesInstanceUID.
        series_number: SeriesNumber.
        object: of a multi-frame object, which is a stack of its own unless it is a part of one
            (PS3.3 C.7.6.16.2.2.4); else None.
        matrix: (rows, columns).
        photometric: PhotometricInterpretation.
        stack: StackID.
        echo: echo time in ms.
        image_type: values of FrameType or ImageType.
        component: see `FrameHeader.component`.
    """

    series: str
    series_number: float | None
    object: str | None
    matrix: tuple[int, int]
    photometric: str
    stack: str
    echo: float | None
    image_type: tuple[str, ...]
    component: str


@dataclass(frozen=True, eq=False)
class Frame:
    """One image, as far as sorting needs to know it.

    Attributes:
        source: place of its object in the list of objects.
        index: frame within that object, from 0.
        instance: SOP class UID, SOP instance UID, frame number from 1 or None (single-frame).
        position: (3,) of the first pixel in LPS+ mm, or None.
        cosines: (2, 3) unit directions along a row and down a column in LPS+, or None.
        spacing: (slice, row, column) mm, or None.
        traits: what differs between stacks.
        rank: what orders images where nothing else does: their order in series and file.
        aspect: (row, column) sides of a pixel in proportion where `spacing` is None, or None.
        location: SliceLocation, for images that do not say where they lie.
        number: InstanceNumber.
        marks: which measurement of its place it is; see `marks_of`.
        thickness: SliceThickness in mm, or None.
    """

    source: int
    index: int
    instance: tuple[str, str, int | None]
    position: np.ndarray | None
    cosines: np.ndarray | None
    spacing: tuple[float, float, float] | None
    traits: Traits
    rank: tuple[float, ...]
    aspect: tuple[float, float] | None = None
    location: float | None = None
    number: float | None = None
    marks: dict[str, Hashable] = field(default_factory=dict)
    thickness: float | None = None


def frames_of(dataset: pydicom.Dataset, source: int = 0) -> list[Frame]:
    """The images of one object; `source` is its place among the objects."""
    return [_frame(FrameHeader(dataset, at), source) for at in range(frame_count(dataset))]


def _frame(header: FrameHeader, source: int) -> Frame:
    dataset, index = header.dataset, header.index
    total = frame_count(dataset)
    is_enhanced = "PerFrameFunctionalGroupsSequence" in dataset
    uids = str(dataset.get("SOPClassUID") or ""), str(dataset.get("SOPInstanceUID") or "")
    position, cosines = _plane(header) if is_enhanced or total == 1 else (None, None)
    spacing = _spacing(header)
    number = number_of(dataset.get("InstanceNumber"))
    return Frame(
        source=source,
        index=index,
        instance=(*uids, index + 1 if total > 1 or is_enhanced else None),
        position=position,
        cosines=cosines,
        spacing=spacing,
        traits=Traits(
            series=str(dataset.get("SeriesInstanceUID") or ""),
            series_number=number_of(dataset.get("SeriesNumber")),
            object=str(dataset.get("ConcatenationUID") or uids[1] or source) if total > 1 else None,
            matrix=(int(dataset.Rows), int(dataset.Columns)),
            photometric=str(dataset.get("PhotometricInterpretation")),
            stack=str(header.first(("FrameContentSequence", "StackID")) or ""),
            echo=header.echo_time,
            image_type=header.image_type,
            component=header.component,
        ),
        rank=(number or 0.0, source, index),
        # Vertical and horizontal side of a pixel (PS3.3 C.7.6.3.1.7).
        aspect=None if spacing else _pair(dataset.get("PixelAspectRatio")),
        location=number_of(dataset.get("SliceLocation")),
        number=number,
        marks=marks_of(header),
        thickness=_thickness(header),
    )


def _plane(header: FrameHeader) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
    """`Frame.position` and `Frame.cosines`, or two Nones."""
    position = header.first(("PlanePositionSequence", "ImagePositionPatient"))
    cosines = header.first(("PlaneOrientationSequence", "ImageOrientationPatient"))
    if position is None or cosines is None or len(position) != 3 or len(cosines) != 6:
        return None, None
    position = np.array(position, dtype=np.float64)
    cosines = np.array(cosines, dtype=np.float64).reshape(2, 3)
    lengths = np.linalg.norm(cosines, axis=1)
    if not np.isfinite(position).all() or not np.abs(lengths - 1).max() <= 0.01:
        return None, None
    return position, cosines / lengths[:, None]


def _spacing(header: FrameHeader) -> tuple[float, float, float] | None:
    """(slice, row, column) mm; a lone slice without thickness counts as 1 mm."""
    pixel = None
    for place in (
        ("PixelMeasuresSequence", "PixelSpacing"),
        ("", "NominalScannedPixelSpacing"),
        ("", "ImagerPixelSpacing"),
    ):
        pixel = pixel or _pair(header.first(place))
    if pixel is None:
        return None
    between = abs(float(header.first(("PixelMeasuresSequence", "SpacingBetweenSlices")) or 0))
    spacing = (between or _thickness(header) or 1.0, *pixel)
    return spacing if all(np.isfinite(spacing)) else None


def _thickness(header: FrameHeader) -> float | None:
    thickness = number_of(header.first(("PixelMeasuresSequence", "SliceThickness")))
    return thickness if thickness and 0 < thickness < float("inf") else None


def _pair(values) -> tuple[float, float] | None:
    """The numbers of an attribute that holds two positive ones."""
    numbers = [number_of(value) for value in as_list(values)]
    is_pair = len(numbers) == 2 and all(n is not None and 0 < n < float("inf") for n in numbers)
    return tuple(numbers) if is_pair else None


def marks_of(header: FrameHeader) -> dict[str, Hashable]:
    """What a frame's header says of the measurement, by name; what it does not say is absent.

    Numbers are in the unit of their attribute (ms, degrees, s/mm²), "time" and "creation" in
    seconds; "dimension 1" and so on are the frame's DimensionIndexValues (PS3.3 C.7.6.17).
    """
    marks: dict[str, Hashable] = {
        "b-value": header.b_value,
        "direction": header.gradient_direction,
    }
    marks |= {name: header.number(*places) for name, places in _NUMBERS.items()}
    for name, places in _WORDS.items():
        words = ("\\".join(map(str, as_list(value))).strip() for value in header.values(*places))
        marks[name] = next(filter(None, words), None)
    times = [_seconds(str(time)[:8], str(time)[8:]) for time in header.values(*_TIMES)]
    times.append(_date_and_time(header.dataset, "Acquisition"))
    marks["time"] = next((time for time in times if time is not None), None)
    marks["creation"] = _date_and_time(header.dataset, "Content")
    indices = as_list(header.first(("FrameContentSequence", "DimensionIndexValues")))
    marks |= {f"dimension {at}": first_number(value) for at, value in enumerate(indices, 1)}
    return {name: value for name, value in marks.items() if value is not None}


def marks_in_words(marks: dict[str, Hashable | None]) -> dict[str, str]:
    """Marks for the label of a choice; those that say nothing to a user are left out.

    Words of the header are left out, too: they may name the patient.
    """
    words = {}
    for name, value in marks.items():
        if name in _IN_WORDS and value is None:
            words[name] = f"no {name} given"
        elif name in _IN_WORDS:
            words[name] = _IN_WORDS[name].format(*as_list(value))
    return words


def _date_and_time(dataset: pydicom.Dataset, which: str) -> float | None:
    day, clock = (str(dataset.get(f"{which}{part}") or "") for part in ("Date", "Time"))
    return _seconds(day, clock)


def _seconds(day: str, clock: str) -> float | None:
    """Seconds since some midnight of a date and a time of day, one of which may be missing."""
    match = _CLOCK.match(clock.strip())
    try:
        days = date(int(day[:4]), int(day[4:6]), int(day[6:8])).toordinal()
    except ValueError:
        days = None
    if match is None and days is None:
        return None
    hours, minutes, seconds, fraction = match.groups() if match else ("0", "0", "0", "0")
    clock_seconds = 3600 * int(hours) + 60 * int(minutes or 0) + int(seconds or 0)
    return 86400.0 * (days or 0) + clock_seconds + float(fraction or 0)
