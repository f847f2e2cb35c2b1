"""The training benchmark: each recipe runs, and the table compares samples."""

import pytest
from benchmarks import training as training_benchmark
from benchmarks.training import PUBLISHED, Speed, as_table, draw_data


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(training_benchmark, "DRAWN", 3)
    monkeypatch.setattr(training_benchmark, "WARM_UP", 1)
    return draw_data(tmp_path / "drawn")


def test_our_recipe_and_the_published_one_are_measured(folder, capsys):
    options = ["--data", str(folder), "--pairs", str(folder)]  # drawn alike, so equal names
    options += ["--size", "32", "--steps", "1", "--precision", "no"]
    assert training_benchmark.main(options) == 0
    rows = [row.strip("| ").split(" | ") for row in capsys.readouterr().out.splitlines()[2:6]]
    assert [row[:3] for row in rows] == [
        ["ours, supervised part", "unet", "4"],
        ["ours, all samples", "unet", "4"],
        [PUBLISHED, "unet", "1"],
        [PUBLISHED, "resnet", "1"],
    ]
    for row in rows:
        assert float(row[3]) > 0
        assert 0 < float(row[6].rstrip("%")) < 100


def test_ratios_compare_samples_not_steps():
    speeds = [Speed("ours", "unet", 4, 1.0, 0.1), Speed(PUBLISHED, "resnet", 1, 0.5, 0.02)]
    ours, reference = as_table(speeds).splitlines()[2:]
    assert ours == "| ours | unet | 4 | 1 | 4 | 8.00 x | 10.0% |"
    assert "| 1.00 x | 2.0% |" in reference
