"""How long a user waits: the shipped generators beside ResNet-9, in one process.

    PYTHONPATH=tests python -m benchmarks.model [--weights W] [--repeats N]

Both run through `Translator`, so scaling, framing and the way back to the slice's matrix are
counted too. ResNet-9 (Zhu et al. 2017) is untrained: its time does not depend on its weights. All
take turns, so that whatever else the machine does slows all. OMP_NUM_THREADS sets the number of
threads.
"""

from __future__ import annotations

import argparse
import statistics
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
    _print_times(translators, options.repeats)


def _print_times(translators: dict[str, Translator], repeats: int) -> None:
    """Time for one slice, alone and with its cycle."""
    reference = next(iter(translators))
    for side in SIDES:
        image = simulate_pair(draw_slice(seed=0, size=side), np.random.default_rng(0)).t1
        calls: dict[Hashable, Callable[[], object]] = {}
        for name, translator in translators.items():
            calls[name, "once"] = lambda t=translator, x=image: t.translate(x, to="T2")
            calls[name, "cycle"] = lambda t=translator, x=image: t.cycle(x, to="T2")
        seconds = median_seconds(calls, repeats)
        title = f"{side}x{side} input"
        print(f"\n{title:<24} {'translate':>12} {'translate + cycle':>19} {'ResNet-9 takes':>17}")
        for name in translators:
            once, cycle = seconds[name, "once"], seconds[name, "cycle"]
            print(
                f"  {name:<22} {1000 * once:9.0f} ms {1000 * cycle:16.0f} ms "
                f"{seconds[reference, 'cycle'] / cycle:11.1f} times"
            )


if __name__ == "__main__":
    main()
