"""Jobs on many processes or machines, by Dask (https://docs.dask.org), which is optional.

A task is one job. As many are with the scheduler as keep its workers busy, so a million need no
more memory than a hundred. The weights go to each worker once, also to those that come later. A
task whose worker dies goes to another; `translation.py` sees to it that nothing is half made.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import torch
from distributed import Client, Future, KilledWorker, LocalCluster, Worker, WorkerPlugin, get_worker

from cyclegan import __version__
from cyclegan.batch.jobs import Job
from cyclegan.batch.translation import (
    ClusterError,
    Network,
    Options,
    Outcome,
    SchedulerGone,
    run_jobs,
    translate_job,
)
from cyclegan.model.checkpoint import REQUIRED
from cyclegan.model.translator import Translator

TASKS_A_THREAD = 3  # with the scheduler: one at work, the others on their way


class Weights(WorkerPlugin):
    """The weights, on each worker, and there the networks made of them."""

    def __init__(self, folder: Path, checksum: str):
        self.name = f"cyclegan-{checksum[:16]}"
        self.files = {name: (folder / name).read_bytes() for name in REQUIRED}

    def setup(self, worker: Worker) -> None:
        threads = max(worker.state.nthreads, torch.get_num_threads())
        torch.set_num_threads(1)
        with tempfile.TemporaryDirectory() as folder:
            for name, data in self.files.items():
                (Path(folder) / name).write_bytes(data)
            self.network = Network(Translator.from_pretrained(folder), threads)


def _task(job: Job, options: Options, weights: str) -> Outcome:
    plugin: Any = get_worker().plugins[weights]
    return translate_job(job, options, plugin.network)


@contextmanager
def connected(
    workers: int | None, scheduler: str | None, threads: int | None = None
) -> Iterator[Client]:
    """A client of `workers` processes started here, or of the cluster at an address.

    Workers started here take orders, encrypted, from this command alone, and end with it, however
    it ends.

    Args:
        threads: of each worker started here. Default: they share the cores out among them.

    Raises:
        ClusterError: no answer from the address.
    """
    if scheduler is not None:
        try:
            client = Client(scheduler)
        except Exception as error:  # whatever it is that answers there
            raise ClusterError(f"{scheduler}: no Dask scheduler answers ({error})") from error
        with client:
            yield client
        return
    threads = threads or max(1, (os.cpu_count() or 1) // workers)
    # Dask's own default for these variables is 1.
    with (
        dask.config.set({"distributed.nanny.pre-spawn-environ.OMP_NUM_THREADS": threads}),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            security=True,
            dashboard_address=":0" if importlib.util.find_spec("bokeh") else None,
            silence_logs="CRITICAL",
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def dashboard(client: Client) -> str | None:
    """The address of Dask's page on this cluster, where it is installed."""
    return client.dashboard_link if importlib.util.find_spec("bokeh") else None


def send_weights(client: Client, folder: Path, checksum: str, out: Path) -> str:
    """Give every worker the weights, now or when it comes; the name to find them by.

    Raises:
        ClusterError: the workers lack this package, see another `out`, or cannot load them.
    """
    plugin = Weights(folder, checksum)
    try:
        workers = client.run(_what_it_sees, str(out))
    except ImportError as error:
        raise ClusterError(
            f"the workers cannot import what they need ({error}); install cyclegan-t1t2 "
            f"{__version__} there"
        ) from error
    for address, (version, sees) in workers.items():
        if version != __version__:
            raise ClusterError(f"{address}: version {version} there, {__version__} here")
        if not sees:
            raise ClusterError(f"{address}: cannot write to {out}; use a folder that all share")
    try:
        client.register_plugin(plugin)
    except Exception as error:  # of whatever kind it is there
        raise ClusterError(
            f"the workers cannot load the weights ({error}); look for disk and memory there"
        ) from error
    return plugin.name


def _what_it_sees(out: str) -> tuple[str, bool]:
    return __version__, os.access(out, os.W_OK)


def translate_on(
    client: Client, jobs: Iterable[Job], options: Options, weights: str
) -> Iterator[tuple[Job, Outcome]]:
    """Translate jobs as they come; what becomes of them comes as it is known.

    Raises:
        SchedulerGone: it is.
    """

    def submit(job: Job) -> Future:
        return client.submit(_task, job, options, weights, pure=False)

    def most() -> int:
        try:
            return TASKS_A_THREAD * max(1, sum(client.nthreads().values()))
        except OSError as error:
            raise SchedulerGone("the scheduler is gone") from error

    for job, future in run_jobs(jobs, submit, most):
        yield job, _outcome(job, future)


def _outcome(job: Job, future: Future) -> Outcome:
    try:
        return future.result()
    except CancelledError as error:
        raise SchedulerGone("the scheduler is gone") from error
    except KilledWorker:
        reason = "each worker that tried it ended; is there enough memory?"
    except Exception as error:  # of one series among many thousands, and reported with it
        reason = f"{type(error).__name__}: {error}"
    return Outcome(failures=[f"{job.files[0].name}: its result could not be made ({reason})"])
