"""Which contrast and modality a DICOM header suggests. Hints for choosing, never a proof."""

from __future__ import annotations

from typing import NamedTuple

import pydicom
from pydicom.uid import UID

from cyclegan.reading.dicom.header import MAGNITUDE, FrameHeader, as_list, number_of
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
# What is not named (OT, or nothing) may be MR; a capture of a screen calls itself anything.
_UNKNOWN = ("", "OT", "SC", "HC")
_CAPTURE = "Secondary Capture"
_BY_CLASS = (  # part of a storage class's name, its modality (PS3.6 A, PS3.3 C.7.3.1.1.1)
    ("Segmentation", "SEG"),
    ("RT Dose", "RTDOSE"),
    ("MR ", "MR"),
    ("CT ", "CT"),
    ("Positron", "PT"),
    ("PET", "PT"),
    ("Ultrasound", "US"),
    ("Nuclear", "NM"),
    ("X-Ray", "XA"),
    ("Digital ", "DX"),
    ("Computed Radiography", "CR"),
)


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


def modality_of(dataset: pydicom.Dataset) -> str:
    """The modality by Modality (0008,0060), else by the storage class; "" where neither tells."""
    modality = str(dataset.get("Modality") or "").strip().upper()
    storage = UID(str(dataset.get("SOPClassUID") or "")).name
    by_class = next((name for part, name in _BY_CLASS if part in storage), "")
    # A segmentation or a dose keeps the modality of its source in some programs.
    if by_class in ("SEG", "RTDOSE") or not modality:
        return by_class
    return modality


def foreign_modality(dataset: pydicom.Dataset) -> tuple[str, bool]:
    """`ImageKind.foreign` and `ImageKind.is_unknown` of a DICOM object."""
    modality = modality_of(dataset)
    foreign = f"its modality is {modality}" if modality not in ("MR", *_UNKNOWN) else ""
    is_capture = _CAPTURE in UID(str(dataset.get("SOPClassUID") or "")).name
    # What tells nothing at all is believed to be MR, as other files are.
    return foreign, not foreign and (is_capture or modality in _UNKNOWN[1:])


def header_contrast(header: FrameHeader) -> HeaderContrast:
    """Weigh what the header says of a frame's contrast.

    Names are SeriesDescription, else ProtocolName, and SequenceName, PulseSequenceName and the
    image's type (ImageType or FrameType); times are EchoTime, RepetitionTime and InversionTime in
    ms. Contrasts the models do not translate (FLAIR, post-contrast T1, T2*, diffusion, phase, ...)
    give no `hint`, as do names that contradict times.
    """
    dataset = header.dataset
    technique = {str(part) for part in as_list(dataset.get("ScanningSequence"))}
    # A user renames the series, and a protocol may be named after the whole examination.
    names = read_names(_texts(dataset, "SeriesDescription", "ProtocolName"))
    sequence = [*_texts(dataset, "SequenceName", "PulseSequenceName"), *header.image_type]
    technical = read_names([" ".join(sequence)])
    others = list(dict.fromkeys((*names.others, *technical.others)))
    declared = str(dataset.get("AcquisitionContrast") or "")
    if declared in _DECLARED:
        others.insert(0, _DECLARED[declared])
    hints = {*names.weights, *technical.weights, *({declared} & {"T1", "T2"})}
    by_times = _contrast_from_times(header, technique)
    others = [name for name in others if name not in _OVERRULED.get(by_times or "", ())]
    if by_times in ("T1", "T2"):
        if len(hints) > 1 and DUAL in (*names.others, *technical.others):
            hints = set()  # two echoes of one series share a name
        hints.add(by_times)
    elif by_times == FLAIR or (by_times == PROTON_DENSITY and "T1" not in hints):
        others.insert(0, by_times)
    # The contrast agent, PS3.3 C.7.6.4.
    has_agent = not negates_agent(str(dataset.get("ContrastBolusAgent") or ""))
    has_agent = has_agent or bool(dataset.get("ContrastBolusAgentSequence"))
    is_contradicted = has_agent and names.agent is False
    if dataset.get("AngioFlag") == "Y":
        others.append(ANGIOGRAPHY)
    if (has_agent or names.agent or technical.agent) and not is_contradicted:
        # Other techniques are known by their own name, with the agent, too.
        first = [name for name in others if name in (FLAIR, DIFFUSION, ANGIOGRAPHY, "localizer")]
        others = [*first, ENHANCED, *(name for name in others if name not in first)]
    is_special = (
        names.is_special
        or technical.is_special
        or names.is_label_map
        or "EP" in technique
        or header.component not in ("", MAGNITUDE)
        or by_times == "neither"
        or declared not in ("", "UNKNOWN", "MIXED", "T1", "T2")
    )
    is_unsure = is_contradicted or len(hints) != 1 or by_times == PROTON_DENSITY
    hint = None if others or is_special or is_unsure else hints.pop()
    other = next((name for name in others if name != DUAL), None)
    return HeaderContrast(hint, other, 0 if hint else 2 if others or is_special else 1)


def _texts(dataset: pydicom.Dataset, *keywords: str) -> list[str]:
    return [str(dataset.get(keyword) or "") for keyword in keywords]


def _contrast_from_times(header: FrameHeader, technique: set[str]) -> str | None:
    """ "T1", "T2", "FLAIR", "proton density", "neither" (times that exclude T1 and T2) or None
    (times that do not decide).

    The bounds enclose what brain protocols use at 1.5 and 3 T, and leave gaps where they overlap.
    """
    echo = header.echo_time
    repetition = number_of(header.first(("MRTimingAndRelatedParametersSequence", "RepetitionTime")))
    inversion = number_of(
        header.first(("MRModifierSequence", "InversionTimes"), ("", "InversionTime"))
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
