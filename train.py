"""Train T1/T2 translation.

    python train.py --labelmaps phantom --out RUN --steps 50           # no data at all
    python train.py --data DIR --out RUN --minutes 60                  # unpaired real slices only
    python train.py --labelmaps DIR --data DIR DIR --val PAIRS --out RUN --minutes 180
    accelerate launch train.py ...                                     # many GPUs or machines

DIR of --data holds two folders of images or volumes: T1/ T2/, trainA/ trainB/, or
Tr1/TrainT1/ Tr2/TrainT2/. With --labelmaps the generators first learn from simulated pairs.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from safetensors.torch import load_model, save_model
from tqdm import tqdm

from cyclegan.checkpoint import load_weights
from cyclegan.config import TrainConfig
from cyclegan.data import SliceDataset
from cyclegan.networks import GENERATORS, UNetGenerator
from cyclegan.phantom import draw_slice
from cyclegan.simulate import Simulator
from cyclegan.stripping import new_masker, train_masker
from cyclegan.tissues import TISSUES, read_label_maps
from cyclegan.trainer import Trainer

PHANTOMS = 120  # label maps drawn for --labelmaps phantom; each takes about 75 ms on one core


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; every field of `TrainConfig` is an option, too."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", nargs="+", default=[], metavar="DIR", help="unpaired real slices")
    parser.add_argument("--labelmaps", metavar="DIR|phantom", help="label maps to simulate from")
    parser.add_argument("--out", required=True, metavar="RUN", help="checkpoints, log and samples")
    parser.add_argument(
        "--val", metavar="PAIRS", help="paired slices to judge by, never trained on"
    )
    parser.add_argument("--init", metavar="WEIGHTS", help="start from these generators")
    parser.add_argument("--resume", action="store_true", help="continue RUN")
    parser.add_argument("--precision", choices=("no", "bf16"), default=None, help="default: bf16 "
                        "where the hardware has it")  # fmt: skip
    for field in dataclasses.fields(TrainConfig):
        if field.name == "generator_options":
            continue
        kind = {"int": int, "float": float, "str": str}.get(str(field.type).split(" |")[0])
        option = {"type": kind, "default": field.default, "metavar": str(field.type).split(" |")[0]}
        if field.name == "generator":
            option = {"choices": sorted(GENERATORS), "default": field.default}
        elif field.type == "bool":
            option = {"action": argparse.BooleanOptionalAction, "default": field.default}
        about = f"default: {field.default}; why: cyclegan/config.py"
        parser.add_argument(f"--{field.name.replace('_', '-')}", help=about, **option)
    options = parser.parse_args(arguments)
    if not options.data and not options.labelmaps:
        parser.error("give --data, --labelmaps, or both")
    if options.steps is None and options.minutes is None:
        parser.error("give --steps or --minutes: how long to train")
    return options


def build(options: argparse.Namespace) -> Trainer:
    """Load the data and make the trainer."""
    names = {f.name for f in dataclasses.fields(TrainConfig)}
    config = TrainConfig(**{k: v for k, v in vars(options).items() if k in names})
    precision = options.precision or ("bf16" if _bfloat16_is_fast() else "no")
    accelerator = Accelerator(mixed_precision=precision, cpu=not torch.cuda.is_available())
    say = accelerator.print

    dataset = None
    if options.data:
        dataset = SliceDataset.load(
            options.data, config.size, lambda files: tqdm(files, desc="reading", leave=False)
        )
        for sentence in dataset.skipped:
            say(f"skipped {sentence}")
        counts = {c: len(s) for c, s in dataset.slices.items()}
        say(f"{counts['T1']} T1 and {counts['T2']} T2 slices from {', '.join(dataset.names)}")
    simulator = None
    if options.labelmaps == "phantom":
        seeds = np.random.default_rng(config.seed).integers(2**31, size=PHANTOMS)
        levels = np.random.default_rng(config.seed + 1).uniform(0, 1, PHANTOMS)
        labels = [draw_slice(int(s), float(v)) for s, v in zip(seeds, levels, strict=True)]
        simulator = Simulator(np.stack(labels), TISSUES, accelerator.device)
    elif options.labelmaps:
        labels, tissues = read_label_maps(options.labelmaps)
        simulator = Simulator(labels, tissues, accelerator.device)
        say(f"{len(simulator)} label maps")
    if dataset and simulator and config.strip_steps:
        masker = _masker(Path(options.out) / "brain_masks.safetensors", simulator, config)
        added = dataset.add_stripped(masker)
        say(f"{len(added)} sources more by skull-stripping: {', '.join(added) or 'none'}")
    validate = _validator(Path(options.val)) if options.val else None
    trainer = Trainer(
        config,
        options.out,
        dataset=dataset,
        simulator=simulator,
        accelerator=accelerator,
        validate=validate,
    )
    if options.init and not options.resume:
        trainer.start_from(load_weights(options.init)[0])
    if options.resume:
        trainer.resume()
        say(f"resumed at step {trainer.step}")
    return trainer


def _masker(path: Path, simulator: Simulator, config: TrainConfig) -> UNetGenerator:
    """The network for brain masks; the one in `path`, so that a resumed run has the same data."""
    if path.is_file():
        masker = new_masker()
        load_model(masker, path)
        return masker.to(simulator.device).eval()
    rng = torch.Generator().manual_seed(config.seed)
    masker = train_masker(simulator, rng, config.strip_steps)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(masker, path)
    return masker


def _validator(pairs: Path):
    """A function that scores generators on paired slices, every third one for speed."""
    from cyclegan.evaluate import evaluate
    from cyclegan.translate import Translator

    def validate(generators: dict, config: dict) -> dict[str, float]:
        translator = Translator(
            generators, {"size": config["size"], "version": "training", "sha256": ""}
        )
        scores = evaluate(pairs, {"model": translator.translate}, every=3)["predictors"]["model"]
        flat = {}
        for to in ("T2", "T1"):
            flat[f"{to} ssim"] = scores[to]["mean"]["ssim"]
            flat[f"{to} psnr"] = scores[to]["mean"]["psnr"]
            flat |= {f"{to} ssim {k}": v["ssim"] for k, v in scores[to]["sources"].items()}
        return flat

    return validate


def _bfloat16_is_fast() -> bool:
    """Whether this device multiplies bfloat16 matrices natively."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def main(arguments: list[str] | None = None) -> int:
    try:
        trainer = build(parse(arguments))
        weights = trainer.fit()
    except (ValueError, FloatingPointError) as error:  # DataError and CheckpointError, too
        print(f"train.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("train.py: stopped; continue with --resume from the last checkpoint", file=sys.stderr)
        return 130
    trainer.accelerator.print(f"weights written to {weights}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
