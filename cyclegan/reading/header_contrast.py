"""Which contrast a DICOM header suggests. A hint for presetting the direction, never a proof."""

from __future__ import annotations

from typing import NamedTuple

import pydicom

from cyclegan.reading.dicom_attributes import attribute, number_of, values_of
from cyclegan.reading.dicom_marks import MAGNITUDE, component_of
from cyclegan.reading.sequence_names import (
    ANGIOGRAPHY,
    DIFFUSION,
    DUAL,
    ENHANCED,
    FLAIR,
    PROTON_DENSITY,
    SUSCEPTIBILITY,
    negates_agent,
    read_names,
)

_DECLARED = {  # AcquisitionContrast, PS3.3 C.8.13.3.1.1
    "DIFFUSION": DIFFUSION,
    "FLUID_ATTENUATED": FLAIR,
    "PERFUSION": "perfusion",
    "PROTON_DENSITY": PROTON_DENSITY,
    "STIR": "STIR",
    "TIME_OF_FLIGHT": ANGIOGRAPHY,
    "T2_STAR": SUSCEPTIBILITY,
}
# What times alone tell: the contrasts that a name of one of these no longer stands for.
_OVERRULED = {"T1": (FLAIR, "STIR"), "T2": (PROTON_DENSITY, DUAL), PROTON_DENSITY: (DUAL,)}


class HeaderContrast(NamedTuple):
    """What a header says of the contrast of one image.

    Attributes:
        hint: "T1" or "T2" where names and times agree on it and nothing else, or None.
        other: by name a contrast that is neither, such as "FLAIR", or None.
        rank: 0 for a plain T1 or T2, 1 where nothing tells, 2 for any other contrast.
    """

    hint: str | None
    other: str | None
    rank: int


def header_contrast(dataset: pydicom.Dataset, frame: int = 0) -> HeaderContrast:
    """Weigh what the header says of a frame's contrast.

    Names are SeriesDescription, else ProtocolName, and SequenceName, PulseSequenceName and the
    image's type (ImageType or FrameType); times are EchoTime, RepetitionTime and InversionTime in
    ms. Contrasts the models do not translate (FLAIR, post-contrast T1, T2*, diffusion, phase, ...)
    give no `hint`, as do names that contradict times.
    """
    kind = attribute(dataset, frame, "MRImageFrameTypeSequence", "FrameType")
    kind = list(map(str, values_of(kind if kind is not None else dataset.get("ImageType"))))
    technique = {str(part) for part in values_of(dataset.get("ScanningSequence"))}
    # A user renames the series, and a protocol may be named after the whole examination.
    names = read_names(_texts(dataset, "SeriesDescription", "ProtocolName"))
    technical = read_names(
        [" ".join([*_texts(dataset, "SequenceName", "PulseSequenceName"), *kind])]
    )
    others = list(dict.fromkeys((*names.others, *technical.others)))
    if declared := _DECLARED.get(text := str(dataset.get("AcquisitionContrast") or "")):
        others.insert(0, declared)
    hints = {*names.weights, *technical.weights, *({text} & {"T1", "T2"})}
    by_times = _contrast_from_times(dataset, frame, technique)
    others = [name for name in others if name not in _OVERRULED.get(by_times or "", ())]
    if by_times in ("T1", "T2"):
        if len(hints) > 1 and DUAL in (*names.others, *technical.others):
            hints = set()  # two echoes of one series share a name
        hints.add(by_times)
    elif by_times == FLAIR or (by_times == PROTON_DENSITY and "T1" not in hints):
        others.insert(0, by_times)
    agent = _agent(dataset)
    contradicted = agent and names.agent is False
    if dataset.get("AngioFlag") == "Y":
        others.append(ANGIOGRAPHY)
    if (agent or names.agent or technical.agent) and not contradicted:
        others = _with_agent(others)
    spoiled = (
        names.is_special
        or technical.is_special
        or names.is_label_map
        or "EP" in technique
        or component_of(dataset, frame) not in ("", MAGNITUDE)
        or by_times == "neither"
        or text not in ("", "UNKNOWN", "MIXED", "T1", "T2")
    )
    unsure = contradicted or len(hints) != 1 or by_times == PROTON_DENSITY
    hint = None if others or spoiled or unsure else hints.pop()
    other = next((name for name in others if name != DUAL), None)
    return HeaderContrast(hint, other, 0 if hint else 2 if others or spoiled else 1)


def _texts(dataset: pydicom.Dataset, *keywords: str) -> list[str]:
    return [str(dataset.get(keyword) or "") for keyword in keywords]


def _agent(dataset: pydicom.Dataset) -> bool:
    """Whether the header names a contrast agent (PS3.3 C.7.6.4)."""
    text = str(dataset.get("ContrastBolusAgent") or "")
    return not negates_agent(text) or bool(dataset.get("ContrastBolusAgentSequence"))


def _with_agent(others: list[str]) -> list[str]:
    """Contrasts of an image after the agent: other techniques are known by their own name."""
    before = [name for name in others if name in (FLAIR, DIFFUSION, ANGIOGRAPHY, "localizer")]
    return [*before, ENHANCED, *(name for name in others if name not in before)]


def _contrast_from_times(dataset: pydicom.Dataset, frame: int, technique: set[str]) -> str | None:
    """ "T1", "T2", "FLAIR", "proton density", "neither" (times that exclude T1 and T2) or None
    (times that do not decide).

    The bounds enclose what brain protocols use at 1.5 and 3 T, and leave gaps where they overlap.
    """
    echo = number_of(
        attribute(dataset, frame, "MREchoSequence", "EffectiveEchoTime") or dataset.get("EchoTime")
    )
    repetition = number_of(
        attribute(dataset, frame, "MRTimingAndRelatedParametersSequence", "RepetitionTime")
    )
    inversion = number_of(
        attribute(dataset, frame, "MRModifierSequence", "InversionTimes")
        or dataset.get("InversionTime")
    )
    if echo is None or repetition is None:
        return None
    if inversion and inversion > 1500:  # nulls fluid
        return FLAIR if echo >= 60 else "neither"
    if inversion and inversion < 300:  # nulls fat, as STIR
        return "neither"
    if inversion:
        return "T1" if echo <= 30 else None
    if repetition >= 2000 and echo >= 70:
        return "T2"
    if technique == {"SE"} and 250 <= repetition <= 1000 and echo <= 25:
        return "T1"
    return PROTON_DENSITY if repetition >= 2000 and technique == {"SE"} and echo <= 40 else None
