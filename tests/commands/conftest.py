from pathlib import Path

import pytest

from cyclegan.translate import main


@pytest.fixture
def run(export_tiny, tmp_path):
    """A function that runs the command on inputs, into tmp_path/out as a rule."""
    weights = export_tiny(64)

    def call(*inputs: Path, options: tuple[str, ...] = (), out: Path = tmp_path / "out") -> int:
        fixed = ("--to", "T2", "--out", str(out), "--weights", str(weights))
        return main([*map(str, inputs), *fixed, *options])

    return call
