"""Training data: the three folder layouts, bad files among good ones, balanced unpaired drawing."""

import nibabel as nib
import numpy as np
import pytest
import torch
from dicom_files import SAGITTAL, mr_image, saved
from PIL import Image
from pydicom.uid import generate_uid
from stored_slices import dataset_of

from cyclegan.data.dataset import DataError, SliceDataset
from cyclegan.simulation.phantom import draw_slice, draw_volume


def write_slices(folder, names):
    folder.mkdir(parents=True)
    for k, name in enumerate(names):
        labels = draw_slice(k, level=0.5, size=96)
        Image.fromarray((labels % 251).astype(np.uint8)).save(folder / name)


@pytest.mark.parametrize(
    "layout", [("T1", "T2"), ("trainA", "trainB"), ("Tr1/TrainT1", "Tr2/TrainT2")]
)
def test_layouts_are_recognised(tmp_path, layout):
    for folder in layout:
        write_slices(tmp_path / folder, ["a_1.png", "b_1.png"])
    dataset = SliceDataset.load([tmp_path], size=64)
    assert dataset.slices["T1"].shape == dataset.slices["T2"].shape == (2, 1, 64, 64)
    assert dataset.names == [f"{tmp_path.name}/a", f"{tmp_path.name}/b"]
    assert dataset.slices["T1"][:].max() == 1


def test_volumes_are_sliced_and_their_empty_ends_left_out(tmp_path):
    for contrast in ("T1", "T2"):
        (tmp_path / contrast).mkdir()
        volume = (draw_volume(1, slices=6, size=64) % 251).astype(np.int16)
        volume[0] = 0
        nib.save(
            nib.Nifti1Image(volume.transpose(2, 1, 0)[:, ::-1], np.eye(4)),
            tmp_path / contrast / "scan.nii.gz",
        )
    dataset = SliceDataset.load([tmp_path], size=64)
    assert len(dataset.slices["T1"]) == 5


def test_unreadable_files_are_skipped_and_listed(tmp_path):
    for contrast in ("T1", "T2"):
        write_slices(tmp_path / contrast, ["a_1.png"])
    (tmp_path / "T1" / "notes.txt").write_text("not an image")
    (tmp_path / "T2" / "cut.png").write_bytes((tmp_path / "T2" / "a_1.png").read_bytes()[:100])
    dataset = SliceDataset.load([tmp_path], size=64)
    assert len(dataset.skipped) == 2
    assert any("notes.txt" in s for s in dataset.skipped)
    assert any("cut.png" in s for s in dataset.skipped)


def test_missing_folder_layout_or_contrast_is_said(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        SliceDataset.load([tmp_path / "nowhere"], size=64)
    write_slices(tmp_path / "T1", ["a_1.png"])
    with pytest.raises(DataError, match="trainA and trainB"):
        SliceDataset.load([tmp_path], size=64)
    (tmp_path / "T2").mkdir()
    with pytest.raises(DataError, match="no readable T2 image"):
        SliceDataset.load([tmp_path], size=64)


def dataset_with(counts_t1, counts_t2):
    names = [f"s{k}" for k in range(len(counts_t1))]
    sources = {
        c: np.repeat(np.arange(len(names)), n) for c, n in (("T1", counts_t1), ("T2", counts_t2))
    }
    slices = {c: torch.from_numpy(s).half()[:, None, None, None] / 10 for c, s in sources.items()}
    return dataset_of(slices, sources, names)


def test_sources_are_drawn_alike_in_both_contrasts():
    # 400 and 100 T1 slices against 100 and 400 T2 slices: drawn plainly, D would learn the source.
    dataset = dataset_with([400, 100], [100, 400])
    rng = torch.Generator().manual_seed(0)
    drawn = dataset.sample(2000, rng)
    shares = [np.bincount(drawn[c].sources.numpy(), minlength=2) / 2000 for c in ("T1", "T2")]
    np.testing.assert_array_equal(*shares)
    assert shares[0][0] == pytest.approx(0.5, abs=0.05)
    for images, _, source in drawn.values():  # the slice is of the source that it says
        np.testing.assert_allclose(images[:, 0, 0, 0], source / 10, atol=1e-3)


def test_one_sided_sources_are_used_a_little():
    dataset = dataset_with([100, 50], [100, 0])
    drawn = dataset.sample(4000, torch.Generator().manual_seed(0))
    assert (drawn["T1"].sources == 1).float().mean() == pytest.approx(1 / 8, abs=0.03)
    assert (drawn["T2"].sources == 1).sum() == 0


def test_disjoint_sources_still_work():
    drawn = dataset_with([10, 0], [0, 10]).sample(50, torch.Generator().manual_seed(0))
    assert set(drawn["T1"].sources.tolist()) == {0}
    assert set(drawn["T2"].sources.tolist()) == {1}


def head(seed, slices=34):
    """(Z, H, W) int16, foot to head, of random texture inside a drawn head."""
    labels = draw_volume(seed, slices=slices, size=48)
    texture = np.random.default_rng(seed).integers(300, 999, labels.shape)
    return ((labels > 0) * texture).astype(np.int16)


def save_sagittal_series(folder, volume, spare=()):
    """The sagittal slices of an axial (Z, H, W) volume at 2 mm, scattered over two folders."""
    series = generate_uid()
    for index, image in enumerate([*volume.transpose(2, 0, 1)[:, ::-1], *spare]):
        dataset = mr_image(image, SAGITTAL, (2 * index, 0, 0), (2, 2))
        dataset.SeriesInstanceUID, dataset.InstanceNumber = series, index + 1
        dataset.EchoTime = 9 if index < volume.shape[2] else 99
        (folder / f"part{index % 2}").mkdir(parents=True, exist_ok=True)
        saved(folder / f"part{index % 2}", dataset, f"IM_{index:04}")


def test_a_folder_of_dicom_trains_as_its_nifti_does(tmp_path):
    volumes = {"T1": head(1), "T2": head(2)}
    for contrast, volume in volumes.items():
        volume[0] = 0  # an empty end
        second_echo = volume.transpose(2, 0, 1)[:1]
        save_sagittal_series(tmp_path / "dicom" / contrast, volume, second_echo)
        (tmp_path / "nifti" / contrast).mkdir(parents=True)
        image = nib.Nifti1Image(volume.transpose(2, 1, 0), np.diag([-2, -2, 2, 1]))
        nib.save(image, tmp_path / "nifti" / contrast / "scan.nii.gz")
    for _ in range(2):  # from the files, then from the cache
        dicom, nifti = (
            SliceDataset.load([tmp_path / kind], size=48, cache=tmp_path / "cache")
            for kind in ("dicom", "nifti")
        )
        for c in ("T1", "T2"):
            assert torch.equal(dicom.slices[c][:], nifti.slices[c][:])
            assert len(dicom.slices[c]) == 33
        assert "1 volumes, 0 single slices, of them 1 from 49 files" in dicom.made[0]
        assert "1 other images in these series not taken" in dicom.made[0]
        assert dicom.made[0].endswith("; 33 slices")
        assert dicom.names == ["dicom"]


def test_each_file_is_read_once_through_links_and_pairs(tmp_path):
    for k, contrast in enumerate(("T1", "T2")):
        write_slices(tmp_path / "elsewhere" / contrast, ["a_1.png"])
        (tmp_path / "data" / contrast).mkdir(parents=True)
        link = tmp_path / "data" / contrast / "linked"
        link.symlink_to(tmp_path / "elsewhere" / contrast)
        (link / "loop").symlink_to(tmp_path / "data" / contrast)
        pair = nib.Nifti1Pair(head(k, 5).transpose(2, 1, 0), np.diag([-2, -2, 2, 1]))
        nib.save(pair, tmp_path / "data" / contrast / "b_scan.hdr")
    dataset = SliceDataset.load([tmp_path / "data"], size=48)
    assert {c: len(s) for c, s in dataset.slices.items()} == {"T1": 6, "T2": 6}
    assert dataset.skipped == []


def test_masks_beside_their_image_are_left_out(tmp_path):
    for k, contrast in enumerate(("T1", "T2")):
        (tmp_path / contrast).mkdir()
        volume = head(k, 5)
        for name, values in (("scan", volume), ("lesions", (volume > 800).astype(np.uint8))):
            image = nib.Nifti1Image(values.transpose(2, 1, 0), np.diag([-2, -2, 2, 1]))
            nib.save(image, tmp_path / contrast / f"{name}.nii.gz")
    dataset = SliceDataset.load([tmp_path], size=48)
    assert len(dataset.slices["T1"]) == 5
    assert len(dataset.skipped) == 2
    assert dataset.skipped[0].startswith("lesions.nii.gz: few whole numbers beside an image")
    assert "1 volumes, 0 single slices, 1 left out; 5 slices" in dataset.made[0]
