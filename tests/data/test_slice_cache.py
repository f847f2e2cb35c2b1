"""The cache of slices: the same data as without, each file decoded once, whatever happens."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from many_volumes import measured_apart, write_volumes
from PIL import Image

from cyclegan.data import decoded_files, framed_slices, slice_cache, stripping
from cyclegan.data.dataset import SliceDataset
from cyclegan.data.inventory import take_inventory
from cyclegan.data.mapped_slices import MappedSlices, RowFile
from cyclegan.data.slice_cache import CacheError, SliceCache
from cyclegan.model import preprocess
from cyclegan.simulation.phantom import draw_slice, draw_volume

SIZE = 48
ROOT = Path(__file__).parents[2]


def save_slice(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = draw_slice(seed, level=0.5, size=64) % 251
    Image.fromarray(labels.astype(np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path):
    """A volume and two slices of each contrast, one of them twice, and a file that is no image."""
    data = tmp_path / "data"
    for k, contrast in enumerate(("T1", "T2")):
        for n in range(2):
            save_slice(data / contrast / f"a_{n}.png", 10 * k + n)
        shutil.copy(data / contrast / "a_0.png", data / contrast / "b_0.png")
        volume = (draw_volume(k, slices=5, size=64) % 251).astype(np.int16)
        image = nib.Nifti1Image(volume.transpose(2, 1, 0)[:, ::-1], np.eye(4))
        nib.save(image, data / contrast / "b_scan.nii.gz")
    (data / "T1" / "notes.txt").write_text("not an image")
    return data


@pytest.fixture
def decoded(monkeypatch):
    """Names of the files that were decoded, in order."""
    names = []

    def read(path):
        names.append(path.name)
        return read_volume(path)

    read_volume = decoded_files.read_volume
    monkeypatch.setattr(decoded_files, "read_volume", read)
    return names


def forbid(*_):
    raise AssertionError("this was known already")


def load(folder):
    return SliceDataset.load([folder], SIZE, cache=folder.parent / "cache")


def assert_same(one, other):
    assert one.names == other.names
    assert one.skipped == other.skipped
    for c in ("T1", "T2"):
        assert one.slices[c].shape == other.slices[c].shape
        assert one.slices[c].dtype == other.slices[c].dtype == torch.float16
        assert torch.equal(one.slices[c][:], other.slices[c][:])
        assert torch.equal(one.masks[c][:], other.masks[c][:])
        np.testing.assert_array_equal(one.sources[c], other.sources[c])
    rngs = [torch.Generator().manual_seed(7) for _ in range(2)]
    for _ in range(5):
        drawn = [dataset.draw(3, rng) for dataset, rng in zip((one, other), rngs, strict=True)]
        for c in ("T1", "T2"):
            assert all(map(torch.equal, drawn[0][c], drawn[1][c]))


# The same data


def test_cached_slices_are_those_in_memory_to_the_last_bit(folder):
    in_memory = SliceDataset.load([folder], SIZE)
    assert_same(load(folder), in_memory)
    assert_same(load(folder), in_memory)


@pytest.mark.parametrize(
    "key",
    [
        *(3, -1, slice(1, 7, 2), [5, 0, 5], np.array([2, 4]), torch.tensor([1, 6]), []),
        *(np.arange(8) > 3, (slice(None), 0), (np.array([1, 2]), 0, 5), (2, 0)),
        (slice(0, 3), 0, slice(2, 4), 7),
    ],
)
def test_mapped_slices_are_indexed_like_a_tensor(tmp_path, key):
    rng = torch.Generator().manual_seed(0)
    for dtype in (torch.float16, torch.bool):
        stack = (torch.rand(8, 1, 9, 9, generator=rng) * 2).to(dtype)  # 81 bits: not whole bytes
        file = RowFile(tmp_path / "rows", 9, dtype)
        file.path.write_bytes(b"")
        file.write(1, stack)
        mapped = MappedSlices(file, 1 + np.arange(8))
        assert torch.equal(mapped[key], stack[key])
        assert mapped.shape == stack.shape
        assert len(mapped) == 8


# Once


def test_a_second_start_opens_no_file(folder, monkeypatch):
    before = load(folder)
    for name in ("read_volume", "file_digest"):
        monkeypatch.setattr(decoded_files, name, forbid)
    assert_same(load(folder), before)


def test_only_what_changed_is_decoded_again(folder, decoded):
    load(folder)
    assert sorted(decoded) == sorted([*["a_0.png", "a_1.png", "b_scan.nii.gz"] * 2, "notes.txt"])
    decoded.clear()
    save_slice(folder / "T1" / "a_1.png", 99)
    save_slice(folder / "T2" / "new_0.png", 98)
    changed = load(folder)
    assert sorted(decoded) == ["a_1.png", "new_0.png"]
    assert_same(changed, SliceDataset.load([folder], SIZE))


def test_a_touched_or_renamed_file_is_read_but_not_decoded(folder, decoded):
    before = load(folder)
    decoded.clear()
    os.utime(folder / "T1" / "a_0.png", ns=(0, 0))
    (folder / "T2" / "a_1.png").rename(folder / "T2" / "a_2.png")
    assert_same(load(folder), before)
    assert decoded == []


def test_removed_files_disappear(folder):
    load(folder)
    (folder / "T1" / "a_1.png").unlink()
    (folder / "T2" / "b_scan.nii.gz").unlink()
    (folder / "T1" / "notes.txt").unlink()
    after = load(folder)
    assert_same(after, SliceDataset.load([folder], SIZE))
    assert after.skipped == []


def test_equal_files_are_stored_once(folder):
    dataset = load(folder)
    a, b = (dataset.names.index(f"data/{name}") for name in "ab")
    for contrast in ("T1", "T2"):
        rows = dataset.slices[contrast].rows
        assert rows[dataset.sources[contrast] == a][0] == rows[dataset.sources[contrast] == b][0]
    stored = len({*dataset.slices["T1"].rows, *dataset.slices["T2"].rows})
    assert dataset.slices["T1"].file.path.stat().st_size == stored * SIZE * SIZE * 2
    assert stored < len(dataset.slices["T1"]) + len(dataset.slices["T2"])


def test_an_unreadable_file_is_remembered_under_its_own_name(folder, decoded):
    shutil.copy(folder / "T1" / "notes.txt", folder / "T1" / "copy.txt")
    first = load(folder).skipped
    assert [sentence.split(":")[0] for sentence in first] == ["copy.txt", "notes.txt"]
    decoded.clear()
    assert load(folder).skipped == first
    assert decoded == []


def test_the_other_half_of_a_pair_is_part_of_the_content(folder, decoded):
    for seed in (1, 2):  # the headers are equal, the images are not
        volume = (draw_volume(seed, slices=3, size=64) % 251).astype(np.int16)
        pair = nib.Nifti1Pair(volume, np.eye(4))
        nib.save(pair, folder / "T1" / f"p{seed}_scan.img")
        (folder / "T1" / f"p{seed}_scan.hdr").write_bytes(pair.header.binaryblock + bytes(4))
    assert_same(load(folder), SliceDataset.load([folder], SIZE))
    decoded.clear()
    image = folder / "T1" / "p1_scan.img"
    image.write_bytes(image.read_bytes()[::-1])
    changed = load(folder)
    assert len(decoded) == 1
    assert_same(changed, SliceDataset.load([folder], SIZE))


def test_another_grid_or_another_scaling_shares_nothing(tmp_path, monkeypatch):
    known = {SliceCache(tmp_path, size).folder for size in (48, 64)}
    assert len(known) == 2
    for room, name, value in (
        (preprocess, "HIGH_PERCENTILE", 99.0),
        (preprocess, "FOREGROUND", 0.1),
        (preprocess, "MARGIN", 1.2),
        (preprocess, "EXPORTED", ()),
        (framed_slices, "SMALLEST_HEAD", 0.0),
    ):
        with monkeypatch.context() as changed:
            changed.setattr(room, name, value)
            changed.setattr(slice_cache, "recipe", framed_slices.recipe.__wrapped__)
            found = SliceCache(tmp_path, 48).folder
            assert found not in known, name
            known.add(found)


# Whatever happens

KILLED = """
import os, signal, sys
from cyclegan.data import slice_cache
from cyclegan.data.dataset import SliceDataset
from cyclegan.data.mapped_slices import RowFile

slice_cache.COMMIT_EVERY = 0  # these files take much less than a second
write, calls = RowFile.write, []

def killed(self, start, images):
    write(self, start, images)
    calls.append(start)
    if len(calls) == {call}:
        os.kill(os.getpid(), signal.SIGKILL)

RowFile.write = killed
SliceDataset.load([sys.argv[1]], int(sys.argv[2]), cache=sys.argv[3])
"""


@pytest.mark.parametrize("call", [5, 6])  # of the third file: its slices, and its head masks
def test_a_kill_loses_only_the_file_in_work(folder, decoded, call):
    arguments = [sys.executable, "-c", KILLED.format(call=call), folder, str(SIZE)]
    killed = subprocess.run([*arguments, folder.parent / "cache"], cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL
    assert_same(load(folder), SliceDataset.load([folder], SIZE))
    assert len(decoded) == 7 - 2


def test_two_processes_fill_one_cache_together(folder):
    load_twice = "import sys; from cyclegan.data.dataset import SliceDataset\n"
    load_twice += "SliceDataset.load([sys.argv[1]], int(sys.argv[2]), cache=sys.argv[3])"
    arguments = [sys.executable, "-c", load_twice, folder, str(SIZE), folder.parent / "cache"]
    processes = [subprocess.Popen(arguments, cwd=ROOT) for _ in range(2)]
    assert [process.wait(120) for process in processes] == [0, 0]
    filled = load(folder)
    assert_same(filled, SliceDataset.load([folder], SIZE))
    rows = {*filled.slices["T1"].rows, *filled.slices["T2"].rows}
    assert filled.slices["T1"].file.path.stat().st_size == len(rows) * SIZE * SIZE * 2


def test_a_full_disk_is_one_sentence_and_what_is_there_stays(folder, decoded):
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, old[1]))  # six slices of 128 x 128
    try:
        with pytest.raises(CacheError, match=r"disk is full; about 1 MiB more are needed"):
            SliceDataset.load([folder], 128, cache=folder.parent / "cache")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    decoded.clear()
    filled = SliceDataset.load([folder], 128, cache=folder.parent / "cache")
    assert_same(filled, SliceDataset.load([folder], 128))
    kept = ["a_0.png", "a_1.png"]  # of T1
    assert sorted(kept + decoded) == sorted(
        [*["a_0.png", "a_1.png", "b_scan.nii.gz"] * 2, "notes.txt"]
    )


def test_a_folder_that_cannot_be_written_is_one_sentence(folder):
    (folder.parent / "cache").write_text("a file where the folder should be")
    with pytest.raises(CacheError, match=r"cannot be cached there .* choose a folder"):
        load(folder)


@pytest.mark.parametrize("damage", ["index", "no index", "slices", "masks"])
def test_a_damaged_cache_is_filled_anew(folder, damage):
    inside = load(folder).cache.folder
    if damage == "index":
        (inside / "index.sqlite").write_bytes(b"not a database, but as long as one" * 100)
    elif damage == "no index":
        (inside / "index.sqlite").unlink()
    else:
        os.truncate(inside / {"slices": "pixels.f16", "masks": "heads.bits"}[damage], 1000)
    assert_same(load(folder), SliceDataset.load([folder], SIZE))
    assert_same(load(folder), SliceDataset.load([folder], SIZE))


# What else is kept


@pytest.fixture
def brains(monkeypatch):
    """The middle of the head stands for its brain."""

    def masks(masker, images):
        heads = framed_slices.head_masks(images)
        return -torch.nn.functional.max_pool2d(-heads.float(), 11, 1, 5) > 0.5

    monkeypatch.setattr(stripping, "brain_masks", masks)
    return torch.nn.Linear(2, 2)


def test_stripped_copies_are_those_without_a_cache_and_made_once(folder, brains, monkeypatch):
    in_memory = SliceDataset.load([folder], SIZE)
    added = in_memory.add_stripped(brains)
    assert added == ["data/a, stripped", "data/b, stripped"]
    cached = load(folder)
    assert cached.add_stripped(brains) == added
    assert_same(cached, in_memory)

    monkeypatch.setattr(stripping, "brain_masks", forbid)
    monkeypatch.setattr(stripping, "cut_to_brain", forbid)
    again = load(folder)
    again.add_stripped(brains)
    assert_same(again, in_memory)
    assert isinstance(again.slices["T1"], MappedSlices)


def test_another_masker_makes_other_copies(folder, brains):
    cached = load(folder)
    cached.add_stripped(brains)
    other = load(folder)
    other.add_stripped(torch.nn.Linear(2, 2))
    last = cached.slices["T1"].rows.max()
    assert other.slices["T1"].rows.max() > last


def test_the_report_s_look_at_the_data_is_the_same_and_decodes_nothing(
    folder, tmp_path, decoded, monkeypatch
):
    pairs = tmp_path / "pairs"
    for k, contrast in enumerate(("T1", "T2")):
        save_slice(pairs / contrast / "x_0.png", 50 + k)
    expected = take_inventory([folder], pairs, tmp_path / "without")
    cache = load(folder).cache
    decoded.clear()
    assert take_inventory([folder], pairs, tmp_path / "run", cache=cache) == expected
    assert decoded == ["x_0.png", "x_0.png"]
    for name in ("read_volume", "file_digest"):
        monkeypatch.setattr(decoded_files, name, forbid)
    assert take_inventory([folder], pairs, tmp_path / "run", cache=cache) == expected
    for example in (tmp_path / "without" / "examples").iterdir():
        assert example.read_bytes() == (tmp_path / "run/examples" / example.name).read_bytes()


# Memory


def test_data_larger_than_memory_is_not_held_in_memory(tmp_path):
    write_volumes(tmp_path / "data", 12, slices=24, side=64)
    grown = {}
    for cache in (None, tmp_path / "cache"):
        found = measured_apart(tmp_path / "data", cache, 256, 0)
        grown[cache] = found["peak"] - found["before"]
    again = measured_apart(tmp_path / "data", tmp_path / "cache", 256, 0)
    assert grown[None] > found["data"] > 30
    # Decoding one file takes 60 to 85 MiB for a moment, with or without the cache: the allocator's.
    assert grown[tmp_path / "cache"] < grown[None] - 0.5 * found["data"]
    assert again["peak"] - again["before"] < 0.1 * found["data"]
