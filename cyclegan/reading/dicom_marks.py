"""What a header says of an image beside its place: which measurement of that place it is.

A series may hold several images of each place: b-values, time points, inversion times, the parts of
a complex signal. Standard attributes are read wherever they lie (PS3.3 C.8.3, C.8.13), the b-value
and its direction also where vendors put them before the standard had a place for them.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from datetime import date
from functools import cache
from math import isfinite

import pydicom
from pydicom.tag import BaseTag, Tag

from cyclegan.reading.dicom_attributes import attribute, groups_of, number_of, values_of

MAGNITUDE, PHASE, REAL, IMAGINARY = "magnitude", "phase", "real part", "imaginary part"
_COMPONENTS = (MAGNITUDE, PHASE, REAL, IMAGINARY)  # in the order of GE's numbers
# Values of ImageType and FrameType; Philips writes M_FFE and R_SE, GE "PHASE MAP".
_TYPES = dict(zip("MPRI", _COMPONENTS, strict=True))
_TYPES |= {"MAGNITUDE": MAGNITUDE, "PHASE": PHASE, "REAL": REAL, "IMAGINARY": IMAGINARY}

# Numbers and words that tell images of one place apart: name -> (functional group, attribute).
_NUMBERS = {
    "inversion time": (
        ("MRModifierSequence", "InversionTimes"),
        ("", "InversionTime"),
    ),
    "flip angle": (("MRTimingAndRelatedParametersSequence", "FlipAngle"),),
    "time point": (
        ("FrameContentSequence", "TemporalPositionIndex"),
        ("", "TemporalPositionIdentifier"),
    ),
    "time offset": (("TemporalPositionSequence", "TemporalPositionTimeOffset"),),
    "acquisition": (
        ("FrameContentSequence", "FrameAcquisitionNumber"),
        ("", "AcquisitionNumber"),
    ),
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
_WORDS = {
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
_CONVERTED = (  # where a converted classic object keeps what has no group (PS3.3 C.8.13.9)
    "UnassignedPerFrameConvertedAttributesSequence",
    "UnassignedSharedConvertedAttributesSequence",
)
# b-value and direction before PS3.3 had them: group, its creator, element.
_SIEMENS = (0x0019, "SIEMENS MR HEADER")
_GE_PARAMETERS = (0x0043, "GEMS_PARM_01")
_GE_ACQUISITION = (0x0019, "GEMS_ACQU_01")
_PHILIPS = (0x2001, "Philips Imaging DD 001")
_PHILIPS_MORE = (0x2005, "Philips MR Imaging DD 001")
_GE_OFFSET = 10**9  # that GE adds to the b-value in some versions
_CLOCK = re.compile(r"(\d{2}):?(\d{2})?:?(\d{2})?(\.\d+)?")  # TM, and as ACR-NEMA wrote it
_UNITS = {
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


def component_of(dataset: pydicom.Dataset, index: int = 0) -> str:
    """The part of the complex signal that a frame shows: "magnitude", "phase", "real part",
    "imaginary part", or "" where the header does not tell.

    Complex Image Component (PS3.3 C.8.13.3.1.2), else the image's type (C.8.3.1.1.1), else GE's
    private number.
    """
    macro = "MRImageFrameTypeSequence"
    told = str(attribute(dataset, index, macro, "ComplexImageComponent") or "").strip().upper()
    if told in _TYPES:
        return _TYPES[told]
    kind = attribute(dataset, index, macro, "FrameType")
    kind = values_of(kind if kind is not None else dataset.get("ImageType"))
    words = [re.split(r"[_ ]", str(word).strip().upper())[0] for word in kind[2:]]
    if parts := [_TYPES[word] for word in words if word in _TYPES]:
        return next((part for part in parts if part != MAGNITUDE), MAGNITUDE)
    number = number_of(next(iter(_private(dataset, _GE_PARAMETERS, 0x2F)), None))
    return _COMPONENTS[int(number)] if number in (0, 1, 2, 3) else ""


def marks_of(dataset: pydicom.Dataset, index: int = 0) -> dict[str, Hashable]:
    """What a frame's header says of the measurement, by name; what it does not tell is absent.

    Numbers are in the unit of their attribute (ms, degrees, s/mm²), "time" and "creation" in
    seconds; "dimension 1" and so on are the frame's DimensionIndexValues (PS3.3 C.7.6.17).
    """
    header = _Header(dataset, index)
    marks: dict[str, Hashable] = {"b-value": _b_value(header), "direction": _direction(header)}
    for name, places in _NUMBERS.items():
        marks[name] = next(filter(_is_known, map(_first, header.values(places))), None)
    for name, places in _WORDS.items():
        words = ("\\".join(map(str, _all(value))).strip() for value in header.values(places))
        marks[name] = next(filter(None, words), None)
    marks["time"] = _acquired(header)
    marks["creation"] = _seconds(*_day_and_clock(dataset, "Content"))
    indices = header.first(("FrameContentSequence", "DimensionIndexValues"))
    for number, value in enumerate(_all(indices), 1):
        marks[f"dimension {number}"] = _first(value)
    return {name: value for name, value in marks.items() if value is not None}


def described(marks: dict[str, Hashable | None]) -> dict[str, str]:
    """Marks in words, for the label of a choice; those that say nothing to a person are left out.

    Words of the header are left out, too: they may name the patient.
    """
    words = {}
    for name, value in marks.items():
        if name in _UNITS and value is None:
            words[name] = f"no {name} given"
        elif name in _UNITS:
            numbers = value if isinstance(value, tuple) else (value,)
            words[name] = _UNITS[name].format(*numbers)
    return words


class _Header:
    """The data set of an object and the functional groups of one of its frames."""

    def __init__(self, dataset: pydicom.Dataset, index: int):
        self.dataset = dataset
        self.groups = groups_of(dataset, index)
        self.converted = [g[m][0] for g in self.groups for m in _CONVERTED if g.get(m)]

    def values(self, places: tuple[tuple[str, str], ...]) -> Iterator:
        """Values of attributes that are there, the frame's own ones first."""
        for macro, keyword in places:
            grouped = [g[macro][0] for g in self.groups if macro and macro in g and g[macro].value]
            tag = _tag(keyword)
            for item in (*grouped, *self.converted, self.dataset):
                if tag in item.keys() and (value := item[tag].value) not in (None, ""):  # noqa: SIM118
                    yield value

    def first(self, *places: tuple[str, str]):
        """The first of these values, or None."""
        return next(self.values(places), None)


@cache
def _tag(keyword: str) -> BaseTag:
    return Tag(keyword)  # looking it up takes longer than all else here


def _is_known(number: float | None) -> bool:
    return number is not None and isfinite(number)


def _first(value) -> float | None:
    """The first of one or several numbers."""
    return next(filter(_is_known, map(number_of, _all(value))), None)


def _all(value) -> list:
    """One or several values of any type as a list."""
    if value is None:
        return []
    return list(value) if hasattr(value, "__iter__") and not isinstance(value, str) else [value]


def _b_value(header: _Header) -> float | None:
    dataset = header.dataset
    told = _first(header.first(("MRDiffusionSequence", "DiffusionBValue")))
    for block, element in ((_SIEMENS, 0x0C), (_PHILIPS, 0x03), (_GE_PARAMETERS, 0x39)):
        if told is None:
            told = _first(_private(dataset, block, element))
            if block is _GE_PARAMETERS and told is not None and told >= _GE_OFFSET:
                told %= 10**5
    return told


def _direction(header: _Header) -> tuple[float, ...] | None:
    """(3,) of the diffusion gradient, rounded as far as slices of one measurement differ."""
    dataset = header.dataset
    groups = header.first(("MRDiffusionSequence", "DiffusionGradientDirectionSequence"))
    candidates = [
        groups[0].get("DiffusionGradientOrientation") if groups else None,
        header.first(("", "DiffusionGradientOrientation")),
        _private(dataset, _SIEMENS, 0x0E),
        [v for at in (0xB0, 0xB1, 0xB2) for v in _private(dataset, _PHILIPS_MORE, at)],
        [v for at in (0xBB, 0xBC, 0xBD) for v in _private(dataset, _GE_ACQUISITION, at)],
    ]
    for candidate in candidates:
        numbers = [number_of(value) for value in _all(candidate)]
        if len(numbers) == 3 and all(map(_is_known, numbers)):
            return tuple(round(number, 2) + 0.0 for number in numbers)  # no -0.0
    return None


def _private(dataset: pydicom.Dataset, block: tuple[int, str], element: int) -> list:
    """The values of a private element; empty where there is none or where it is not read."""
    group, creator = block
    if not any(tag >> 16 == group for tag in dataset.keys()):  # noqa: SIM118
        return []
    try:
        value = dataset.private_block(group, creator)[element].value
    except KeyError:
        bare = Tag(group, 0x1000 | element)  # its creator was removed
        if Tag(group, 0x10) in dataset or bare not in dataset:
            return []
        value = dataset[bare].value
    if isinstance(value, bytes):  # of unknown VR: text, or the vendor's binary numbers
        text = value.decode("latin-1").strip(" \0")
        if re.fullmatch(r"[-+.\deE\\]+", text):
            return text.split("\\")
        single = {(_SIEMENS, 0x0E): "<f8", (_PHILIPS, 0x03): "<f4"}.get((block, element), "")
        single = single or ("<f4" if block is _PHILIPS_MORE else "")
        return _unpacked(value, single) if single else []
    return _all(value)


def _unpacked(data: bytes, code: str) -> list[float]:
    size = int(code[-1])
    whole = len(data) >= size and len(data) % size == 0
    return memoryview(data).cast("fd"[size == 8]).tolist() if whole else []


def _acquired(header: _Header) -> float | None:
    """Seconds of the frame's or the object's date and time of acquisition."""
    places = (
        ("FrameContentSequence", "FrameAcquisitionDateTime"),
        ("FrameContentSequence", "FrameReferenceDateTime"),
        ("", "AcquisitionDateTime"),
    )
    moments = ((str(moment)[:8], str(moment)[8:]) for moment in header.values(places))
    moments = (*moments, _day_and_clock(header.dataset, "Acquisition"))
    return next(filter(_is_known, (_seconds(*moment) for moment in moments)), None)


def _day_and_clock(dataset: pydicom.Dataset, which: str) -> tuple[str, str]:
    return str(dataset.get(f"{which}Date") or ""), str(dataset.get(f"{which}Time") or "")


def _seconds(day: str, clock: str) -> float | None:
    """Seconds since some midnight of a date and a time of day, one of which may be missing."""
    match = _CLOCK.match(clock.strip())
    hours, minutes, seconds = (
        (int(part or 0) for part in match.groups()[:3]) if match else (0, 0, 0)
    )
    try:
        days = date(int(day[:4]), int(day[4:6]), int(day[6:8])).toordinal()
    except ValueError:
        if match is None:
            return None
        days = 0
    fraction = float(match[4] or 0) if match else 0.0
    return 86400.0 * days + 3600 * hours + 60 * minutes + seconds + fraction
