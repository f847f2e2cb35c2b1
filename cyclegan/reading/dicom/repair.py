"""Numbers of a DICOM header that were written wrongly: read where they can be, else left out.

Decimal commas, units and words in a number stop a strict parser; none of them is worth a picture.
What is left out is named in a note with its value.
"""

from __future__ import annotations

import re
import struct

import pydicom
from pydicom.charset import python_encoding
from pydicom.datadict import dictionary_VM, dictionary_VR, keyword_for_tag
from pydicom.dataelem import RawDataElement
from pydicom.valuerep import AMBIGUOUS_VR, VR

from cyclegan.reading.dicom.header import number_of
from cyclegan.reading.volume import quoted

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_UNIT = re.compile(r"\s*(?:mm|ms|msec|s|sec|deg|degrees?|T|%|°)?\s*", re.IGNORECASE)
# Attributes of a fixed number of values; of the first three one may be meant for both sides.
_ONE_FOR_BOTH = ("PixelSpacing", "NominalScannedPixelSpacing", "ImagerPixelSpacing")
_COUNTS = {
    **dict.fromkeys((*_ONE_FOR_BOTH, "PixelAspectRatio"), 2),
    "ImagePositionPatient": 3,
    "ImageOrientationPatient": 6,
}
_BINARY = {"US": 2, "SS": 2, "UL": 4, "SL": 4, "FL": 4, "FD": 8}  # bytes of one number
_TEXT = frozenset(["LO", "LT", "PN", "SH", "ST", "UC", "UT"])
_SET_NAME = re.compile(r"ISO[ _-]*(2022[ _-]*)?IR[ _-]*(\d+)", re.IGNORECASE)
_UTF_8, _LATIN_1 = "ISO_IR 192", "ISO_IR 100"
_USED = (  # sequences whose numbers are used; what is left out of others needs no note
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *("RealWorldValueMappingSequence", "ModalityLUTSequence", "VOILUTSequence"),
)
_DEEPEST = 8  # sequences in sequences; the standard needs five
_GREY = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")  # C.7.6.3.1.2
_COLOURS = ("RGB", "YBR", "HSV", "ARGB", "CMYK")
_KNOWN = frozenset(map(str, VR)) | AMBIGUOUS_VR
_SHOWN = 40  # characters of a value in a note


def repair_header(dataset: pydicom.Dataset) -> tuple[str, ...]:
    """Make every number of a header one that pydicom accepts, in place.

    Args:
        dataset: as parsed; elements that were not accessed yet are not converted.

    Returns:
        A sentence for each attribute that was left out; what could be read needs none.
    """
    notes: dict[str, str] = {}
    _repair_character_set(dataset)
    _repair_numbers(dataset, notes)
    _repair_sequences(dataset, notes)
    _repair_pixel_description(dataset, notes)
    return tuple(notes.values())


def _repair_numbers(dataset: pydicom.Dataset, notes: dict[str, str]) -> None:
    for tag in list(dataset.keys()):
        element = dataset.get_item(tag)
        if not isinstance(element, RawDataElement) or tag.is_private or not element.value:
            continue
        keyword = keyword_for_tag(tag)
        vr = element.VR or (dictionary_VR(tag) if keyword else "")
        if vr and vr not in _KNOWN:  # a damaged byte; the dictionary knows better
            if not keyword:
                del dataset[tag]
                continue
            vr = dictionary_VR(tag)
            dataset[tag] = element = element._replace(VR=vr)
        is_single = bool(keyword) and dictionary_VM(tag) == "1"
        if vr in _BINARY and keyword:
            size, count = len(element.value), len(element.value) // _BINARY[vr]
            if size == count * _BINARY[vr] and (count == 1 or not is_single):
                continue
            value = _binary_number(element, vr) if is_single else None
            why = f"has {size} bytes, cannot be read"
        elif vr in ("DS", "IS"):
            text = element.value.decode("latin-1").strip(" \0")
            value = _decimals(text, vr, keyword, is_single)
            if value == text:
                continue
            why = f"{quoted(text[:_SHOWN])} cannot be read"
        else:
            continue
        if value is not None:
            dataset.add_new(tag, vr, value)
        else:
            del dataset[tag]
            if keyword:  # others are not used
                notes[keyword] = f"{keyword} {why} and is not used."


def _repair_sequences(dataset: pydicom.Dataset, notes: dict[str, str], depth: int = 0) -> None:
    """The numbers in the items of sequences; private ones there are not used and taken out."""
    for tag in list(dataset.keys()):
        keyword = keyword_for_tag(tag)
        if tag.is_private and depth:
            del dataset[tag]
        if not keyword or dictionary_VR(tag) != "SQ":
            continue
        notes_here = notes if depth or keyword in _USED else {}
        try:
            for item in dataset[tag].value or ():
                _repair_numbers(item, notes_here)
                _repair_sequences(item, notes_here, depth + 1)
        except Exception:  # no sequence at all
            notes_here[keyword] = f"{keyword} cannot be read and is not used."
            del dataset[tag]
        if depth >= _DEEPEST:
            dataset.pop(tag, None)


def _binary_number(element: RawDataElement, vr: str) -> float | None:
    """A single number that was written with the bytes of another type, or None."""
    data, order = element.value, "little" if element.is_little_endian else "big"
    if vr in ("FL", "FD"):
        code = {4: "f", 8: "d"}.get(len(data))
        return struct.unpack((">", "<")[order == "little"] + code, data)[0] if code else None
    signed, bits = vr in ("SS", "SL"), 8 * _BINARY[vr] - (vr in ("SS", "SL"))
    value = int.from_bytes(data, order, signed=signed)
    return value if -signed * 2**bits <= value < 2**bits else None


def _decimals(text: str, vr: str, keyword: str, is_single: bool) -> str | None:
    """Numbers written as text as the standard writes them; None where they cannot be read."""
    values, count = _numbers(text), _COUNTS.get(keyword)
    if values is None:
        return None if text else text
    if keyword in _ONE_FOR_BOTH and len(values) == 1:
        values *= 2
    if is_single:
        values = values[:1]
    if count not in (None, len(values)):
        return None
    if vr == "IS" and any(not float(value).is_integer() for value in values):
        values = [str(round(float(value))) for value in values]
    return "\\".join(values)


def _numbers(text: str) -> list[str] | None:
    """The values of a text as decimal strings of at most 16 characters, or None."""
    parts = text.split("\\")
    if len(parts) == 1 and "," in text and "." in text:  # "0.9,0.9": a comma between values
        parts = text.split(",")
    values = []
    for part in parts:
        part = part.strip(" \0[]()\"'")
        part = part.replace(",", ".") if part.count(",") == 1 and "." not in part else part
        number = _NUMBER.match(part)
        if number is None or not _UNIT.fullmatch(part[number.end() :]):
            return None
        value = number.group()
        values.append(value if len(value) <= 16 else f"{float(value):.10g}")
    return values if all(abs(float(value)) < float("inf") for value in values) else None


def _repair_character_set(dataset: pydicom.Dataset) -> None:
    """Spell the character set as PS3.3 C.12.1.1.2 does, and replace one that the text breaks.

    Bytes that the declared set does not know are UTF-8 if they can be, else counted as Latin-1:
    then they stay as they are, whatever they mean.
    """
    element = dataset.get_item("SpecificCharacterSet")
    declared = element.value if element is not None else None
    if isinstance(declared, bytes):
        declared = declared.decode("latin-1").split("\\")
    declared = [declared] if isinstance(declared, str) else list(declared or ())
    names = [_set_name(str(name)) for name in declared]
    if names != declared and all(names[1:]):
        dataset.SpecificCharacterSet = names if len(names) > 1 else names[0]
    if len(names) > 1:  # switched by escape sequences
        return
    texts = [
        item.value
        for tag in dataset.keys()  # noqa: SIM118 - raw elements
        if isinstance(item := dataset.get_item(tag), RawDataElement)
        and isinstance(item.value, bytes)
        and not item.value.isascii()
        and (item.VR or (dictionary_VR(tag) if keyword_for_tag(tag) else "")) in _TEXT
    ]
    encoding = python_encoding.get(names[0]) if names and names[0] else "ascii"
    if texts and not _all_decode(texts, encoding):
        dataset.SpecificCharacterSet = _UTF_8 if _all_decode(texts, "utf-8") else _LATIN_1


def _set_name(name: str) -> str:
    """A defined term for a character set where the name is nearly one, else the name."""
    tidy = " ".join(name.strip(" \0").upper().split())
    if match := _SET_NAME.fullmatch(tidy):
        tidy = f"ISO 2022 IR {match[2]}" if match[1] else f"ISO_IR {match[2]}"
    return _UTF_8 if tidy in ("UTF-8", "UTF8", "UTF_8") else tidy


def _all_decode(texts: list[bytes], encoding: str | None) -> bool:
    try:
        return encoding is not None and all(text.decode(encoding) for text in texts)
    except (UnicodeDecodeError, LookupError):
        return False


def _repair_pixel_description(dataset: pydicom.Dataset, notes: dict[str, str]) -> None:
    """Fill in what describes the stored numbers where one answer is obvious (PS3.3 C.7.6.3)."""

    def number(keyword: str) -> int | None:
        value = number_of(dataset.get(keyword))
        return None if value is None else int(value)

    if not (allocated := number("BitsAllocated")):
        return
    declared = dataset.get("PhotometricInterpretation")
    tidy = " ".join(str(declared or "").strip(" \0").upper().split())
    if not number("SamplesPerPixel"):
        dataset.SamplesPerPixel = 3 if tidy.startswith(_COLOURS) else 1
    stored = number("BitsStored")
    if stored is None or not 0 < stored <= allocated:
        dataset.BitsStored = stored = allocated
    high = number("HighBit")
    if high is None or not stored - 1 <= high < allocated:
        dataset.HighBit = stored - 1
    if number("PixelRepresentation") not in (0, 1):
        dataset.PixelRepresentation = 0
    if dataset.SamplesPerPixel == 1 and tidy not in _GREY and not tidy.startswith(_COLOURS):
        tidy = "".join(tidy.split())
        if tidy not in (*_GREY, "MONOCHROME"):
            shown = f"{quoted(tidy[:_SHOWN])} is unknown" if tidy else "is missing"
            notes["PhotometricInterpretation"] = (
                f"PhotometricInterpretation {shown}; the highest value is shown white."
            )
        tidy = tidy if tidy in _GREY else "MONOCHROME2"
    if tidy != declared:
        dataset.PhotometricInterpretation = tidy
