"""Which contrast a DICOM header suggests. A hint for presetting the direction, never a proof."""

from __future__ import annotations

import re

import pydicom

from cyclegan.reading.dicom_attributes import attribute, number_of, values_of
from cyclegan.reading.dicom_marks import MAGNITUDE, component_of

# Names of contrasts and techniques that contain or accompany "T1" or "T2" without being them.
_OTHER = re.compile(
    r"flair|dark.?fl|tirm|stir|t2\s*\*|t2.?star|swi|swan|susc|heme|diff|dwi|dti|adc|trace|perf|bold|fmri"
    r"|\bepi?\b|ep2d|tof|angio|mra\b|mrv\b|\bpc\b|map|relax|\bpd\b|proton|dual|field|phase|localiz"
    r"|scout|survey|dixon|\bfs\b|fat.?sat|\bce\b|\+\s*c\b|\bpost|gado|\bgd\b|\bkm\b|contrast"
)
# Contrasts that a reader knows by name; the first that fits.
_NAMED = (
    ("FLAIR", re.compile(r"flair|dark.?fl|tirm")),
    ("diffusion-weighted", re.compile(r"diff|dwi|dti|\badc\b|trace")),
    ("angiography", re.compile(r"tof|angio|mra\b|mrv\b")),
    ("post-contrast", re.compile(r"\bce\b|\+\s*c\b|\bpost|gado|\bgd\b|\bkm\b")),
    ("proton density", re.compile(r"\bpd\b|pdw|proton")),
    ("susceptibility-weighted", re.compile(r"t2\s*\*|t2.?star|swi|swan|heme")),
)
_DECLARED = {  # AcquisitionContrast, PS3.3 C.8.13.3.1.1
    "DIFFUSION": "diffusion-weighted",
    "FLUID_ATTENUATED": "FLAIR",
    "PROTON_DENSITY": "proton density",
    "TIME_OF_FLIGHT": "angiography",
    "T2_STAR": "susceptibility-weighted",
}
_T1 = re.compile(r"(?<![a-z0-9])t1|mprage|mp.rage|spgr|bravo|t1w")
_T2 = re.compile(r"(?<![a-z0-9])t2|t2w")


def contrast_from_header(dataset: pydicom.Dataset, frame: int = 0) -> str | None:
    """Suggest "T1" or "T2" for a frame from sequence names and times, or None when unsure.

    Names are SeriesDescription, ProtocolName, SequenceName, PulseSequenceName and the image's
    type (ImageType or FrameType); times are EchoTime, RepetitionTime and InversionTime in ms.
    Contrasts the models do not translate (FLAIR, post-contrast T1, T2*, diffusion, phase, ...)
    give None, as do names that contradict times.
    """
    text = _names(dataset, frame)
    technique = {str(part) for part in values_of(dataset.get("ScanningSequence"))}
    if (
        component_of(dataset, frame) not in ("", MAGNITUDE)
        or _OTHER.search(text)
        or "EP" in technique
        or dataset.get("AngioFlag") == "Y"
    ):
        return None
    if dataset.get("ContrastBolusAgent") or dataset.get("ContrastBolusAgentSequence"):
        return None
    declared = str(dataset.get("AcquisitionContrast") or "UNKNOWN")  # enhanced MR, C.8.13.3.1.1
    if declared not in ("T1", "T2", "UNKNOWN", "MIXED"):
        return None
    hints = {declared} & {"T1", "T2"}
    hints |= {label for label, names in (("T1", _T1), ("T2", _T2)) if names.search(text)}
    by_times = _contrast_from_times(dataset, frame, technique)
    if by_times == "neither":
        return None
    if by_times:
        hints.add(by_times)
    return hints.pop() if len(hints) == 1 else None


def other_contrast_from_header(dataset: pydicom.Dataset, frame: int = 0) -> str | None:
    """The name of a contrast other than plain T1 and T2 that the header gives, or None.

    Read where `contrast_from_header` reads; "FLAIR", "diffusion-weighted", "angiography",
    "post-contrast", "proton density" or "susceptibility-weighted".
    """
    text = _names(dataset, frame)
    declared = _DECLARED.get(str(dataset.get("AcquisitionContrast") or ""))
    if declared:
        return declared
    for name, pattern in _NAMED:
        if pattern.search(text):
            return name
    if dataset.get("AngioFlag") == "Y":
        return "angiography"
    if dataset.get("ContrastBolusAgent") or dataset.get("ContrastBolusAgentSequence"):
        return "post-contrast"
    return None


def contrast_in_name(name: str) -> str | None:
    """ "T1" or "T2" where a name of a series, file or folder says so and nothing else, or None."""
    text = name.lower().replace("_", " ")
    if _OTHER.search(text):
        return None
    hints = {label for label, names in (("T1", _T1), ("T2", _T2)) if names.search(text)}
    return hints.pop() if len(hints) == 1 else None


def _names(dataset: pydicom.Dataset, frame: int) -> str:
    """All names that may tell an image's contrast, its type among them, in one text."""
    keywords = ("SeriesDescription", "ProtocolName", "SequenceName", "PulseSequenceName")
    kind = attribute(dataset, frame, "MRImageFrameTypeSequence", "FrameType")
    kind = values_of(kind if kind is not None else dataset.get("ImageType"))
    names = [dataset.get(keyword) or "" for keyword in keywords]
    text = " ".join(map(str, [*names, *kind])).lower()
    return text.replace("_", " ")


def _contrast_from_times(dataset: pydicom.Dataset, frame: int, technique: set[str]) -> str | None:
    """ "T1", "T2", "neither" (times that exclude both) or None (times that do not decide).

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
    if inversion and (inversion > 1500 or inversion < 300):
        return "neither"  # FLAIR nulls fluid late, STIR nulls fat early
    if inversion:
        return "T1" if echo <= 20 else None
    if repetition >= 2000 and echo >= 70:
        return "T2"
    if technique == {"SE"} and 250 <= repetition <= 1000 and echo <= 25:
        return "T1"
    return "neither" if repetition >= 2000 and technique == {"SE"} and echo <= 40 else None
