"""One job from its files to its results, which are whole or not there.

Who works at a result has the lock on a hidden file beside it. The system frees the lock of a
process that dies, also by kill -9; network drives that know locks (NFS) do so for all machines.
"""

from __future__ import annotations

import hashlib
import os
import queue
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from tqdm import tqdm

from cyclegan.batch.jobs import MARK, Job
from cyclegan.export.derived import derived_dicom
from cyclegan.export.files import labelled_png, nifti
from cyclegan.export.provenance import (
    CAVEAT,
    Provenance,
    pixels_sha256,
    source_of,
    synthetic_label,
)
from cyclegan.model.checkpoint import replace_file
from cyclegan.model.style import Style
from cyclegan.model.translator import Translator
from cyclegan.reading.formats import VOLUME_ENDINGS
from cyclegan.reading.selection import Selection, open_files
from cyclegan.reading.volume import NoMRImage, ReadError, Volume

_JOBS_AT_ONCE = 3  # one that is read, one in the network, one that is written
_LONGEST = 200  # bytes of a name; file systems take 255, with endings and marks of partial files
_BESIDE = 50  # volumes in the folder of what may be a label map that are opened
_TICK_S = 1.0  # between two looks at how many jobs may run
_ASKS_S = 0.2  # between two tries at a lock that another process has
_WAITS_S = 2.0  # for it, before checking whether the command was stopped


@dataclass(frozen=True)
class Options:
    """Of a run.

    Attributes:
        to: target contrast, "T1" or "T2".
        out: folder of the results.
        force: replace results that are there.
        keep_identity: file derived DICOM under the source's patient and study.
        style: None for what suits each source.
    """

    to: str
    out: Path
    force: bool = False
    keep_identity: bool = False
    style: Style | None = None

    def target(self, base: Path, part: str = "") -> Path:
        """The NIfTI of a result; it is written last, so where it is, all of the result is.

        A name too long for its endings becomes its beginning and a hash of it all.

        Args:
            base: of the job.
            part: of several results of a job, such as "_1"; it follows the contrast, so that no
                other job's result can have the name.
        """
        name = base.name
        if len(name.encode("utf-8", "surrogateescape")) > _LONGEST:
            data = name.encode("utf-8", "surrogateescape")
            beginning = data[: _LONGEST - 9].decode("utf-8", "ignore")
            name = f"{beginning}_{hashlib.sha256(data).hexdigest()[:8]}"
        return self.out / base.parent / f"{name}{MARK}{self.to}{part}.nii.gz"

    def finished(self, job: Job) -> bool:
        """Whether a job's result is there without a lock, which may be of a process that was
        killed at its very end; `translate_job` clears it away."""
        target = self.target(job.base)
        return not self.force and target.exists() and not _lock_of(target).exists()


@dataclass
class Outcome:
    """What became of a job: results that were written or were there before, and sentences about
    what failed, what is no MR image and was left out, and what to know."""

    written: list[Path] = field(default_factory=list)
    existing: list[Path] = field(default_factory=list)
    slices: int = 0
    failures: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class ClusterError(RuntimeError):
    """There is no working with this cluster; the message is a sentence."""


class SchedulerGone(ClusterError):
    """It was there when the work began; the same command goes on from here."""


class Stopped(Exception):
    """The command ends; what is half done is dropped."""


class Network:
    """Translates volumes of several threads, `translator.batch` slices on each core at a time.

    Slices are shared out to cores and not cores to a slice: then no core waits for another, and the
    work between the layers, which has one thread, runs on all of them.

    Args:
        threads: of the network. On a CPU torch itself should have one (`torch.set_num_threads`).
        bars: show a bar for each volume, on a terminal.
    """

    def __init__(self, translator: Translator, threads: int, bars: bool = False):
        self.translator, self.bars = translator, bars
        self._pool = ThreadPoolExecutor(threads, "network")
        self._stop = threading.Event()

    def translate(self, volume: Volume, to: str, style: Style | None = None) -> np.ndarray:
        """Translate all slices: (Z, H, W) float32 in [0, 1].

        Raises:
            Stopped: `stop` was called.
        """
        translator = self.translator
        prepared = translator.prepare(volume.pixels, volume.pixel_spacing)
        translated = np.empty(volume.pixels.shape, np.float32)

        def run(start: int) -> int:
            self.go_on()
            part = slice(start, start + translator.batch)
            translated[part] = translator.translate(
                volume.pixels[part], to, prepared=prepared, style=style
            )
            return len(translated[part])

        hidden = None if self.bars else True  # None: unless it is a terminal
        with tqdm(
            total=len(translated), desc=volume.name, unit="slice", leave=False, disable=hidden
        ) as bar:
            for count in self._pool.map(run, range(0, len(translated), translator.batch)):
                bar.update(count)
        return translated

    def go_on(self) -> None:
        """Raises Stopped after `stop`, in whatever waits or works for these networks."""
        if self._stop.is_set():
            raise Stopped

    def stop(self) -> None:
        """End what runs at its next slices."""
        self._stop.set()
        self._pool.shutdown(cancel_futures=True)


def run_jobs(
    jobs: Iterable[Job], submit: Callable[[Job], Future[Outcome]], most: Callable[[], int]
) -> Iterator[tuple[Job, Future[Outcome]]]:
    """Submit jobs as they come, at most `most()` at a time, and yield each when it is done."""
    done: queue.SimpleQueue[tuple[Job, Future[Outcome]]] = queue.SimpleQueue()
    running: set[Future[Outcome]] = set()
    left = iter(jobs)
    job = next(left, None)
    while job is not None or running:
        if job is not None and len(running) < most() and done.empty():
            future = submit(job)
            running.add(future)
            future.add_done_callback(lambda future, job=job: done.put((job, future)))
            job = next(left, None)
        else:
            try:
                job_done, future = done.get(timeout=_TICK_S)
            except queue.Empty:
                continue  # there may be more workers by now
            running.remove(future)
            yield job_done, future


def translate_here(
    jobs: Iterable[Job], options: Options, translator: Translator, bars: bool = False
) -> Iterator[tuple[Job, Outcome]]:
    """Translate jobs as they come on this machine; what becomes of them comes as it is known.

    Leaving the iteration early ends the work; what is complete by then stays.

    Args:
        bars: show a bar for each volume, on a terminal.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    network = Network(translator, threads, bars)
    pool = ThreadPoolExecutor(_JOBS_AT_ONCE, "job")

    def submit(job: Job) -> Future[Outcome]:
        return pool.submit(translate_job, job, options, network)

    try:
        for job, future in run_jobs(jobs, submit, lambda: _JOBS_AT_ONCE):
            yield job, future.result()
    finally:
        network.stop()
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def translate_job(job: Job, options: Options, network: Network) -> Outcome:
    """Translate every MR image in the files of a job that has no result yet."""
    outcome = Outcome()
    try:
        with locked(options.target(job.base), network.go_on):
            if _exists(options.target(job.base), options, outcome):
                return outcome
            selection = open_files(job.files, most=None)
            others = {*selection.failures, *selection.foreign}
            outcome.notes += [f"note: {note}" for note in selection.notes if note not in others]
            outcome.failures += selection.failures
            outcome.left_out += selection.foreign
            images = []
            for index, label in enumerate(selection.choices):
                if reason := _why_left_out(job, selection, index):
                    where = "" if label.startswith(job.files[0].name) else f"{job.base}: "
                    outcome.left_out.append(f"{where}{label}: no MR image, {reason}")
                else:
                    images.append(index)
            for number, index in enumerate(images, 1):
                # The name without a number says that all of the job is there.
                is_only = len(images) + len(selection.failures) == 1
                part = "" if is_only else f"_{number}"
                try:
                    _translate_image(job, part, selection.read(index), options, network, outcome)
                except (ReadError, OSError, MemoryError) as error:
                    outcome.failures.append(_sentence(job, error))
    except NoMRImage as error:
        outcome.left_out.append(str(error))
    except (ReadError, OSError, MemoryError) as error:
        outcome.failures.append(_sentence(job, error))
    return outcome


def _translate_image(
    job: Job, part: str, volume: Volume, options: Options, network: Network, outcome: Outcome
) -> None:
    """Translate one image of a job; `part` is as in `Options.target`."""
    with ExitStack() as locks:
        target = options.target(job.base, part)
        if part:  # else it is locked already
            locks.enter_context(locked(target, network.go_on))
            checksum = pixels_sha256(volume)
            if not options.force and target.exists() and source_of(target) != checksum:
                # The files have changed: this number was another image's.
                target = options.target(job.base, f"_{checksum[:6]}")
                locks.enter_context(locked(target, network.go_on))
        if _exists(target, options, outcome):
            return
        translated = network.translate(volume, options.to, options.style)
        outcome.notes += write_results(target, translated, volume, network.translator, options)
        outcome.written.append(target)
        outcome.slices += len(translated)


def _why_left_out(job: Job, selection: Selection, index: int) -> str:
    """Why a choice of a job's files is no MR image, or ""."""
    if reason := selection.not_mr(index):
        return reason
    beside = selection.looks_like_labels(index) and _lies_beside_image(
        job.files[0], selection.shapes[index]
    )
    return selection.not_mr(index, beside)


def _lies_beside_image(path: Path, shape: tuple[int, int, int]) -> bool:
    """Whether a file's folder holds a volume of a shape that is no label map."""
    names = (other for other in sorted(path.parent.iterdir()) if other != path)
    volumes = [other for other in names if other.name.lower().endswith(VOLUME_ENDINGS)]
    for other in volumes[:_BESIDE]:
        with suppress(ReadError, OSError):
            selection = open_files([other])
            if any(
                selection.shapes[index] == shape and not selection.looks_like_labels(index)
                for index in range(len(selection.choices))
            ):
                return True
    return False


def _exists(target: Path, options: Options, outcome: Outcome) -> bool:
    if options.force or not target.exists():
        return False
    outcome.existing.append(target)
    return True


def _lock_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.lock")


@contextmanager
def locked(target: Path, waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Lock a result; waits for a process that has the lock.

    Args:
        waiting: called every `_WAITS_S` meanwhile; what it raises ends the wait.

    Raises:
        OSError: the folder cannot be written to.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    path = _lock_of(target)
    lock = FileLock(path)
    while not lock.is_locked:
        try:
            lock.acquire(timeout=_WAITS_S, poll_interval=_ASKS_S)
        except Timeout:
            waiting()
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # whoever waits on it notices, and makes a new one
        lock.release()


def write_results(
    target: Path, translated: np.ndarray, volume: Volume, translator: Translator, options: Options
) -> list[str]:
    """Write `target`, a .nii.gz, and beside it a PNG of a lone slice and derived DICOM.

    Each appears under its name only when it is complete, the NIfTI last: where it is, all is.

    Returns:
        Sentences on what of the source's header is not in the results.

    Raises:
        OSError: the folder cannot be written to.
    """
    target.unlink(missing_ok=True)
    to, name, notes = options.to, target.name.removesuffix(".nii.gz"), []
    style = (options.style.name or "unnamed") if options.style else ""
    origin = Provenance(translator.version, translator.checksum, to, pixels_sha256(volume), style)
    label = synthetic_label(to)
    if volume.dicom is not None:
        files, removed = derived_dicom(
            translated, volume, provenance=origin, keep_identity=options.keep_identity
        )
        if len(files) == 1:
            _write(target.with_name(f"{name}.dcm"), files[0])
        else:
            _write_folder(target.with_name(f"{name}_dicom"), files)
        notes.append(f"{volume.name}: not in the DICOM results: {'; '.join(removed)}")
    if len(translated) == 1:
        picture = labelled_png(
            translated[0],
            label=label,
            volume=volume,
            index=0,
            provenance=origin.lines(),
        )
        _write(target.with_name(f"{name}.png"), picture)
    _write(target, nifti(translated, volume, description=f"{label}. {CAVEAT} {origin}"))
    return notes


def _write(path: Path, data: bytes) -> None:
    replace_file(path, lambda partial: Path(partial).write_bytes(data))


def _write_folder(folder: Path, files: list[bytes]) -> None:
    partial = folder.with_name(f".{folder.name}.partial")
    for stale in (partial, folder):  # of a run that was stopped, or the result to replace
        shutil.rmtree(stale, ignore_errors=True)
    partial.mkdir()
    for number, data in enumerate(files, 1):
        with (partial / f"{number:04}.dcm").open("wb") as file:
            file.write(data)
            os.fsync(file.fileno())  # before the NIfTI, which says that all is there
    partial.replace(folder)


def _sentence(job: Job, error: Exception) -> str:
    if isinstance(error, ReadError):
        return str(error)
    reason = getattr(error, "strerror", None) or "there is not enough memory"
    return f"{job.files[0].name}: its result could not be made ({reason})"
