"""Train generators that translate brain MRI slices between T1 and T2.

    python train.py --data D --pairs P --labelmaps L --val V --out RUN --minutes 150
    python train.py --data D --labelmaps L --val V --out RUN --minutes 150   # no real pairs
    python train.py --data D --out RUN --minutes 600         # the published CycleGAN
    python train.py --labelmaps phantom --out RUN --steps 50 # a trial without any data
    python train.py ... --init WEIGHTS --supervised 0 --lr 1e-4   # fine-tune trained generators
    python train.py ... --track tensorboard --push-to-hub USER/MODEL
    python train.py ... --resume                             # continue a run, however it ended
    accelerate launch train.py ...                           # several GPUs or machines
    torchrun --nproc-per-node 2 train.py ...                 # several processes on CPUs

A training step takes samples of up to three kinds, whichever you give: unpaired real slices
(--data), real slices of both contrasts that are registered to each other (--pairs), and pairs
simulated from label maps (--labelmaps). D and P each hold two folders of images or volumes: T1 and
T2, trainA and trainB, or Tr1/TrainT1 and Tr2/TrainT2; in P, files of the same name show the same
slices, registered to a pixel or two. docs/training.md has the objective and all settings.

RUN/report.html shows the data, curves, sample images and scores, also while the run goes on. Ctrl-C
and SIGTERM save the state first, and end with exit status 130 or 143.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

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
from cyclegan.data.slice_cache import SliceCache
from cyclegan.data.stripping import new_masker, train_masker
from cyclegan.model.checkpoint import load_weights, replace_file
from cyclegan.model.hub import weights_folder
from cyclegan.model.networks import GENERATORS, UNetGenerator
from cyclegan.model.translator import multiplies_bfloat16
from cyclegan.report.publish import model_card, prepare_push, push
from cyclegan.report.run_evaluation import final_evaluation, make_validation
from cyclegan.report.run_report import write_report
from cyclegan.report.runlog import DATA, record_run, write_json
from cyclegan.simulation.lesions import LesionBank
from cyclegan.simulation.phantom import draw_slice
from cyclegan.simulation.simulate import Simulator
from cyclegan.simulation.tissues import TISSUES, read_label_maps
from cyclegan.training.config import SETTINGS, TrainConfig, TrainingData, kinds_of, option, resolved
from cyclegan.training.trainer import KEPT_OF_START, Trainer
from cyclegan.training.training_state import BESIDE_SETTINGS, STATE, Interrupted

TRACKERS = ("tensorboard", "trackio", "wandb")
PHANTOMS = 120  # label maps drawn for --labelmaps phantom; each takes about 75 ms on one core


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; every field of `TrainConfig` is an option, too."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add, several = parser.add_argument, {"nargs": "+", "default": []}
    add("--data", **several, metavar="DIR", help="unpaired real images")
    pairs = "real images in both contrasts, registered, with the same file names"
    add("--pairs", **several, metavar="DIR", help=pairs)
    maps = "label maps (16-bit PNG files and tissues.csv) to simulate pairs from, or the word "
    add("--labelmaps", metavar="DIR|phantom", help=f"{maps}phantom for random heads drawn by code")
    bank = (
        "real lesions to implant: an .npz file with t1, t2 and flair, each (N, planes, side, side)"
    )
    add("--lesions", metavar="FILE", help=bank)
    out = "folder for weights, state, logs and report"
    add("--out", required=True, metavar="RUN", help=out)
    scored = "pairs of other subjects, laid out as for --pairs, to score the run on"
    add("--val", metavar="PAIRS", help=scored)
    start = "start from the generators of a weights folder or a Hub repository, and keep "
    start += f"a share of {KEPT_OF_START} of them in what is saved"
    add("--init", metavar="WEIGHTS", help=start)
    add("--revision", help="branch, tag or commit of --init on the Hub (default: main)")
    add("--resume", action="store_true", help="continue the run in RUN")
    shared = "folder for decoded slices, which several runs may share (default: RUN/cache)"
    add("--cache", metavar="DIR", help=shared)
    add(
        "--allow-change",
        **several,
        metavar="KEY",
        type=_setting,
        choices=[*SETTINGS, "generator_options", *BESIDE_SETTINGS],
        help="settings, named without --, that may differ from those that RUN began with; --resume "
        "refuses any other change",
    )
    tracker = "also log to this experiment tracker (default: CSV files only)"
    add("--track", choices=TRACKERS, help=tracker)
    pushed = "at the end, upload weights, model card and report to this Hugging Face Hub repository"
    add("--push-to-hub", metavar="USER/MODEL", help=pushed)
    licence = "licence of the uploaded weights, as the Hub spells it (default: other)"
    add("--license", metavar="ID", help=licence)
    arithmetic = "float32 (no) or mixed with bfloat16 (default: bf16 where the hardware has it)"
    add("--precision", choices=("no", "bf16"), help=arithmetic)
    reasons = "Each default has its reason in docs/training.md."
    settings = parser.add_argument_group("settings", reasons)
    for name, field in SETTINGS.items():
        kind = {"int": int, "float": float, "str": str}[str(field.type).split(" |")[0]]
        default = "none" if field.default is None else str(field.default)
        if defaults := field.metadata["by_data"]:
            default = " with --data alone, else ".join(map(str, dict.fromkeys(defaults)))
        choices = sorted(GENERATORS) if name == "generator" else None
        settings.add_argument(
            option(name),
            type=kind,
            default=field.default,
            choices=choices,
            metavar=None if choices else ("N" if kind is int else "X"),
            help=f"{field.metadata['help']} (default: {default})",
        )
    options = parser.parse_args(arguments)
    options.command = sys.argv[1:] if arguments is None else arguments  # for the record
    try:
        _refuse_without_effect(options)
    except ValueError as error:
        parser.error(str(error))
    return options


def _setting(key: str) -> str:
    """An option of the command line as a field of `TrainConfig`."""
    return key.lstrip("-").replace("-", "_")


def _refuse_without_effect(options: argparse.Namespace) -> None:
    """Raise ValueError for nothing to train on or for, and for what would change nothing."""
    kinds = kinds_of(options.data or None, options.pairs or None, options.labelmaps)
    if options.steps is None and options.minutes is None:
        raise ValueError("give --steps or --minutes: how long to train")
    config = resolved(_config(options), kinds)
    implants = (options.pairs and config.implanted) or (options.data and options.labelmaps)
    for name, effective, needed in (
        ("lesions", implants, "--pairs and --implanted above 0, or --data and --labelmaps"),
        ("cache", options.data or options.pairs, "--data or --pairs"),
        ("revision", options.init, "--init"),
        ("license", options.push_to_hub, "--push-to-hub"),
        ("allow_change", options.resume, "--resume"),
    ):
        if getattr(options, name) and not effective:
            raise ValueError(f"{option(name)}: has no effect without {needed}; leave it out")


def _config(options: argparse.Namespace) -> TrainConfig:
    return TrainConfig(**{name: getattr(options, name) for name in SETTINGS})


def build(options: argparse.Namespace) -> Trainer:
    """Load the data and make the trainer."""
    out = Path(options.out)
    if (out / STATE).is_file() and not options.resume:
        raise ValueError(
            f"{out / STATE}: a run has been here; continue it with --resume, or give another --out"
        )
    if options.track and options.track not in [t.value for t in get_available_trackers()]:
        raise ValueError(f"--track {options.track}: not installed; pip install {options.track}")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    accelerator = Accelerator(
        mixed_precision=options.precision or ("bf16" if multiplies_bfloat16(device) else "no"),
        cpu=device == "cpu",
        log_with=options.track,
        project_dir=options.out,
    )
    if options.push_to_hub and accelerator.is_main_process:
        prepare_push(options.push_to_hub)
    validate = make_validation(Path(options.val)) if options.val else None
    data = _load(options, accelerator)
    report = partial(_report, options.out)
    trainer = Trainer(
        _config(options), out, data, accelerator=accelerator, validate=validate, report=report
    )
    if options.track:
        settings = vars(trainer.config).items()
        plain = {name: value for name, value in settings if isinstance(value, int | float | str)}
        accelerator.init_trackers(out.resolve().name, plain)
    if options.resume:
        if options.init:
            accelerator.print(
                "--init: has no effect with --resume; the run continues its own state"
            )
        trainer.resume(options.allow_change)
        accelerator.print(f"resumed at step {trainer.step}")
    elif options.init:
        trainer.start_from(*load_weights(weights_folder(options.init, options.revision)))
    if accelerator.is_main_process:
        _record(options, trainer)
    return trainer


def _load(options: argparse.Namespace, accelerator: Accelerator) -> TrainingData:
    """Read or simulate each kind of data that the options name, and say what there is."""
    say, cache = accelerator.print, _cache_folder(options)
    unpaired, pairs, bank = None, None, None
    if options.data:
        unpaired = SliceDataset.load(options.data, options.size, _bar("reading"), cache)
        for sentence in (*(f"skipped {s}" for s in unpaired.skipped), *unpaired.made):
            say(sentence)
        counts = {c: len(s) for c, s in unpaired.slices.items()}
        say(f"{counts['T1']} T1 and {counts['T2']} T2 slices from {', '.join(unpaired.names)}")
    if options.pairs:
        pairs = PairedSlices.load(options.pairs, options.size, _bar("pairs"), cache)
        for sentence in pairs.skipped:
            say(f"skipped {sentence}")
        say(f"{len(pairs)} pairs of slices from {', '.join(pairs.names)}")
    simulator = _simulator(options, accelerator)
    if (unpaired or pairs) and simulator:
        masker = _masker(cache, simulator, options.seed, accelerator)
        if pairs:
            say(f"{pairs.add_stripped(masker)} pairs have a skull-stripped copy, too")
        if unpaired:
            added = unpaired.add_stripped(masker, _bar("stripping"))
            say(f"{len(added)} sources more by skull-stripping: {', '.join(added) or 'none'}")
    if options.lesions:
        bank = LesionBank.load(options.lesions)
        say(f"{len(bank)} real lesions to implant")
    return TrainingData(unpaired, pairs, simulator, bank)


def _bar(what: str) -> Callable[[Iterable], Iterable]:
    """A progress bar for files; none where nobody watches."""
    return partial(tqdm, desc=what, unit="file", leave=False, mininterval=0.5, disable=None)


def _simulator(options: argparse.Namespace, accelerator: Accelerator) -> Simulator | None:
    """Simulated pairs from label maps, or from heads drawn by code."""
    if options.labelmaps == "phantom":
        seeds = np.random.default_rng(options.seed).integers(2**31, size=PHANTOMS)
        levels = np.random.default_rng(options.seed + 1).uniform(0, 1, PHANTOMS)
        labels = [draw_slice(int(s), float(v)) for s, v in zip(seeds, levels, strict=True)]
        origin = "random heads drawn from code"
        return Simulator(np.stack(labels), TISSUES, accelerator.device, origin)
    if not options.labelmaps:
        return None
    labels, tissues = read_label_maps(options.labelmaps)
    accelerator.print(f"{len(labels)} label maps")
    origin = Path(options.labelmaps).resolve().name
    return Simulator(labels, tissues, accelerator.device, origin)


def _masker(
    cache: Path, simulator: Simulator, seed: int, accelerator: Accelerator
) -> UNetGenerator:
    """The network for brain masks; the one in the cache, so that a resumed run has the same data,
    and runs that share a cache train it once.

    The main process trains or reads it and sends it to the others, which may see no such file.
    """
    name = f"brain_masks-{simulator.origin.replace(' ', '_')}-{len(simulator)}-{seed}"
    path, masker = cache / f"{name}.safetensors", new_masker()
    if accelerator.is_main_process and path.is_file():
        load_model(masker, path)
    elif accelerator.is_main_process:
        torch.manual_seed(seed)  # its initial weights
        masker = train_masker(simulator, torch.Generator().manual_seed(seed))
        cache.mkdir(parents=True, exist_ok=True)
        replace_file(path, lambda part: save_model(masker, part))
    masker = masker.to(simulator.device)
    if accelerator.num_processes > 1:
        masker.load_state_dict(broadcast(masker.state_dict()))
    return masker.eval()


def _cache_folder(options: argparse.Namespace) -> Path:
    return Path(options.cache or Path(options.out) / "cache")


def _record(options: argparse.Namespace, trainer: Trainer) -> None:
    """Write down for the report what only the start of a run knows."""
    out, data = Path(options.out), trainer.data
    record_run(out, dataclasses.asdict(trainer.config), trainer.accelerator, options.command)
    if options.resume and (out / DATA).is_file():
        return  # the same data as before
    real = [slices for slices in (data.unpaired, data.pairs) if slices is not None]
    folders = [*options.data, *options.pairs]
    skipped = [sentence for slices in real for sentence in slices.skipped]
    cache = SliceCache(_cache_folder(options), trainer.config.size)
    inventory = take_inventory(folders, options.val, out, skipped, _bar("inventory"), cache)
    if data.pairs is not None:
        inventory["paired"] = {"pairs": len(data.pairs), "sources": data.pairs.names}
    if data.simulator is not None:
        maps = {"maps": len(data.simulator), "origin": data.simulator.origin}
        inventory["simulated"] = maps
    write_json(out / DATA, inventory)


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
        return 0
    except (ValueError, FloatingPointError) as error:  # DataError and CheckpointError, too
        code, message = 1, str(error)
    except OSError as error:
        code, message = 1, f"{error.filename or options.out}: {error.strerror or error}"
    except Interrupted as error:
        code = 128 + error.signal
        message = str(error) if trainer.accelerator.is_main_process else ""
    except KeyboardInterrupt:
        code, message = 130, "stopped; start again, with --resume where RUN has a state"
    if message:
        print(f"train.py: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
