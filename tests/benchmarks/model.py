"""How long a reader waits: the shipped generators beside ResNet-9, in one process.

    python -m benchmarks.model [--weights W] [--repeats N] [--training]

Both run through `Translator`, so scaling, framing and the way back are counted too. ResNet-9
(Zhu et al. 2017) is untrained: its time does not depend on its weights. All take turns, so that
whatever else the machine does slows all. OMP_NUM_THREADS sets the number of threads. --training
adds what `python -m benchmarks.training` prints.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

import numpy as np
import torch
from benchmarks import training as training_benchmark
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from cyclegan.model.checkpoint import WEIGHTS
from cyclegan.model.hub import weights_folder
from cyclegan.model.networks import ResnetGenerator
from cyclegan.model.translator import Translator
from cyclegan.simulation.phantom import draw_slice
from cyclegan.simulation.simulate import simulate_pair

SIDES = (256, 512)  # pixels of the square input
WARM_UP = 2  # calls that are not counted: the first ones allocate and choose kernels
BATCHES = (1, 2, 4, 8, 16)  # slices at a time
MATRIX = 2048  # side of the matrices whose product shows what the machine can do
NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}

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


def count_parameters(network: nn.Module) -> int:
    """Number of trainable values in `network`."""
    return sum(parameter.numel() for parameter in network.parameters())


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


def cold_start(weights: str | Path) -> dict[str, float]:
    """What a fresh process needs until its first result.

    Returns:
        Seconds for "import", "load" and "first" (translate + cycle of a 256x256 slice); bytes of
        resident "memory" at most until then, and until a "volume" of 48 such slices is done, too.
    """
    command = [sys.executable, "-c", START, str(weights)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(answer.stdout)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.model", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--weights", default="weights", metavar="W", help="folder or Hub repo id")
    parser.add_argument("--repeats", type=int, default=10, metavar="N", help="median of this many")
    parser.add_argument("--training", action="store_true", help="steps per second of training, too")
    options = parser.parse_args(arguments)
    if options.repeats < 1:
        parser.error(f"--repeats {options.repeats}: 1 or more would work")
    try:
        shipped = Translator.from_pretrained(options.weights)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    # The reference runs as its authors' does; ours as it does for a reader, and in float32, too.
    translators = {(options.weights, shipped.precision): shipped}
    if shipped.precision != torch.float32:
        translators[options.weights, torch.float32] = Translator(
            shipped.generators, shipped.config, shipped.device, torch.float32
        )
    for precision in sorted({torch.float32, shipped.precision}, key=str, reverse=True):
        translators["ResNet-9", precision] = Translator(
            {to: ResnetGenerator() for to in ("T1", "T2")},
            {"size": shipped.size, "version": "untrained", "sha256": ""},
            shipped.device,
            precision,
        )
    print(
        f"torch {torch.__version__}, {shipped.device}, {torch.get_num_threads()} threads, "
        f"grid {shipped.size}x{shipped.size}, median of {options.repeats} after {WARM_UP}"
    )
    macs = _print_size(translators, shipped)
    cycles = _print_slices(translators, shipped, options.repeats)
    _print_limit(translators, macs, cycles, options.repeats)
    if shipped.has_styles:
        _print_style(shipped, options.repeats)
    _print_volume(shipped, options.repeats)
    start = cold_start(options.weights)
    print(
        f"fresh process: import {start['import']:.1f} s, load {start['load']:.1f} s, "
        f"first result {start['first']:.2f} s"
    )
    print(
        f"peak memory: {start['memory'] / 1e6:.0f} MB for a slice, "
        f"{start['volume'] / 1e6:.0f} MB for 48"
    )
    file = weights_folder(options.weights) / WEIGHTS
    if file.is_file():
        print(f"{file}: {file.stat().st_size / 1e6:.2f} MB, both generators")
    if options.training:
        print()
        training_benchmark.main([])


def _label(key: tuple[str, torch.dtype]) -> str:
    return f"{key[0]}, {NAMES[key[1]]}"


def _print_size(translators: dict[tuple, Translator], shipped: Translator) -> dict[str, int]:
    """Parameters and multiply-accumulates of each network; returns the latter by name."""
    macs = {}
    print(f"\n{'one generator':<24} {'parameters':>12} {'GMACs':>8}")
    for (name, _), translator in translators.items():
        if name in macs:
            continue
        network = translator.generators["T2"]
        macs[name] = count_macs(network, shipped.size)
        print(f"  {name:<22} {count_parameters(network):12,} {macs[name] / 1e9:8.2f}")
    return macs


def _print_slices(
    translators: dict[tuple, Translator], shipped: Translator, repeats: int
) -> dict[tuple, float]:
    """Time for one slice; returns seconds of translate + cycle at the first of `SIDES`."""
    calls = {}
    for side in SIDES:
        image = simulate_pair(draw_slice(seed=0, size=side), np.random.default_rng(0)).t1
        for key, translator in translators.items():
            calls[key, side, "translate"] = lambda t=translator, x=image: t.translate(x, to="T2")
            calls[key, side, "cycle"] = lambda t=translator, x=image: t.cycle(x, to="T2")
    seconds = median_seconds(calls, repeats)
    reference = ("ResNet-9", torch.float32)
    for side in SIDES:
        slice_ = f"{side}x{side} input"
        print(f"\n{slice_:<24} {'translate':>12} {'translate + cycle':>19} {'ResNet-9 takes':>17}")
        slow = seconds[reference, side, "cycle"]
        for key in translators:
            once, cycle = seconds[key, side, "translate"], seconds[key, side, "cycle"]
            print(
                f"  {_label(key):<22} {1000 * once:9.0f} ms {1000 * cycle:16.0f} ms "
                f"{slow / cycle:11.1f} times"
            )
    return {key: seconds[key, SIDES[0], "cycle"] for key in translators}


def _print_limit(
    translators: dict[tuple, Translator],
    macs: dict[str, int],
    cycles: dict[tuple, float],
    repeats: int,
) -> None:
    """What the arithmetic alone needs, at the rate of a product of large matrices."""
    print(f"\n{'arithmetic limit':<24} {'GMAC/s':>8} {'limit':>9} {'times the limit':>17}")
    for key, translator in translators.items():
        name, precision = key
        matrix = torch.randn(MATRIX, MATRIX, device=translator.device, dtype=precision)
        [seconds] = median_seconds({0: lambda m=matrix: _wait_for(m @ m)}, repeats).values()
        rate = MATRIX**3 / seconds
        limit = 2 * macs[name] / rate  # there and back
        print(
            f"  {_label(key):<22} {rate / 1e9:8.0f} {1000 * limit:6.1f} ms "
            f"{cycles[key] / limit:17.1f}"
        )


def _print_style(shipped: Translator, repeats: int) -> None:
    """What a chosen style adds to the time of one slice."""
    rng = np.random.default_rng(0)
    pair = simulate_pair(draw_slice(seed=0, size=SIDES[0]), rng)
    style = shipped.style(pair.t2, contrast="T2")
    seconds = median_seconds(
        {
            chosen: lambda c=chosen: shipped.cycle(pair.t1, to="T2", style=c)
            for chosen in (None, style)
        },
        repeats,
    )
    share = seconds[style] / seconds[None]
    print(f"\nwith a style, translate + cycle takes {share:.3f} times as long")


def _wait_for(product: torch.Tensor) -> None:
    if product.is_cuda:
        torch.cuda.synchronize()


def _print_volume(shipped: Translator, repeats: int) -> None:
    """Slices per second by how many go through the network at a time."""
    levels = np.linspace(0.3, 0.7, max(BATCHES))
    rng = np.random.default_rng(0)
    volume = np.stack([simulate_pair(draw_slice(seed=0, level=v), rng).t1 for v in levels])
    prepared = shipped.prepare(volume)
    usual = shipped.batch
    calls = {}
    for batch in BATCHES:

        def cycle(batch: int = batch) -> None:
            shipped.batch = batch
            shipped.cycle(volume, to="T2", prepared=prepared)

        calls[batch] = cycle
    seconds = median_seconds(calls, max(1, repeats // 3))
    shipped.batch = usual
    print(f"\n{'slices at a time':<24}" + "".join(f"{batch:8}" for batch in BATCHES))
    rates = "".join(f"{len(volume) / seconds[batch]:8.1f}" for batch in BATCHES)
    print(f"{'translate + cycle, 1/s':<24}{rates}\n")


if __name__ == "__main__":
    main()
