"""Implanted lesions: contrasts of T1 and T2 that belong together, as those of real ones do."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from cyclegan.simulation.augment import RandomStream
from cyclegan.simulation.lesions import LesionBank, implant_lesions


@pytest.fixture(scope="module")
def brains():
    """(8, 1, 192, 192): T1 and T2 of smooth brains, bright and dark in the same places reversed,
    and their masks."""
    rng = torch.manual_seed(0)
    axis = torch.linspace(-1.1, 1.1, 192)
    mask = (axis[:, None] ** 2 + axis**2 < 1).float().expand(8, 1, 192, 192)
    noise = torch.randn(8, 1, 24, 24, generator=rng)
    waves = torch.nn.functional.interpolate(noise, (192, 192), mode="bicubic").clamp(-2, 2)
    t2 = (0.35 - 0.1 * waves) * mask
    t2[..., 92:100, 40:60] = 1.0  # fluid
    return (0.55 + 0.1 * waves) * mask, t2, mask


def contrasts(brains, bank=None, seeds=6):
    """(T1, T2) contrast of each lesion as `evaluation.metrics` measures it, over several seeds."""
    t1, t2, mask = brains
    measured = []
    for seed in range(seeds):
        rng = RandomStream(8, torch.Generator().manual_seed(seed))
        implanted = implant_lesions(t1, t2, mask, "T2", rng, bank)
        for source, target, lesion in zip(*(x[:, 0].numpy() for x in implanted[:3]), strict=True):
            parts, count = ndimage.label(lesion > 0.45)
            near = ndimage.binary_dilation(parts > 0, iterations=2)
            for k in range(1, count + 1):
                inside = parts == k
                ring = ndimage.binary_dilation(inside, iterations=6) & ~near & (source > 0)
                if min(inside.sum(), ring.sum()) >= 20:
                    measured.append([(x[inside].mean() - x[ring].mean()) / x[source > 0].std()
                                  for x in (source, target)])  # fmt: skip
    return np.array(measured)


def test_t2_contrast_follows_t1_contrast_as_in_real_lesions(brains):
    measured = contrasts(brains)
    assert len(measured) > 50
    slope, level = np.polyfit(*measured.T, 1)
    assert -1.2 < slope < -0.4  # real: -0.75
    assert 0.6 < level < 1.4  # real: 1.01
    t1, t2 = np.median(measured, 0)
    assert -0.7 < t1 < -0.15
    assert 0.8 < t2 < 1.7  # real: 1.16; in 0.9.0 0.75
    assert (measured[:, 1] > 0).mean() > 0.9


def bank_file(path, t1=-1.0, t2=1.5, **changes):
    y, x = np.mgrid[-1:1:32j, -1:1:32j]
    lesion = np.hypot(x, y) < 0.45
    texture = np.random.default_rng(0).normal(0, 0.1, (2, 3, 32, 32)) + 0.1
    heights = {"t1": t1, "t2": t2, "flair": 3}
    arrays = {name: texture + height * lesion for name, height in heights.items()}
    np.savez(path, **{k: v.astype(np.float16) for k, v in arrays.items()} | changes)
    return path


def test_a_bank_gives_lesions_of_its_contrasts_that_fade_at_the_patch_s_edge(tmp_path):
    bank = LesionBank.load(bank_file(tmp_path / "bank.npz"))
    assert len(bank) == 6  # two lesions of three planes
    t1, t2, masks = bank.patches.unbind(1)
    inside = masks > 0.9
    assert t1[inside].mean() == pytest.approx(-1.0, abs=0.1)
    assert t2[inside].mean() == pytest.approx(1.5, abs=0.1)
    assert masks[:, 0].max() == masks[:, :, -1].max() == 0
    seeds = torch.tensor([64 * 32 + 32, 0, 64 * 64 - 1])
    canvas = bank.sample(RandomStream(3, torch.Generator().manual_seed(0)), seeds, 64)
    assert canvas.shape == (3, 3, 64, 64)
    y, x = torch.where(canvas[0, 2] > 0.5)
    assert abs(y.float().mean() - 32) < 3
    assert abs(x.float().mean() - 32) < 3


def test_bank_lesions_are_implanted_in_both_contrasts(brains, tmp_path):
    bank = LesionBank.load(bank_file(tmp_path / "bank.npz", t1=-0.8, t2=2.4))
    with_bank, without = contrasts(brains, bank, 3), contrasts(brains, None, 3)
    assert len(with_bank) > 20
    strongest = [np.percentile(m[:, 1], 90) for m in (with_bank, without)]
    assert strongest[0] != strongest[1]
    assert (with_bank[:, 1] > 0).mean() > 0.9


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda p: None, "no such file"),
        (lambda p: p.write_bytes(b"no archive"), "not a file of lesions; expected .npz"),
        (lambda p: np.savez(p, t1=np.zeros(3)), "not a file of lesions"),
        (lambda p: bank_file(p, flair=np.zeros((2, 3, 8, 8))), "differ in shape"),
        (lambda p: bank_file(p, t1=1.0), "no lesion in it is dark in T1 and bright in T2"),
    ],
)  # fmt: skip
def test_what_is_no_bank_is_said(tmp_path, make, sentence):
    path = tmp_path / "bank.npz"
    make(path)
    with pytest.raises(ValueError, match=sentence):
        LesionBank.load(path)
