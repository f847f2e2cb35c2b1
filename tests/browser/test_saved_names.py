"""No patient's name is in anything that the page saves, copies or answers to programs.

The names are those of files and of what their headers say; the user's own browser may show them.
"""

from __future__ import annotations

import io
import json
import zipfile

import pytest
from gradio_client import Client, handle_file
from names import BESIDE, SOURCE, dicom_files, found_names, nifti_file, png_files
from server_process import Tab

SAVED = {
    "NIfTI": (
        {f"{SOURCE}.nii.gz": nifti_file(SOURCE, "T1")},
        {f"{BESIDE}.nii.gz": nifti_file(BESIDE, "T2")},
    ),
    "pictures": (png_files(SOURCE, "T1"), {}),
    "DICOM": (dicom_files(SOURCE, "T1"), dicom_files(BESIDE, "T2")),
}


def in_zip(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", SAVED)
def test_nothing_that_the_page_saves_names_the_patient(url, kind):
    files, real = SAVED[kind]
    headers = []
    with Tab(url) as tab:
        tab.http.event_hooks["response"] = [lambda got: headers.extend(got.headers.values())]
        tab.open(*files.items())
        tab.translated()
        if real:
            tab.give("real", f"{BESIDE}.zip", in_zip(real))
            assert found_names(json.dumps(tab.state["real"]))  # its own user sees the name
        report = tab.measurements(tab.state["slices"] // 2)["report"]
        saved = {}
        for each in ("png", "nifti", *(["dicom"] if kind == "DICOM" else []), "everything"):
            data = tab.save(each)
            saved[tab.state["save"]["name"]] = data
    assert "Synthetic T2 from T1" in report
    assert found_names(report, *headers, *saved) == []
    for name, data in saved.items():
        assert found_names(data) == [], name
    everything = zipfile.ZipFile(io.BytesIO(data))
    (texts,) = [everything.read(n).decode() for n in everything.namelist() if "report.txt" in n]
    assert ("True error against the real T2" in texts) == bool(real)
    # What would name files does so where this stands.
    assert ("…" in texts) == (kind != "NIfTI")


def test_nothing_that_the_api_answers_names_the_patient(url, tmp_path):
    (tmp_path / f"{SOURCE}.zip").write_bytes(in_zip(dicom_files(SOURCE, "T1")))
    (tmp_path / f"{BESIDE}.zip").write_bytes(in_zip(dicom_files(BESIDE, "T2")))
    source, beside = (handle_file(str(path)) for path in sorted(tmp_path.iterdir()))
    answer = Client(url, verbose=False).predict(
        file=source, to="T2", truth=beside, reference=beside, api_name="/translate"
    )
    assert answer["shape"][0] == 3
    for text in (json.dumps(answer), json.dumps(answer, ensure_ascii=False)):
        assert found_names(text) == []
    assert any("…" in note for note in answer["notes"])
