import re
import time

import pytest
import torch
from benchmarks import model as benchmark
from torch import nn


def test_counts_of_one_convolution():
    convolution = nn.Conv2d(1, 4, 3, padding=1)
    assert benchmark.count_parameters(convolution) == 4 * 9 + 4
    assert benchmark.count_macs(convolution, 16) == 16 * 16 * 4 * 9


def test_median_leaves_out_the_warm_up_and_outliers():
    calls = []

    def slow_at_first():
        calls.append("first")
        time.sleep(0.2 if len(calls) <= 2 * benchmark.WARM_UP else 0.001)

    seconds = benchmark.median_seconds(
        {"first": slow_at_first, "second": lambda: calls.append("second")}, repeats=3
    )
    assert calls == ["first", "second"] * (benchmark.WARM_UP + 3)  # they take turns
    assert 0.001 <= seconds["first"] < 0.2
    assert seconds["second"] < seconds["first"]


def test_command_prints_every_network_and_its_ratios(export_tiny, monkeypatch, capsys):
    monkeypatch.setattr(benchmark, "SIDES", (64, 96))  # those of the command take half a minute
    monkeypatch.setattr(benchmark, "BATCHES", (1, 4))
    weights = export_tiny(size=32, style=2)
    benchmark.main(["--weights", str(weights), "--repeats", "1"])
    printed = capsys.readouterr().out
    assert f"{torch.get_num_threads()} threads, grid 32x32, median of 1" in printed
    assert re.search(r"ResNet-9 +11,365,633 ", printed)  # Zhu et al. 2017, one channel
    for side in benchmark.SIDES:
        rows = printed.split(f"{side}x{side} input")[1].split("\n\n")[0]
        assert re.search(r"ResNet-9, float32 +\d+ ms +\d+ ms +1\.0 times", rows)
        assert re.search(r", float32 +\d+ ms +\d+ ms +[\d.]+ times", rows)
    macs = float(re.search(r"ResNet-9 +11,365,633 +([\d.]+)\n", printed)[1])  # 1e9
    limits = re.findall(
        r"ResNet-9, \w+ +(\d+) +([\d.]+) ms +([\d.]+)\n", printed.split("arithmetic limit")[1]
    )
    assert limits
    for rate, limit, times in limits:  # how far from it a busy machine stays is not a test's to say
        assert float(limit) == pytest.approx(1000 * 2 * macs / float(rate), rel=0.1, abs=0.1)
        assert float(times) > 0
    assert re.search(r"with a style, translate \+ cycle takes [\d.]+ times as long", printed)
    rates = re.search(r"translate \+ cycle, 1/s((?: +[\d.]+)+)", printed)[1].split()
    assert len(rates) == len(benchmark.BATCHES)
    assert re.search(r"import [\d.]+ s, load [\d.]+ s, first result [\d.]+ s", printed)
    assert re.search(r"peak memory: \d{2,} MB for a slice, \d{2,} MB for 48", printed)
    size = (weights / "model.safetensors").stat().st_size
    assert f"model.safetensors: {size / 1e6:.2f} MB" in printed
