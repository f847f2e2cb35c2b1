"""Schedule of a run, gradients of several processes, moving average of the generators."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from torch import nn

from cyclegan.training.config import TrainConfig

MAX_GRADIENT_NORM = 1.0  # a rare batch must not undo hundreds of steps
RISE = 100  # steps until the full learning rate; without, outputs went black within 50
FADE_IN = 0.1  # share of the run in which adversaries come to full weight


def new_optimizer(networks: dict[str, nn.Module]) -> torch.optim.Adam:
    """Adam as in Zhu et al. 2017, for all `networks`; the learning rate is set at every step."""
    parameters = [p for network in networks.values() for p in network.parameters()]
    # fused: one pass over the weights instead of one for each operation
    return torch.optim.Adam(parameters, betas=(0.5, 0.999), fused=True)


def learning_rate(config: TrainConfig, progress: float, step: int) -> float:
    """Of both optimisers: constant, then linear to zero over the last half (Zhu et al. 2017).

    Args:
        config: resolved.
        progress: share of the run done so far.
        step: optimiser steps done so far; the first `RISE` go up to the full rate.
    """
    falling = min(max(2 * (1 - progress), 0.0), 1.0)
    return config.lr * falling * min((step + 1) / RISE, 1.0)


def adversary_strength(config: TrainConfig, published: bool, progress: float) -> float:
    """Share of the adversaries' weight: from nothing to all of it while they learn to judge.

    Zero until `config.supervised` of the run is over, full `FADE_IN` of the run later.

    Args:
        config: resolved.
        published: whether there are unpaired slices alone: full from the start, as in the paper.
        progress: share of the run done so far.
    """
    if published:
        return 1.0
    return min(max((progress - config.supervised) / FADE_IN, 0.0), 1.0)


def optimise(optimizer: torch.optim.Optimizer, accelerator: Accelerator, step: int) -> None:
    """Add the gradients of the processes, clip them, step.

    The networks run several times in one backward pass, which DistributedDataParallel does not
    allow without care; adding by hand is as exact, and the same code runs on one process.

    Args:
        step: of the run, for the error message.

    Raises:
        FloatingPointError: a gradient is no finite number; in all processes, or in none. The
            weights are as they were.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for parameter in parameters:  # a share of a step may have nothing that reaches it
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    gradients = [p.grad for p in parameters]
    if accelerator.num_processes > 1:
        flat = accelerator.reduce(torch.cat([g.flatten() for g in gradients]), "sum")
        parts = flat.split([g.numel() for g in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view(gradient.shape))
    norm = nn.utils.clip_grad_norm_(parameters, MAX_GRADIENT_NORM)
    if not torch.isfinite(norm):
        raise FloatingPointError(
            f"the loss or its gradient is no number any more at step {step}; the last checkpoint "
            "is intact: resume with a lower --lr"
        )
    optimizer.step()


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Exponential moving average of the weights; follows fast in the first steps."""
    weight = 1 - min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), weight)
