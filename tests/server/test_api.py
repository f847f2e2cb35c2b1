"""What programs may call, over HTTP and by gradio_client; fields and numbers of its answer."""

import base64
import socket

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from server_process import Program
from small_scans import head, nifti, png

import app
from cyclegan.server.answers import Answer

FIELDS = set(Answer.__annotations__)


def images(answer, name="translated"):
    return np.frombuffer(base64.b64decode(answer[name]), "<f4").reshape(answer["shape"])


@pytest.fixture
def program(served):
    with Program(served.url) as program:
        yield program


def test_it_translates_and_says_everything(program, translator):
    volume = head(slices=3)
    file = program.upload("Doe^Janesmith.nii", nifti(volume, spacing=(4.0, 2.0, 1.0)))
    answer, sentence = program.call(file, "T2")
    assert sentence == ""
    assert set(answer) == FIELDS
    assert answer["shape"] == [3, 64, 64]
    assert answer["spacing"] == pytest.approx([4, 2, 1])  # slice, row, column
    assert answer["directions"] == ["R", "L", "A", "P"]
    assert answer["checksum"] == translator.checksum
    assert "not for diagnosis" in answer["caveat"]
    assert answer["digital_source_type"].endswith("/trainedAlgorithmicMedia")
    assert answer["input_check"]["label"] == "T1"
    whole = translator.cycle(np.rint(volume * 4000), to="T2", spacing=(2.0, 1.0))
    for name in ("source", "translated", "reconstructed"):
        np.testing.assert_allclose(images(answer, name), getattr(whole, name), atol=1e-3)
    assert len(answer["slices"]) == 3
    one = answer["slices"][1]
    assert {"cycle_error", "cycle_robustness"} <= {each["name"] for each in one["numbers"]}
    assert one["true_error"] is None
    assert "slice 2 of 3" in one["report"]
    assert "Janesmith" not in str(answer)


def test_it_gives_the_translation_alone(program, translator):
    answer, _ = program.call(program.upload("a.png", png(head())), "T2", None, "translation")
    expected = translator.translate(np.rint(head() * 65535)[None], to="T2")
    np.testing.assert_allclose(images(answer), expected, atol=1e-3)
    assert not {"reconstructed", "source", "slices", "uncertainty"} & set(answer)


def test_it_measures_against_the_truth(program):
    files = [program.upload(f"{name}.png", png(each)) for name, each in
             (("scan", head()), ("Doe^Janesmith", np.sqrt(head())))]  # fmt: skip
    answer, _ = program.call(files[0], "T2", files[1])
    (only,) = answer["slices"]
    assert 0 < only["true_error"]["mae"] < 1
    assert only["true_error_of_another_place"] is False
    assert "True error against the real T2" in only["report"]
    assert "Janesmith" not in str(answer)


def test_it_follows_the_style_of_a_reference(program, served, monkeypatch):
    class SeesBrightness:
        def assess(self, image, spacing=None):
            from small_scans import assessment

            return assessment("T2" if np.mean(image) / np.max(image) > 0.35 else "T1")

    monkeypatch.setattr(served.scans.model, "check", SeesBrightness())
    plain, _ = program.call(program.upload("a.png", png(head())), "T2", None, "translation")
    bright = np.maximum(np.sqrt(head()), 0.3)
    files = [program.upload("a.png", png(head())), program.upload("b.png", png(bright))]
    styled, sentence = program.call(files[0], "T2", None, "translation", files[1])
    assert sentence == ""
    assert np.abs(images(styled) - images(plain)).max() > 0.01
    files = [program.upload("a.png", png(head())), program.upload("b.png", png(head()))]
    _, sentence = program.call(files[0], "T2", None, "translation", files[1])
    assert "looks like T1, not like T2" in sentence


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (("T3",), "must be"),
        (("",), "must be"),
        (("t2",), "must be"),
        ((None,), "must be"),
        (("T2", None, "half"), "`parts` must be one of"),
        (("T2", "truth", "translation"), "is compared with `parts`"),
    ],
)
def test_what_it_cannot_do_is_one_sentence(program, values, words):
    to, *rest = values
    rest = [program.upload("b.png", png(head())) if each == "truth" else each for each in rest]
    _, sentence = program.call(program.upload("a.png", png(head())), to, *rest)
    assert words in sentence


def test_a_file_serves_one_request(program):
    file = program.upload("a.png", png(head()))
    assert program.call(file, "T2", None, "translation")[1] == ""
    with pytest.raises(httpx.HTTPStatusError) as refused:
        program.call(file, "T2")
    assert "uploads only" in refused.value.response.json()["detail"]


def test_several_series_in_a_file_are_told(program):
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.nii", nifti(head(slices=3)))
        archive.writestr("b.nii", nifti(head(slices=2)))
    _, sentence = program.call(program.upload("both.zip", buffer.getvalue()), "T2")
    assert "both.zip: it holds 2 images or series (a.nii" in sentence


def test_gradio_client_calls_it(served, tmp_path, translator):
    (tmp_path / "scan.png").write_bytes(png(head()))
    client = Client(served.url, verbose=False)
    file = handle_file(str(tmp_path / "scan.png"))
    answer = client.predict(file=file, to="T2", parts="translation", api_name="/translate")
    expected = translator.translate(np.rint(head() * 65535)[None], to="T2")
    np.testing.assert_allclose(images(answer), expected, atol=1e-3)
    offered = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert list(offered) == ["/translate"]
    described = offered["/translate"]["description"]
    for word in (*FIELDS, "file", "to", "truth", "parts", "reference"):
        assert f"{word}:" in described or f"{word}," in described, word
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(AppError, match=r"notes\.txt: this is not an image"):
        client.predict(handle_file(str(tmp_path / "notes.txt")), "T2", api_name="/translate")


def test_a_small_answer_is_not_held_back(served):
    assert app.listen("127.0.0.1", 0).proto == socket.IPPROTO_TCP
