"""A step's samples are dealt out completely; random numbers are of one sample and purpose."""

import pytest
import torch

from cyclegan.training.sharing import Share, stream


@pytest.mark.parametrize(("batch", "parts"), [(4, 1), (1, 4), (3, 2)])
def test_every_place_is_dealt_once(batch, parts):
    shares = Share.deal(0, 7, batch, parts)
    assert sorted(p for s in shares for p in s.places) == list(range(batch * parts))
    assert {len(s) for s in shares} == {batch}
    assert sum(s.weight for s in shares) == pytest.approx(1)
    for start, stop in ((0, 0), (0, 1), (1, 4), (2, batch * parts)):
        some = [s.part(start, stop) for s in shares]
        assert sorted(p for s in some for p in s.positions) == list(range(stop - start))
        assert sum(s.weight for s in some) == pytest.approx(1.0 if stop > start else 0.0)
        assert max(map(len, some)) - min(map(len, some)) <= 1


def test_a_stream_is_of_one_seed_step_purpose_and_place():
    keys = [(0, 5, "slices", 2), (1, 5, "slices", 2), (0, 6, "slices", 2), (0, 5, "pairs", 2),
            (0, 5, "slices", 3)]  # fmt: skip
    first, again = ([torch.rand((), generator=stream(*key)).item() for key in keys] for _ in "ab")
    assert first == again
    assert len(set(first)) == len(keys)
