"""Settings, schedule, averages and steps: numbers worked out by hand."""

from copy import deepcopy

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from cyclegan.model.checkpoint import load_weights
from cyclegan.training.config import PAIRS, SIMULATED, UNPAIRED, TrainConfig, resolved
from cyclegan.training.optimisation import (
    adversary_strength,
    new_optimizer,
    optimise,
    update_average,
)
from cyclegan.training.sharing import counts

ALL = ("unpaired", "pairs", "simulated")


def test_the_learning_rate_of_both_optimisers_rises_stays_and_falls_to_zero(make):
    run = make("unpaired", steps=1000, lr=0.01)
    for step, rate in ((0, 0.01), (49, 0.5), (99, 1), (500, 1), (750, 0.5), (999, 0.002)):
        run.step = step
        run.train_step()
        for optimizer in (run.optimizer_G, run.optimizer_D):
            assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01 * rate)
            assert optimizer.param_groups[0]["betas"] == (0.5, 0.999)


def test_adversaries_come_after_the_supervised_part_and_fade_in():
    for supervised, published, strengths in (
        (0.4, False, {0: 0, 0.4: 0, 0.425: 0.25, 0.45: 0.5, 0.5: 1, 1: 1}),
        (0.0, False, {0: 0, 0.05: 0.5, 1: 1}),  # discriminators start from nothing all the same
        (0.0, True, {0: 1}),
    ):
        config = TrainConfig(supervised=supervised)
        for progress, strength in strengths.items():
            assert adversary_strength(config, published, progress) == pytest.approx(strength)


def test_kinds_and_sizes_follow_the_schedule(make):
    run = make(*ALL, steps=100, batch=4, supervised=0.4, start_size=16)
    for step, kinds, size in (
        (0, {PAIRS, SIMULATED}, 16),
        (25, {PAIRS, SIMULATED}, 32),
        (39, {PAIRS, SIMULATED}, 32),
        (40, {PAIRS, SIMULATED, UNPAIRED}, 32),
    ):
        run.step = step
        (batch,) = run._batches(run.progress)
        present = set(batch.supervised) | ({UNPAIRED} if batch.unpaired is not None else set())
        assert present == kinds
        assert batch.supervised[PAIRS][1]["T2"].source.shape[-1] == size
    assert make("unpaired", out="alone").samples.kinds_at(0) == (UNPAIRED,)


@pytest.mark.parametrize(
    ("total", "expected"),
    [
        (4, {PAIRS: 2, SIMULATED: 1, UNPAIRED: 1}),
        (12, {PAIRS: 7, SIMULATED: 2, UNPAIRED: 3}),
        (3, {PAIRS: 1, SIMULATED: 1, UNPAIRED: 1}),
        (4, {PAIRS: 3, SIMULATED: 1}),
        (4, {SIMULATED: 3, UNPAIRED: 1}),
        (5, {UNPAIRED: 5}),
    ],
)
def test_places_of_a_step_by_kind(total, expected):
    assert counts(total, tuple(expected), 0.25) == expected


def test_alone_the_settings_are_the_published_ones_and_unused_ones_are_zero():
    published = {"weight_gan": 1, "weight_cycle": 10, "weight_identity": 5, "batch": 1, "lr": 2e-4,
                 "discriminator": 64, "weight_structure": 0, "weight_pairs": 0}  # fmt: skip
    config = resolved(TrainConfig(), (UNPAIRED,))
    assert {name: getattr(config, name) for name in published} == published
    assert resolved(TrainConfig(), (PAIRS, UNPAIRED)).weight_simulated == 0
    assert resolved(TrainConfig(weight_gan=0.5), (PAIRS, UNPAIRED)).weight_gan == 0.5


def constant(value):
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, value)
    return network


@pytest.mark.parametrize(("step", "weight"), [(0, 0.9), (1, 1 - 2 / 11), (10_000, 0.1)])
def test_the_moving_average_follows_fast_at_first_and_slowly_then(step, weight):
    average, network = constant(0.0), constant(1.0)
    update_average(average, network, 0.9, step)  # the decay is (1 + step) / (10 + step) at first
    assert average.weight.item() == pytest.approx(weight)
    assert network.weight.item() == 1


def test_what_is_exported_is_averaged_twice_and_never_live(make):
    run = make("simulated", steps=8, save_every=1)

    def fill(networks, value):
        for network in networks.values():
            for p in network.parameters():
                nn.init.constant_(p, value)

    def step():
        fill(run.objective.generators, 77.0)
        fill(run.ema, float(run.step))
        return {}

    run.train_step, run._add_up = step, lambda terms: {"simulated": 0.0}
    weights = load_weights(run.fit())[0]
    # Snapshots after steps 6, 7 and 8, which were filled with 5, 6 and 7; at the end once more 7.
    for network in weights.values():
        assert all((p == 6.25).all() for p in network.parameters())


@pytest.mark.parametrize("resumed", [False, True])
def test_what_is_exported_keeps_a_part_of_the_start(make, resumed):
    run = make("simulated", steps=1)
    start = {c: constant_like(network, 10.0) for c, network in run.ema.items()}
    run.start_from(start, {"version": "0", "sha256": "0"})
    if resumed:
        run.save()
        run = make("simulated", steps=1)
        run.resume()
    run.ema = {c: constant_like(network, 5.0) for c, network in run.ema.items()}
    for network in load_weights(run.export())[0].values():
        assert all((p == 8).all() for p in network.parameters())  # 0.6 of 10, 0.4 of 5


def constant_like(network, value):
    copy = deepcopy(network)
    for p in copy.parameters():
        nn.init.constant_(p, value)
    return copy


def test_the_moving_average_is_of_the_generators(make):
    run = make("simulated", steps=9, ema=0.0)
    run.train_step()
    for c, network in run.objective.generators.items():
        for p, q in zip(network.parameters(), run.ema[c].parameters(), strict=True):
            assert torch.allclose(p, q, atol=1e-6)


def test_a_gradient_is_clipped_and_a_missing_one_is_zero():
    networks = {"T1": constant(1.0), "T2": constant(1.0)}
    optimizer = new_optimizer(networks)
    weight = networks["T1"].weight
    weight.grad = torch.full((1, 1), 100.0)
    optimise(optimizer, Accelerator(cpu=True), 0)
    assert weight.grad.norm() == pytest.approx(1, rel=1e-4)
    assert (before := weight.item()) < 1
    assert networks["T2"].weight.item() == 1
    weight.grad.fill_(float("nan"))
    with pytest.raises(FloatingPointError):
        optimise(optimizer, Accelerator(cpu=True), 0)
    assert weight.item() == before
