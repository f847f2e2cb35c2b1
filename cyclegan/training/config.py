"""What decides a training run, with the reason for each default; docs/training.md has the table."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

UNPAIRED, PAIRS, SIMULATED = "unpaired", "pairs", "simulated"  # kinds of training samples
OPTIONS = {UNPAIRED: "--data", PAIRS: "--pairs", SIMULATED: "--labelmaps"}  # that give them


@dataclass
class TrainConfig:
    """Every field is an option of `train.py`, except `generator_options`.

    None stands for what suits the data: see `DEFAULTS`.
    """

    generator: str = "unet"  # "resnet": that of the paper, for comparison
    generator_options: dict[str, Any] = field(default_factory=dict)  # over `network_options`
    size: int = 256  # grid of the finished model; a head fills it at about 1 mm a pixel
    start_size: int = 160  # of the first quarter of the run: 2.5 times as many steps in its time
    # Samples that one process takes through the networks at once. A step sees batch x accumulate x
    # processes of them, and gives the same weights however that is made up.
    batch: int | None = None
    accumulate: int = 1  # passes before each step, where a larger batch does not fit the memory
    steps: int | None = None  # the run ends at whichever of the two comes first
    minutes: float | None = None
    seed: int = 0
    lr: float | None = None  # Adam, generators; falls linearly to zero over the last half
    discriminator: int | None = None  # channels of its first layer; fewer are faster and weaker
    supervised: float | None = None  # share of the run before unpaired slices and adversaries come
    unpaired: float | None = None  # share of a step's samples from then on
    weight_gan: float | None = None  # of the least-squares GAN loss
    weight_cycle: float | None = None  # of L1 between source and reconstruction
    weight_identity: float | None = None  # of L1 on slices that have the target contrast already
    weight_structure: float | None = None  # of edges of the source that the translation lacks
    weight_pairs: float | None = None  # of what is supervised on registered real pairs
    weight_simulated: float | None = None  # of the same on simulated pairs
    weight_lesions: float | None = None  # within both: contrast of lesions and of spots
    implanted: float | None = None  # share of the real pairs with lesions implanted
    ema: float = 0.999  # decay of the averaged generators, which are what is exported
    log_every: int = 20  # steps
    save_every: int = 250  # steps: state, sample sheet, and with --val scores and report

    def network_options(self) -> dict[str, Any]:
        """Arguments of the generator, as `networks.GENERATORS` takes them."""
        learnt = {"style": STYLE_NUMBERS, "error": True} if self.generator == "unet" else {}
        return learnt | self.generator_options


STYLE_NUMBERS = 12  # in a style code: 0.02 SSIM, and too few to carry a slice

# What suits the data, with unpaired slices alone and with pairs or simulated pairs. Alone it is the
# published setting: Zhu et al. 2017, section 4 and appendix 7.1. Beside the truth of pairs the
# adversary only has to say what scanners look like, and more of it invents texture (0.15); the
# cycle's 10 is for generators that have nothing else to keep the anatomy; the identity loss holds
# a U-Net at copying and costs a third of the time.
DEFAULTS: dict[str, tuple[float, float]] = {
    "batch": (1, 4),
    "lr": (2e-4, 3e-4),
    "discriminator": (64, 64),
    "supervised": (0.0, 0.4),
    "unpaired": (1.0, 0.25),
    "weight_gan": (1.0, 0.15),
    "weight_cycle": (10.0, 3.0),
    "weight_identity": (5.0, 0.0),
    "weight_structure": (0.0, 1.0),
    "weight_pairs": (0.0, 12.0),
    "weight_simulated": (0.0, 6.0),
    "weight_lesions": (0.0, 2.0),
    "implanted": (0.0, 0.4),
}
TRUTH = {PAIRS, SIMULATED}
# Without any sample of these kinds a setting has no effect; two sets: one of each is needed.
NEEDS: dict[str, tuple[set[str], ...]] = {
    "discriminator": ({UNPAIRED},),
    "supervised": ({UNPAIRED}, TRUTH),
    "unpaired": ({UNPAIRED}, TRUTH),
    "weight_gan": ({UNPAIRED},),
    "weight_cycle": ({UNPAIRED},),
    "weight_identity": ({UNPAIRED},),
    "weight_structure": ({UNPAIRED},),
    "weight_pairs": ({PAIRS},),
    "weight_simulated": ({SIMULATED},),
    "weight_lesions": (TRUTH,),
    "implanted": ({PAIRS},),
}


def option(name: str) -> str:
    """A field as an option of the command line."""
    return f"--{name.replace('_', '-')}"


def resolved(config: TrainConfig, kinds: Collection[str]) -> TrainConfig:
    """The settings with every None replaced by what suits the kinds of samples that there are; by
    zero where it has no effect on them, so that what is recorded is what was done.

    Raises:
        ValueError: a setting without effect on these, or one out of its range.
    """
    place = 1 if TRUTH & set(kinds) else 0
    values = {name: default[place] for name, default in DEFAULTS.items()}
    for name, needs in NEEDS.items():
        missing = [need for need in needs if not need & set(kinds)]
        if missing:
            values[name] = 0
            if getattr(config, name) is not None:
                sources = " or ".join(OPTIONS[kind] for kind in OPTIONS if kind in missing[0])
                raise ValueError(f"{option(name)}: has no effect without {sources}; leave it out")
    values = {name: v for name, v in values.items() if getattr(config, name) is None}
    if config.weight_gan == 0 and config.discriminator is not None:
        raise ValueError("--discriminator: has no effect with --weight-gan 0; leave it out")
    config = dataclasses.replace(config, **values)
    if config.batch < 1 or config.accumulate < 1:
        raise ValueError("--batch and --accumulate count from 1")
    for name in ("supervised", "unpaired", "implanted", "ema"):
        if not 0 <= getattr(config, name) <= 1:
            raise ValueError(f"{option(name)} {getattr(config, name)}: a share from 0 to 1")
    return config


def neutral(name: str) -> Any:
    """The value at which a setting changes nothing: for older runs, which did not have it."""
    if name in DEFAULTS:
        return 0.0
    return getattr(TrainConfig(), name)
