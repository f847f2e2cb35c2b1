"""Numbered pictures: the number that differs from slice to slice orders them, and nothing else."""

import random

import pytest

from cyclegan.reading.numbered import stacks_of


def stacks(names):
    """The stacks of names that came in no order."""
    names = random.Random(0).sample(names, len(names))
    groups = stacks_of(names, [0] * len(names))
    return sorted([names[at] for at in group] for group in groups)


@pytest.mark.parametrize(
    "names",
    [
        [f"slice_{n:03}_T1" for n in range(8)],
        [f"img{n:03}_256x256" for n in range(1, 12)],
        [f"z_{n}mm" for n in (0, 2.5, 5, 7.5, 10, 12.5)],
        [f"z_{n}" for n in (-20, -15, -10, -5, 0, 5, 10, 15)],
        [f"z{n}" for n in (-20, -10, 0, 10)],
        [f"z_{n}" for n in (-20, -15, -10, -5)],
        [f"z_{n}" for n in (-7.5, -5, -2.5, 0, 2.5)],
        ["z_−20", "z_-10", "z_0", "z_+10"],
        ["z=−2,5mm", "z=0mm", "z=2,5mm"],
        ["z_0.25", "z_0.5", "z_0.75"],
        [f"slice-{n}" for n in range(1, 12)],
        [f"2024-01-05_{n:02}" for n in range(4)],
        [f"IM-0001-{n:04}" for n in range(1, 30)],
        [f"1.2.840.1.{n}" for n in range(1, 30)],
        [f"scan1.{n}" for n in range(8, 12)],
        ["z_0_0", "z_2_5", "z_5_0", "z_7_5"],
        ["z_0p5mm", "z_1p0mm", "z_1p5mm", "z_2p0mm"],
        ["z_0_5mm", "z_1_0mm", "z_1_5mm", "z_2_0mm"],
        [f"T1_{n}of20" for n in range(1, 21)],
        [f"T1w_t{n}_2mm" for n in range(1, 12)],
        [f"slice_{n}_z_{2.5 * n - 10}" for n in range(9)],
        [f"slice_{n}_2024010112{n // 2:04}" for n in range(9)],
        [str(n) for n in range(1, 12)],
        [f"T2 brain {n:02} (copy)" for n in range(8, 12)],
        [f"patient_{n}" for n in range(1, 5)],
    ],
)
def test_one_stack_in_order(names):
    assert stacks(names) == [names]


@pytest.mark.parametrize(
    "expected",
    [
        [[f"slice_{n:03}_T{c}" for n in range(8)] for c in (1, 2)],
        [[f"T{c}_{n:03}" for n in range(8)] for c in (1, 2)],
        [[f"T1_{n:03}" for n in range(8)], [f"T2_{n:03}" for n in range(8, 16)]],
        [[f"sub-{s:02}_slice-{n:03}_T1w" for n in range(8)] for s in (1, 2, 3)],
        [[f"p{s:02}_{n}" for n in range(3)] for s in range(20)],
        [[f"{n:03}_{e}" for n in range(20)] for e in (1, 2, 3)],
        [[f"a{s}_{n}" for n in range(8 * s, 8 * s + 8)] for s in (1, 2)],
        [[f"s{s}_slice{n}_z{2.5 * n + s}" for n in range(9)] for s in (1, 2)],
        [[f"IM-{s:04}-{n:04}" for n in range(1, 30)] for s in (1, 2)],
        [[f"T1_TE{e}_sl{n}" for n in range(1, 12)] for e in (10, 90)],
        [[f"anna113_{n:03}_T2" for n in range(9)], [f"bert04_{n:03}_T2" for n in range(9)]],
    ],
)
def test_several_stacks_stay_several(expected):
    assert stacks([name for stack in expected for name in stack]) == sorted(expected)


def test_names_without_a_number_and_repeated_numbers_are_no_stack():
    assert stacks(["a", "b", "c"]) == []
    assert stacks(["z_1", "z_01", "z_001"]) == []
