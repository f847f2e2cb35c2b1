"""Equal weights however a step's batch is made up: one process or two, at once or accumulated."""

import pytest
import tiny_training
import torch

from cyclegan.model.checkpoint import load_state

STEPS = 4  # two supervised, two on all kinds; the pool is of three
# Root mean square over the weights; Adam moves each by up to 4e-4 a step. Another order of sums
# showed as 5e-9, in longer runs as 1e-6 (it tips a leaky ReLU, or the sign of an L1 term, here and
# there), a missing sum or another batch as 2e-4.
TOLERANCE = 5e-6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("distributed")


@pytest.fixture(scope="module")
def train(folder):
    """A function that runs the command on a few slices: the networks' weights by name."""
    data = tiny_training.write_slices(folder / "data")
    for name in ("scan0_0", "scan1_1"):  # the same slices once more, as pairs
        for contrast in ("T1", "T2"):
            (folder / "pairs" / contrast).mkdir(parents=True, exist_ok=True)
            file = f"{contrast}/{name}.png"
            (folder / "pairs" / file).write_bytes((data / file).read_bytes())

    def train(name, *arguments, processes=1, sabotage=None, fails=False, run=tiny_training.run):
        before = ["--sabotage", sabotage] if sabotage else []
        fixed = ["--data", data, "--pairs", folder / "pairs", "--out", folder / name]
        fixed += ["--steps", STEPS, "--save-every", 2, "--unpaired", 0.5]
        fixed += ["--lr", 0.01]  # in the first steps it is a hundredth and more of that
        done = run(*before, *fixed, *arguments, processes=processes)
        assert (done.returncode != 0) == fails, done.stderr[-3000:]
        parts = load_state(folder / name / "state.safetensors")["parts"]
        networks = {kind: parts[kind] for kind in ("generators", "ema", "discriminators")}
        return {
            f"{kind}.{c}.{k}": v
            for kind, by_contrast in networks.items()
            for c, state in by_contrast.items()
            for k, v in state.items()
        }

    return train


@pytest.fixture(scope="module")
def one_process(train):
    return train("one", "--batch", 4)


def difference(a, b):
    """Of the networks that differ most: generators, their averages or discriminators."""
    assert a.keys() == b.keys()
    flat = {
        kind: torch.cat([(a[k] - b[k]).flatten() for k in a if k.startswith(kind)])
        for kind in ("generators", "ema", "discriminators")
    }
    return max(values.double().square().mean().sqrt().item() for values in flat.values())


def test_two_processes_equal_one_with_twice_the_batch(train, one_process):
    two = train("two", "--batch", 2, processes=2, run=tiny_training.run_by_torchrun)
    assert difference(one_process, two) < TOLERANCE


def test_accumulated_passes_equal_one_with_a_larger_batch(train, one_process):
    accumulated = train("accumulated", "--batch", 1, "--accumulate", 4)
    assert difference(one_process, accumulated) < TOLERANCE


def test_both_at_once(train, one_process):
    both = train("both", "--batch", 1, "--accumulate", 2, processes=2)
    assert difference(one_process, both) < TOLERANCE


@pytest.mark.parametrize("sabotage", ["no-sum", "same-data"])
def test_the_tolerance_tells_a_wrong_gradient_or_batch(train, one_process, sabotage):
    wrong = train(sabotage, "--batch", 2, processes=2, sabotage=sabotage)
    assert difference(one_process, wrong) > 10 * TOLERANCE


def test_a_killed_run_continues_with_another_number_of_processes(train, one_process):
    often = ["--save-every", 1]
    killed = {
        "sabotage": "kill:cyclegan.report.runlog:write_sample_sheet:2:before",
        "fails": True,
    }
    train("moved", "--batch", 4, *often, **killed)
    train("moved", "--batch", 2, *often, "--resume", processes=2, **killed)
    moved = train("moved", "--batch", 4, "--resume")
    assert difference(one_process, moved) < TOLERANCE
