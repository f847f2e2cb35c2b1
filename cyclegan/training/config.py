"""What decides a training run; docs/training.md has the reason for each default."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

UNPAIRED, PAIRS, SIMULATED = "unpaired", "pairs", "simulated"  # kinds of training samples
OPTIONS = {UNPAIRED: "--data", PAIRS: "--pairs", SIMULATED: "--labelmaps"}  # that give them
TRUTH = {PAIRS, SIMULATED}
STYLE_NUMBERS = 12  # in a style code: 0.02 SSIM, and too few to carry a slice


def setting(
    about: str,
    default: Any = None,
    *,
    by_data: tuple[float, float] | None = None,
    needs: tuple[set[str], ...] = (),
) -> Any:
    """A field of `TrainConfig`.

    Args:
        about: what it is, for `train.py --help`.
        default: None where it depends on the data.
        by_data: default with unpaired slices alone, and with pairs or simulated pairs.
        needs: kinds of samples without which it has no effect; of each set one is needed.
    """
    return field(default=default, metadata={"help": about, "by_data": by_data, "needs": needs})


@dataclass
class TrainConfig:
    """Every field is an option of `train.py`, except `generator_options`.

    None stands for what suits the data (`resolved`). With unpaired slices alone that is the
    published setting: Zhu et al. 2017, section 4 and appendix 7.1. Beside the truth of pairs the
    adversary only has to say what scanners look like, and more of it invents texture; the cycle's
    10 is for generators that have nothing else to keep the anatomy; the identity loss holds a U-Net
    at copying and costs a third of the time.
    """

    generator: str = setting(
        "network that translates: a U-Net, or the ResNet of the CycleGAN paper", "unet"
    )
    generator_options: dict[str, Any] = field(default_factory=dict)  # over `network_options`
    # A head fills the grid at about 1 mm a pixel.
    size: int = setting("side in pixels of the square grid that the networks work on", 256)
    # 2.5 times as many steps in the time of this quarter.
    start_size: int = setting("the same for the first quarter of the run, which is faster", 160)
    # A step sees batch x accumulate x processes samples, and gives the same weights however that is
    # made up.
    batch: int | None = setting(
        "samples that go through the networks at once, in each process", by_data=(1, 4)
    )
    accumulate: int = setting("times that this is done before each step, where memory is short", 1)
    steps: int | None = setting(
        "end the run after N steps; the learning rate follows from the length of the run"
    )
    minutes: float | None = setting(
        "end the run after X minutes; with --steps, whichever comes first"
    )
    seed: int = setting("of all random numbers", 0)
    lr: float | None = setting(
        "learning rate of Adam; falls linearly to zero over the last half of the run",
        by_data=(2e-4, 3e-4),
    )
    discriminator: int | None = setting(  # fewer are faster and weaker
        "channels of the first layer of the discriminators", by_data=(64, 64), needs=({UNPAIRED},)
    )
    supervised: float | None = setting(
        "share of the run, at its start, without unpaired slices and discriminators",
        by_data=(0.0, 0.4),
        needs=({UNPAIRED}, TRUTH),
    )
    unpaired: float | None = setting(
        "share of unpaired slices among the samples of a step after that",
        by_data=(1.0, 0.25),
        needs=({UNPAIRED}, TRUTH),
    )
    weight_gan: float | None = setting(
        "weight of the adversarial loss", by_data=(1.0, 0.15), needs=({UNPAIRED},)
    )
    weight_cycle: float | None = setting(
        "weight of the cycle consistency loss", by_data=(10.0, 3.0), needs=({UNPAIRED},)
    )
    weight_identity: float | None = setting(
        "weight of the identity loss", by_data=(5.0, 0.0), needs=({UNPAIRED},)
    )
    weight_structure: float | None = setting(
        "weight of the loss for edges of the source that the translation lacks",
        by_data=(0.0, 1.0),
        needs=({UNPAIRED},),
    )
    weight_pairs: float | None = setting(
        "weight of the supervised loss on real pairs", by_data=(0.0, 12.0), needs=({PAIRS},)
    )
    weight_simulated: float | None = setting(
        "weight of the supervised loss on simulated pairs", by_data=(0.0, 6.0), needs=({SIMULATED},)
    )
    weight_lesions: float | None = setting(
        "weight, within both supervised losses, of the contrast of lesions",
        by_data=(0.0, 2.0),
        needs=(TRUTH,),
    )
    implanted: float | None = setting(
        "share of real pairs that get lesions implanted", by_data=(0.0, 0.4), needs=({PAIRS},)
    )
    ema: float = setting(
        "decay of the generators' moving average, whose mean over the last quarter is saved", 0.999
    )
    log_every: int = setting("write the losses to the log every N steps", 20)
    save_every: int = setting(
        "every N steps save the state and sample images, and score the run with --val", 250
    )

    def network_options(self) -> dict[str, Any]:
        """Arguments of the generator, as `networks.GENERATORS` takes them."""
        learnt = {"style": STYLE_NUMBERS, "error": True} if self.generator == "unet" else {}
        return learnt | self.generator_options


# Those that `train.py` has an option for.
SETTINGS = {f.name: f for f in dataclasses.fields(TrainConfig) if f.name != "generator_options"}


def option(name: str) -> str:
    """A field as an option of the command line."""
    return f"--{name.replace('_', '-')}"


def resolved(config: TrainConfig, kinds: Collection[str]) -> TrainConfig:
    """The settings with every None replaced by what suits the kinds of samples that there are; by
    zero where it has no effect on them, so that what is recorded is what was done.

    Raises:
        ValueError: a setting without effect on these, or one out of its range.
    """
    place, values = 1 if TRUTH & set(kinds) else 0, {}
    for name, of_name in SETTINGS.items():
        is_given, by_data = getattr(config, name) is not None, of_name.metadata["by_data"]
        missing = [need for need in of_name.metadata["needs"] if not need & set(kinds)]
        if missing and is_given:
            sources = " or ".join(OPTIONS[kind] for kind in OPTIONS if kind in missing[0])
            raise ValueError(f"{option(name)}: has no effect without {sources}; leave it out")
        if by_data and not is_given:
            values[name] = 0 if missing else by_data[place]
    if config.weight_gan == 0 and config.discriminator is not None:
        raise ValueError("--discriminator: has no effect with --weight-gan 0; leave it out")
    config = dataclasses.replace(config, **values)
    if config.batch < 1 or config.accumulate < 1:
        raise ValueError("--batch and --accumulate count from 1")
    for name in ("supervised", "unpaired", "implanted", "ema"):
        if not 0 <= getattr(config, name) <= 1:
            raise ValueError(f"{option(name)} {getattr(config, name)}: a share from 0 to 1")
    return config
