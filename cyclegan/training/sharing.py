"""How the samples of an optimiser step are shared out, and the random streams that go with them.

Each sample has streams of its own, seeded by the run's seed, the step, the sample's place in the
step's batch and a purpose. Whichever process handles a sample uses the same numbers for it, so the
number of processes and of accumulated passes changes nothing but the order of summation; and a
resumed run needs no random state but the step.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import torch

from cyclegan.training.config import PAIRS, SIMULATED, UNPAIRED

SIMULATED_SHARE = 0.25  # of the places that real and simulated pairs have together


def stream(seed: int, step: int, purpose: str, place: int = 0) -> torch.Generator:
    """A CPU generator of its own for a purpose at a place of a step's batch."""
    entropy = (seed % 2**64, step, zlib.crc32(purpose.encode()), place)
    (state,) = np.random.SeedSequence(entropy).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state))


@dataclass(frozen=True)
class Share:
    """The samples of a step that one forward pass of one process handles.

    Attributes:
        seed, step: of the run.
        places: ascending places in the step's batch.
        total: samples in the step's batch, or in the part of it that this is of.
        start: the first place of that part.
    """

    seed: int
    step: int
    places: tuple[int, ...]
    total: int
    start: int = 0

    @classmethod
    def deal(cls, seed: int, step: int, batch: int, parts: int) -> list[Share]:
        """Deal `batch * parts` places like cards, `batch` to each of `parts` shares.

        Like cards, so that every share has as many as the others of any kind of samples, or one
        more.
        """
        total = batch * parts
        return [cls(seed, step, tuple(range(p, total, parts)), total) for p in range(parts)]

    def __len__(self) -> int:
        return len(self.places)

    @property
    def weight(self) -> float:
        """What a mean over this share counts in the mean over the step's batch."""
        return len(self.places) / max(self.total, 1)

    @property
    def positions(self) -> list[int]:
        """The places, counted from the start of the part."""
        return [place - self.start for place in self.places]

    def part(self, start: int, stop: int) -> Share:
        """What this share has of the places from `start` to `stop` of the step, maybe nothing."""
        places = tuple(p for p in self.places if start <= p < stop)
        return replace(self, places=places, total=max(stop - start, 0), start=start)

    def streams(self, purpose: str) -> list[torch.Generator]:
        """One generator for each sample."""
        return [stream(self.seed, self.step, purpose, place) for place in self.places]


def counts(total: int, kinds: Collection[str], unpaired: float) -> dict[str, int]:
    """How many of a step's `total` samples are of each kind, at least one of each.

    Args:
        unpaired: share of them that are unpaired slices, where there are others.

    Raises:
        ValueError: there are more kinds than samples.
    """
    if total < len(kinds):
        raise ValueError(
            f"a step of {total} cannot hold {', '.join(kinds)} samples: raise --batch or "
            f"--accumulate to {len(kinds)} or more"
        )
    supervised = [kind for kind in (PAIRS, SIMULATED) if kind in kinds]
    apart = total
    if supervised:
        most = total - len(supervised)
        apart = min(max(round(unpaired * total), 1), most) if UNPAIRED in kinds else 0
    left = total - apart
    result = dict.fromkeys(supervised, left)
    if len(supervised) == 2:
        result[SIMULATED] = min(max(round(SIMULATED_SHARE * left), 1), left - 1)
        result[PAIRS] = left - result[SIMULATED]
    return result | ({UNPAIRED: apart} if UNPAIRED in kinds else {})
