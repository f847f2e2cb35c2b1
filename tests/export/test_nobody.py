"""What of a patient is in derived DICOM, attribute by attribute: short values (a sex, an age) are
too short to be searched for in the bytes."""

from __future__ import annotations

import io

import numpy as np
import pydicom
import pytest
from dicom_files import mr_image, saved
from pydicom.datadict import keyword_dict
from pydicom.dataset import Dataset

from cyclegan.export.derived import WHITE, derived_dicom
from cyclegan.export.provenance import Provenance
from cyclegan.reading.read import read_volume

ORIGIN = Provenance("1.2", "ab" * 32, "T1 to T2", "cd" * 32, "0.1.0")
# A value of each kind that is no other's: whatever is copied shows. PS3.15 Table E.1-1 lists more
# than four hundred attributes; these are the patient's, and those that lead to one.
PERSONAL = {
    "PatientName": "Doe^Jane",
    "PatientID": "4711",
    "IssuerOfPatientID": "Ward 7",
    "PatientBirthDate": "19610203",
    "PatientBirthTime": "0405",
    "PatientSex": "F",
    "PatientAge": "057Y",
    "PatientSize": "1.71",
    "PatientWeight": "63.5",
    "EthnicGroup": "X1",
    "Occupation": "baker",
    "SmokingStatus": "YES",
    "PregnancyStatus": 4,
    "AdditionalPatientHistory": "fall",
    "MedicalAlerts": "none",
    "Allergies": "nuts",
    "OtherPatientIDs": "4712",
    "OtherPatientNames": "Roe^Jane",
    "PatientBirthName": "Roe",
    "PatientAddress": "Lane 1",
    "PatientTelephoneNumbers": "555",
    "CountryOfResidence": "NO",
    "PatientReligiousPreference": "R",
    "PatientComments": "asleep",
    "MilitaryRank": "Major",
    "StudyDate": "20190405",
    "SeriesDate": "20190406",
    "AcquisitionDate": "20190407",
    "ContentDate": "20190408",
    "StudyTime": "1011",
    "SeriesTime": "1012",
    "ContentTime": "1013",
    "AcquisitionTime": "1014",
    "InstanceCreationDate": "20190409",
    "StudyID": "S99",
    "AccessionNumber": "A88",
    "StudyDescription": "head",
    "SeriesDescription": "Jane t1",
    "ProtocolName": "Jane",
    "InstitutionName": "Ward",
    "InstitutionAddress": "Lane 2",
    "StationName": "MR3",
    "DeviceSerialNumber": "556",
    "Manufacturer": "Maker",
    "ReferringPhysicianName": "Roe^A",
    "PerformingPhysicianName": "Roe^B",
    "OperatorsName": "Roe^C",
    "RequestingPhysician": "Roe^D",
    "ImageComments": "of Jane",
    "StudyInstanceUID": "1.2.3.4",
    "SeriesInstanceUID": "1.2.3.5",
}
# In the result under the same name, with what this program writes there.
OWN = ("StudyInstanceUID", "SeriesInstanceUID", "SeriesDescription", "Manufacturer")
NOBODY = {"PatientName": "ANONYMOUS", "PatientID": "ANONYMOUS"}
KEPT = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "PatientSize"),
    *("PatientWeight", "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "StudyDescription"),
    *("IssuerOfPatientID", "ReferringPhysicianName", "StudyInstanceUID"),
)


@pytest.fixture
def source(tmp_path) -> tuple[Dataset, Dataset]:
    """A source object, and what is derived of it without and with `keep_identity`."""
    dataset = mr_image(np.random.default_rng(0).integers(0, WHITE, (40, 36)).astype(np.uint16))
    for keyword, value in PERSONAL.items():
        assert keyword in keyword_dict  # a misspelt one would be a Python attribute only
        setattr(dataset, keyword, value)
    volume = read_volume(saved(tmp_path, dataset))
    derived = []
    for keep in (False, True):
        (data,), _ = derived_dicom(
            volume.pixels / WHITE, volume, to="T2", provenance=ORIGIN, keep_identity=keep
        )
        derived.append(pydicom.dcmread(io.BytesIO(data)))
    return dataset, *derived


def test_a_deidentified_result_has_no_value_of_the_patient(source):
    dataset, nobodys, _ = source
    for keyword in PERSONAL:
        value = nobodys.get(keyword)
        assert value != dataset[keyword].value, keyword
        if keyword not in OWN:
            assert value in (None, "", NOBODY.get(keyword)), keyword


def test_a_result_for_local_use_keeps_what_files_it_with_its_source(source):
    dataset, _, local = source
    assert {keyword: local[keyword].value for keyword in KEPT} == {
        keyword: dataset[keyword].value for keyword in KEPT
    }
    for keyword in set(PERSONAL) - set(KEPT):
        assert local.get(keyword) != dataset[keyword].value, keyword
