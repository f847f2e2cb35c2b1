"""What programs may call, over HTTP and by gradio_client; fields and numbers of its response."""

import base64
import io
import zipfile

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from server_process import Program
from small_scans import assessment, head, nifti, png

from cyclegan.server.api import TranslateResponse

FIELDS = set(TranslateResponse.__annotations__)


def images(response, name="translated"):
    return np.frombuffer(base64.b64decode(response[name]), "<f4").reshape(response["shape"])


@pytest.fixture
def program(served):
    with Program(served.url) as program:
        yield program


def test_it_translates_and_says_everything(program, translator):
    volume = head(slices=3)
    file = program.upload("Doe^Janesmith.nii", nifti(volume, spacing=(4.0, 2.0, 1.0)))
    response, error = program.call(file, "T2")
    assert error == ""
    assert set(response) == FIELDS
    assert response["shape"] == [3, 64, 64]
    assert response["spacing"] == pytest.approx([4, 2, 1])  # slice, row, column
    assert response["directions"] == ["R", "L", "A", "P"]
    assert response["checksum"] == translator.checksum
    assert "not for diagnosis" in response["caveat"]
    assert response["digital_source_type"].endswith("/trainedAlgorithmicMedia")
    assert response["input_check"]["label"] == "T1"
    whole = translator.cycle(np.rint(volume * 4000), to="T2", spacing=(2.0, 1.0))
    for name in ("source", "translated", "reconstructed"):
        np.testing.assert_allclose(images(response, name), getattr(whole, name), atol=1e-3)
    assert len(response["slices"]) == 3
    one = response["slices"][1]
    assert {"cycle_error", "nmi"} <= {each["name"] for each in one["numbers"]}
    assert one["true_error"] is None
    assert "slice 2 of 3" in one["report"]
    assert "Janesmith" not in str(response)


def test_it_gives_the_translation_alone(program, translator):
    response, _ = program.call(program.upload("a.png", png(head())), "T2", None, "translation")
    expected = translator.translate(np.rint(head() * 65535)[None], to="T2")
    np.testing.assert_allclose(images(response), expected, atol=1e-3)
    assert not {"reconstructed", "source", "slices", "uncertainty"} & set(response)


def test_it_measures_against_the_truth(program):
    scan = program.upload("scan.png", png(head()))
    truth = program.upload("Doe^Janesmith.png", png(np.sqrt(head())))
    response, _ = program.call(scan, "T2", truth)
    (only,) = response["slices"]
    assert 0 < only["true_error"]["mae"] < 1
    assert only["true_error_of_another_place"] is False
    assert "True error against the compared image, looks like T1" in only["report"]
    assert "Janesmith" not in str(response)


def test_it_follows_the_style_of_a_reference(program, served, monkeypatch):
    class SeesBrightness:
        def assess(self, image, spacing=None):
            return assessment("T2" if np.mean(image) / np.max(image) > 0.35 else "T1")

    def translate(reference=None):
        files = [program.upload("a.png", png(pixels)) for pixels in (head(), reference)
                 if pixels is not None]  # fmt: skip
        return program.call(files[0], "T2", None, "translation", *files[1:])

    monkeypatch.setattr(served.scans.model, "check", SeesBrightness())
    plain, _ = translate()
    styled, error = translate(np.maximum(np.sqrt(head()), 0.3))
    assert error == ""
    assert np.abs(images(styled) - images(plain)).max() > 0.01
    assert "looks like T1, not like T2" in translate(head())[1]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (("T3",), "must be"),
        (("",), "must be"),
        ((None,), "must be"),
        (("T2", None, "half"), "`parts` must be one of"),
        (("T2", "truth", "translation"), "is compared with `parts`"),
    ],
)
def test_what_it_cannot_do_is_one_sentence(program, values, words):
    values = [program.upload("b.png", png(head())) if v == "truth" else v for v in values]
    assert words in program.call(program.upload("a.png", png(head())), *values)[1]


def test_a_file_serves_one_request_and_holds_one_series(program):
    file = program.upload("a.png", png(head()))
    assert program.call(file, "T2", None, "translation")[1] == ""
    with pytest.raises(httpx.HTTPStatusError) as refused:
        program.call(file, "T2")
    assert "uploads only" in refused.value.response.json()["detail"]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.nii", nifti(head(slices=3)))
        archive.writestr("b.nii", nifti(head(slices=2)))
    _, error = program.call(program.upload("both.zip", buffer.getvalue()), "T2")
    assert "both.zip: it holds 2 images or series (a.nii" in error


def test_a_failure_is_one_sentence_and_spoils_nothing(program, served, monkeypatch, caplog):
    patient = "Doe"

    def broken(*_, **__):
        raise MemoryError(patient)

    with monkeypatch.context() as patch:
        patch.setattr(served.scans.model.translator, "cycle", broken)
        assert "fault of ours" in program.call(program.upload("a.png", png(head())), "T2")[1]
    assert patient not in caplog.text
    assert program.call(program.upload("a.png", png(head())), "T2")[1] == ""


def test_gradio_client_calls_it(served, tmp_path, translator):
    (tmp_path / "scan.png").write_bytes(png(head()))
    client = Client(served.url, verbose=False)
    file = handle_file(str(tmp_path / "scan.png"))
    response = client.predict(file=file, to="T2", parts="translation", api_name="/translate")
    expected = translator.translate(np.rint(head() * 65535)[None], to="T2")
    np.testing.assert_allclose(images(response), expected, atol=1e-3)
    offered = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert list(offered) == ["/translate"]
    described = offered["/translate"]["description"]
    for word in (*FIELDS, "file", "to", "truth", "parts", "reference"):
        assert f"{word}:" in described or f"{word}," in described, word
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(AppError, match=r"notes\.txt: this is not an image"):
        client.predict(handle_file(str(tmp_path / "notes.txt")), "T2", api_name="/translate")
