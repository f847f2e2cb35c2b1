"""What tests of several rooms share."""

from pathlib import Path

import pytest

from cyclegan.checkpoint import export_weights
from cyclegan.networks import UNetGenerator


@pytest.fixture
def export_tiny(tmp_path):
    """A function that writes tiny untrained generators for a grid of `size`: the folder."""

    def export(size: int) -> Path:
        options = {"channels": (8, 16)}
        return export_weights(
            tmp_path / "tiny",
            {to: UNetGenerator(**options) for to in ("T1", "T2")},
            generator="unet",
            generator_options=options,
            size=size,
            version="test",
        )

    return export
