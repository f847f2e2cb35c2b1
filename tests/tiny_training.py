"""The training command on two drawn heads, small enough for tests, and open to sabotage.

    python tests/tiny_training.py [--sabotage WHAT] ARGUMENTS OF train.py

It runs in processes of its own: two that share a step, killed, short of disk space.
"""

from __future__ import annotations

import multiprocessing.connection
import multiprocessing.forkserver
import os
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image
from server_process import free_port

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests"))),
    "PYTHONUNBUFFERED": "1",
}
FORKED = multiprocessing.get_context("forkserver")
# torch imports its compiler with the first optimiser: the longest of all imports.
FORKED.set_forkserver_preload(["train", "tiny_training", "torch._dynamo"])
SIZE = ["--size", "48", "--start-size", "32", "--batch", "2"]
NARROW = {"channels": (8, 16, 24, 32)}  # of the generators
TINY = [*SIZE, "--precision", "no", "--labelmaps", "phantom", "--log-every", "1"]


def write_slices(folder: Path) -> Path:
    """Write a training folder of four T1 and three T2 slices: simulated, head-in."""
    from cyclegan.simulation.phantom import draw_slice
    from cyclegan.simulation.simulate import simulate_pair

    for contrast, count in (("T1", 4), ("T2", 3)):
        (folder / contrast).mkdir(parents=True)
        for k in range(count):
            pair = simulate_pair(draw_slice(k, 0.5, 96), np.random.default_rng(k))
            pixels = (255 * getattr(pair, contrast.lower())).astype(np.uint8)
            Image.fromarray(pixels).save(folder / contrast / f"scan{k % 2}_{k}.png")
    return folder


class Run:
    """The command in processes of its own on the CPU, one thread each.

    They are forked from a server that has done the imports, which take longer than the training.

    Args:
        arguments: of this file.
        processes: how many share each step; they find what torchrun says to its own.
    """

    def __init__(self, *arguments: object, processes: int = 1):
        # Not into files, whose size a test of a full disk limits.
        pipes = [FORKED.Pipe(duplex=False) for _ in range(2)]
        place = {}
        if processes > 1:
            port = str(free_port())
            place = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        with mock.patch.dict(os.environ, ENVIRONMENT):
            multiprocessing.forkserver.ensure_running()
        self._children = []
        for rank in map(str, range(processes)):
            ranked = place | {"RANK": rank, "LOCAL_RANK": rank} if place else {}
            given = ([*map(str, arguments)], ranked, *(write for _, write in pipes))
            self._children.append(FORKED.Process(target=_run_in_child, args=given))
            self._children[-1].start()
        for _, write in pipes:
            write.close()
        reader = ThreadPoolExecutor(2)
        self._said = [reader.submit(_read_all, read) for read, _ in pipes]
        reader.shutdown(wait=False)

    def send_signal(self, number: int) -> None:
        """To each process."""
        for child in self._children:
            os.kill(child.pid, number)

    @property
    def ended(self) -> bool:
        """Whether none of the processes is left."""
        return not any(child.is_alive() for child in self._children)

    def wait(self, seconds: float = 600) -> subprocess.CompletedProcess[str]:
        """Wait for the end; if one process fails, the others have a minute."""
        end = time.monotonic() + seconds
        while not self.ended:
            multiprocessing.connection.wait(
                [child.sentinel for child in self._children if child.is_alive()], 1
            )
            if any(child.exitcode for child in self._children):
                end = min(end, time.monotonic() + 60)
            if time.monotonic() > end:
                self.send_signal(signal.SIGKILL)
                end = float("inf")
        code = next((child.exitcode for child in self._children if child.exitcode), 0)
        return subprocess.CompletedProcess(__file__, code, *(each.result() for each in self._said))


def run(*arguments: object, processes: int = 1) -> subprocess.CompletedProcess[str]:
    """Start the command, and wait for its end."""
    return Run(*arguments, processes=processes).wait()


def run_by_torchrun(*arguments: object, processes: int) -> subprocess.CompletedProcess[str]:
    """The same, started as users start it; on CPUs `accelerate launch` would want MPI."""
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *launch, __file__, *map(str, arguments)]
    environment = os.environ | ENVIRONMENT
    return subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )


def _read_all(pipe: Connection) -> str:
    with pipe, os.fdopen(os.dup(pipe.fileno())) as file:
        return file.read()


def _run_in_child(arguments: list[str], place: dict[str, str], *streams: Connection) -> None:
    os.environ |= place
    os.chdir(ROOT)
    for stream, number in zip(streams, (1, 2), strict=True):
        os.dup2(stream.fileno(), number)
        stream.close()
    main(arguments)


def _kill_at(module: str, name: str, when: int, before: bool) -> None:
    """Kill this process, as `kill -9` does, at the call number `when` of a function."""
    owner = __import__(module, fromlist=["_"])
    function, calls = getattr(owner, name), [0]

    def killing(*arguments, **options):
        calls[0] += 1
        if calls[0] == when and before:
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*arguments, **options)
        if calls[0] == when:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, killing)


def _sabotage(what: str) -> None:
    kind, *values = what.split(":")
    if kind == "no-sum":  # every process steps by its own gradient
        from accelerate import Accelerator

        Accelerator.reduce = lambda self, tensor, *_, **__: tensor
    elif kind == "same-data":  # every process takes the same share
        from cyclegan.training.trainer import Trainer

        deal = Trainer._shares
        Trainer._shares = lambda self, step: [deal(self, step)[0].deal(
            self.config.seed, step, self.config.batch, self.samples_per_step // self.config.batch
        )[0]]  # fmt: skip
    elif kind == "kill":
        module, name, when, before = values
        _kill_at(module, name, int(when), before == "before")
    elif kind == "torn-row":  # half a row of the log
        from cyclegan.report import runlog

        append, calls = runlog.CsvLog.append, [0]

        def torn(self, row):
            calls[0] += 1
            if calls[0] < int(values[0]):
                return append(self, row)
            with self.path.open("a") as file:
                file.write(str(row["step"])[:1])
            os.kill(os.getpid(), signal.SIGKILL)

        runlog.CsvLog.append = torn
    elif kind == "torn-state":  # half a file
        from cyclegan.model import checkpoint

        def half(tensors, path, *_):
            Path(path).write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)

        checkpoint.save_file = half
    elif kind == "disk":  # from this step on no file may grow beyond this many bytes
        from cyclegan.training.trainer import Trainer

        train_step, (step, size) = Trainer.train_step, map(int, values)

        def limited(self):
            if self.step >= step:
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            return train_step(self)

        Trainer.train_step = limited


def main(arguments: list[str]) -> None:
    """Run the command and exit."""
    import train
    from cyclegan.data import stripping
    from cyclegan.training import objective

    if arguments[0] == "--sabotage":
        _sabotage(arguments[1])
        arguments = arguments[2:]
    train.PHANTOMS = 2
    stripping.STEPS, objective.POOL = 2, 3
    # Report and full width have tests of their own, and would take most of a few steps' time.
    train.write_report = lambda *_: None
    network_options = train.TrainConfig.network_options
    train.TrainConfig.network_options = lambda self: network_options(self) | NARROW
    sys.exit(train.main([*TINY, *arguments]))


if __name__ == "__main__":
    main(sys.argv[1:])
