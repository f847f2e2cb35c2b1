"""Who the patient is: copied for local use, or left out of a derived object (PS3.15 Annex E).

A derived object is built from a short list of attributes, so nothing gets out by being unknown
here. This module fills the patient and study modules and says in words what was left behind.
"""

from __future__ import annotations

import warnings

from pydicom.datadict import dictionary_description, dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

ANONYMOUS = "ANONYMOUS"
ONLY_STORED = "private attributes, overlays, curves and icons, where there were any"

# Patient, Patient Study and General Study modules (PS3.3 C.7.1.1, C.7.2.2, C.7.2.1) as far as
# an archive needs them to file the result; those of type 2 are written empty when unknown.
_TYPE_2 = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber"),
)
_LOCAL = (
    *("SpecificCharacterSet", *_TYPE_2, "StudyInstanceUID", "StudyDescription"),
    *("IssuerOfPatientID", "PatientAge", "PatientSize", "PatientWeight"),
)
_IN_WORDS = {
    "patient's name and identifiers": (
        *("PatientName", "PatientID", "IssuerOfPatientID", "OtherPatientIDs", "OtherPatientNames"),
        *("OtherPatientIDsSequence", "PatientBirthName", "PatientMotherBirthName"),
        *("PatientAddress", "PatientTelephoneNumbers", "MilitaryRank", "MedicalRecordLocator"),
    ),
    "birth date": ("PatientBirthDate", "PatientBirthTime"),
    "sex, age, size and weight": ("PatientSex", "PatientAge", "PatientSize", "PatientWeight"),
    "accession number and study ID": ("AccessionNumber", "StudyID"),
    "institution and station": (
        *("InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName"),
        *("InstitutionCodeSequence", "StationName"),
    ),
    "scanner": (
        *("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions"),
        "DeviceUID",
    ),
    "descriptions": (
        *("StudyDescription", "SeriesDescription", "ProtocolName", "RequestedProcedureDescription"),
        *("PerformedProcedureStepDescription", "SequenceName"),
    ),
    "study UID (replaced)": ("StudyInstanceUID",),
}
_BY_VR = {
    "names of physicians and operators": ("PN",),
    "dates and times": ("DA", "TM", "DT"),
    "comments and other free text": ("LT", "ST", "UT"),
}
_OTHER_WORDS = "further attributes that the result does not need"


def code_item(code: Code) -> Dataset:
    """An item of a code sequence (PS3.3 Table 8.8-1)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code[:3]
    return item


def copied(source: Dataset, keyword: str) -> DataElement | None:
    """One attribute of the source with a value that the standard allows for it, or None."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # pydicom warns of values that break the standard
        try:
            element = source[keyword]
            return DataElement(element.tag, element.VR, element.value) if element.value else None
        except Exception:  # absent, or damaged in one of the many ways that pydicom tells apart
            return None


def patient_and_study(source: Dataset, *, keep_identity: bool) -> Dataset:
    """Patient and study of a derived object: the source's own, or anonymous.

    Args:
        source: attributes of a source object.
        keep_identity: copy them, so that an archive files the result with its source. Otherwise
            they follow the basic profile of PS3.15 Table E.1-1, with the UIDs of the source images
            and of the frame of reference retained (option 113110): without them the result would
            neither overlay its source nor name it. Results of one study share a new study UID.
    """
    result = Dataset()
    for keyword in _TYPE_2:
        setattr(result, keyword, "")
    study = str(source.get("StudyInstanceUID") or "")
    if keep_identity:
        for keyword in _LOCAL:
            if (element := copied(source, keyword)) is not None:
                result.add(element)
        if not result.get("StudyInstanceUID"):
            result.StudyInstanceUID = generate_uid()
        result.PatientIdentityRemoved = "NO"
        return result
    result.PatientName = result.PatientID = ANONYMOUS
    result.StudyInstanceUID = generate_uid(entropy_srcs=[study, ANONYMOUS] if study else None)
    result.PatientIdentityRemoved = "YES"
    result.DeidentificationMethod = [
        "New object from few attributes; PS3.15 basic profile",
        "Kept: UIDs of source images and frame of reference",
    ]
    result.DeidentificationMethodCodeSequence = [
        code_item(codes.DCM.BasicApplicationConfidentialityProfile),
        code_item(codes.DCM.RetainUidsOption),
    ]
    result.LongitudinalTemporalInformationModified = "REMOVED"
    return result


def removed(source: Dataset, result: Dataset) -> list[str]:
    """What of the source's attributes is not in the result, in words, most personal first."""
    groups = {keyword: group for group, keywords in _IN_WORDS.items() for keyword in keywords}
    removed_names: dict[str, list[str]] = {}
    for tag in source.keys():  # noqa: SIM118 - iterating a Dataset would parse every element
        keyword = keyword_for_tag(tag)
        if not source.get_item(tag).value or (keyword and _is_same(source, result, keyword)):
            continue
        vr = dictionary_VR(tag) if keyword else ""
        by_vr = next((group for group, vrs in _BY_VR.items() if vr in vrs), _OTHER_WORDS)
        name = dictionary_description(tag) if keyword else ""
        removed_names.setdefault(groups.get(keyword, by_vr), []).append(name)
    others = len(removed_names.pop(_OTHER_WORDS, ()))
    listed = [
        f"{group}: {', '.join(removed_names[group])}"
        for group in (*_IN_WORDS, *_BY_VR)
        if group in removed_names
    ]
    if others:
        listed.append(f"{others} {_OTHER_WORDS}")
    return [*listed, ONLY_STORED]


def _is_same(source: Dataset, result: Dataset, keyword: str) -> bool:
    element = copied(source, keyword) if keyword in result else None
    return element is not None and element.value == result[keyword].value
