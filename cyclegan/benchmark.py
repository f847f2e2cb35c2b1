"""How long a reader waits: the shipped generators beside ResNet-9, in one process.

    python -m cyclegan.benchmark [--weights W] [--repeats N]

Both run through `Translator`, so scaling, framing and the way back are counted too. ResNet-9
(Zhu et al. 2017) is untrained: its time does not depend on its weights. The two take turns, so
that whatever else the machine does slows both. OMP_NUM_THREADS sets the number of threads.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from cyclegan.checkpoint import WEIGHTS
from cyclegan.networks import ResnetGenerator
from cyclegan.phantom import draw_slice
from cyclegan.simulate import simulate_pair
from cyclegan.translate import Translator

SIDES = (256, 512)  # pixels of the square input
WARM_UP = 2  # calls that are not counted: the first ones allocate and choose kernels


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


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m cyclegan.benchmark", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--weights", default="weights", metavar="W", help="folder or Hub repo id")
    parser.add_argument("--repeats", type=int, default=10, metavar="N", help="median of this many")
    options = parser.parse_args(arguments)
    if options.repeats < 1:
        parser.error(f"--repeats {options.repeats}: 1 or more would work")
    try:
        shipped = Translator.from_pretrained(options.weights)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    resnet = Translator(
        {to: ResnetGenerator() for to in ("T1", "T2")},
        {"size": shipped.size, "version": "untrained", "sha256": ""},
        device=shipped.device,
    )
    translators = {options.weights: shipped, "ResNet-9": resnet}
    calls = {}
    for side in SIDES:
        image = simulate_pair(draw_slice(seed=0, size=side), np.random.default_rng(0)).t1
        for name, translator in translators.items():
            calls[name, side, "translate"] = lambda t=translator, x=image: t.translate(x, to="T2")
            calls[name, side, "cycle"] = lambda t=translator, x=image: t.cycle(x, to="T2")
    seconds = median_seconds(calls, options.repeats)

    print(
        f"torch {torch.__version__}, {shipped.device}, {torch.get_num_threads()} threads, "
        f"grid {shipped.size}x{shipped.size}, median of {options.repeats} after {WARM_UP}"
    )
    width = max(map(len, translators))
    print(f"{'one generator':<{width + 2}} {'parameters':>12} {'GMACs':>8}")
    macs = {}
    for name, translator in translators.items():
        network = translator.generators["T2"]
        macs[name] = count_macs(network, shipped.size)
        print(f"  {name:<{width}} {count_parameters(network):12,} {macs[name] / 1e9:8.2f}")
    print(f"  {'ratio':<{width}} {'':12} {macs['ResNet-9'] / macs[options.weights]:8.1f}")
    for side in SIDES:
        print(f"{f'{side}x{side} input':<{width + 2}} {'translate':>12} {'translate + cycle':>19}")
        for name in translators:
            once, cycle = seconds[name, side, "translate"], seconds[name, side, "cycle"]
            print(f"  {name:<{width}} {1000 * once:9.0f} ms {1000 * cycle:16.0f} ms")
        once, cycle = (
            seconds["ResNet-9", side, what] / seconds[options.weights, side, what]
            for what in ("translate", "cycle")
        )
        print(f"  {'ratio':<{width}} {once:12.1f} {cycle:19.1f}")
    file = Path(options.weights) / WEIGHTS
    if file.is_file():
        print(f"{file}: {file.stat().st_size / 1e6:.2f} MB, both generators")


if __name__ == "__main__":
    main()
