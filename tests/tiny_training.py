"""The training command on two drawn heads, small enough for tests, and open to sabotage.

    python tests/tiny_training.py [--sabotage WHAT] ARGUMENTS OF train.py

It runs in processes of its own: two that share a step, killed, short of disk space.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
SIZE = ["--size", "48", "--start-size", "32", "--batch", "2", "--strip-steps", "2", "--pool", "3"]
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


def start(*arguments: object, processes: int = 1, **options) -> subprocess.Popen:
    """Start this file with `arguments` on the CPU, one thread a process."""
    # What torchrun runs; on CPUs `accelerate launch` would want MPI.
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *(launch if processes > 1 else []), __file__, *map(str, arguments)]
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
    }
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, cwd=ROOT, **(streams | options))


def run(*arguments: object, processes: int = 1) -> subprocess.CompletedProcess:
    """`start`, and wait for its end."""
    process = start(*arguments, processes=processes)
    out, err = process.communicate(timeout=600)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


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


if __name__ == "__main__":
    import train

    arguments = sys.argv[1:]
    if arguments[0] == "--sabotage":
        _sabotage(arguments[1])
        arguments = arguments[2:]
    train.PHANTOMS = 2
    sys.exit(train.main([*TINY, *arguments]))
