"""The report says the numbers of the run's folder under the names that they have there."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from known_translator import known_translator
from PIL import Image

from cyclegan.data.inventory import BINS, take_inventory
from cyclegan.evaluation.metrics import slice_scores
from cyclegan.evaluation.pairs import load_pairs, to_unit
from cyclegan.evaluation.scores import evaluate
from cyclegan.report import run_evaluation
from cyclegan.report.publish import model_card
from cyclegan.report.run_report import curves, write_report
from cyclegan.report.runlog import CsvLog, write_sample_sheet
from cyclegan.simulation.phantom import draw_slice
from cyclegan.simulation.simulate import simulate_pair

MODEL = {"T2": 0.71, "T1": 0.42}
COPY = {"T2": 0.30, "T1": 0.55}
REVERSED = {"T2": 0.25, "T1": 0.50}


def scores(ssim: dict[str, float]) -> dict:
    return {
        to: {
            "mean": dict.fromkeys(
                ("ssim", "psnr", "mae", "gradient_correlation", "full_ssim", "full_psnr"), ssim[to]
            )
            | {"ssim_interval": [ssim[to] - 0.1, ssim[to] + 0.1]},
            "sources": {"anna": {"ssim": ssim[to] / 2}},
        }
        for to in ("T2", "T1")
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """The folder of a run whose numbers are all different."""
    out = tmp_path_factory.mktemp("run")
    log = CsvLog(out / "log.csv")
    for step in range(10, 60, 10):
        log.append({"step": step, "minutes": step / 4, "cycle": 1 / step})
    validation = CsvLog(out / "validation.csv")
    for step, share in ((10, 0.5), (50, 1.0)):
        row = {f"{to} ssim": share * MODEL[to] for to in MODEL}
        row |= {f"{to} psnr": 20 * share * MODEL[to] for to in MODEL}
        row |= {f"{to} ssim anna": share * MODEL[to] / 2 for to in MODEL}
        validation.append({"step": step, **row})
    predictors = {"reversed": scores(REVERSED), "copy input": scores(COPY)}
    predictors["this run"] = scores(MODEL)
    shown = {"lesions": 4, "kept": 1.0, "inverted": 0.0}
    lesions = {"lesions": 8, "kept": 0.75, "inverted": 0.125, "in_source": shown}
    predictors["this run"]["lesions"] = lesions
    record = {"pairs": "val", "every": 1, "slices": 3, "sources": {"anna": 3}, "skipped": []}
    record |= {"predictors": predictors, "worst": []}
    (out / "evaluation.json").write_text(json.dumps(record))
    dark, bright = np.zeros(BINS), np.zeros(BINS)
    dark[BINS // 8], bright[BINS * 3 // 4] = 1, 1
    sources = [
        {
            "source": source,
            "contrast": contrast,
            "judged": judged,
            "files": 2,
            "slices": 3,
            "decoded": 2,
            "matrices": {"64 x 64": 2},
            "spacings": {"1 x 1": 2},
            "histogram": list(dark if contrast == "T1" else bright),
        }
        for source, judged in (("mine", False), ("val", True))
        for contrast in ("T1", "T2")
    ]
    (out / "data.json").write_text(json.dumps({"sources": sources}))
    (out / "samples").mkdir()
    for step in range(30):
        Image.new("L", (8, 8), step).save(out / f"samples/{step:06}.png")
    (out / "weights").mkdir()
    training = {"steps": 50, "minutes": 12.5}
    weights = {"generator": "unet", "sha256": "ab" * 32, "training": training}
    (out / "weights/config.json").write_text(json.dumps(weights))
    return out


@pytest.fixture(scope="module")
def report(run) -> str:
    """The report's HTML."""
    return write_report(run).read_text("utf-8")


def charts(report: str) -> list[str]:
    return [unescape(label) for label in re.findall(r'<svg [^>]*aria-label="([^"]*)"', report)]


def text_of(report: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", report)).split())


def test_facts_and_warnings_are_of_their_direction(report):
    text = text_of(report)
    for fact in ("Steps 50", "Minutes 12.5", "SSIM T1 → T2 0.710", "SSIM T2 → T1 0.420"):
        assert fact in text
    assert 'T2 → T1 is no better than "copy input"' in text
    assert text.count("is no better than") == 1  # the best of both baselines, of one direction
    assert "Of 8 lesions, T1 → T2 preserved at least half of the contrast of 75% and" in text
    assert "Of the 4 that the T1 shows, T1 → T2 preserved" in text


def test_the_table_of_a_direction_has_its_scores(report):
    for to, contrast in (("T2", "T1"), ("T1", "T2")):
        (table,) = re.findall(
            rf"<caption>{contrast} → {to}</caption>.*?</table>", report, re.DOTALL
        )
        for name, ssim in (("copy input", COPY), ("this run", MODEL)):
            interval = f"{ssim[to] - 0.1:.3f} to {ssim[to] + 0.1:.3f}"
            assert f"{name} {ssim[to]:.3f} {interval}" in text_of(table)


def test_the_model_card_has_each_direction_s_scores(run):
    card = model_card(run, "user/model")
    heads, _, *rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in card.text.splitlines()
        if line.startswith("|")
    ]
    for name, *cells in rows:
        known = {"this run": MODEL, "copy input": COPY, "reversed": REVERSED}[name]
        for head, cell in zip(heads[1:], cells, strict=True):
            value = known[head[-2:]]
            assert cell == (f"{value:.3f}" if head.startswith("SSIM") else f"{value:.1f} dB")
    for entry in card.data.eval_results:
        assert entry.dataset_config in ("T1-to-T2", "T2-to-T1")
        assert entry.dataset_name.endswith(entry.task_name.removesuffix(" MRI translation"))
        assert entry.metric_value == MODEL[entry.dataset_config[-2:]]


def test_an_inventory_tells_matrix_and_spacing_in_their_order(tmp_path):
    heads = np.stack([draw_slice(k, 0.5, 64)[:, :56] % 251 for k in range(5)]).astype(np.int16)
    for contrast, factor in (("T1", 1), ("T2", 2)):
        (tmp_path / "mine" / contrast).mkdir(parents=True)
        image = nib.Nifti1Image(factor * heads.transpose(2, 1, 0), np.diag([-0.75, -0.5, 3, 1]))
        nib.save(image, tmp_path / "mine" / contrast / "a_1.nii")
    sources = take_inventory([tmp_path / "mine"], None, tmp_path / "run")["sources"]
    assert [source["contrast"] for source in sources] == ["T1", "T2"]
    for source in sources:
        assert (source["slices"], source["files"]) == (5, 1)
        assert source["matrices"] == {"64 x 56": 1}  # rows x columns
        assert source["spacings"] == {"0.50 x 0.75 x 3.00": 1}  # row, column, slice


def test_curves_are_of_their_direction(report):
    labels = charts(report)
    assert "SSIM: T1 → T2 from 0.355 to 0.71; T2 → T1 from 0.21 to 0.42" in labels
    assert "PSNR: T1 → T2 from 7.1 to 14.2; T2 → T1 from 4.2 to 8.4" in labels
    assert "SSIM by source, T1 → T2: anna from 0.177 to 0.355" in labels
    assert "SSIM by source, T2 → T1: anna from 0.105 to 0.21" in labels
    assert "Loss cycle: values from 0.1 to 0.02" in labels


def test_sources_have_their_use_and_their_own_histograms(report):
    rows = [text_of(row) for row in re.findall(r"<tr>.*?</tr>", report, re.DOTALL)]
    uses = {row.split()[0]: row.split()[2] for row in rows if row.split()[1] in ("T1", "T2")}
    assert uses == {"mine": "training", "val": "validation"}
    for source in ("mine", "val"):
        assert f"Intensities of {source}: mean of T1 0.14; mean of T2 0.77" in charts(report)


def test_the_slider_goes_from_the_first_sheet_to_the_last(report):
    steps = [int(step) for step in re.findall(r'data-sheet="(\d+)"', report)]
    assert (steps[0], steps[-1], len(steps)) == (0, 29, 24)
    assert steps == sorted(set(steps))


def test_a_smoothed_curve_ends_where_its_values_end():
    rows = [{"step": step, "loss": np.sin(step / 9)} for step in range(200)]
    svg = curves("x", rows, {"": "loss"}, smooth=True)
    drawn = []
    for path in re.findall(r'<path d="(M [^"]*)"[^>]*style="[^"]*stroke: #3b82d6', svg):
        drawn.append([float(x) for x in re.findall(r"[ML] (\S+)", path)])
    faint, smooth = drawn
    assert smooth[-1] == pytest.approx(faint[-1])
    width = (faint[-1] - faint[0]) / 199
    assert smooth[0] - faint[0] == pytest.approx(3 * width, rel=0.01)  # the mean of four rows


def test_a_sample_sheet_shows_source_translation_and_reconstruction(tmp_path):
    translator = known_translator()
    samples = {c: torch.full((2, 1, 16, 16), v) for c, v in (("T1", 0.2), ("T2", 0.6))}
    write_sample_sheet(tmp_path / "samples/1.png", translator.generators, samples)
    with Image.open(tmp_path / "samples/1.png") as image:
        drawn = np.asarray(image.convert("L")) / 255
    rows = [drawn[2 + 18 * row : 18 + 18 * row, 2:18] for row in range(6)]
    expected = []
    for contrast, to in (("T1", "T2"), ("T2", "T1")):
        made = translator.generators[to](samples[contrast])
        expected += [samples[contrast], made, translator.generators[contrast](made)]
    for row, image in zip(rows, expected, strict=True):
        np.testing.assert_allclose(row, image[0, 0], atol=0.01)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Seven heads as pairs, most of them disturbed, so that no two have one score."""
    root, rng = tmp_path_factory.mktemp("pairs"), np.random.default_rng(0)
    for k in range(7):
        head = simulate_pair(draw_slice(k, 0.5, 64), np.random.default_rng(k), clean=True)
        for contrast, image in (("T1", head.t1), ("T2", head.t2)):
            (root / contrast).mkdir(exist_ok=True)
            noisy = np.clip(image + (image > 0) * rng.normal(0, 0.03 * k, image.shape), 0, 1)
            Image.fromarray((255 * noisy).astype(np.uint8)).save(root / contrast / f"p{k}_0.png")
    return root


def test_the_worst_cases_are_the_worst_and_show_their_truth(pairs, tmp_path, monkeypatch):
    translator = known_translator()
    monkeypatch.setattr(
        run_evaluation.Translator, "from_pretrained", lambda folder: translator, raising=True
    )
    worst = run_evaluation.final_evaluation(pairs, tmp_path)["worst"]
    loaded = {pair.name: pair for pair in load_pairs(pairs)[0]}
    for to, contrast in (("T2", "T1"), ("T1", "T2")):
        ranked = {
            name: slice_scores(
                translator.translate(pair.images[contrast], to),
                *(to_unit(pair.images[c]) for c in (to, contrast)),
            )["ssim"]
            for name, pair in loaded.items()
        }
        cases = [case for case in worst if case["to"] == to]
        assert [case["name"] for case in cases] == sorted(ranked, key=ranked.get)[:3]
        for case in cases:
            assert case["ssim"] == pytest.approx(ranked[case["name"]])
            with Image.open(tmp_path / case["image"]) as image:
                drawn = np.asarray(image)
            pair = loaded[case["name"]]
            source, truth = (to_unit(pair.images[c]) for c in (contrast, to))
            made = translator.translate(pair.images[contrast], to)
            for place, shown in enumerate((source, made, truth)):
                panel = drawn[:, 64 * place : 64 * (place + 1), 0] / 255
                np.testing.assert_allclose(panel, np.clip(shown, 0, 1), atol=0.003)
            error = drawn[:, 192:].astype(int).sum(axis=2)  # magma grows brighter throughout
            ranks = np.argsort(np.argsort(np.abs(made - truth), axis=None))
            assert np.corrcoef(ranks, np.argsort(np.argsort(error, axis=None)))[0, 1] > 0.9


def test_validation_logs_each_direction_under_its_name(pairs):
    translator = known_translator()
    for generator in translator.generators.values():  # its device is told by its weights
        generator.register_parameter("none", torch.nn.Parameter(torch.zeros(1)))
    flat = run_evaluation.make_validation(pairs)(translator.generators, {"size": translator.size})
    judged, _ = load_pairs(pairs, run_evaluation.EVERY)
    result = evaluate(judged, {"it": translator.translate})
    for to in ("T1", "T2"):
        expected = result["predictors"]["it"][to]
        assert flat[f"{to} ssim"] == pytest.approx(expected["mean"]["ssim"])
        assert flat[f"{to} psnr"] == pytest.approx(expected["mean"]["psnr"])
        for source, mean in expected["sources"].items():
            assert flat[f"{to} ssim {source}"] == pytest.approx(mean["ssim"])
    assert flat["T1 ssim"] != pytest.approx(flat["T2 ssim"], abs=0.01)
