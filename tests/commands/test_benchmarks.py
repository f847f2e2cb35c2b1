"""The benchmarks, which are run by hand, still run and print what the documents quote of them."""

import re

import torch
from benchmarks import batch, model, training


def test_each_benchmark_prints_its_table(export_tiny, monkeypatch, capsys):
    weights = str(export_tiny(size=32, style=2))
    monkeypatch.setattr(model, "SIDES", (64,))  # those of the command take half a minute
    monkeypatch.setattr(model, "BATCHES", (1, 2))
    model.main(["--weights", weights, "--repeats", "1"])
    printed = capsys.readouterr().out
    assert f"{torch.get_num_threads()} threads, grid 32x32, median of 1" in printed
    assert re.search(r"ResNet-9 +11,365,633 ", printed)  # Zhu et al. 2017, one channel
    assert re.search(r"ResNet-9, float32 +\d+ ms +\d+ ms +1\.0 times", printed)
    assert re.search(r"with a style, translate \+ cycle takes [\d.]+ times as long", printed)
    assert len(re.search(r"translate \+ cycle, 1/s((?: +[\d.]+)+)", printed)[1].split()) == 2
    assert re.search(r"import [\d.]+ s, load [\d.]+ s, first result [\d.]+ s; peak", printed)

    monkeypatch.setattr(batch, "SIDE", 64)
    quick = ["--volumes", "1", "--slices", "2", "--repeats", "1"]
    assert batch.main(["--weights", weights, *quick]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"\| the command \| [\d.]+ \| [\d.]+ \| \d+ ms \|", printed)

    monkeypatch.setattr(training, "HEADS", 3)
    monkeypatch.setattr(training, "WARM_UP", 1)
    assert training.main(["--size", "32", "--steps", "1", "--precision", "no"]) == 0
    rows = [row.strip("| ").split(" | ") for row in capsys.readouterr().out.splitlines()[2:6]]
    assert [row[:3] for row in rows] == [
        ["ours, supervised part", "unet", "4"],
        ["ours, all samples", "unet", "4"],
        [training.PUBLISHED, "unet", "1"],
        [training.PUBLISHED, "resnet", "1"],
    ]
    ours, resnet = (float(rows[k][2]) * float(rows[k][3]) for k in (0, 3))  # samples, not steps
    assert abs(float(rows[0][5].removesuffix(" x")) / (ours / resnet) - 1) < 0.02
