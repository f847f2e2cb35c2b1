"""The training benchmark: both recipes run, and the table compares slices."""

import re

import pytest
from PIL import Image

from cyclegan import training_benchmark
from cyclegan.slices import stripping
from cyclegan.training_benchmark import Speed, as_table, draw_data, measure


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(training_benchmark, "DRAWN", 3)
    monkeypatch.setattr(training_benchmark, "WARM_UP", 1)
    return draw_data(tmp_path / "drawn")


def test_our_recipe_and_the_reference_are_measured(folder, tmp_path):
    how = {"size": 32, "steps": 1, "precision": "no", "workers": 0}
    speeds = list(measure([folder], tmp_path, **how, pairs=[folder]))  # drawn alike, so equal names
    assert [(s.recipe, s.generator) for s in speeds] == [
        ("ours, supervised", "unet"),
        ("ours, all samples", "unet"),
        ("reference", "unet"),
        ("reference", "resnet"),
    ]
    for speed in speeds:
        assert speed.steps_per_second > 0
        assert 0 < speed.data_wait < 1
    assert len(list((tmp_path / "files/T1").glob("*.png"))) == 3


def test_ratios_compare_slices_not_steps():
    speeds = [Speed("ours", "unet", 4, 1.0, 0.1), Speed("reference", "resnet", 1, 0.5, 0.02)]
    ours, reference = as_table(speeds).splitlines()[2:]
    assert ours == "| ours | unet | 4 | 1 | 4 | 8.00 x | 10.0% |"
    assert "| 1.00 x | 2.0% |" in reference


def test_quality_over_time_is_scored_at_marks_of_the_training_clock(
    folder, tmp_path, capsys, monkeypatch
):
    for contrast in ("T1", "T2"):  # what belongs together has one name
        (tmp_path / "pairs" / contrast).mkdir(parents=True)
        for number in range(2):
            image = Image.open(folder / contrast / f"drawn_{number}.png").resize((64, 64))
            image.save(tmp_path / "pairs" / contrast / f"drawn_{number}.png")
    monkeypatch.setattr(stripping, "STEPS", 1)
    options = ["--data", str(folder), "--val", str(tmp_path / "pairs"), "--size", "32"]
    options += ["--marks", "0.0001", "0.0002", "--every", "1"]
    options += ["--workers", "0", "--precision", "no", "--pairs", str(folder)]
    assert training_benchmark.main(["--to-quality", *options]) == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    names = [row.split(" | ")[0] for row in rows[::2]]
    assert names == ["| ours, with pairs", "| ours", "| Zhu et al. 2017, ResNet-9"]
    assert names == [row.split(" | ")[0] for row in rows[1::2]]
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        assert int(first.split(" | ")[2]) >= 1
        assert int(second.split(" | ")[2]) >= int(first.split(" | ")[2])
        assert re.search(r"-?0\.\d{3} / -?0\.\d{3} \| - \|$", second)


def test_quality_needs_data_and_pairs():
    with pytest.raises(SystemExit):
        training_benchmark.main(["--to-quality"])
