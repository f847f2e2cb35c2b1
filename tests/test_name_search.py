"""The search for names finds them wherever a file can hide them; else its silence says nothing."""

import base64
import gzip
import io
import json
import zipfile
import zlib
from urllib.parse import quote

import pytest
from names import BESIDE, NAMES, SOURCE, dicom_files, found_names, nifti_file, png_files

from cyclegan.reading.dicom.header import names_patient
from cyclegan.reading.volume import quoted, without_quoted


def in_zip(data, name="a"):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return buffer.getvalue()


HIDDEN = {
    "text": SOURCE,
    "in another case": SOURCE.upper(),
    "Latin-1": SOURCE.encode("latin-1"),
    "UTF-16": SOURCE.encode("utf-16"),
    "percent": quote(SOURCE),
    "percent of Latin-1": quote(SOURCE, encoding="latin-1"),
    "JSON": json.dumps({"name": SOURCE}),
    **{f"base64 after {n}": base64.b64encode(b"." * n + SOURCE.encode()) for n in range(3)},
    "zlib in the middle": b"AAAA" + zlib.compress(f"..{SOURCE}..".encode()),
    "zip": in_zip(SOURCE.encode()),
    "name in a zip": in_zip(b"", f"{SOURCE}.txt"),
    "gzip in zip in zip": in_zip(in_zip(gzip.compress(SOURCE.encode()))),
}


@pytest.mark.parametrize("how", HIDDEN)
def test_a_hidden_name_is_found(how):
    found = " ".join(found_names(HIDDEN[how]))
    assert all(part in found for part in SOURCE.split("_")), found


def test_what_is_sent_in_the_other_tests_is_full_of_names():
    files = [nifti_file(SOURCE, "T1"), nifti_file(BESIDE, "T2")]
    files += [*png_files(SOURCE, "T1").values(), *dicom_files(BESIDE, "T2").values()]
    for data in files:
        assert len({found.partition(" ")[0] for found in found_names(data)}) == 2
    assert found_names(b"nobody's", in_zip(b"nothing")) == []
    assert len(NAMES) == 4


def test_a_quotation_can_be_left_out_whatever_is_in_it():
    for text in (SOURCE, f'a"{SOURCE}"b', f"a\n{SOURCE}", SOURCE * 99):
        note = f"2 files left out: {quoted(text)}, {quoted('b')}; the rest is shown."
        assert without_quoted(note) == "2 files left out: …, …; the rest is shown."
        assert "\n" not in note


@pytest.mark.parametrize(
    ("text", "is_named"),
    [
        ("QUXIBERG", True),
        ("t1 für Zoltána", True),
        ("MRN-4711", True),
        ("t1_mprage", False),
        ("", False),
    ],
)
def test_a_description_that_names_the_patient_is_known(text, is_named):
    header = {"PatientName": SOURCE.replace("_", "^"), "PatientID": "MRN-4711/1 x"}
    assert names_patient(header, text) == is_named
    assert not names_patient({}, text)
