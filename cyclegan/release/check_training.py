r"""Train the input check, which tells T1, T2, other contrasts and non-brain pictures apart.

    python -m cyclegan.release.check_training --data DIR [...] --other DIR --pairs DIR \
        --labelmaps DIR --out weights
    python -m cyclegan.release.check_training --out RUN --steps 300   # a trial without data

DIR of --data is laid out as for train.py, that of --pairs too, with registered slices of equal
names; --other holds FLAIR/, T1POST/, NEWBORN_T1/ and NEWBORN_T2/, --labelmaps 16-bit PNG files and
tissues.csv. The subjects of --hold-out, the last two heads of the label maps and some phantom heads
are not trained on; the temperature of the probabilities is fitted to them.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tqdm import tqdm

from cyclegan.model.checkpoint import CHECK, CHECK_WEIGHTS, FORMAT, file_sha256
from cyclegan.model.translator import multiplies_bfloat16
from cyclegan.release.check_augment import augment
from cyclegan.release.check_data import (
    Pool,
    add_inverted,
    add_nothing,
    add_paired,
    add_real,
    add_turned,
)
from cyclegan.release.check_simulated import add_label_maps, add_phantoms
from cyclegan.trust.checks import KINDS, SIZE, CheckNetwork

PHANTOM_SLICES = 5  # of each phantom head
# Assumed among uploaded brain slices. Chosen with an eye on validation: 0.145 flags 0.90 of FLAIR
# and 0.94 of what was taken after contrast agent for 4.0 % false alarms; 0.22 0.97, 0.96 and 5.1 %.
OTHER_SHARE = 0.145
# Beginnings of file names of subjects to fit the temperature to.
HELD_OUT_SUBJECTS = ("openmsmni", "ista", "brats18_p06", "albert_n08", "albert_n09", "albert_n10")
HELD_OUT = "held out"  # source name of simulated subjects whom the network never sees


@dataclass
class CheckConfig:
    """Every field is an option, with the reason for its default."""

    steps: int = 6000  # after 3000, 5 of 23 T1 slices of one subject were called another contrast
    batch: int = 48
    start_size: int = 112  # the first steps run at this size: twice as many in the same time
    start_share: float = 0.6  # share of the run at start_size
    lr: float = 3e-3  # AdamW; rises for a tenth of the run, then falls to zero along a cosine
    weight_decay: float = 0.02
    simulated: int = 320  # slices per contrast and source of label maps
    seed: int = 0


# Share of a batch. Kinds that are easy to tell need fewer examples.
SHARES = {
    "T1": 0.25,
    "T2": 0.19,
    "FLAIR": 0.12,
    "T1POST": 0.14,
    "OTHER": 0.07,
    "NEWBORN": 0.05,
    "TURNED": 0.06,
    "NOTHING": 0.07,
    "OUTSIDE": 0.05,
}
# Some T1 slices of this source were taken after contrast agent and nobody noted which: they may be
# called either without penalty, half of the time.
MIXED_T1 = "openms"


def collect(options: argparse.Namespace, config: CheckConfig) -> tuple[Pool, Pool]:
    """Everything to learn from, and what is held out: (training, held out)."""
    real = Pool()
    add_real(real, options.data, options.other, reading)
    if options.pairs:
        add_paired(real, options.pairs, reading)
    pool, held_out = real.split(options.hold_out)
    few = config.simulated // 5
    seeds = range(1000 + 100 * config.seed, 1100 + 100 * config.seed)
    add_phantoms(pool, seeds[:24], PHANTOM_SLICES, "phantom", config.simulated // 2)
    add_phantoms(held_out, seeds[90:96], PHANTOM_SLICES, HELD_OUT, few)
    if options.labelmaps:
        add_label_maps(
            pool, options.labelmaps, slice(None, -2), "maps", config.simulated, config.seed
        )
        add_label_maps(held_out, options.labelmaps, slice(-2, None), HELD_OUT, few, config.seed + 1)
    for part, count, seed in ((pool, 800, config.seed), (held_out, 160, config.seed + 1)):
        rng = np.random.default_rng(seed)
        add_nothing(part, count, rng)
        add_turned(part, count, rng)
        add_inverted(part, count // 2, rng)
    return pool, held_out


def reading(files: Iterable[Path]) -> Iterable[Path]:
    """The files, with a progress bar in a terminal."""
    return tqdm(files, desc="reading", disable=None)


class Sampler:
    """Samples batches from a pool: a kind by `SHARES`, a source of that kind, one of its slices.

    A source counts with the fourth root of its slices, as in `SliceDataset`: most come from few
    subjects.
    """

    def __init__(self, pool: Pool):
        keys = sorted(pool.images)
        weights = torch.tensor([len(pool.images[k]) ** 0.25 for k in keys], dtype=torch.float64)
        kinds = torch.tensor([list(KINDS).index(kind) for kind, _ in keys])
        totals = torch.zeros(len(KINDS), dtype=torch.float64).index_add_(0, kinds, weights)
        shares = torch.tensor([SHARES[k] for k in KINDS], dtype=torch.float64)
        self.weights = weights * (shares / totals.clamp_min(1e-9))[kinds]
        self.kinds = kinds
        self.stacks = [torch.from_numpy(pool.images[k]) for k in keys]
        self.mixed = torch.tensor(
            [kind == "T1" and source.split("/")[-1] == MIXED_T1 for kind, source in keys]
        )

    def sample(self, batch: int, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 1, SIZE, SIZE) float32 in [0, 1], and (B, len(KINDS)) bool: the allowed answers."""
        keys = torch.multinomial(self.weights, batch, replacement=True, generator=rng)
        images = [
            self.stacks[k][torch.randint(len(self.stacks[k]), (1,), generator=rng)] for k in keys
        ]
        allowed = F.one_hot(self.kinds[keys], len(KINDS)).bool()
        either = self.mixed[keys] & (torch.rand(batch, generator=rng) < 0.5)
        allowed[either, list(KINDS).index("T1POST")] = True
        return torch.stack(images).float() / 255, allowed


def partial_loss(logits: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
    """-log of the probability of all allowed answers together (Cour et al. 2011), mean over B."""
    log = F.log_softmax(logits.float(), 1)
    return -torch.logsumexp(log.masked_fill(~allowed, -1e9), 1).mean()


def fit(
    pool: Pool, config: CheckConfig, say: Callable[[str], None] = lambda line: None
) -> CheckNetwork:
    """Train from scratch; the same seed gives the same network on the same machine."""
    torch.manual_seed(config.seed)
    rng = torch.Generator().manual_seed(config.seed)
    network = CheckNetwork().to(memory_format=torch.channels_last)
    sampler = Sampler(pool)
    optimiser = torch.optim.AdamW(network.parameters(), config.lr, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.lr, config.steps, pct_start=0.1
    )
    network.train()
    running, start = None, time.monotonic()
    for step in range(1, config.steps + 1):
        size = config.start_size if step <= config.start_share * config.steps else SIZE
        images, allowed = sampler.sample(config.batch, rng)
        images = augment(images, size, rng).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=multiplies_bfloat16("cpu")):
            logits = network(images)
        loss = partial_loss(logits, allowed)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        running = loss.item() if running is None else 0.98 * running + 0.02 * loss.item()
        if step % 100 == 0:
            say(f"step {step}  loss {running:.3f}  {time.monotonic() - start:.0f} s")
    return network.eval()


@torch.inference_mode()
def fit_temperature(network: CheckNetwork, held_out: Pool) -> float:
    """Temperature that minimises the negative log likelihood on unseen subjects (Guo et al. 2017).

    Every source counts alike. Slices are seen as they are, without augmentation.
    """
    logits, kinds, weights = [], [], []
    for (kind, _), images in sorted(held_out.images.items()):
        for batch in torch.from_numpy(images).split(64):
            logits.append(network(batch[:, None].float() / 255).double())
        kinds += [list(KINDS).index(kind)] * len(images)
        weights += [1 / len(images)] * len(images)
    logits, kinds = torch.cat(logits), torch.tensor(kinds)
    weight = torch.tensor(weights, dtype=torch.float64)
    candidates = np.geomspace(0.3, 10, 71)
    losses = [
        float((F.cross_entropy(logits / t, kinds, reduction="none") * weight).sum())
        for t in candidates
    ]
    return float(candidates[int(np.argmin(losses))])


def other_odds() -> float:
    """Odds of another contrast against T1 and T2 among uploads, over those in training."""
    trained = sum(SHARES[k] for k in KINDS if KINDS[k] == "other") / (SHARES["T1"] + SHARES["T2"])
    return OTHER_SHARE / (1 - OTHER_SHARE) / trained


def export_check(
    folder: str | Path,
    network: CheckNetwork,
    *,
    temperature: float,
    other_odds: float,
    training: dict[str, Any],
) -> Path:
    """Write `checks.safetensors` (half precision) and `checks.json`, which `from_pretrained` reads.

    Args:
        folder: created when missing.
        temperature, other_odds: see `InputCheck`.
        training: what the network saw, for the record.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # Counters of batches are whole numbers and stay so.
    tensors = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in network.state_dict().items()
    }
    save_file(tensors, folder / CHECK_WEIGHTS, {"format": "pt"})
    config = {
        "format": FORMAT,
        "kinds": list(KINDS),
        "size": SIZE,
        "temperature": round(temperature, 4),
        "other_odds": round(other_odds, 4),
        "sha256": file_sha256(folder / CHECK_WEIGHTS),
        "training": training,
    }
    (folder / CHECK).write_text(json.dumps(config, indent=2) + "\n")
    return folder


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m cyclegan.release.check_training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data", nargs="+", default=[], metavar="DIR", help="folders of T1 and T2 slices"
    )
    parser.add_argument("--other", nargs="+", default=[], metavar="DIR", help="folders of "
                        "other contrasts")  # fmt: skip
    parser.add_argument("--pairs", metavar="DIR", help="registered T1 and T2 slices with the same "
                        "file names")  # fmt: skip
    parser.add_argument("--labelmaps", metavar="DIR", help="label maps to simulate from")
    parser.add_argument(
        "--hold-out",
        nargs="*",
        default=list(HELD_OUT_SUBJECTS),
        metavar="NAME",
        help="subjects not to train on, by how their file names begin (default: "
        f"{' '.join(HELD_OUT_SUBJECTS)})",
    )
    parser.add_argument("--out", required=True, metavar="WEIGHTS", help="weights folder; the "
                        "check is written there")  # fmt: skip
    defaults = CheckConfig()
    for name, value in asdict(defaults).items():
        option = f"--{name.replace('_', '-')}"
        about = f"setting of the training (default: {value})"
        parser.add_argument(option, type=type(value), default=value, metavar="X", help=about)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    config = CheckConfig(**{name: getattr(options, name) for name in asdict(CheckConfig())})
    try:
        pool, held_out = collect(options, config)
    except ValueError as error:
        print(f"check_training: {error}", file=sys.stderr)
        return 1
    network = fit(pool, config, functools.partial(print, flush=True))  # also into a log
    temperature = fit_temperature(network, held_out)
    counts: dict[str, Any] = {
        name: {f"{kind} {source}": len(v) for (kind, source), v in sorted(part.images.items())}
        for name, part in (("slices", pool), ("held_out", held_out))
    }
    folder = export_check(
        options.out,
        network,
        temperature=temperature,
        other_odds=other_odds(),
        training={"config": asdict(config), **counts},
    )
    print(f"temperature {temperature:.2f}; input check written to {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
