"""How long a user waits: the shipped generators beside ResNet-9, in one process.

    PYTHONPATH=tests python -m benchmarks.model [--weights W] [--repeats N]

Both run through `Translator`, so scaling, framing and the way back to the slice's matrix are
counted too. ResNet-9 (Zhu et al. 2017) is untrained: its time does not depend on its weights. All
take turns, so that whatever else the machine does slows all. OMP_NUM_THREADS sets the number of
threads.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Hashable, Sequence

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from cyclegan.model.networks import ResnetGenerator
from cyclegan.model.translator import Translator
from cyclegan.simulation.phantom import draw_slice
from cyclegan.simulation.simulate import simulate_pair

SIDES = (256, 512)  # pixels of the square input
WARM_UP = 2  # calls that are not counted: the first ones allocate and choose kernels
BATCHES = (1, 2, 4, 8, 16)  # slices at a time

# What a start costs, measured in a process of its own.
START = """
import json, sys, time
begun = time.perf_counter()
import numpy as np
from cyclegan import Translator
imported = time.perf_counter()
translator = Translator.from_pretrained(sys.argv[1])
loaded = time.perf_counter()
translator.cycle(np.random.default_rng(0).random((256, 256), np.float32), to="T2")
first = time.perf_counter()
from peak_memory import peak_bytes
memory = peak_bytes()
translator.cycle(np.random.default_rng(0).random((48, 256, 256), np.float32), to="T2")
print(json.dumps({"import": imported - begun, "load": loaded - imported, "first": first - loaded,
                  "memory": memory, "volume": peak_bytes()}))
"""


def count_macs(network: nn.Module, size: int) -> int:
    """Multiply-accumulates of one forward pass of a (1, 1, size, size) image.

    Convolutions, matrix products and attention; element-wise work is not counted.
    """
    device = next(network.parameters()).device
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 1, size, size, device=device))
    return counter.get_total_flops() // 2  # a multiply-accumulate is two operations


def median_seconds(
    calls: dict[Hashable, Callable[[], object]], repeats: int
) -> dict[Hashable, float]:
    """Median wall-clock seconds of each call, all taking turns, after `WARM_UP` rounds."""
    seconds: dict[Hashable, list[float]] = {key: [] for key in calls}
    for turn in range(WARM_UP + repeats):
        for key, call in calls.items():
            start = time.perf_counter()
            call()
            if turn >= WARM_UP:
                seconds[key].append(time.perf_counter() - start)
    return {key: statistics.median(values) for key, values in seconds.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.model", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--weights", default="weights", metavar="W", help="folder or Hub repo id")
    parser.add_argument("--repeats", type=int, default=10, metavar="N", help="median of this many")
    options = parser.parse_args(arguments)
    try:
        shipped = Translator.from_pretrained(options.weights)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    # The reference runs as its authors' does; ours as it does for a user, and in float32, too.
    resnet = Translator(
        {to: ResnetGenerator() for to in ("T1", "T2")},
        {"size": shipped.size, "version": "untrained", "sha256": ""},
        shipped.device,
        torch.float32,
    )
    plain = Translator(shipped.generators, shipped.config, shipped.device, torch.float32)
    translators = {"ResNet-9, float32": resnet, f"{options.weights}, float32": plain}
    if shipped.precision != torch.float32:
        translators[f"{options.weights}, bfloat16"] = shipped
    print(
        f"torch {torch.__version__}, {shipped.device}, {torch.get_num_threads()} threads, "
        f"grid {shipped.size}x{shipped.size}, median of {options.repeats} after {WARM_UP}"
    )
    print(f"\n{'one generator':<24} {'parameters':>12} {'GMACs':>8}")
    for name, translator in {"ResNet-9": resnet, options.weights: shipped}.items():
        network = translator.generators["T2"]
        count = sum(parameter.numel() for parameter in network.parameters())
        print(f"  {name:<22} {count:12,} {count_macs(network, shipped.size) / 1e9:8.2f}")
    _print_slices(translators, shipped, options.repeats)
    _print_volume(shipped, options.repeats)
    command = [sys.executable, "-c", START, str(options.weights)]
    where = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    answer = subprocess.run(command, env=where, check=True, capture_output=True, text=True)
    start = json.loads(answer.stdout)
    print(
        f"fresh process: import {start['import']:.1f} s, load {start['load']:.1f} s, "
        f"first result {start['first']:.2f} s; peak memory {start['memory'] / 1e6:.0f} MB for a "
        f"slice, {start['volume'] / 1e6:.0f} MB for 48"
    )


def _print_slices(translators: dict[str, Translator], shipped: Translator, repeats: int) -> None:
    """Time for one slice, alone and with its cycle, and what a chosen style adds to it."""
    reference = next(iter(translators))
    for side in SIDES:
        pair = simulate_pair(draw_slice(seed=0, size=side), np.random.default_rng(0))
        calls: dict[Hashable, Callable[[], object]] = {}
        for name, translator in translators.items():
            calls[name, "once"] = lambda t=translator, x=pair.t1: t.translate(x, to="T2")
            calls[name, "cycle"] = lambda t=translator, x=pair.t1: t.cycle(x, to="T2")
        if shipped.has_styles:
            style = shipped.style(pair.t2, contrast="T2")
            calls["style"] = lambda x=pair.t1, s=style: shipped.cycle(x, to="T2", style=s)
        seconds = median_seconds(calls, repeats)
        title = f"{side}x{side} input"
        print(f"\n{title:<24} {'translate':>12} {'translate + cycle':>19} {'ResNet-9 takes':>17}")
        for name in translators:
            once, cycle = seconds[name, "once"], seconds[name, "cycle"]
            print(
                f"  {name:<22} {1000 * once:9.0f} ms {1000 * cycle:16.0f} ms "
                f"{seconds[reference, 'cycle'] / cycle:11.1f} times"
            )
        if shipped.has_styles:
            share = seconds["style"] / seconds[list(translators)[-1], "cycle"]
            print(f"  with a style, translate + cycle takes {share:.3f} times as long")


def _print_volume(shipped: Translator, repeats: int) -> None:
    """Slices per second by how many go through the network at a time."""
    levels = np.linspace(0.3, 0.7, max(BATCHES))
    rng = np.random.default_rng(0)
    volume = np.stack([simulate_pair(draw_slice(seed=0, level=v), rng).t1 for v in levels])
    prepared = shipped.prepare(volume)
    usual = shipped.batch

    def cycle(batch: int) -> None:
        shipped.batch = batch
        shipped.cycle(volume, to="T2", prepared=prepared)

    calls = {batch: lambda b=batch: cycle(b) for batch in BATCHES}
    seconds = median_seconds(calls, max(1, repeats // 3))
    shipped.batch = usual
    print(f"\n{'slices at a time':<24}" + "".join(f"{batch:8}" for batch in BATCHES))
    rates = "".join(f"{len(volume) / seconds[batch]:8.1f}" for batch in BATCHES)
    print(f"{'translate + cycle, 1/s':<24}{rates}\n")


if __name__ == "__main__":
    main()
