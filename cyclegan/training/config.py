"""What decides a training run: its data and its settings.

docs/training.md has the reason for each default.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from cyclegan import CONTRASTS
from cyclegan.data.dataset import SliceDataset
from cyclegan.data.paired_slices import PairedSlices
from cyclegan.simulation.lesions import LesionBank
from cyclegan.simulation.simulate import Simulator

UNPAIRED, PAIRS, SIMULATED = "unpaired", "pairs", "simulated"  # kinds of training samples
OPTIONS = {UNPAIRED: "--data", PAIRS: "--pairs", SIMULATED: "--labelmaps"}  # that give them
TRUTH = {PAIRS, SIMULATED}
STYLE_NUMBERS = 12  # in a style code: 0.02 SSIM, and too few to carry a slice


@dataclass(frozen=True)
class TrainingData:
    """What there is to train on, None for what there is not.

    Attributes:
        unpaired: real slices.
        pairs: registered real pairs.
        simulator: of simulated pairs.
        bank: real lesions to implant; without, simulated ones.
    """

    unpaired: SliceDataset | None = None
    pairs: PairedSlices | None = None
    simulator: Simulator | None = None
    bank: LesionBank | None = None

    @property
    def kinds(self) -> tuple[str, ...]:
        """As `kinds_of`."""
        return kinds_of(self.unpaired, self.pairs, self.simulator)

    @property
    def sources(self) -> dict[str, list[str]]:
        """Names of the sources by kind, as config.json of the weights records them."""
        return {
            "sources": list(self.unpaired.names) if self.unpaired else [],
            "paired_sources": list(self.pairs.names) if self.pairs else [],
            "simulated_from": [self.simulator.origin] if self.simulator else [],
        }

    def described(self) -> dict[str, str]:
        """What there is of each source, in words; the same data gives the same words."""
        words = {}
        for index, name in enumerate(self.unpaired.names if self.unpaired else []):
            counts = [f"{int((self.unpaired.sources[c] == index).sum())} {c}" for c in CONTRASTS]
            words[f"data source {name}"] = f"{' and '.join(counts)} slices"
        for index, name in enumerate(self.pairs.names if self.pairs else []):
            words[f"pairs {name}"] = f"{int((self.pairs.sources == index).sum())} pairs"
        if self.pairs:
            words["stripped copies of pairs"] = f"of {len(self.pairs.copies)} pairs"
        if self.bank:
            words["real lesions"] = f"{len(self.bank)} to implant"
        if self.simulator:
            words["simulated pairs"] = f"from {len(self.simulator)} label maps"
        return words


def kinds_of(unpaired: object, pairs: object, simulated: object) -> tuple[str, ...]:
    """Which kinds of samples there are: those that are not None.

    Raises:
        ValueError: none.
    """
    present = {PAIRS: pairs, SIMULATED: simulated, UNPAIRED: unpaired}
    kinds = tuple(kind for kind, data in present.items() if data is not None)
    if not kinds:
        raise ValueError("nothing to train on: give --data, --pairs, --labelmaps, or several")
    return kinds


def setting(about: str, default: Any = None) -> Any:
    """A field of `TrainConfig`; `about` is what it is, for `train.py --help`."""
    return field(default=default, metadata={"help": about, "by_data": None, "needs": ()})


def by_data(about: str, alone: float, beside: float, *needs: set[str]) -> Any:
    """A field whose default depends on the data.

    Args:
        about: as of `setting`.
        alone, beside: default with unpaired slices alone, and with pairs or simulated pairs.
        needs: kinds of samples without which it has no effect; of each set one is needed.
    """
    metadata = {"help": about, "by_data": (alone, beside), "needs": needs}
    return field(default=None, metadata=metadata)


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
    batch: int | None = by_data(
        "samples that go through the networks at once, in each process", 1, 4
    )
    accumulate: int = setting("batches for each step of the optimiser, where memory is short", 1)
    steps: int | None = setting(
        "end the run after N steps; the learning rate follows from the length of the run"
    )
    minutes: float | None = setting(
        "end the run after X minutes; with --steps, whichever comes first"
    )
    seed: int = setting("start of all random numbers", 0)
    lr: float | None = by_data(
        "learning rate of Adam; falls linearly to zero over the last half of the run", 2e-4, 3e-4
    )
    discriminator: int | None = by_data(  # fewer are faster and weaker
        "channels of the first layer of the discriminators", 64, 64, {UNPAIRED}
    )
    supervised: float | None = by_data(
        "share of the run, at its start, that uses no unpaired slices and no discriminators",
        0.0, 0.4, {UNPAIRED}, TRUTH,
    )  # fmt: skip
    unpaired: float | None = by_data(
        "share of unpaired slices among the samples of a step, once they are used",
        1.0, 0.25, {UNPAIRED}, TRUTH,
    )  # fmt: skip
    weight_gan: float | None = by_data("weight of the adversarial loss", 1.0, 0.15, {UNPAIRED})
    weight_cycle: float | None = by_data(
        "weight of the cycle consistency loss", 10.0, 3.0, {UNPAIRED}
    )
    weight_identity: float | None = by_data("weight of the identity loss", 5.0, 0.0, {UNPAIRED})
    weight_structure: float | None = by_data(
        "weight of the loss for edges of the source that the translation lacks",
        0.0, 1.0, {UNPAIRED},
    )  # fmt: skip
    weight_pairs: float | None = by_data(
        "weight of the supervised loss on real pairs", 0.0, 12.0, {PAIRS}
    )
    weight_simulated: float | None = by_data(
        "weight of the supervised loss on simulated pairs", 0.0, 6.0, {SIMULATED}
    )
    weight_lesions: float | None = by_data(
        "weight, within both supervised losses, of the contrast of lesions", 0.0, 2.0, TRUTH
    )
    implanted: float | None = by_data(
        "share of real pairs that get lesions implanted", 0.0, 0.4, {PAIRS}
    )
    ema: float = setting(
        "decay of the moving average of the generators; the mean of these averages over the last "
        "quarter of the run is what is saved",
        0.999,
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
        is_given, defaults = getattr(config, name) is not None, of_name.metadata["by_data"]
        missing = [need for need in of_name.metadata["needs"] if not need & set(kinds)]
        if missing and is_given:
            sources = " or ".join(OPTIONS[kind] for kind in OPTIONS if kind in missing[0])
            raise ValueError(f"{option(name)}: has no effect without {sources}; leave it out")
        if defaults and not is_given:
            values[name] = 0 if missing else defaults[place]
    if config.weight_gan == 0 and config.discriminator is not None:
        raise ValueError("--discriminator: has no effect with --weight-gan 0; leave it out")
    config = dataclasses.replace(config, **values)
    if config.batch < 1 or config.accumulate < 1:
        raise ValueError("--batch and --accumulate count from 1")
    for name in ("supervised", "unpaired", "implanted", "ema"):
        if not 0 <= getattr(config, name) <= 1:
            raise ValueError(f"{option(name)} {getattr(config, name)}: a share from 0 to 1")
    return config
