"""Pairs are found by name, framed and moved alike; what does not fit is said in a sentence."""

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

import train
from cyclegan.data import stripping
from cyclegan.data.dataset import DataError
from cyclegan.data.paired_slices import PairedSlices
from cyclegan.simulation.augment import RandomStream
from cyclegan.simulation.phantom import draw_slice
from cyclegan.simulation.simulate import simulate_pair
from cyclegan.training.samples import move_pairs


def write_pairs(folder, names=("anna_0", "anna_1", "ben_0"), size=64):
    """T1/ and T2/ of simulated heads, the T2 of each with its partner's name."""
    for k, name in enumerate(names):
        pair = simulate_pair(draw_slice(k, 0.5, size), np.random.default_rng(k), clean=True)
        for contrast in ("T1", "T2"):
            (folder / contrast).mkdir(parents=True, exist_ok=True)
            pixels = (255 * getattr(pair, contrast.lower())).astype(np.uint8)
            Image.fromarray(pixels).save(folder / contrast / f"{name}.png")
    return folder


@pytest.fixture
def folder(tmp_path):
    return write_pairs(tmp_path / "pairs")


def test_pairs_are_read_by_name_and_share_one_frame(folder):
    (folder / "T2" / "zoe_0.png").write_bytes((folder / "T2" / "ben_0.png").read_bytes())
    # A head that is larger in T2 alone must not be enlarged in T1 alone.
    t1 = np.asarray(Image.open(folder / "T1" / "anna_0.png")).copy()
    t1[:, :24] = 0
    Image.fromarray(t1).save(folder / "T1" / "anna_0.png")
    pairs = PairedSlices.load([folder], 64)
    assert len(pairs) == 3
    assert pairs.names == ["pairs/anna", "pairs/ben"]
    assert pairs.skipped == ["T2/zoe_0.png: no file of this name in the other contrast"]
    first = {c: pairs.slices[c][0, 0].float() for c in ("T1", "T2")}
    dark = (first["T1"] == 0) & (first["T2"] > 0.1)
    columns = torch.where(dark.any(0))[0]
    assert columns.min() < 24 < 64 - columns.max()  # the part that was cut off, and only that


def test_pairs_are_framed_in_millimetres(tmp_path):
    for contrast in ("T1", "T2"):
        (tmp_path / contrast).mkdir()
        ball = np.hypot(*np.mgrid[-1.2:1.2:40j, -1.2:1.2:80j])[None] < 1  # 80 columns of 1 mm
        image = nib.Nifti1Image(ball.T * np.float32(9), np.diag([-1, -2, 4, 1]))  # 40 rows of 2 mm
        nib.save(image, tmp_path / contrast / "a.nii.gz")
    mask = PairedSlices.load([tmp_path], 48).masks["T1"][0, 0]
    assert abs(int(mask.any(0).sum()) - int(mask.any(1).sum())) <= 1


def test_what_does_not_fit_is_said(folder, tmp_path, capsys):
    (tmp_path / "half" / "T1").mkdir(parents=True)
    with pytest.raises(DataError, match=r"half: expected the two folders .* equal file names"):
        PairedSlices.load([tmp_path / "half"], 32)
    other = write_pairs(tmp_path / "other", ["anna_0"])
    (other / "T2" / "anna_0.png").rename(other / "T2" / "anna_00.png")
    message = r"other: no name occurs in both \(T1/anna_0.png, T2/anna_00.png\); a pairs folder"
    with pytest.raises(DataError, match=message):
        PairedSlices.load([other], 32)
    small = Image.open(folder / "T2" / "anna_0.png").resize((40, 50))
    small.save(folder / "T2" / "anna_0.png")
    (folder / "T1" / "anna_1.png").write_bytes(b"no image")
    pairs = PairedSlices.load([folder], 32)
    assert len(pairs) == 1
    assert "anna_0.png: T1 is 1x64x64 but T2 is 1x50x40" in pairs.skipped[0]
    assert "anna_1.png" in pairs.skipped[1]
    (folder / "T1" / "ben_0.png").unlink()
    with pytest.raises(DataError, match="no usable pair; first problem: "):
        PairedSlices.load([folder], 32)
    command = ["--pairs", tmp_path / "none", "--out", tmp_path / "run", "--steps", 1]
    assert train.main([*map(str, command), "--precision", "no"]) == 1
    said = capsys.readouterr().err.strip()
    assert said.startswith("train.py: ")
    assert "none: no such folder" in said
    assert "\n" not in said


def test_both_contrasts_move_alike():
    marks = torch.zeros(3, 1, 64, 64)
    marks[0, :, 20:26, 40:48], marks[1, :, 30:34, 10:20], marks[2, :, 12:15, 30:33] = 0.5, 0.5, 0.5
    both = {"T1": marks, "T2": marks * 0.5}
    heads = dict.fromkeys(both, torch.ones(3, 1, 64, 64, dtype=torch.bool))
    rng = RandomStream(3, torch.Generator().manual_seed(0))
    moved, masks = move_pairs(both, heads, 64, rng)
    assert torch.allclose(moved["T1"] * 0.5, moved["T2"], atol=1e-6)
    assert torch.equal(masks["T1"], masks["T2"])
    assert (moved["T1"] - marks).abs().mean() > 0.002


def test_large_sources_count_by_their_square_root(tmp_path):
    names = [f"anna_{k}" for k in range(4)] + ["ben_0"]
    pairs = PairedSlices.load([write_pairs(tmp_path / "pairs", names, 48)], 32)
    assert pairs.source_weights() == pytest.approx([2 / 3, 1 / 3])


class Middle(torch.nn.Module):
    """A masker that takes the middle of every slice for brain."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x):
        axis = torch.linspace(-1, 1, x.shape[-1])
        return (axis[:, None] ** 2 + axis**2 < 0.3).float().expand(x.shape)


def test_a_stripped_copy_is_that_of_its_own_pair():
    # Heads with a stripe in the brain each, in another row for every pair; one has no copy.
    axis = torch.linspace(-1, 1, 64)
    head = (axis[:, None] ** 2 + axis**2 < 0.9).float()
    stacks = {c: 0.5 * head.expand(4, 1, 64, 64).clone() for c in ("T1", "T2")}
    for k, row in enumerate((22, 28, 34, 40)):
        stacks["T1"][k, :, row : row + 3], stacks["T2"][k, :, row : row + 3] = 1.0, 0.1
    for c in stacks:
        stacks[c] = (stacks[c] * head).half()
    heads = dict.fromkeys(stacks, (head > 0).expand(4, 1, 64, 64).clone())
    heads["T1"][1] = False  # nothing but brain: not to be stripped
    heads["T2"][1] = False
    pairs = PairedSlices(stacks, heads, np.array([0, 0, 0, 0]), ["a"])
    assert pairs.add_stripped(Middle()) == 3
    rows = {}
    for row, copy in pairs.copies.items():
        bright = copy.images["T1"][0, 0, :, 32].float().argmax().item()
        assert copy.images["T2"][0, 0, bright, 32] < 0.5
        assert torch.equal(copy.masks["T1"], copy.masks["T2"])
        assert 0.5 < copy.images["T1"].max() <= 1  # windowed again
        assert copy.images["T1"][~copy.masks["T1"]].float().mean() < 0.02
        rows[row] = bright
    assert sorted(rows) == [0, 2, 3]
    assert rows[0] < rows[2] - 8 < rows[3] - 16
    for seed in range(12):  # and it takes the place of that pair, half of the time
        streams = [torch.Generator().manual_seed(seed) for _ in range(2)]
        whole, half = pairs.sample([streams[0]], 0.0), pairs.sample([streams[1]], 1.0)
        which = int((whole.images["T1"] == stacks["T1"].float()).flatten(1).all(1).nonzero()[0])
        expected = pairs.copies.get(which, whole)
        assert torch.equal(half.images["T1"], expected.images["T1"].float())


def test_the_command_trains_on_pairs_reports_them_and_resumes(
    folder, tmp_path, capsys, monkeypatch
):
    settings = ["--size", "48", "--start-size", "32", "--batch", "2"]
    settings += ["--pairs", str(folder), "--labelmaps", "phantom", "--precision", "no"]
    settings += ["--val", str(folder), "--out", str(tmp_path / "run")]
    monkeypatch.setattr(train, "PHANTOMS", 2)
    monkeypatch.setattr(stripping, "STEPS", 1)
    assert train.main([*settings, "--steps", "1"]) == 0
    assert train.main([*settings, "--steps", "2", "--resume"]) == 0
    (folder / "T1" / "ben_0.png").unlink()
    assert train.main([*settings, "--steps", "3", "--resume"]) == 1
    said = capsys.readouterr()
    assert "3 pairs of slices from pairs/anna, pairs/ben" in said.out
    assert "pairs pairs/ben: 1 pairs then, absent now" in said.err
    page = (tmp_path / "run" / "report.html").read_text()
    assert "3 pairs of real slices" in page
    assert "Leak: " in page  # they are those it is judged by
