from pathlib import Path

import pytest

from cyclegan.translate import main


@pytest.fixture
def run(export_tiny, tmp_path):
    """A function that runs the command on inputs, into tmp_path/out."""
    weights = export_tiny(64)

    def call(*inputs: Path, options: tuple[str, ...] = ()) -> int:
        fixed = ("--to", "T2", "--out", str(tmp_path / "out"), "--weights", str(weights))
        return main([*map(str, inputs), *fixed, *options])

    return call
