"""The command `python -m cyclegan.translate`: files, folders and archives without a browser."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from tqdm import tqdm

from cyclegan.batch.jobs import Job, Refused, count_files, find_jobs
from cyclegan.batch.summary import RunSummary, duration
from cyclegan.batch.translation import (
    ClusterError,
    Options,
    Outcome,
    SchedulerGone,
    translate_here,
)
from cyclegan.model.checkpoint import CheckpointError
from cyclegan.model.hub import DEFAULT, weights_folder
from cyclegan.model.style import StyleError
from cyclegan.model.translator import Translator
from cyclegan.reading.volume import ReadError
from cyclegan.trust.checks import InputCheck
from cyclegan.trust.reference import style_of_path

SAMPLE = 5  # jobs that a dry run translates to know how long they take
INSTALL_DASK = "--workers and --scheduler need Dask: pip install 'dask[distributed]' cryptography"


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    Returns:
        0 when the result of every MR image is there, 1 when some failed or there was no MR image, 2
        when nothing could be started and 130 when interrupted. What was complete by then stays, and
        the next run goes on from there.
    """
    arguments = _parser().parse_args(arguments)
    if arguments.workers is not None and arguments.workers < 1:
        return _refuse("--workers counts from 1")
    options = Options(arguments.to, arguments.out, arguments.force, arguments.keep_identity)
    on_cluster = arguments.workers is not None or arguments.scheduler is not None
    table = arguments.failures
    if on_cluster:
        try:
            from cyclegan.batch import cluster  # noqa: F401
        except ImportError:
            return _refuse(INSTALL_DASK)
        # Other machines have another current folder.
        arguments.inputs = [path.absolute() for path in arguments.inputs]
        options = replace(options, out=options.out.absolute())
        table = table or options.out / "failures.csv"
    try:
        folder = weights_folder(arguments.weights, arguments.revision)
        translator = Translator.from_pretrained(folder)
        if arguments.style is not None:
            check = InputCheck.from_pretrained(folder) if InputCheck.is_in(folder) else None
            style = style_of_path(translator, check, arguments.style, arguments.to)
            options = replace(options, style=style)
        if arguments.dry_run:
            return _dry_run(arguments.inputs, options, translator)
        options.out.mkdir(parents=True, exist_ok=True)
        summary = RunSummary(
            table, arguments.hash_paths, lambda: count_files(arguments.inputs, options.out)
        )
    except (CheckpointError, StyleError, ReadError, OSError) as error:
        return _refuse(error)
    jobs = _to_do(arguments.inputs, options, summary, quiet=on_cluster)
    try:
        if on_cluster:
            results = _on_cluster(arguments, options, translator, folder, jobs)
        else:
            results = translate_here(jobs, options, translator, bars=True)
        for job, outcome in results:
            if not on_cluster:
                for text in (*outcome.notes, *map(str, outcome.written)):
                    tqdm.write(text)
                for path in outcome.existing:
                    _print_existing(path)
            summary.add(job, outcome)
            summary.show()
    except SchedulerGone as error:
        summary.fail([options.out], f"{error}; the same command goes on from here")
    except ClusterError as error:
        return _refuse(error)
    except KeyboardInterrupt:
        print("translate: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    finally:
        summary.close()
    return _finish(summary)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cyclegan.translate",
        description="Translate brain MRI slices, series and volumes between T1 and T2. Results "
        "that are there already stay, so a command that was stopped is continued by calling it "
        "again.",
    )
    add = parser.add_argument
    add(
        "inputs",
        nargs="+",
        metavar="INPUT",
        type=Path,
        help="file, or folder to search with all its subfolders; DICOM files of a folder are put "
        "together into series",
    )
    add("--to", required=True, choices=("T1", "T2"), help="contrast to make")
    add("--out", required=True, metavar="DIR", type=Path, help="folder for the results")
    add(
        "--weights",
        default=DEFAULT,
        help="weights folder or Hugging Face Hub repository, USER/MODEL (default: the weights that "
        "come with this program, unless CYCLEGAN_WEIGHTS names others)",
    )
    add("--revision", help="branch, tag or commit of the Hub repository (default: main)")
    add(
        "--style",
        metavar="PATH",
        type=Path,
        help="a file or folder of real slices of the contrast to make, from the scanner whose "
        "appearance the results should have, or a style saved as .json (default: that in the "
        "weights, or else what the network infers from each source)",
    )
    add("--force", action="store_true", help="replace results that exist already")
    add(
        "--keep-identity",
        action="store_true",
        help="keep patient and study of the source in derived DICOM, for use within your "
        "institution (default: all that identifies the patient is removed)",
    )
    add(
        "--dry-run",
        action="store_true",
        help="only print what would be translated, and an estimate of the time",
    )
    add(
        "--failures",
        metavar="CSV",
        type=Path,
        help="write a table of what failed, without names of files or patients (default: none; "
        "with --workers or --scheduler, failures.csv in DIR)",
    )
    add(
        "--hash-paths",
        action="store_true",
        help="add the SHA-256 of each path to that table, so that you can find the file; anybody "
        "who guesses a path can check the guess",
    )
    many = parser.add_mutually_exclusive_group()
    many.add_argument(
        "--workers", metavar="N", type=int, help="work in N processes on this machine (needs Dask)"
    )
    many.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="work on the Dask cluster at this address, such as tcp://10.0.0.1:8786; its workers "
        "must see INPUT and DIR under the same paths",
    )
    return parser


def _finish(summary: RunSummary) -> int:
    """Print what was left out and what failed; the exit code."""
    for sentence in summary.left_out:
        print(f"translate: left out: {sentence}", file=sys.stderr)
    for sentence in summary.failures:
        print(f"translate: {sentence}", file=sys.stderr)
    if summary.failed:
        print(f"translate: {summary.failed} failed", file=sys.stderr)
    nothing = summary.left_out and not (summary.done or summary.existing or summary.failed)
    if nothing:
        print("translate: nothing here is an MR image", file=sys.stderr)
    return 1 if summary.failed or nothing else 0


def _on_cluster(
    arguments: argparse.Namespace,
    options: Options,
    translator: Translator,
    folder: Path,
    jobs: Iterator[Job],
) -> Iterator[tuple[Job, Outcome]]:
    """As `translate_here`, on a cluster; `folder` is that of the weights.

    Raises:
        ClusterError: there is no working with it.
    """
    from cyclegan.batch import cluster

    with cluster.connected(arguments.workers, arguments.scheduler) as client:
        if link := cluster.dashboard(client):
            print(f"dashboard: {link}", file=sys.stderr)
        weights = cluster.send_weights(client, folder, translator.checksum, options.out)
        yield from cluster.translate_on(client, jobs, options, weights)


def _to_do(
    inputs: list[Path], options: Options, summary: RunSummary, *, quiet: bool
) -> Iterator[Job]:
    """The jobs without a result; what is refused or there is counted on the way."""
    for job in find_jobs(inputs, options.out):
        if isinstance(job, Refused):
            summary.fail([job.path], f"{job.path}: {job.reason}")
        elif options.finished(job):
            summary.add_existing(job)
            if not quiet:
                _print_existing(options.target(job.base))
            summary.show()
        else:
            yield job


def _dry_run(inputs: list[Path], options: Options, translator: Translator) -> int:
    """Print what would be done, and how long a few jobs of it, picked at random, take here."""
    summary = RunSummary(None, False, lambda: 0)
    rng, sample, count, files = random.Random(0), [], 0, 0
    for job in _to_do(inputs, options, summary, quiet=True):
        count, files = count + 1, files + len(job.files)
        if len(sample) < SAMPLE:
            sample.append(job)
        elif (place := rng.randrange(count)) < SAMPLE:  # each job is as likely (reservoir)
            sample[place] = job
    for sentence in summary.failures:
        print(f"translate: {sentence}", file=sys.stderr)
    print(
        f"{count} series or volumes in {files} files to translate, {summary.existing} there before"
    )
    if not sample:
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        # The same job twice would find its result, and the first one waits for what all share.
        trial = replace(options, out=Path(scratch), force=True)
        translator.translate(torch.rand(64, 64).numpy(), options.to)
        started = time.monotonic()
        outcomes = [outcome for _, outcome in translate_here(sample, trial, translator)]
        seconds = (time.monotonic() - started) / len(sample)
    slices = sum(outcome.slices for outcome in outcomes)
    failed = sum(bool(outcome.failures) for outcome in outcomes)
    print(
        f"about {duration(seconds * count)} on this machine: {len(sample)} of them took "
        f"{seconds:.1f} s each ({slices / seconds / len(sample):.1f} slices/s; {failed} failed)"
    )
    return 0


def _refuse(why: object) -> int:
    print(f"translate: {why}", file=sys.stderr)
    return 2


def _print_existing(target: Path) -> None:
    tqdm.write(f"{target}: exists already and stays; --force replaces it")


if __name__ == "__main__":
    sys.exit(main())
