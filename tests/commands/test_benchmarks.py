"""The benchmarks, which are run by hand, still run and print what the documents quote of them."""

import re

from benchmarks import batch, model


def test_each_benchmark_prints_its_numbers(export_tiny, monkeypatch, capsys):
    weights = str(export_tiny(size=32))
    monkeypatch.setattr(model, "SIDES", (64,))  # those of the command take half a minute
    model.main(["--weights", weights, "--repeats", "1"])
    printed = capsys.readouterr().out
    assert re.search(r"ResNet-9 +11,365,633 ", printed)  # Zhu et al. 2017, one channel
    assert re.search(r"ResNet-9, float32 +\d+ ms +\d+ ms +1\.0 times", printed)

    monkeypatch.setattr(batch, "SIDE", 64)
    assert batch.main(["--weights", weights, "--volumes", "1", "--slices", "2"]) == 0
    assert re.search(r"^the command: [\d.]+ slices/s$", capsys.readouterr().out, re.MULTILINE)
