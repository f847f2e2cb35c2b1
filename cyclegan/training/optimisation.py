"""Learning rates, gradients of several processes, and the running average of the generators."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from accelerate import Accelerator
from torch import nn

from cyclegan.training.config import TrainConfig

MAX_GRADIENT_NORM = 1.0  # a rare batch must not undo hundreds of steps


def new_optimizer(networks: dict[str, nn.Module]) -> torch.optim.Adam:
    """Adam as in Zhu et al. 2017, for all `networks`; the learning rate is set at every step."""
    parameters = [p for network in networks.values() for p in network.parameters()]
    # fused: one pass over the weights instead of one for each operation
    return torch.optim.Adam(parameters, betas=(0.5, 0.999), fused=True)


def learning_rates(
    config: TrainConfig, warmup: float, progress: float, step: int
) -> tuple[float, float]:
    """Cosine over the warm-up, then constant, then linear to zero over the last half.

    Args:
        config: the run.
        warmup, progress: shares of the run: of simulated pairs alone, and done so far.
        step: optimiser steps done so far.

    Returns:
        Learning rates of generators and discriminators.
    """
    falling = min(1.0, 2 * (1 - progress) / max(1 - warmup, 1e-9))
    generators, discriminators = config.lr * falling, config.lr_discriminator * falling
    if progress < warmup:
        # With an adaptation stage to come, the cosine ends at its learning rate, else at zero.
        floor = config.lr if warmup < 1 else 0.0
        cosine = 0.5 * (1 + math.cos(math.pi * progress / warmup))
        first_steps = min(1.0, (step + 1) / 100)
        generators = (floor + (config.lr_warmup - floor) * cosine) * first_steps
    return max(generators, 0.0), max(discriminators, 0.0)


def optimise(optimizer: torch.optim.Optimizer, accelerator: Accelerator) -> None:
    """Add the gradients of the processes, clip them, step.

    The networks run several times in one backward pass, which DistributedDataParallel does not
    allow without care; adding by hand is as exact, and the same code runs on one process.

    Raises:
        FloatingPointError: a gradient is no finite number; in all processes, or in none. The
            weights are as they were.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    gradients = [p.grad for p in parameters if p.grad is not None]
    if accelerator.num_processes > 1:
        flat = accelerator.reduce(torch.cat([g.flatten() for g in gradients]), "sum")
        parts = flat.split([g.numel() for g in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view(gradient.shape))
    norm = nn.utils.clip_grad_norm_(parameters, MAX_GRADIENT_NORM)
    if not torch.isfinite(norm):
        raise FloatingPointError("the loss or its gradient is no number any more")
    optimizer.step()


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Exponential moving average of the weights; follows fast in the first steps."""
    weight = 1 - min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), weight)


def mean_of(states: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The mean of each tensor over the state dicts of networks of one kind.

    Raises:
        RuntimeError: they are of different kinds or widths.
    """
    if any(state.keys() != states[0].keys() for state in states):
        raise RuntimeError("networks of different kinds have no mean")
    return {name: torch.stack([s[name] for s in states]).mean(0) for name in states[0]}
