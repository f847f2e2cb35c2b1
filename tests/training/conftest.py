"""What tests of training share: tiny data of each kind, and a tiny run on any of them."""

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from stored_slices import dataset_of

from cyclegan.data.paired_slices import PairedSlices
from cyclegan.simulation.phantom import draw_slice
from cyclegan.simulation.simulate import Simulator, simulate_pair
from cyclegan.training.config import TrainConfig
from cyclegan.training.samples import TrainingData
from cyclegan.training.sharing import Share
from cyclegan.training.trainer import Trainer

TINY = {
    "generator_options": {"channels": [8, 16]},
    "size": 32,
    "start_size": 32,
    "batch": 3,
    "save_every": 1000,
    "log_every": 1,
}


@pytest.fixture(scope="module")
def labels():
    """(2, 64, 64): label maps of two drawn heads."""
    return np.stack([draw_slice(s, level=0.55, size=64) for s in range(2)])


@pytest.fixture(scope="module")
def slices(labels):
    """Contrast -> (2, 1, 32, 32) float16: the same two heads, T1 and T2 in register."""
    pairs = [simulate_pair(m, np.random.default_rng(0), clean=True) for m in labels]
    return {
        c: torch.from_numpy(np.stack([getattr(p, c.lower()) for p in pairs]))[:, None, ::2, ::2]
        .half()
        for c in ("T1", "T2")
    }  # fmt: skip


@pytest.fixture(scope="module")
def unpaired(slices):
    return dataset_of(slices, {c: [0, 0] for c in slices}, ["phantom"])


@pytest.fixture(scope="module")
def pairs(slices):
    heads = torch.maximum(*slices.values()) > 0.05
    return PairedSlices(dict(slices), dict.fromkeys(slices, heads), np.zeros(2, int), ["phantom"])


@pytest.fixture(scope="module")
def simulator(labels):
    return Simulator(labels)


@pytest.fixture
def make(tmp_path, unpaired, pairs, simulator):
    """A function that builds a tiny run on the kinds of samples that are named."""
    data = {"unpaired": unpaired, "pairs": pairs, "simulated": simulator}

    def build(*kinds, out="run", more=None, **settings):
        config = TrainConfig(**{**TINY, "steps": 4, **settings})
        parts = {"simulator" if k == "simulated" else k: data[k] for k in kinds} | (more or {})
        data_of_run = TrainingData(**parts)
        return Trainer(config, tmp_path / out, data_of_run, accelerator=Accelerator(cpu=True))

    return build


@pytest.fixture
def batch_of():
    """A function that makes the first batch of a run."""

    def batch(run):
        share, kinds = Share.deal(0, 0, run.samples_per_step, 1)[0], run.samples.kinds
        return run.samples.batch(share, run.config.size, kinds, run.samples.read(share, kinds))

    return batch
