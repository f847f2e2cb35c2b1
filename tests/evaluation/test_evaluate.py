import importlib.util
import json

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from cyclegan.evaluate import main
from cyclegan.evaluation.metrics import lesion_report, measure_lesions
from cyclegan.evaluation.pairs import PairsError, load_pairs
from cyclegan.evaluation.scores import BASELINES, evaluate, format_tables
from cyclegan.model.checkpoint import file_sha256

SCORES = ("ssim", "psnr", "mae", "full_ssim", "full_psnr")


def anatomy(seed, size=64):
    """A textured disc in two reversed contrasts, uint8, and a lesion, bright in T2."""
    rows, columns = np.indices((size, size)) - size / 2
    texture = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(size, size)), 2)
    head = np.hypot(rows, columns) < 0.4 * size
    t1 = np.where(head, np.clip(120 + 300 * texture, 60, 200), 0)
    lesion = np.hypot(rows - 6, columns + 8) < 4
    t1 = np.where(lesion, 70, t1).round()
    return {"T1": t1, "T2": np.where(head, 255 - t1, 0), "lesion": 255.0 * lesion}


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


@pytest.fixture
def pairs(tmp_path):
    """Three slices of anna and two of ben, anna's with lesion masks."""
    for source, count in {"anna": 3, "ben": 2}.items():
        for i in range(count):
            for folder, pixels in anatomy(seed=10 * len(source) + i).items():
                if folder != "lesion" or source == "anna":
                    write(tmp_path / "pairs" / folder / f"{source}_{i:03d}.png", pixels)
    return tmp_path / "pairs"


@pytest.fixture
def weights(export_tiny):
    """A folder of tiny untrained generators."""
    return export_tiny(size=64)


def negative(image, to):
    """The right answer for `anatomy`, in either direction."""
    return np.where(image > 0, (255.0 - image) / 255, 0)


def test_a_perfect_predictor_scores_one_and_the_copy_does_not(pairs):
    result = evaluate(load_pairs(pairs)[0], {"copy": BASELINES["copy input"], "perfect": negative})
    assert result["sources"] == {"anna": 3, "ben": 2}
    for to in ("T1", "T2"):
        best = result["predictors"]["perfect"][to]["mean"]
        assert best["ssim"] == pytest.approx(1)
        assert best["ssim_interval"] == pytest.approx([1, 1])
        assert result["predictors"]["copy"][to]["mean"]["ssim"] < 0.5
    lesion_table = format_tables(result).split("\n\n")[-1]
    rows = [line.split() for line in lesion_table.splitlines()]
    assert ["perfect", "3", "of", "3", "0", "of", "3", "0", "of", "3", "1.00"] in rows
    lesions = {name: scores["lesions"] for name, scores in result["predictors"].items()}
    in_source = {name: report.pop("in_source") for name, report in lesions.items()}
    assert sum(part["lesions"] for part in lesions["perfect"].pop("by_size").values()) == 3
    spots = {name: scores["spots"]["mean"] for name, scores in result["predictors"].items()}
    assert (
        spots["perfect"]["invented"] == spots["perfect"]["missing"] == 0 < spots["perfect"]["true"]
    )
    assert spots["copy"]["missing"] > 0
    assert in_source["perfect"] == lesions["perfect"]  # the T1 shows them all
    assert in_source["copy"]["inverted"] == 1
    slices = result["predictors"]["perfect"]["T2"]["slices"]
    assert list(slices) == [f"anna_{k:03d}.png" for k in range(3)] + ["ben_000.png", "ben_001.png"]
    assert slices["ben_001.png"]["mae"] == 0
    assert lesions["perfect"] == pytest.approx(
        {"lesions": 3, "kept": 1, "lost": 0, "inverted": 0, "median_ratio": 1}
    )
    assert lesions["copy"]["inverted"] == 1


def test_reversed_intensities_leave_air_black(pairs):
    image = anatomy(seed=1)["T1"].astype(np.uint8)
    reversed_image = BASELINES["reversed intensities"](image, "T2")
    assert reversed_image[0, 0] == 0
    assert reversed_image[32, 32] == pytest.approx(1 - image[32, 32] / 255)


def test_deep_images_reach_the_predictor_in_their_own_depth(pairs):
    t1 = anatomy(seed=5)["T1"]
    Image.fromarray((t1 * 100).astype(np.uint16)).save(pairs / "T1" / "ben_001.png")
    seen = []

    def predictor(image, to):
        seen.append((to, image.dtype.name, int(image.max())))
        return np.zeros(image.shape)

    evaluate(load_pairs(pairs)[0], {"black": predictor})
    assert ("T2", "uint16", 20000) in seen


def test_bad_files_are_listed_and_skipped(pairs):
    (pairs / "T1" / "ben_000.png").write_text("not an image")
    write(pairs / "T1" / "carl_000.png", anatomy(seed=1)["T1"])
    write(pairs / "T1" / "anna_000.png", anatomy(seed=1, size=48)["T1"])
    for contrast in ("T1", "T2"):
        write(pairs / contrast / "dora_000.png", np.zeros((64, 64)))
    loaded, skipped = load_pairs(pairs)
    assert [pair.name for pair in loaded] == ["anna_001.png", "anna_002.png", "ben_001.png"]
    every_second, _ = load_pairs(pairs, every=2)
    assert [pair.name for pair in every_second] == ["anna_002.png", "ben_001.png"]
    assert skipped == [
        "T1/carl_000.png: no file of this name in T2/",
        "anna_000.png: T1 is 48x48 but T2 is 64x64 pixels",
        "T1/ben_000.png: not a readable image; PNG, JPEG or TIFF would work",
        "dora_000.png: nothing but air in either contrast",
    ]


def test_a_folder_of_another_layout_is_refused_with_the_fix(pairs, tmp_path):
    with pytest.raises(PairsError, match=r"nowhere: no folder T1/.*equal file names"):
        load_pairs(tmp_path / "nowhere")
    for file in (pairs / "T2").iterdir():
        file.rename(file.with_name(f"t2_{file.name}"))
    with pytest.raises(PairsError, match=r"T1/anna_000\.png, T2/t2_anna_000\.png"):
        load_pairs(pairs)
    for file in (pairs / "T2").iterdir():
        file.unlink()
    with pytest.raises(PairsError, match="nothing in T2/"):
        load_pairs(pairs)


def test_a_predictor_of_another_size_is_named(pairs):
    with pytest.raises(ValueError, match=r"half, T1 → T2 of anna_000\.png: .*\(32, 32\)"):
        evaluate(load_pairs(pairs)[0], {"half": lambda image, to: image[::2, ::2] / 255})


def test_command_prints_the_table_and_writes_json_and_figure(pairs, weights, tmp_path, capsys):
    out = tmp_path / "new"
    (pairs / "T2" / "ben_001.png").unlink()
    files = ["--json", str(out / "scores.json"), "--figure", str(out / "slices.png")]
    main(["--pairs", str(pairs), "--weights", str(weights), *files])
    printed = capsys.readouterr().out
    assert "ben, n = 1" in printed
    assert "T1/ben_001.png: no file of this name in T2/" in printed
    written = json.loads((out / "scores.json").read_text("utf-8"))
    checksum = file_sha256(weights / "model.safetensors")
    assert written["weights"] == {str(weights): {"version": "test", "sha256": checksum}}
    assert list(written["predictors"]) == [*BASELINES, str(weights)]
    for scores in written["predictors"].values():
        assert f" {scores['T2']['mean']['ssim']:.3f} " in printed
    with Image.open(out / "slices.png") as figure:
        assert np.asarray(figure.convert("L")).std() > 10  # not blank
        assert figure.width > figure.height  # two sources, eight panels each


def test_command_tells_what_is_wrong_in_a_sentence(pairs, weights, tmp_path):
    missing = tmp_path / "missing"
    with pytest.raises(SystemExit, match="missing: no such weights folder"):
        main(["--pairs", str(pairs), "--weights", str(missing)])
    with pytest.raises(SystemExit, match="missing: no folder T1/"):
        main(["--pairs", str(missing), "--weights", str(weights)])


def load_yardstick(folder, name):
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_numbers_agree_with_the_yardstick(shared_data):
    val, yardstick = shared_data("val"), shared_data("../yardstick")
    score, lesions = (load_yardstick(yardstick, name) for name in ("score", "lesions"))

    def smooth_gamma(image, to):  # any predictor: neither trivial nor symmetric
        smooth = ndimage.gaussian_filter(image / 255, 1)
        return smooth**0.5 if to == "T2" else 1 - smooth

    def named_by_arrow(predictor):
        return lambda image, direction: predictor(image, direction[-2:])

    predictors = {**BASELINES, "smooth gamma": smooth_gamma}
    theirs = {"copy input": score.copy, "reversed intensities": score.invert}
    theirs["smooth gamma"] = named_by_arrow(smooth_gamma)
    ours = evaluate(load_pairs(val, every=24)[0], predictors)["predictors"]
    for name, predictor in theirs.items():
        for direction, expected in score.run(val, predictor, every=24).items():
            scores = ours[name][direction[-2:]]
            assert set(scores["sources"]) == set(expected["sources"])
            for key in (*SCORES, "gcc"):
                mine = "gradient_correlation" if key == "gcc" else key
                assert scores["mean"][mine] == pytest.approx(expected["mean"][key], abs=1e-4)
                for source, values in expected["sources"].items():
                    assert scores["sources"][source][mine] == pytest.approx(values[key], abs=1e-4)

    masked = [pair for pair in load_pairs(val)[0] if pair.lesion is not None]
    assert {pair.name for pair in masked} == {path.name for path in (val / "lesion").iterdir()}
    for name, predictor in theirs.items():
        expected = lesions.run(val, predictor)
        report = lesion_report(
            lesion
            for pair in masked
            for lesion in measure_lesions(
                predictors[name](pair.images["T1"], "T2"),
                pair.images["T2"] / 255,
                pair.images["T1"] / 255,
                pair.lesion,
            )
        )
        assert expected["lesions"] > 5
        for mine, yours in ((report, expected), (report["in_source"], expected["in_source"])):
            values = {k: v for k, v in yours.items() if k != "in_source"}
            # The yardstick rounds the median to 0.01.
            assert {k: mine[k] for k in values} == pytest.approx(values, abs=6e-3)
