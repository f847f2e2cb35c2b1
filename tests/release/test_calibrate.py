"""What is said of the model's worth, and that the shipped claims are still true."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from cyclegan import OTHER, Translator
from cyclegan.evaluation.pairs import load_pairs
from cyclegan.release.calibrate import MULTIPLES, lesion_contrast, main, measure_slice, summarise
from cyclegan.trust import evidence
from cyclegan.trust.calibration import BASELINE, MEASURES, NEEDED, Calibration

ROOT = Path(__file__).parents[2]
TOLERANCE = 0.02  # other processors and thread counts round otherwise


def measured(people=("anna", "ben"), count=12, **maps):
    """As `measure_slice` returns it: all numbers rank perfectly but `predicted_error`."""
    slices = []
    for to in OTHER:
        for person in people:
            for ssim in np.linspace(0.5, 0.8, count if person == "anna" else 3 * count):
                numbers = {
                    "cycle_error": 1 - ssim,
                    "predicted_error": ssim,
                    "nmi": 1 + ssim,
                }
                slices.append(
                    {
                        "name": f"{person}_1.png",
                        "subject": person,
                        "to": to,
                        "ssim": float(ssim),
                        "numbers": numbers,
                        "maps": {BASELINE: 0.9, **maps},
                        "within": [0.1 * k for k in range(2, 10)]
                        if person == "anna"
                        else [0.9] * 8,
                    }
                )
    return slices


def record(**maps):
    return {"format": 1, "sha256": "abc"} | summarise(measured(**maps))


def test_a_positive_rank_is_always_the_right_one():
    direction = summarise(measured(simple=0.1))["directions"]["T2"]
    assert direction["ranks"]["cycle_error"] == 1
    assert direction["ranks"]["nmi"] == 1
    assert direction["ranks"]["predicted_error"] == -1
    low, high = direction["expected"]["nmi"]
    assert low == pytest.approx(1.53, abs=0.01)
    assert high == pytest.approx(1.77, abs=0.01)


def test_every_person_counts_the_same():
    slices = measured(simple=0.5)
    for each in slices:
        if each["subject"] == "ben":  # three times as many slices
            each["maps"] = {**each["maps"], "simple": 0.3}
            each["numbers"] = {**each["numbers"], "predicted_error": 0.01}
    direction = summarise(slices)["directions"]["T2"]
    assert direction["maps"]["simple"] == pytest.approx(0.4)
    assert direction["expected"]["predicted_error"][1] > 0.6


def test_nine_pixels_in_ten_lie_within_the_interval():
    interval = summarise(measured(simple=0.5))["directions"]["T2"]["interval"]
    assert interval["multiple"] == pytest.approx(MULTIPLES[-1])
    assert interval["coverage"] == pytest.approx({"anna": 0.9, "ben": 0.9})
    calibration = Calibration(record(**{evidence.PREDICTED_ERROR: 0.6}))
    assert calibration.interval("T2") == pytest.approx(MULTIPLES[-1])
    assert "90% to 90% by source" in calibration.map_words("T2")


@pytest.mark.parametrize(
    ("ranks", "shown"),
    [
        ((0.29, 0.299), None),
        ((0.29, 0.301), evidence.CYCLE_ERROR),  # the first does not reach it
        ((0.39, 0.40), evidence.PREDICTED_ERROR),  # as good, and the first
        ((0.31, 0.40), evidence.CYCLE_ERROR),
    ],
)
def test_a_map_is_shown_only_when_it_ranks_the_true_error(ranks, shown):
    maps = dict(zip((evidence.PREDICTED_ERROR, evidence.CYCLE_ERROR), ranks, strict=True))
    calibration = Calibration(record(**maps))
    assert calibration.map_name("T2") == shown
    words = calibration.map_words("T2")
    assert words.startswith("No uncertainty map" if shown is None else "Bright where")
    assert f"{maps[shown or evidence.CYCLE_ERROR]:.2f}" in words


def test_numbers_come_with_their_range():
    calibration = Calibration(record(simple=0.4))
    numbers = {"cycle_error": 0.35, "nmi": 1.44, "predicted_error": 0.1}
    readings = {each["name"]: each for each in calibration.readings("T2", numbers)}
    assert list(readings) == ["cycle_error", "nmi"]  # the error ranks badly
    assert not readings["cycle_error"]["unusual"]
    assert readings["nmi"]["unusual"]
    text = readings["nmi"]["text"]
    assert text.startswith("typical 1.53")
    assert f"this slice 1.440: {MEASURES['nmi'].warning}" in text
    assert readings["nmi"]["rank"] == 1
    assert not readings["nmi"]["weak"]


def test_a_number_that_tells_little_gives_no_alarm_and_digits_tell_numbers_apart():
    calibration = Calibration(record(simple=0.4))
    ranks = calibration.record["directions"]["T2"]["ranks"]
    ranks["nmi"] = 0.38
    calibration.record["directions"]["T2"]["expected"]["nmi"] = [0.99812, 0.99841]
    (reading,) = calibration.readings("T2", {"nmi": 0.99807})
    assert not reading["unusual"]
    assert reading["text"] == "typical 0.99812 to 0.99841, this slice 0.99807"
    assert reading["worth"] == "on validation this number told little about the error"
    ranks["nmi"] = 0.9
    (reading,) = calibration.readings("T2", {"nmi": 0.99807})
    assert reading["unusual"]
    # The ranges are of people; a drawn head is none.
    (reading,) = calibration.readings("T2", {"nmi": 0.5}, is_simulated=True)
    assert not reading["unusual"]
    assert reading["expected"] is None
    assert "simulated" in reading["worth"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "is missing"),
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"format": 1, "sha256": "another"}', "is of another model"),
    ],
)
def test_without_a_fitting_file_there_are_numbers_without_ranges(tmp_path, content, words):
    if content is not None:
        (tmp_path / "trust.json").write_text(content)
    calibration = Calibration.from_pretrained(tmp_path, "abc")
    assert words in calibration.missing
    assert "cyclegan.release.calibrate" in calibration.missing
    (reading,) = calibration.readings("T2", {"cycle_error": 0.1})
    assert reading["text"] == "0.100"
    assert reading["expected"] is None
    assert calibration.map_name("T2") is None
    assert calibration.missing in calibration.map_words("T2")


def test_the_command_measures_pairs_and_writes_the_file(tmp_path, export_tiny, capsys):
    weights, pairs = export_tiny(64), tmp_path / "pairs"
    names = [f"anna_{n}" for n in range(3)] + ["ben_0", "sim1_0"]
    for seed, name in enumerate(names):
        texture = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(64, 64)), 2)
        rows, columns = np.indices((64, 64)) - 32
        head = np.hypot(rows, columns) < 26
        for contrast, image in (("T1", 120 + 300 * texture), ("T2", 130 - 300 * texture)):
            (pairs / contrast).mkdir(parents=True, exist_ok=True)
            pixels = np.where(head, np.clip(image, 40, 220), 0).astype(np.uint8)
            if name == "anna_0":
                pixels[np.hypot(rows, columns) < 5] = 60 if contrast == "T1" else 230
            Image.fromarray(pixels).save(pairs / contrast / f"{name}.png")
    (pairs / "lesion").mkdir()
    lesion = np.hypot(rows, columns) < 5
    Image.fromarray(255 * lesion.astype(np.uint8)).save(pairs / "lesion" / "anna_0.png")
    main(["--pairs", str(pairs), "--weights", str(weights)])
    assert "ranks pixels" in capsys.readouterr().out
    held = json.loads((weights / "trust.json").read_text("utf-8"))
    assert held["subjects"] == ["anna", "ben"]  # simulated pairs say nothing of people
    assert held["slices"] == 4
    assert len(held["measured"]) == 8
    calibration = Calibration.from_pretrained(weights, held["sha256"])
    assert calibration.missing == ""
    assert calibration.lesion_contrast("T1") == pytest.approx((120 - 60) / 255, abs=0.1)
    assert calibration.lesion_contrast("T2") == pytest.approx((230 - 130) / 255, abs=0.1)
    assert held["lesions"]["count"] == 1
    assert calibration.expected("T1", "cycle_error")[0] >= 0
    with pytest.raises(SystemExit, match="no folder T1/"):
        main(["--pairs", str(tmp_path), "--weights", str(weights)])


@pytest.fixture(scope="module")
def shipped():
    path = ROOT / "weights" / "trust.json"
    if not path.is_file():
        pytest.skip("no weights/trust.json")
    return json.loads(path.read_text("utf-8"))


def test_the_shipped_claims_belong_to_the_shipped_model_and_add_up(shipped):
    translator = Translator.from_pretrained(ROOT / "weights")
    assert shipped["sha256"] == translator.checksum, "run release.calibrate again"
    summary = summarise(shipped["measured"])
    assert {name: shipped[name] for name in summary} == summary
    for direction in shipped["directions"].values():
        assert direction["map"] is None or direction["maps"][direction["map"]] >= NEEDED


def test_the_shipped_claims_are_still_true(shipped, shared_data):
    translator = Translator.from_pretrained(ROOT / "weights")
    pairs = {pair.name: pair for pair in load_pairs(shared_data("val"))[0]}
    assert {each["name"] for each in shipped["measured"]} <= set(pairs)
    lesions = lesion_contrast(pairs[name] for name in {m["name"] for m in shipped["measured"]})
    assert lesions == pytest.approx(shipped["lesions"], abs=0.001)
    for claim in shipped["measured"][:: len(shipped["measured"]) // 5]:
        again = measure_slice(translator, pairs[claim["name"]], claim["to"])
        assert again["ssim"] == pytest.approx(claim["ssim"], abs=TOLERANCE)
        assert again["numbers"] == pytest.approx(claim["numbers"], abs=TOLERANCE)
        assert again["maps"] == pytest.approx(claim["maps"], abs=TOLERANCE)
