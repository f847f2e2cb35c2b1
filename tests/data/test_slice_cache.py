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
from many_volumes import memory_of_loading, write_volumes
from PIL import Image

from cyclegan.data import decoding, slice_cache, stripping
from cyclegan.data.dataset import SliceDataset
from cyclegan.data.inventory import take_inventory
from cyclegan.data.slice_cache import CacheError, SliceCache, StoredSlices, concatenate
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
    """Contrast and name of the files that were decoded."""
    names = []

    def read(path):
        names.append(f"{path.parent.name}/{path.name}")
        return read_volume(path)

    read_volume = decoding.read_volume
    monkeypatch.setattr(decoding, "read_volume", read)
    return names


def forbid(*_):
    raise AssertionError("this was known already")


def load(folder, size=SIZE):
    return SliceDataset.load([folder], size, cache=folder.parent / "cache")


def assert_same(one, other):
    assert one.names == other.names
    assert one.skipped == other.skipped
    for c in ("T1", "T2"):
        assert torch.equal(one.slices[c][:], other.slices[c][:])
        assert torch.equal(one.masks[c][:], other.masks[c][:])
        np.testing.assert_array_equal(one.sources[c], other.sources[c])
    rngs = [torch.Generator().manual_seed(7) for _ in range(2)]
    for _ in range(5):
        batches = [dataset.sample(3, rng) for dataset, rng in zip((one, other), rngs, strict=True)]
        for c in ("T1", "T2"):
            assert all(map(torch.equal, batches[0][c], batches[1][c]))


# The same data, decoded once


def test_a_filled_cache_gives_the_same_to_the_last_bit_and_reads_nothing(folder, monkeypatch):
    fresh = SliceDataset.load([folder], SIZE)
    assert_same(load(folder), fresh)
    monkeypatch.setattr(decoding, "read_volume", forbid)
    monkeypatch.setattr(slice_cache, "content_of", forbid)
    assert_same(load(folder), fresh)


@pytest.mark.parametrize(
    "key",
    [3, slice(1, 7, 2), [5, 0, 5], torch.tensor([1, 6]), [], np.arange(8) > 3, (slice(3), 0, 4, 7)],
)
def test_stored_slices_are_indexed_like_a_tensor(tmp_path, key):
    slices = torch.rand(8, 1, 9, 9, generator=torch.Generator().manual_seed(0)).half()
    heads = slices > 0.5  # 81 bits: not whole bytes
    with SliceCache(tmp_path, 9) as cache:
        files = [
            cache.slices(str(n), lambda n=n: (slices[n : n + 4], heads[n : n + 4])) for n in (0, 4)
        ]
    stacks = (concatenate(stacks) for stacks in zip(*files, strict=True))
    for tensor, stored in zip((slices, heads), stacks, strict=True):
        assert torch.equal(stored[key], tensor[key])
        assert (len(stored), stored.shape, stored.dtype) == (8, tensor.shape, tensor.dtype)


def change_one_and_add_one(folder):
    save_slice(folder / "T1" / "a_1.png", 99)
    save_slice(folder / "T2" / "new_0.png", 98)


def touch_and_rename(folder):
    os.utime(folder / "T1" / "a_0.png", ns=(0, 0))
    (folder / "T2" / "a_1.png").rename(folder / "T2" / "a_2.png")


def remove(folder):
    for name in ("T1/a_1.png", "T2/b_scan.nii.gz", "T1/notes.txt"):
        (folder / name).unlink()


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (change_one_and_add_one, ["T1/a_1.png", "T2/new_0.png"]),
        (touch_and_rename, []),
        (remove, []),
    ],
)
def test_only_new_content_is_decoded(folder, decoded, change, names):
    load(folder)
    assert {*decoded} >= {f"{c}/{n}" for c in ("T1", "T2") for n in ("a_1.png", "b_scan.nii.gz")}
    change(folder)
    decoded.clear()
    changed = load(folder)
    assert sorted(decoded) == names
    assert_same(changed, SliceDataset.load([folder], SIZE))


def test_equal_files_are_stored_once(folder):
    cache = load(folder).cache
    assert len(list(cache.folder.glob("slices/*"))) == 2 * 3  # and not 2 * 4


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
    folders = {SliceCache(tmp_path, size).folder for size in (48, 64)}
    changes = [
        (preprocess, "HIGH_PERCENTILE", 99.0),
        (preprocess, "FOREGROUND", 0.1),
        (preprocess, "MARGIN", 1.2),
        (preprocess, "EXPORTED", ()),
        (decoding, "SMALLEST_HEAD", 0.0),
    ]
    for module, name, value in changes:
        with monkeypatch.context() as changed:
            changed.setattr(module, name, value)
            changed.setattr(slice_cache, "recipe", decoding.recipe.__wrapped__)
            folders.add(SliceCache(tmp_path, 48).folder)
    assert len(folders) == 2 + len(changes)


# Whatever happens

KILLED = """
import os, signal, sys
from pathlib import Path
from cyclegan.data import slice_cache
from cyclegan.data.dataset import SliceDataset

write, calls = Path.write_bytes, []

def killed(path, data):
    calls.append(path)
    if len(calls) == 10:  # a few for each file
        write(path, data[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    return write(path, data)

Path.write_bytes, slice_cache.THREADS = killed, 1
SliceDataset.load([sys.argv[1]], int(sys.argv[2]), cache=sys.argv[3])
"""
LOAD = "import sys; from cyclegan.data.dataset import SliceDataset\n"
LOAD += "SliceDataset.load([sys.argv[1]], int(sys.argv[2]), cache=sys.argv[3])"


def start(code, folder, **options):
    arguments = [sys.executable, "-c", code, folder, str(SIZE), folder.parent / "cache"]
    return subprocess.Popen(arguments, cwd=ROOT, **options)


def test_a_kill_loses_only_the_file_in_work(folder, decoded):
    assert start(KILLED, folder).wait(120) == -signal.SIGKILL
    after = load(folder)
    assert not list(after.cache.folder.glob("parts/*"))
    assert not {"T1/a_0.png", "T1/a_1.png"} & {*decoded}
    assert_same(after, SliceDataset.load([folder], SIZE))


def test_processes_fill_one_cache_in_turns(folder):
    with SliceCache(folder.parent / "cache", SIZE):
        first = start(LOAD, folder, stderr=subprocess.PIPE)
        second = start(LOAD, folder, stderr=subprocess.PIPE)
        for process in (first, second):
            assert any(b"waiting for another process" in line for line in process.stderr)
    for process in (first, second):
        process.communicate(timeout=120)
        assert process.returncode == 0
    assert_same(load(folder), SliceDataset.load([folder], SIZE))


def test_a_full_disk_is_one_sentence_and_what_is_there_stays(folder, decoded, monkeypatch):
    monkeypatch.setattr(slice_cache, "THREADS", 1)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, old[1]))  # two slices of 128 x 128
    try:
        with pytest.raises(CacheError, match=r"disk is full; 1000 slices take 33 MiB: make room"):
            load(folder, 128)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    decoded.clear()
    filled = load(folder, 128)
    assert not {"T1/a_0.png", "T1/a_1.png"} & {*decoded}
    assert_same(filled, SliceDataset.load([folder], 128))


def test_a_folder_that_cannot_be_written_is_one_sentence(folder):
    (folder.parent / "cache").write_text("a file where the folder should be")
    with pytest.raises(CacheError, match=r"cannot be cached there .* choose a folder"):
        load(folder)


@pytest.mark.parametrize("damage", [b"", b"{", b"other content " * 100])
@pytest.mark.parametrize("kind", ["files", "slices", "arrays"])
def test_what_is_damaged_is_made_anew(folder, tmp_path, kind, damage):
    dataset = load(folder)
    expected = take_inventory([folder], None, tmp_path / "run", cache=dataset.cache)
    for path in dataset.cache.folder.glob(f"{kind}/*"):
        path.write_bytes(damage or path.read_bytes()[:-9])
    assert_same(load(folder), SliceDataset.load([folder], SIZE))
    assert take_inventory([folder], None, tmp_path / "run", cache=dataset.cache) == expected


# What else is cached


@pytest.fixture
def masker(monkeypatch):
    """The middle of the head stands for its brain."""

    def masks(masker, images):
        heads = decoding.head_masks(images)
        return -torch.nn.functional.max_pool2d(-heads.float(), 11, 1, 5) > 0.5

    monkeypatch.setattr(stripping, "brain_masks", masks)
    return torch.nn.Linear(2, 2)


def test_stripped_copies_are_made_once(folder, masker, monkeypatch):
    fresh = SliceDataset.load([folder], SIZE)
    added = fresh.add_stripped(masker)
    assert added == ["data/a, stripped", "data/b, stripped"]
    cached = load(folder)
    assert cached.add_stripped(masker) == added
    assert_same(cached, fresh)

    other = load(folder)
    other.add_stripped(torch.nn.Linear(2, 2))  # another masker makes other copies
    assert other.slices["T1"].paths[-1] != cached.slices["T1"].paths[-1]

    monkeypatch.setattr(stripping, "brain_masks", forbid)
    monkeypatch.setattr(stripping, "cut_to_brain", forbid)
    again = load(folder)
    again.add_stripped(masker)
    assert_same(again, fresh)
    assert isinstance(again.slices["T1"], StoredSlices)


def test_the_inventory_is_the_same_and_decodes_nothing(folder, tmp_path, decoded, monkeypatch):
    pairs = tmp_path / "pairs"
    for k, contrast in enumerate(("T1", "T2")):
        save_slice(pairs / contrast / "x_0.png", 50 + k)
    expected = take_inventory([folder], pairs, tmp_path / "without")
    cache = load(folder).cache
    decoded.clear()
    assert take_inventory([folder], pairs, tmp_path / "run", cache=cache) == expected
    assert decoded == ["T1/x_0.png", "T2/x_0.png"]
    monkeypatch.setattr(decoding, "read_volume", forbid)
    monkeypatch.setattr(slice_cache, "content_of", forbid)
    assert take_inventory([folder], pairs, tmp_path / "run", cache=cache) == expected
    for example in (tmp_path / "without" / "examples").iterdir():
        assert example.read_bytes() == (tmp_path / "run/examples" / example.name).read_bytes()


def test_data_larger_than_memory_is_not_read_into_memory(tmp_path):
    write_volumes(tmp_path / "data", 12, slices=24, side=64)
    for _ in range(2):
        memory = memory_of_loading(tmp_path / "data", tmp_path / "cache", 256)
    assert memory["data"] > 30
    assert memory["grown"] < 0.1 * memory["data"]
