"""Simulation: contrasts as physics has them, varied inputs, clean targets, lesions where drawn."""

from math import exp

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from cyclegan.simulation.phantom import draw_slice
from cyclegan.simulation.simulate import Simulator, simulate_pair
from cyclegan.simulation.tissues import inversion_recovery, read_label_maps, spin_echo

COLUMNS = "labels,tissue,pd,t1_ms,t2_ms,inside_brain"


@pytest.fixture(scope="module")
def labels():
    return draw_slice(3, level=0.5)


def mean_of(image, labels, *codes):
    return image[ndimage.binary_erosion(np.isin(labels, codes))].mean()


def test_tissue_order_of_both_contrasts(labels):
    pair = simulate_pair(labels, np.random.default_rng(0), clean=True)
    white, grey, csf = (
        [mean_of(image, labels, *codes) for image in (pair.t1, pair.t2)]
        for codes in ((2,), (3,), (4,))
    )
    assert white[0] > grey[0] > csf[0]
    assert csf[1] > grey[1] > white[1]
    assert csf[1] > 0.8
    assert csf[0] < 0.25


def test_inputs_vary_and_targets_are_clean(labels):
    first, second = (simulate_pair(labels, np.random.default_rng(s)) for s in (1, 2))
    assert np.abs(first.t1 - second.t1).mean() > 0.01
    air = ndimage.binary_erosion(labels == 0, iterations=4)
    assert first.t1_target[air].max() < 0.02
    assert first.t1[air].std() > first.t1_target[air].std()


def test_a_lesion_is_dark_in_t1_and_bright_in_t2(labels):
    contrasts = []
    for seed in range(8):
        pair = simulate_pair(labels, np.random.default_rng(seed), lesion=True, clean=True)
        inside = pair.lesion & (labels == 2)
        ring = ndimage.binary_dilation(pair.lesion, iterations=8) & ~pair.lesion & (labels == 2)
        if inside.sum() > 30 and ring.sum() > 30:
            contrasts.append([i[inside].mean() - i[ring].mean() for i in (pair.t1, pair.t2)])
    t1, t2 = np.mean(contrasts, axis=0)
    assert len(contrasts) >= 3
    assert t1 < -0.02
    assert t2 > 0.05


def test_batches_repeat_with_the_generator_and_are_finite(labels):
    simulator = Simulator(np.stack([labels, draw_slice(4, level=0.7)]))
    first, second = (simulator.sample(3, 96, torch.Generator().manual_seed(7)) for _ in range(2))
    for name in ("t1", "t2", "t1_target", "t2_target"):
        a, b = getattr(first, name), getattr(second, name)
        assert a.shape == (3, 1, 96, 96)
        assert torch.equal(a, b)
        assert 0 <= a.min() <= a.max() <= 1


def test_stripped_pairs_have_no_scalp(labels):
    simulator = Simulator(labels[None])
    whole, brain = (
        simulator.sample(4, 128, torch.Generator().manual_seed(0), stripped=share, lesions=0.0)
        for share in (0.0, 1.0)
    )
    # Fat is brightest in a whole head and leaves the brain dim; alone, the brain is bright.
    median = [b.t1_target[b.t1_target > 0.2].median() for b in (whole, brain)]
    assert median[1] > 1.2 * median[0]


def test_label_maps_of_different_sizes_are_read_with_their_table(tmp_path, labels):
    Image.fromarray(labels.astype(np.uint16)).save(tmp_path / "a.png")
    Image.fromarray(labels[10:, 20:].astype(np.uint16)).save(tmp_path / "b.png")
    (tmp_path / "tissues.csv").write_text(f"{COLUMNS}\n2 41,white matter,0.7,800,80,1")
    stack, tissues = read_label_maps(tmp_path)
    assert stack.shape == (2, 256, 256)
    assert np.array_equal(stack[0], labels)
    assert tissues[41].t1 == 800
    assert tissues[41].inside_brain


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({}, "no label maps"),
        ({"a.png": None}, r"tissues\.csv is missing"),
        ({"a.png": None, "tissues.csv": f"{COLUMNS}\n2,white,fast,800,80,1\n"},
         r"tissues\.csv, line 2: expected the columns"),
    ],
)  # fmt: skip
def test_what_are_no_label_maps_is_refused_in_a_sentence(tmp_path, labels, files, sentence):
    for name, text in files.items():
        if text is None:
            Image.fromarray(labels).save(tmp_path / name)
        else:
            (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=sentence):
        read_label_maps(tmp_path)


def test_a_tumour_takes_the_place_of_grey_and_white_matter(labels):
    simulator = Simulator(labels[None])
    seen = []
    for seed in range(12):
        rng = torch.Generator().manual_seed(seed)
        pair = simulator.sample(1, 192, rng, lesions=1.0, stripped=0.0)
        inside = ndimage.binary_erosion(pair.lesion[0, 0].numpy(), iterations=3)
        if inside.sum() > 400:
            target = pair.t1_target[0, 0].numpy()[inside]
            seen.append(target.std() / target.mean())
    assert len(seen) >= 4
    assert min(seen) < 0.1  # a mass
    assert max(seen) > 0.15  # tissue that shows through


def test_a_head_beside_the_middle_is_framed():
    labels = np.zeros((2, 128, 128), np.int64)
    labels[0, 10:60, 70:120] = labels[1, 70:120, 10:60] = 3  # top right, bottom left
    plain = {"lesions": 0, "stripped": 0, "degrade": False, "pick": torch.arange(2)}
    pair = Simulator(labels).sample(2, 64, torch.Generator().manual_seed(0), **plain)
    for image in pair.t1_target[:, 0]:
        rows, columns = torch.where(image > 0.1)
        for places in (rows, columns):
            assert places.float().mean() == pytest.approx(31.5, abs=1.5)
        assert len(rows) > 0.4 * 64**2


def test_an_input_has_the_contrast_of_its_target():
    labels = np.stack([draw_slice(seed, 0.5, 128) for seed in range(2)])
    pair = Simulator(labels).sample(12, 64, torch.Generator().manual_seed(1), lesions=0)
    own, others = [], []
    for images, right, wrong in (
        (pair.t1, pair.t1_target, pair.t2_target),
        (pair.t2, pair.t2_target, pair.t1_target),
    ):
        for three in zip(images, right, wrong, pair.brain, strict=True):
            image, *targets = (x[three[-1]] for x in three[:-1])
            for target, found in zip(targets, (own, others), strict=True):
                found.append(float(torch.corrcoef(torch.stack([image, target]))[0, 1]))
    assert min(own) > 0.3
    assert np.mean(own) > 0.8
    assert max(others) < 0.2


def test_signals_are_those_of_the_equations():
    """By hand, for PD 0.7, T1 800 ms and T2 80 ms."""
    tissue = (torch.tensor(0.7), torch.tensor(800.0), torch.tensor(80.0))
    expected = 0.7 * (1 - exp(-500 / 800)) * exp(-12 / 80)
    assert float(spin_echo(*tissue, 500, 12)) == pytest.approx(expected, rel=1e-5)
    expected = 0.7 * abs(1 - 2 * exp(-900 / 800) + exp(-2000 / 800)) * exp(-4 / (0.7 * 80))
    assert float(inversion_recovery(*tissue, 2000, 900, 4)) == pytest.approx(expected, rel=1e-5)
