"""Everything about a slice that does not make its contrast, changed at random."""

from __future__ import annotations

import torch

from cyclegan.simulation.augment import (
    RandomStream,
    add_rician_noise,
    blur,
    per_image,
    resample,
    sampling_grid,
)
from cyclegan.trust.checks import SIZE


def augment(images: torch.Tensor, size: int, rng: torch.Generator) -> torch.Tensor:
    """Change place and frame, rim, air, receiver, resolution, noise, window, gamma and sharpness.

    Args:
        images: (B, 1, SIZE, SIZE) in [0, 1].
        size: side of the result in pixels.

    Returns:
        (B, 1, size, size) in [0, 1].
    """
    stream = RandomStream(len(images), rng)
    out = place(images, size, stream)
    out = out * (1 - stream.switch(1 / 12) * rim(size, stream))
    out = out * (stream.factor(0, 0.3) * stream.field(size, 2)).exp()
    out = acquire(out, stream)
    low = stream.switch(0.4) * stream.factor(0, 0.12)
    high = stream.factor(0.68, 1.1)
    out = ((out - low) / (high - low)).clamp(0, 1) ** stream.factor(-0.45, 0.45).exp()
    sigma = stream.uniform(0, 1.1) * size / SIZE
    soft = stream.chance(0.5).bool()
    out[soft] = blur(out[soft], sigma[soft])
    return write_letters(out, stream)


def place(images: torch.Tensor, size: int, stream: RandomStream) -> torch.Tensor:
    """Turn, stretch, mirror and frame anew: (B, 1, S, S) -> (B, 1, size, size).

    A quarter is framed so wide, and off the middle, as a head is found whose air is grey or that
    has letters beside it; a quarter has grey air, which ends where the image ended or does not.
    """
    grey = stream.chance(0.25) * stream.uniform(0, 0.15)
    ends = stream.chance(0.5)
    inner, outer = per_image(grey * ends), per_image(grey * (1 - ends))
    loose = stream.chance(0.25)
    half = stream.uniform(0.8, 1.2) + loose * stream.uniform(0, 0.5)
    centre = (loose * (half - 1).clamp_min(0))[:, None] * stream.uniform(-0.6, 0.6, 2)
    grid = sampling_grid(stream, size, centre, half, rotation=14, stretch=0.1, shift=0.05)
    out = resample(images * (1 - inner) + inner, grid)
    return out * (1 - outer) + outer


def rim(size: int, stream: RandomStream) -> torch.Tensor:
    """What lies outside a random oval, (B, 1, size, size): as if stripped or cropped.

    So that no scalp is no sign of a contrast.
    """
    axis = torch.linspace(-1, 1, size)
    radii = stream.uniform(0.55, 0.8, 2)
    oval = (axis / radii[:, :1]).square()[:, None, :] + (axis / radii[:, 1:]).square()[:, :, None]
    return (oval > 1).float()[:, None]


def acquire(images: torch.Tensor, stream: RandomStream) -> torch.Tensor:
    """Another scan of the same: more noise, fewer lines of k-space, a ghost along them.

    A third is taken with 35 to 100 % of the lines in each direction, mostly with the noise of a low
    field; nothing else is blurred and rings like that. Takes and returns (B, 1, S, S).
    """
    size = images.shape[-1]
    coarse = stream.chance(0.35)
    noise = stream.chance(0.5) * stream.uniform(0, 0.04)
    noise = noise + coarse * stream.chance(0.7) * stream.uniform(0, 0.1)
    ghost = stream.switch(0.08) * stream.factor(0, 0.2)
    shift = int(stream.uniform(0.1, 0.9)[0] * size)
    share = stream.uniform(0.35, 1, 2)
    out = add_rician_noise(images, noise, stream)
    out = (out + ghost * out.roll(shift, 2)).clamp(0, 1)
    some = coarse.bool()
    lines, columns = torch.fft.fftfreq(size).abs() * 2, torch.fft.rfftfreq(size) * 2
    across = (lines <= share[some, :1])[:, None, :, None]
    along = (columns <= share[some, 1:])[:, None, None, :]
    spectrum = torch.fft.rfft2(out[some]) * (across & along)
    out[some] = torch.fft.irfft2(spectrum, s=(size, size)).clamp(0, 1)
    return out


def write_letters(images: torch.Tensor, stream: RandomStream) -> torch.Tensor:
    """A line of what looks like small letters near the edge of a tenth: (B, 1, S, S)."""
    size = images.shape[-1]
    places, written = stream.uniform(0, 1, 4), stream.chance(0.1).bool()
    out = images.clone()
    for index in torch.nonzero(written)[:, 0].tolist():
        across, along, length, grey = places[index].tolist()
        height, width = max(2, size // 40), int(size * (0.1 + 0.3 * length))
        row = int(across * size * 0.12) if across < 0.5 else size - height - int((1 - across) * 20)
        column = int(along * (size - width))
        ink = (torch.rand(height, width, generator=stream.rngs[0]) < 0.5).float() * (0.5 + grey / 2)
        spot = out[index, 0, row : row + height, column : column + width]
        torch.maximum(spot, ink, out=spot)
    return out
