"""What the header of a DICOM object says of one of its images.

Classic objects describe themselves in the data set, enhanced ones in functional groups, shared or
per frame (PS3.3 C.7.6.16). The b-value and its direction are read also where vendors put them
before the standard had a place for them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cache
from math import isfinite
from typing import Any

import pydicom
from pydicom.tag import BaseTag, Tag

MAGNITUDE, PHASE, REAL, IMAGINARY = "magnitude", "phase", "real part", "imaginary part"
_COMPONENTS = (MAGNITUDE, PHASE, REAL, IMAGINARY)  # in the order of GE's numbers
# Values of ImageType and FrameType; Philips writes M_FFE and R_SE, GE "PHASE MAP".
_TYPES = dict(zip("MPRI", _COMPONENTS, strict=True))
_TYPES |= {"MAGNITUDE": MAGNITUDE, "PHASE": PHASE, "REAL": REAL, "IMAGINARY": IMAGINARY}
_CONVERTED = (  # where a converted classic object keeps what has no group (PS3.3 C.8.13.9)
    "UnassignedPerFrameConvertedAttributesSequence",
    "UnassignedSharedConvertedAttributesSequence",
)
# Private elements: group, its creator, element, and the type of one number where it is binary.
_B_VALUES = (
    (0x0019, "SIEMENS MR HEADER", 0x0C, ""),
    (0x2001, "Philips Imaging DD 001", 0x03, "f"),
    (0x0043, "GEMS_PARM_01", 0x39, ""),
)
_GE_OFFSET = 10**9  # that GE adds to the b-value in some versions
_DIRECTIONS = (
    ((0x0019, "SIEMENS MR HEADER", 0x0E, "d"),),
    tuple((0x2005, "Philips MR Imaging DD 001", element, "f") for element in (0xB0, 0xB1, 0xB2)),
    tuple((0x0019, "GEMS_ACQU_01", element, "") for element in (0xBB, 0xBC, 0xBD)),
)
_GE_COMPONENT = (0x0043, "GEMS_PARM_01", 0x2F, "")

Place = tuple[str, str]  # keyword of a functional group, "" for none, and of an attribute
PrivateElement = tuple[int, str, int, str]


class FrameHeader:
    """The data set of an object and the functional groups of one of its frames.

    Args:
        dataset: the object.
        index: of the frame, from 0.
    """

    def __init__(self, dataset: pydicom.Dataset, index: int = 0):
        self.dataset = dataset
        self.index = index
        per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or ()
        shared = dataset.get("SharedFunctionalGroupsSequence") or ()
        self.groups = [*([per_frame[index]] if index < len(per_frame) else []), *list(shared)[:1]]
        self.converted = [g[name][0] for g in self.groups for name in _CONVERTED if g.get(name)]

    def values(self, *places: Place) -> Iterator:
        """Values of attributes that are there, the frame's own ones first."""
        for macro, keyword in places:
            grouped = [g[macro][0] for g in self.groups if macro and macro in g and g[macro].value]
            tag = _tag(keyword)
            for item in (*grouped, *self.converted, self.dataset):
                if tag in item.keys() and (value := item[tag].value) not in (None, ""):  # noqa: SIM118
                    yield value

    def first(self, *places: Place):
        """The first of these values, or None."""
        return next(self.values(*places), None)

    def number(self, *places: Place) -> float | None:
        """The first finite number of these values, or None."""
        return next(filter(_is_finite, map(first_number, self.values(*places))), None)

    def items(self, macro: str) -> list[pydicom.Dataset]:
        """Items of a functional group: the frame's own ones, else shared ones, else those of the
        data set."""
        sequences = (place.get(macro) for place in (*self.groups, self.dataset))
        return next((list(sequence) for sequence in sequences if sequence), [])

    @property
    def image_type(self) -> tuple[str, ...]:
        """FrameType, else ImageType."""
        own = self.first(("MRImageFrameTypeSequence", "FrameType"), ("", "ImageType"))
        return tuple(map(str, as_list(own)))

    @property
    def echo_time(self) -> float | None:
        """In ms."""
        return number_of(self.first(("MREchoSequence", "EffectiveEchoTime"), ("", "EchoTime")))

    @property
    def component(self) -> str:
        """The part of the complex signal that a frame shows: "magnitude", "phase", "real part",
        "imaginary part", or "" where the header does not say.

        Complex Image Component (PS3.3 C.8.13.3.1.2), else the image's type (C.8.3.1.1.1), else
        GE's private number.
        """
        name = self.first(("MRImageFrameTypeSequence", "ComplexImageComponent"))
        if component := _TYPES.get(str(name or "").strip().upper()):
            return component
        words = [re.split(r"[_ ]", word.strip().upper())[0] for word in self.image_type[2:]]
        if parts := [_TYPES[word] for word in words if word in _TYPES]:
            return next((part for part in parts if part != MAGNITUDE), MAGNITUDE)
        number = first_number(self._private(_GE_COMPONENT))
        return _COMPONENTS[int(number)] if number in (0, 1, 2, 3) else ""

    @property
    def b_value(self) -> float | None:
        """Diffusion weighting in s/mm²."""
        value = first_number(self.first(("MRDiffusionSequence", "DiffusionBValue")))
        for element in _B_VALUES if value is None else ():
            if (value := first_number(self._private(element))) is not None:
                break
        return value % 10**5 if value is not None and value >= _GE_OFFSET else value

    @property
    def gradient_direction(self) -> tuple[float, ...] | None:
        """(3,) of the diffusion gradient, rounded as far as slices of one measurement differ."""
        groups = self.first(("MRDiffusionSequence", "DiffusionGradientDirectionSequence"))
        candidates = [
            groups[0].get("DiffusionGradientOrientation") if groups else None,
            self.first(("", "DiffusionGradientOrientation")),
            *([v for place in places for v in self._private(place)] for places in _DIRECTIONS),
        ]
        for candidate in candidates:
            numbers = [number_of(value) for value in as_list(candidate)]
            if len(numbers) == 3 and all(map(_is_finite, numbers)):
                return tuple(round(number, 2) + 0.0 for number in numbers)  # no -0.0
        return None

    def _private(self, place: PrivateElement) -> list:
        """The values of a private element; empty where there is none or where it is not read."""
        group, creator, element, code = place
        if not any(tag >> 16 == group for tag in self.dataset.keys()):  # noqa: SIM118
            return []
        try:
            value = self.dataset.private_block(group, creator)[element].value
        except KeyError:
            bare = Tag(group, 0x1000 | element)  # its creator was removed
            if Tag(group, 0x10) in self.dataset or bare not in self.dataset:
                return []
            value = self.dataset[bare].value
        if not isinstance(value, bytes):
            return as_list(value)
        text = value.decode("latin-1").strip(" \0")  # of unknown VR: text, or binary numbers
        if re.fullmatch(r"[-+.\deE\\]+", text):
            return text.split("\\")
        size = {"f": 4, "d": 8}.get(code, 0)
        return memoryview(value).cast(code).tolist() if size and len(value) % size == 0 else []


def frame_count(dataset: pydicom.Dataset) -> int:
    """NumberOfFrames, 1 where it is absent."""
    return int(dataset.get("NumberOfFrames") or 1)


@cache
def _tag(keyword: str) -> BaseTag:
    return Tag(keyword)  # looking it up takes longer than all else here


def as_list(value) -> list:
    """One or several values of any type as a list."""
    if value is None:
        return []
    return list(value) if hasattr(value, "__iter__") and not isinstance(value, str) else [value]


def number_of(value) -> float | None:
    """A number, or None where the header holds something else."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def first_number(value) -> float | None:
    """The first finite one of one or several numbers."""
    return next(filter(_is_finite, map(number_of, as_list(value))), None)


def _is_finite(number: float | None) -> bool:
    return number is not None and isfinite(number)


def names_patient(header: Mapping[str, Any], text: str) -> bool:
    """Whether a text has a word of the patient's name or number in it, with its accents or without.

    Args:
        header: attributes of a DICOM object by keyword.
        text: any other attribute of it.
    """
    names = " ".join(str(header.get(each) or "") for each in ("PatientName", "PatientID"))
    words = re.split(r"[\W_]+", _plain(names))
    return any(word in _plain(text) for word in words if len(word) > 2)


def _plain(text: str) -> str:
    """A text in lower case, without accents."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in parts if not unicodedata.combining(c))
