"""Jobs on this machine: one is read and one written while the network works at a third."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from cyclegan.batch.jobs import Job
from cyclegan.batch.translation import Network, Outcome, Wanted, translate_job

JOBS_AT_ONCE = 3  # one that is read, one in the network, one that is written


def translate_here(
    jobs: Iterable[Job], wanted: Wanted, network: Network
) -> Iterator[tuple[Job, Outcome]]:
    """Translate jobs as they are found; what becomes of them comes in their order.

    Leaving the iteration early ends the work; what is complete by then is kept.
    """
    running: deque[tuple[Job, Future[Outcome]]] = deque()
    pool = ThreadPoolExecutor(JOBS_AT_ONCE, "job")
    try:
        for job in jobs:
            running.append((job, pool.submit(translate_job, job, wanted, network)))
            if len(running) >= JOBS_AT_ONCE:
                first, outcome = running.popleft()
                yield first, outcome.result()
        for job, outcome in running:
            yield job, outcome.result()
    finally:
        network.stop()
        pool.shutdown(cancel_futures=True)
