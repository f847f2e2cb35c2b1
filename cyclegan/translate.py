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

from cyclegan.batch.account import Account, duration
from cyclegan.batch.jobs import Job, Refused, count_jobs, find_jobs
from cyclegan.batch.machine import translate_here
from cyclegan.batch.translation import Network, Outcome, Wanted
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
        when nothing could be started and 130 when interrupted. What was complete by then is kept,
        and the next run goes on from there.
    """
    options = _parser().parse_args(arguments)
    if options.workers is not None and options.workers < 1:
        return _refuse("--workers counts from 1")
    wanted = Wanted(options.to, options.out, options.force, options.keep_identity)
    many = options.workers is not None or options.scheduler is not None
    table = options.failures
    if many:
        try:
            from cyclegan.batch import cluster  # noqa: F401
        except ImportError:
            return _refuse(INSTALL_DASK)
        # Other machines have another current folder.
        options.inputs = [path.absolute() for path in options.inputs]
        wanted = replace(wanted, out=wanted.out.absolute())
        table = table or wanted.out / "failures.csv"
    try:
        folder = weights_folder(options.weights, options.revision)
        translator = Translator.from_pretrained(folder)
        if options.style is not None:
            check = InputCheck.from_pretrained(folder) if InputCheck.is_in(folder) else None
            style = style_of_path(translator, check, options.style, options.to)
            wanted = replace(wanted, style=style)
        if options.dry_run:
            return _dry_run(options, wanted, translator)
        options.out.mkdir(parents=True, exist_ok=True)
        account = Account(
            table, options.hash_paths, lambda: count_jobs(options.inputs, options.out)
        )
    except (CheckpointError, StyleError, ReadError, OSError) as error:
        return _refuse(error)
    return _translate(options, wanted, translator, folder, account, many)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cyclegan.translate",
        description="Translate brain MRI slices, series and volumes between T1 and T2. Results "
        "that are there already are kept, so a command that was stopped is continued by calling it "
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
        "appearance the results should have, or a style saved as .json (default: what the network "
        "takes to suit each source)",
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


def _translate(
    options: argparse.Namespace,
    wanted: Wanted,
    translator: Translator,
    weights: Path,
    account: Account,
    many: bool,
) -> int:
    jobs = _to_do(options, wanted, account, quiet=many)
    try:
        if many:
            if refusal := _on_cluster(options, wanted, translator, weights, account, jobs):
                return _refuse(refusal)
        else:
            for job, outcome in _here(wanted, translator, jobs):
                for text in (*outcome.notes, *map(str, outcome.written)):
                    tqdm.write(text)
                for path in outcome.kept:
                    _say_existing(path)
                account.add(job, outcome)
                account.say()
    except KeyboardInterrupt:
        print("translate: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    finally:
        account.close()
    for sentence in account.left_out:
        print(f"translate: left out: {sentence}", file=sys.stderr)
    for sentence in account.sentences:
        print(f"translate: {sentence}", file=sys.stderr)
    if account.failed:
        print(f"translate: {account.failed} failed", file=sys.stderr)
    if account.left_out and not (account.done or account.kept or account.failed):
        print("translate: nothing here is an MR image", file=sys.stderr)
        return 1
    return 1 if account.failed else 0


def _here(
    wanted: Wanted, translator: Translator, jobs: Iterator[Job]
) -> Iterator[tuple[Job, Outcome]]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield from translate_here(jobs, wanted, Network(translator, threads, bars=True))
    finally:
        torch.set_num_threads(threads)


def _on_cluster(
    options: argparse.Namespace,
    wanted: Wanted,
    translator: Translator,
    folder: Path,
    account: Account,
    jobs: Iterator[Job],
) -> str | None:
    """Have a cluster translate the jobs; why it could not begin, or None."""
    from cyclegan.batch import cluster

    begun = False
    try:
        with cluster.connected(options.workers, options.scheduler) as client:
            if link := cluster.dashboard(client):
                print(f"dashboard: {link}", file=sys.stderr)
            weights = cluster.send_weights(client, folder, translator.checksum, wanted.out)
            begun = True
            for result in cluster.translate_on(client, jobs, wanted, weights):
                if result is not None:
                    account.add(*result)
                account.say()
    except cluster.ClusterError as error:
        if not begun:
            return str(error)
        account.fail([wanted.out], f"{error}; the same command goes on from here")
    return None


def _to_do(
    options: argparse.Namespace, wanted: Wanted, account: Account, quiet: bool = False
) -> Iterator[Job]:
    """The jobs without a result; what is refused or there is accounted for on the way."""
    for found in find_jobs(options.inputs, wanted.out):
        if isinstance(found, Refused):
            account.fail([found.path], f"{found.path}: {found.reason}")
        elif wanted.finished(found):
            account.keep()
            if not quiet:
                _say_existing(wanted.target(found.base))
            account.say()
        else:
            yield found


def _dry_run(options: argparse.Namespace, wanted: Wanted, translator: Translator) -> int:
    """Say what would be done, and how long a few jobs of it, drawn at random, take here."""
    account = Account(None, False, lambda: 0)
    rng, sample, count, files = random.Random(0), [], 0, 0
    for job in _to_do(options, wanted, account, quiet=True):
        count, files = count + 1, files + len(job.files)
        if len(sample) < SAMPLE:
            sample.append(job)
        elif (place := rng.randrange(count)) < SAMPLE:  # each job is as likely (reservoir)
            sample[place] = job
    for sentence in account.sentences:
        print(f"translate: {sentence}", file=sys.stderr)
    print(f"{count} series or volumes in {files} files to translate, {account.kept} there before")
    if not sample:
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        # The same job twice would find its result, and the first one waits for what all share.
        trial = replace(wanted, out=Path(scratch), force=True)
        translator.translate(torch.rand(64, 64).numpy(), wanted.to)
        started = time.monotonic()
        slices = failed = 0
        for _, outcome in _here(trial, translator, iter(sample)):
            slices, failed = slices + outcome.slices, failed + bool(outcome.failures)
        seconds = (time.monotonic() - started) / len(sample)
    print(
        f"about {duration(seconds * count)} on this machine: {len(sample)} of them took "
        f"{seconds:.1f} s each ({slices / seconds / len(sample):.1f} slices/s; {failed} failed)"
    )
    return 0


def _refuse(why: object) -> int:
    print(f"translate: {why}", file=sys.stderr)
    return 2


def _say_existing(target: Path) -> None:
    tqdm.write(f"{target}: exists already and was kept; --force replaces it")


if __name__ == "__main__":
    sys.exit(main())
