"""What tests of training share."""

import numpy as np
import pytest

from cyclegan.simulation.phantom import draw_slice


@pytest.fixture(scope="module")
def labels():
    """(2, 64, 64): label maps of two drawn heads."""
    return np.stack([draw_slice(s, level=0.55, size=64) for s in range(2)])
