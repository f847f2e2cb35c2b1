"""How generators learn to follow a look: one real slice of the wanted contrast as the reference.

What a scanner makes of a contrast, how bright, sharp and fat-suppressed, is not in the source. In a
part of the lessons the wanted slice is shown in a tone of its own, and a reference in the same tone
goes through the look's encoder. The reference has other anatomy or lies elsewhere, so that its code
tells the tone and nothing else; without one, a generator answers what suits the source.
"""

from __future__ import annotations

import torch
from torch import nn

from cyclegan.simulation.augment import Draw, blur, sample, sampling_grid, view


def toned(images: torch.Tensor, draw: Draw) -> torch.Tensor:
    """Another scanner's brightness, contrast and sharpness: gain, gamma and blur.

    Args:
        images: (B, 1, S, S) in [0, 1].
        draw: equal ones give equal tones.
    """
    softer = blur(images, draw.chance(0.5) * draw.uniform(0, 1.0))
    out = softer.clamp(1e-4, 1) ** view(draw.uniform(-0.4, 0.4).exp()) * (images > 0)
    return (out * view(draw.uniform(0.75, 1.05))).clamp(0, 1)


def seen_elsewhere(images: torch.Tensor, draw: Draw) -> torch.Tensor:
    """The slices turned, mirrored, stretched and half covered: a look, not a place.

    Args:
        images: (B, 1, S, S) in [0, 1].
    """
    size = images.shape[-1]
    centre = torch.zeros(draw.batch, 2, device=draw.device)
    half = draw.uniform(0.85, 1.15)
    grid = sampling_grid(draw, size, centre, half, rotation=40, stretch=0.15, shift=0.08)
    moved = sample(images, grid)
    angle = view(draw.uniform(0, 2 * torch.pi))
    ramp = torch.linspace(-1, 1, size, device=images.device)
    side = ramp[:, None] * angle.sin() + ramp[None, :] * angle.cos()
    covered = (side > view(draw.uniform(-0.3, 0.3))) & (view(draw.chance(0.5)) > 0)
    return moved * ~covered


def simulated_look(
    target: torch.Tensor, draw: Draw, looked: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """A lesson in following a look, from simulated slices.

    Args:
        target: (B, 1, S, S) in [0, 1], what is to be answered.
        draw: of B samples.
        looked: (B, 1, 1, 1), 1 for the samples that get a reference, 0 for the others.

    Returns:
        (the targets, those with a reference in a tone of their own; the references, the same seen
        elsewhere, black for the others).
    """
    own = torch.where(looked > 0, toned(target, draw), target)
    # Not another sample's anatomy: a share may hold one alone, and must learn the same from it.
    return own, seen_elsewhere(own, draw) * looked


def code_of(network: nn.Module, reference: torch.Tensor | None) -> torch.Tensor | None:
    """The code of a reference's look.

    Args:
        network: a generator.
        reference: (B, 1, S, S) in [0, 1], or None.

    Returns:
        (B, numbers), zeros, which change nothing, where the reference is black; None without
        references and for generators that know no looks.
    """
    if reference is None or getattr(network, "look_encoder", None) is None:
        return None
    given = (reference.amax((1, 2, 3)) > 0).float()[:, None]
    return network.look_encoder(reference) * given


def soften_codes(state: dict[str, torch.Tensor], gain: float) -> None:
    """Scale, in the state dict of a generator, what its look codes are the tanh of.

    At the bounds of tanh nothing can be learnt: there a code hardly changes with the reference, and
    the mean of several slices' codes is one that no slice has. Below 1 brings codes back to where
    they tell scanners apart; what follows them has to be trained again.
    """
    for name in ("look_encoder.code.weight", "look_encoder.code.bias"):
        if name in state:
            state[name] = state[name] * gain
