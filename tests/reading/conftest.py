"""Pixels that tests of reading share."""

import numpy as np
import pytest


@pytest.fixture
def stored() -> np.ndarray:
    """(40, 48) uint16 of 12 bits, without symmetry."""
    return np.random.default_rng(1).integers(0, 4096, (40, 48), dtype=np.uint16)


@pytest.fixture
def stack() -> np.ndarray:
    """(5, 40, 48) uint16 of 12 bits."""
    return np.random.default_rng(3).integers(0, 4096, (5, 40, 48), dtype=np.uint16)
