"""What the input check learns from is what it is called, and its report counts it right."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cyclegan.release.check_augment import acquire, augment
from cyclegan.release.check_data import Pool, add_paired, add_real, fluid_attenuated, group_of
from cyclegan.release.check_report import measure, reliability
from cyclegan.release.check_simulated import add_simulated, brain_share, newborn_tissues
from cyclegan.release.check_training import SHARES, Sampler
from cyclegan.release.neck import sample_neck, sample_top
from cyclegan.release.negatives import KINDS_OF_PICTURES, sample_negative
from cyclegan.simulation.augment import RandomStream
from cyclegan.simulation.phantom import draw_slice
from cyclegan.simulation.tissues import TISSUES, spin_echo
from cyclegan.trust.checks import KINDS, SIZE


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("clinic_meningioma-00ac64c3.png", "clinic_meningioma"),
        ("clinic-meningioma_1f22.png", "clinic_meningioma"),
        ("albert_n01-030.png", "albert_n01"),
        ("brats18_p02-033.nii.gz", "brats18_p02"),
        ("openms_000f49c8.png", "openms"),
        ("Image 10.png", ""),
    ],
)
def test_a_file_name_tells_the_person(name, group):
    assert group_of(Path(name)) == group


def ellipse(side=64):
    """A head of 1, fluid (2) in its middle."""
    y, x = (np.mgrid[:side, :side] - side / 2 + 0.5) / side
    return (np.hypot(x, y) < 0.42).astype(int) + (np.hypot(x, y) < 0.12)


def write(folder: Path, name: str, image: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.uint8(image)).save(folder / name)


@pytest.fixture
def data(tmp_path):
    """Two groups of T1 and T2, other kinds, and pairs of a group known and a group unknown."""
    t1, t2 = np.array([0, 180, 40])[ellipse()], np.array([0, 80, 250])[ellipse()]
    for name in ("here_a-1.png", "there_b-1.png"):
        write(tmp_path / "train/T1", name, t1)
        write(tmp_path / "train/T2", name, t2)
    for name in ("here_a-1.png", "new_c-1.png"):
        write(tmp_path / "pairs/T1", name, t1)
        write(tmp_path / "pairs/T2", name, t2)
    write(tmp_path / "other/FLAIR", "there_b-2.png", t1)
    write(tmp_path / "other/NEWBORN_T1", "baby_1-1.png", t2)
    write(tmp_path / "other/NEWBORN_T2", "baby_1-1.png", t1)
    return tmp_path


def test_folders_give_kinds_by_person(data):
    pool = Pool()
    add_real(pool, [data / "train"], [data / "other"])
    add_paired(pool, data / "pairs")
    assert {key: len(slices) for key, slices in pool.images.items()} == {
        ("T1", "train/here_a"): 1,
        ("T1", "train/there_b"): 1,
        ("T2", "train/here_a"): 1,
        ("T2", "train/there_b"): 1,
        ("FLAIR", "other/there_b"): 1,
        ("NEWBORN", "other/baby_1"): 2,
        ("FLAIR", "pairs/here_a"): 1,  # their T1 and T2 are there already
        ("FLAIR", "pairs/new_c"): 1,
        ("T1", "pairs/new_c"): 1,
        ("T2", "pairs/new_c"): 1,
    }
    rest, held_out = pool.split(["there", "baby_1"])
    assert {source for _, source in held_out.images} == {
        "train/there_b",
        "other/there_b",
        "other/baby_1",
    }
    assert not {source for _, source in rest.images} & {source for _, source in held_out.images}


def test_a_folder_without_other_kinds_is_refused(tmp_path):
    with pytest.raises(ValueError, match="NEWBORN_T1"):
        add_real(Pool(), [], [tmp_path])


def test_fluid_is_dark_and_tissue_bright_where_attenuated():
    labels = ellipse()
    flair = fluid_attenuated(np.array([0, 180, 40])[labels], np.array([0, 80, 250])[labels])
    middle, tissue = flair[30:34, 30:34].mean(), flair[30:34, 12:18].mean()
    assert middle < 0.2 * tissue


def test_a_newborns_white_matter_is_darker_than_grey_in_t1_and_brighter_in_t2():
    newborn = TISSUES | newborn_tissues(TISSUES)

    def signal(tissues, label, times):
        t = tissues[label]
        return float(spin_echo(*torch.tensor([[t.pd], [t.t1], [t.t2]]), *times))

    for times, sign in (((550, 12), 1), ((4000, 95), -1)):
        adult = signal(TISSUES, 2, times) - signal(TISSUES, 3, times)
        child = signal(newborn, 2, times) - signal(newborn, 3, times)
        assert sign * adult > 0
        assert sign * child < 0
    assert newborn[4] == TISSUES[4]  # fluid is fluid


@pytest.mark.parametrize("seed", range(4))
def test_necks_and_tops_hold_next_to_no_brain(seed):
    rng = np.random.default_rng(seed)
    neck = sample_neck(rng, 128)
    top = sample_top(rng, draw_slice(seed, 0.95, 128), 2.0)
    for labels in (neck, top):
        assert labels.shape == (128, 128)
        assert set(np.unique(labels)) <= set(TISSUES) | {0}
        assert 0.1 < (labels > 0).mean() < 0.9
        assert brain_share(labels[np.newaxis], TISSUES)[0] < 0.03
    assert (neck == 16).any()  # the spinal cord
    np.testing.assert_array_equal(neck, sample_neck(np.random.default_rng(seed), 128))


def test_slices_without_brain_are_outside_and_nothing_else():
    maps = np.stack([sample_neck(np.random.default_rng(1)), draw_slice(3, 0.5)])
    pool = Pool()
    add_simulated(pool, maps, TISSUES, "two", 4, seed=0)
    sources = {kind: {s for k, s in pool.images if k == kind} for kind in KINDS}
    assert "face/two" in sources["OUTSIDE"]
    assert sources["T1"] == sources["NEWBORN"] == {"head/two", "stripped/two"}
    # Every T1 is of the second map: in its middle there is brain, not the air around a neck.
    plain = pool.images["T1", "head/two"]
    assert plain[:, 60:100, 60:100].mean() > 20


def test_a_batch_is_made_of_every_kind():
    assert sum(SHARES.values()) == pytest.approx(1)
    assert list(SHARES) == list(KINDS)
    pool = Pool()
    for place, kind in enumerate(KINDS):
        pool.add(kind, "a", np.full((2, SIZE, SIZE), place / 20))
    images, allowed = Sampler(pool).sample(400, torch.Generator().manual_seed(0))
    kinds = allowed.float().argmax(1)
    assert torch.allclose(images[:, 0, 0, 0], kinds / 20, atol=0.01)
    counts = torch.bincount(kinds, minlength=len(KINDS)) / 400
    assert torch.allclose(counts, torch.tensor(list(SHARES.values())), atol=0.08)


def test_augmented_slices_stay_slices():
    image = torch.from_numpy(ellipse(SIZE) / 2).float()
    batch = image.expand(24, 1, SIZE, SIZE)
    out = [augment(batch, 112, torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    assert out[0].shape == (24, 1, 112, 112)
    assert out[0].min() >= 0
    assert out[0].max() <= 1
    assert torch.equal(out[0], out[1])
    assert not torch.equal(out[0], out[2])
    assert out[0].std(dim=(1, 2, 3)).min() > 0.02  # none is blank
    middle, corner = out[0][:, 0, 50:62, 50:62].mean((1, 2)), out[0][:, 0, :6, :6].mean((1, 2))
    assert (middle > corner).float().mean() > 0.9


def test_fewer_lines_blur_and_the_mean_stays():
    image = torch.from_numpy(ellipse(112) / 2).float().expand(64, 1, 112, 112)

    class FewestLines(RandomStream):
        """The fewest lines for each, no noise, no ghost."""

        def chance(self, probability):
            return torch.full((64,), float(probability == 0.35))

        def uniform(self, low, high, *shape):
            return torch.full((64, *shape), low)

        def normal(self, *shape):
            return torch.zeros(64, *shape)

    out = acquire(image, FewestLines(64, torch.Generator()))
    assert out.mean() == pytest.approx(float(image.mean()), rel=0.02)
    edges = [float(i.diff(dim=-1).abs().max()) for i in (image, out)]
    assert edges[1] < 0.6 * edges[0]


def test_report_names_newborns_and_people(data):
    class Check:
        """Says T2 of everything, but of a newborn's T2."""

        def kind_probabilities(self, framed):
            answers = np.full((len(framed), len(KINDS)), 0.01)
            newborn = framed.mean((1, 2)) > 0.3
            answers[newborn, list(KINDS).index("NEWBORN")] = 0.9
            answers[~newborn, list(KINDS).index("T2")] = 0.9
            return answers

    report = measure(Check(), [data / "train", data / "other"], ("baby", "here"))
    assert set(report["sources"]) == {
        "T1 here_a",
        "T2 here_a",
        "NEWBORN_T1 baby_1",
        "NEWBORN_T2 baby_1",
    }
    assert report["sources"]["NEWBORN_T2 baby_1"]["other"] == 1
    assert report["flagged"] == {"NEWBORN": 0.5}


def test_negatives_fill_their_range():
    rng = np.random.default_rng(1)
    for kind in dict.fromkeys(KINDS_OF_PICTURES):
        picture = kind(rng, 96)
        assert picture.shape == (96, 96), kind.__name__
        assert 0 <= picture.min() <= picture.max() <= 1, kind.__name__
        assert picture.std() > 0.02, kind.__name__
    np.testing.assert_array_equal(*(sample_negative(np.random.default_rng(9)) for _ in range(2)))


def test_reliability_of_a_known_case():
    report = reliability(np.array([0.6, 0.6, 0.97, 0.97]), np.array([True, False, True, True]))
    assert report["ece"] == pytest.approx(0.5 * 0.1 + 0.5 * 0.03)
    assert [row["slices"] for row in report["reliability"]] == [2, 2]
