"""Attributes of DICOM images wherever they lie: in the data set, or in functional groups, shared or
per frame (PS3.3 C.7.6.16)."""

from __future__ import annotations

import pydicom


def count(dataset: pydicom.Dataset) -> int:
    """NumberOfFrames, 1 where it is absent."""
    return int(dataset.get("NumberOfFrames") or 1)


def attribute(dataset: pydicom.Dataset, index: int, macro: str, keyword: str):
    """One attribute of a frame: per-frame group, else shared group, else data set, else None."""
    places = [found[0] for group in groups_of(dataset, index) if (found := group.get(macro))]
    values = (place.get(keyword) for place in (*places, dataset))
    return next((value for value in values if value not in (None, "")), None)


def items(dataset: pydicom.Dataset, index: int, macro: str) -> list[pydicom.Dataset]:
    """Items of a functional group of a frame: its own ones, else shared ones."""
    found = (group.get(macro) for group in groups_of(dataset, index))
    return next((list(each) for each in found if each), [])


def groups_of(dataset: pydicom.Dataset, index: int) -> list[pydicom.Dataset]:
    """The functional groups of a frame, its own before the shared ones."""
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    own = [per_frame[index]] if index < len(per_frame) else []
    return own + list(dataset.get("SharedFunctionalGroupsSequence") or ())[:1]


def values_of(element) -> list:
    """The values of an attribute that may have none, one or several."""
    return [] if element is None else [element] if isinstance(element, str) else list(element)


def number_of(value) -> float | None:
    """A number, or None where the header holds something else."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
