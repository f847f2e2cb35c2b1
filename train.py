"""Train T1/T2 translation.

    python train.py --data D --pairs P --labelmaps L --val V --out RUN --minutes 150
    python train.py --data D --labelmaps L --val V --out RUN --minutes 150   # without pairs
    python train.py --data D --out RUN --minutes 600       # the published CycleGAN
    python train.py --labelmaps phantom --out RUN --steps 50                 # without data
    python train.py ... --init WEIGHTS --supervised 0      # goes on from trained generators
    python train.py ... --track tensorboard --push-to-hub USER/MODEL
    python train.py ... --resume                           # after whatever ended it
    accelerate launch train.py ...                         # many GPUs or machines
    torchrun --nproc-per-node 2 train.py ...               # many processes on CPUs

A step takes up to three kinds of samples, whichever there are: unpaired slices (--data), registered
real pairs (--pairs) and simulated pairs (--labelmaps). docs/training.md has the objective, and each
setting with its reason. A step takes --batch x --accumulate x processes samples, and gives the same
weights however that is made up. Ctrl-C and SIGTERM save the step at hand, and end with code 130 or
143.

RUN/report.html shows the data, the curves, sample sheets and scores; open it while the run goes on.

DIR of --data holds two folders of images or volumes: T1/ T2/, trainA/ trainB/, or
Tr1/TrainT1/ Tr2/TrainT2/. DIR of --pairs holds the same two folders; files of equal names show the
same slices, to a pixel or two.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.tracking import get_available_trackers
from accelerate.utils import broadcast
from safetensors.torch import load_model, save_model
from tqdm import tqdm

from cyclegan.data.dataset import SliceDataset
from cyclegan.data.inventory import take_inventory
from cyclegan.data.paired_slices import PairedSlices
from cyclegan.data.stripping import new_masker, train_masker
from cyclegan.model.checkpoint import load_weights, replace_file
from cyclegan.model.hub import weights_folder
from cyclegan.model.networks import GENERATORS, UNetGenerator
from cyclegan.model.precision import multiplies_bfloat16
from cyclegan.report.publish import model_card, prepare_push, push
from cyclegan.report.run_evaluation import final_evaluation, make_validation
from cyclegan.report.run_report import write_report
from cyclegan.report.runlog import DATA, record_run, write_json
from cyclegan.simulation.lesions import LesionBank
from cyclegan.simulation.phantom import draw_slice
from cyclegan.simulation.simulate import Simulator
from cyclegan.simulation.tissues import TISSUES, read_label_maps
from cyclegan.training.config import DEFAULTS, TrainConfig, option, resolved
from cyclegan.training.interruption import Interrupted
from cyclegan.training.samples import kinds_of
from cyclegan.training.trainer import Trainer
from cyclegan.training.training_state import BESIDE_SETTINGS, STATE

TRACKERS = ("tensorboard", "trackio", "wandb")
PHANTOMS = 120  # label maps drawn for --labelmaps phantom; each takes about 75 ms on one core


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; every field of `TrainConfig` is an option, too."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", nargs="+", default=[], metavar="DIR", help="unpaired real slices")
    parser.add_argument("--pairs", nargs="+", default=[], metavar="DIR", help="real slices in both "
                        "contrasts, by equal names")  # fmt: skip
    parser.add_argument("--labelmaps", metavar="DIR|phantom", help="label maps to simulate from")
    parser.add_argument("--lesions", metavar="FILE", help="real lesions to implant: .npz with t1, "
                        "t2 and flair, (N, planes, P, P)")  # fmt: skip
    parser.add_argument("--out", required=True, metavar="RUN", help="checkpoints, log and samples")
    parser.add_argument(
        "--val", metavar="PAIRS", help="paired slices to judge by, never trained on"
    )
    parser.add_argument("--init", metavar="WEIGHTS", help="start from this folder or Hub model")
    parser.add_argument("--resume", action="store_true", help="continue RUN")
    parser.add_argument("--cache", metavar="DIR", help="decoded slices, which runs may share; "
                        "default: RUN/cache")  # fmt: skip
    parser.add_argument(
        "--allow-change",
        nargs="+",
        default=[],
        metavar="KEY",
        type=lambda key: key.lstrip("-").replace("-", "_"),
        choices=[f.name for f in dataclasses.fields(TrainConfig)] + BESIDE_SETTINGS,
        help="settings, data or precision that --resume may find changed",
    )
    parser.add_argument("--track", choices=TRACKERS, help="log there, too; default: CSV files only")
    parser.add_argument("--push-to-hub", metavar="USER/MODEL", help="upload weights and report")
    parser.add_argument("--license", metavar="ID", help="of the pushed weights; default: other")
    parser.add_argument("--precision", choices=("no", "bf16"), default=None, help="default: bf16 "
                        "where the hardware has it")  # fmt: skip
    for field in dataclasses.fields(TrainConfig):
        if field.name == "generator_options":
            continue
        kind = {"int": int, "float": float, "str": str}[str(field.type).split(" |")[0]]
        default = str(field.default)
        if field.name in DEFAULTS:
            default = "{} with --data alone, else {}".format(*DEFAULTS[field.name])
        more: dict[str, Any] = {"metavar": kind.__name__}
        if field.name == "generator":
            more = {"choices": sorted(GENERATORS)}
        about = f"default: {default}; why: docs/training.md"
        parser.add_argument(
            option(field.name), type=kind, default=field.default, help=about, **more
        )
    options = parser.parse_args(arguments)
    options.command = sys.argv[1:] if arguments is None else arguments  # for the record
    if not options.data and not options.labelmaps and not options.pairs:
        parser.error("give --data, --labelmaps, --pairs, or several of them")
    if options.steps is None and options.minutes is None:
        parser.error("give --steps or --minutes: how long to train")
    kinds = kinds_of(options.data or None, options.pairs or None, options.labelmaps)
    for name, present, needed in (
        ("lesions", options.pairs or (options.data and options.labelmaps), "--pairs, or --data and "
         "--labelmaps"),
        ("cache", options.data or options.pairs, "--data or --pairs"),
        ("license", options.push_to_hub, "--push-to-hub"),
        ("allow_change", options.resume, "--resume"),
    ):  # fmt: skip
        if getattr(options, name) and not present:
            parser.error(f"{option(name)}: has no effect without {needed}; leave it out")
    try:
        resolved(_config(options), kinds)
    except ValueError as error:
        parser.error(str(error))
    return options


def _config(options: argparse.Namespace) -> TrainConfig:
    names = {f.name for f in dataclasses.fields(TrainConfig)}
    return TrainConfig(**{k: v for k, v in vars(options).items() if k in names})


def build(options: argparse.Namespace) -> Trainer:
    """Load the data and make the trainer."""
    state = Path(options.out) / STATE
    if state.is_file() and not options.resume:
        raise ValueError(
            f"{state}: a run has been here; continue it with --resume, or give another --out"
        )
    config = _config(options)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    precision = options.precision or ("bf16" if multiplies_bfloat16(device) else "no")
    if options.track and options.track not in [t.value for t in get_available_trackers()]:
        raise ValueError(f"--track {options.track}: not installed; pip install {options.track}")
    accelerator = Accelerator(
        mixed_precision=precision,
        cpu=not torch.cuda.is_available(),
        log_with=options.track,
        project_dir=options.out,
    )
    say = accelerator.print
    if options.push_to_hub and accelerator.is_main_process:
        prepare_push(options.push_to_hub)
    validate = make_validation(Path(options.val)) if options.val else None

    unpaired, pairs, simulator = _load(options, config, accelerator)
    bank = LesionBank.load(options.lesions) if options.lesions else None
    if bank:
        say(f"{len(bank)} real lesions to implant")
    trainer = Trainer(
        config,
        options.out,
        unpaired=unpaired,
        pairs=pairs,
        simulator=simulator,
        bank=bank,
        accelerator=accelerator,
        validate=validate,
        report=lambda: _report(options.out),
    )
    if options.track:
        settings = {
            k: v for k, v in vars(trainer.config).items() if isinstance(v, int | float | str)
        }
        accelerator.init_trackers(Path(options.out).resolve().name, settings)
    if options.resume:
        if options.init:
            say("--init: has no effect with --resume; the run goes on from its own state")
        trainer.resume(options.allow_change)
        say(f"resumed at step {trainer.step}")
    elif options.init:
        generators, record = load_weights(weights_folder(options.init))
        trainer.start_from(generators, record.get("training") or {})
    if accelerator.is_main_process:
        _record(options, trainer)
    return trainer


def _load(
    options: argparse.Namespace, config: TrainConfig, accelerator: Accelerator
) -> tuple[SliceDataset | None, PairedSlices | None, Simulator | None]:
    """Unpaired slices, pairs and simulated pairs, as far as they were given; says what there is."""
    say, cache = accelerator.print, options.cache or Path(options.out) / "cache"

    def bar(what: str, unit: str) -> Callable[[Iterable], Iterable]:
        return lambda files: tqdm(files, desc=what, unit=unit, leave=False, mininterval=0.5)

    unpaired, pairs, masker = None, None, None
    if options.data:
        unpaired = SliceDataset.load(options.data, config.size, bar("reading", "file"), cache)
        for sentence in unpaired.skipped:
            say(f"skipped {sentence}")
        for sentence in unpaired.made:
            say(sentence)
        counts = {c: len(s) for c, s in unpaired.slices.items()}
        say(f"{counts['T1']} T1 and {counts['T2']} T2 slices from {', '.join(unpaired.names)}")
    if options.pairs:
        pairs = PairedSlices.load(options.pairs, config.size, bar("pairs", "pair"), cache)
        for sentence in pairs.skipped:
            say(f"skipped {sentence}")
        say(f"{len(pairs)} pairs of slices from {', '.join(pairs.names)}")
    simulator = _simulator(options, config, accelerator)
    if (unpaired or pairs) and simulator:
        name = f"brain_masks-{simulator.origin.replace(' ', '_')}-{len(simulator)}-{config.seed}"
        path = Path(cache) / f"{name}.safetensors"  # runs that share a cache train it once
        masker = _masker(path, simulator, config, accelerator)
    if pairs and masker:
        say(f"{pairs.add_stripped(masker)} pairs have a skull-stripped copy, too")
    if unpaired and masker:
        added = unpaired.add_stripped(masker, bar("stripping", "file"))
        say(f"{len(added)} sources more by skull-stripping: {', '.join(added) or 'none'}")
    return unpaired, pairs, simulator


def _simulator(
    options: argparse.Namespace, config: TrainConfig, accelerator: Accelerator
) -> Simulator | None:
    """Simulated pairs from label maps, or from heads that are drawn."""
    if options.labelmaps == "phantom":
        seeds = np.random.default_rng(config.seed).integers(2**31, size=PHANTOMS)
        levels = np.random.default_rng(config.seed + 1).uniform(0, 1, PHANTOMS)
        labels = [draw_slice(int(s), float(v)) for s, v in zip(seeds, levels, strict=True)]
        drawn = "random heads drawn from code"
        return Simulator(np.stack(labels), TISSUES, accelerator.device, drawn)
    if not options.labelmaps:
        return None
    labels, tissues = read_label_maps(options.labelmaps)
    origin = Path(options.labelmaps).resolve().name
    simulator = Simulator(labels, tissues, accelerator.device, origin)
    accelerator.print(f"{len(simulator)} label maps")
    return simulator


def _masker(
    path: Path, simulator: Simulator, config: TrainConfig, accelerator: Accelerator
) -> UNetGenerator:
    """The network for brain masks; the one in `path`, so that a resumed run has the same data.

    The main process trains or reads it and sends it to the others, which may see no such file.
    """
    masker = new_masker()
    if accelerator.is_main_process and path.is_file():
        load_model(masker, path)
    elif accelerator.is_main_process:
        torch.manual_seed(config.seed)  # its initial weights
        rng = torch.Generator().manual_seed(config.seed)
        masker = train_masker(simulator, rng)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, lambda part: save_model(masker, part))
    masker = masker.to(simulator.device)
    if accelerator.num_processes > 1:
        masker.load_state_dict(broadcast(masker.state_dict()))
    return masker.eval()


def _record(options: argparse.Namespace, trainer: Trainer) -> None:
    """Write down for the report what only the start of a run knows."""
    out, samples = Path(options.out), trainer.samples
    record_run(out, dataclasses.asdict(trainer.config), trainer.accelerator, options.command)
    if options.resume and (out / DATA).is_file():
        return  # the same data as before
    read = [data for data in (samples.unpaired, samples.pairs) if data is not None]
    data = take_inventory(
        [*options.data, *options.pairs],
        options.val,
        out,
        [sentence for each in read for sentence in each.skipped],
        lambda files: tqdm(files, desc="looking", leave=False, disable=None),
        read[0].cache if read else None,
    )
    if samples.pairs is not None:
        data["paired"] = {"pairs": len(samples.pairs), "sources": samples.pairs.names}
    if samples.simulator is not None:
        data["simulated"] = {"maps": len(samples.simulator), "origin": samples.simulator.origin}
    write_json(out / DATA, data)


def _report(out: str) -> None:
    """Rebuild the report; whatever goes wrong with it must not end a run of hours."""
    try:
        write_report(out)
    except Exception as error:
        print(f"train.py: no report this time ({error})", file=sys.stderr)


def _finish(options: argparse.Namespace, weights: Path) -> None:
    """Judge the weights, and write and push what others will read."""
    if options.val:
        final_evaluation(options.val, weights.parent)
    _report(options.out)
    print(f"weights written to {weights}")
    print(f"report: {weights.parent / 'report.html'}")
    if options.push_to_hub:
        card = model_card(weights.parent, options.push_to_hub, options.license or "other")
        print(f"pushed to {push(options.push_to_hub, weights.parent, card)}")


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    try:
        trainer = build(options)
        weights = trainer.fit()
        if trainer.accelerator.is_main_process:
            _finish(options, weights)
        trainer.accelerator.end_training()
    except (ValueError, FloatingPointError) as error:  # DataError and CheckpointError, too
        print(f"train.py: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(
            f"train.py: {error.filename or options.out}: {error.strerror or error}", file=sys.stderr
        )
        return 1
    except Interrupted as error:
        if trainer.accelerator.is_main_process:
            print(f"train.py: {error}", file=sys.stderr)
        return 128 + error.signal
    except KeyboardInterrupt:
        print(
            "train.py: stopped; start again, with --resume where RUN has a state", file=sys.stderr
        )
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
