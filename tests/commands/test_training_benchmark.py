"""The training benchmark: both recipes run, and the table compares slices."""

import pytest

from cyclegan import training_benchmark
from cyclegan.training_benchmark import Speed, as_table, draw_data, measure


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(training_benchmark, "DRAWN", 3)
    monkeypatch.setattr(training_benchmark, "WARM_UP", 1)
    return draw_data(tmp_path / "drawn")


def test_our_recipe_and_the_reference_are_measured(folder, tmp_path):
    speeds = list(measure([folder], tmp_path, size=32, steps=1, precision="no", workers=0))
    assert [(s.recipe, s.generator) for s in speeds] == [
        ("ours, simulated pairs", "unet"),
        ("ours, real slices", "unet"),
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
