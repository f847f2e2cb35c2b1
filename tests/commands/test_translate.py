"""The command: whole folders, results that are complete or absent, and no patient in them."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from archive_files import files_below, save_nifti, save_series
from PIL import Image

from cyclegan.batch import translation
from cyclegan.batch.jobs import Job, Refused, find_jobs
from cyclegan.model.translator import Translator
from cyclegan.simulation.phantom import draw_volume
from cyclegan.translate import main


@pytest.fixture(scope="module")
def head() -> np.ndarray:
    """(3, 64, 64) int16, something like a head."""
    return (draw_volume(2, slices=3, size=64) % 251).astype(np.int16)


def results(tmp_path: Path) -> set[str]:
    return set(files_below(tmp_path / "out"))


def planned(*inputs: Path, out: Path) -> tuple[list[Job], list[Refused]]:
    jobs = list(find_jobs(inputs, out))
    return [f for f in jobs if isinstance(f, Job)], [f for f in jobs if isinstance(f, Refused)]


def test_finishes_past_a_bad_file_and_lists_it(run, tmp_path, head, capsys):
    save_nifti(tmp_path / "in/v.nii.gz", head)
    (tmp_path / "in/broken.nii.gz").write_bytes(b"nothing")
    Image.fromarray(head[1].astype(np.uint16)).save(tmp_path / "slice.png")
    assert run(tmp_path / "in", tmp_path / "slice.png", tmp_path / "gone.nii") == 1
    printed = capsys.readouterr().err
    assert "broken.nii.gz" in printed
    assert "gone.nii" in printed
    assert results(tmp_path) == {
        *("v_synthetic-T2.nii.gz", "slice_synthetic-T2.nii.gz", "slice_synthetic-T2.png")
    }
    picture = Image.open(tmp_path / "out/slice_synthetic-T2.png")
    assert picture.text["Direction"] == "T1 to T2"
    header = nib.load(tmp_path / "out/slice_synthetic-T2.nii.gz").header
    assert picture.text["Weights-SHA256"] in header.extensions[0].get_content().decode()


def test_a_second_run_keeps_what_is_there_and_force_replaces_it(run, tmp_path, head, capsys):
    save_nifti(tmp_path / "in/a.nii", head)
    assert run(tmp_path / "in") == 0
    done = tmp_path / "out/a_synthetic-T2.nii.gz"
    done.write_bytes(b"mine")
    save_nifti(tmp_path / "in/b.nii", head)
    capsys.readouterr()
    assert run(tmp_path / "in") == 0
    assert "--force" in capsys.readouterr().out
    assert done.read_bytes() == b"mine"
    assert (tmp_path / "out/b_synthetic-T2.nii.gz").stat().st_size > 1000
    assert run(tmp_path / "in", options=("--force",)) == 0
    assert nib.load(done).shape == (64, 64, 3)


def test_an_interrupted_run_leaves_no_half_result_and_goes_on(run, tmp_path, head, monkeypatch):
    save_series(tmp_path / "in/a", head)
    save_series(tmp_path / "in/b", head)
    with monkeypatch.context() as patch:
        real = translation._write

        def interrupted(path: Path, data: bytes) -> None:
            if path.name.startswith("b"):
                path.with_name(f".{path.name}.part").write_bytes(data[:100])
                raise KeyboardInterrupt
            real(path, data)

        patch.setattr(translation, "_write", interrupted)
        assert run(tmp_path / "in") == 130
    before = (tmp_path / "out/a_synthetic-T2.nii.gz").stat().st_mtime_ns
    assert not (tmp_path / "out/b_synthetic-T2.nii.gz").exists()
    assert run(tmp_path / "in") == 0
    assert (tmp_path / "out/a_synthetic-T2.nii.gz").stat().st_mtime_ns == before
    assert nib.load(tmp_path / "out/b_synthetic-T2.nii.gz").shape == (64, 64, 3)
    assert not [name for name in results(tmp_path) if ".part" in name]


@pytest.mark.parametrize("keep", [False, True])
def test_derived_dicom_names_its_sources_and_the_patient_only_where_told(
    run, tmp_path, head, keep, capsys
):
    sources = sorted(map(pydicom.dcmread, save_series(tmp_path / "in/study", head)),
                     key=lambda source: source.ImagePositionPatient[2])  # fmt: skip
    assert run(tmp_path / "in", options=("--keep-identity",) if keep else ()) == 0
    assert ("Patient's Name" in capsys.readouterr().out) != keep
    folder = tmp_path / "out/study_synthetic-T2_dicom"
    for path, source in zip(sorted(folder.iterdir()), sources, strict=True):
        dataset = pydicom.dcmread(path)
        assert dataset.ImagePositionPatient == source.ImagePositionPatient
        reference = dataset.SourceImageSequence[0].ReferencedSOPInstanceUID
        assert reference == source.SOPInstanceUID
        assert (b"Mustermann" in path.read_bytes()) == keep
        assert (dataset.StudyInstanceUID == "1.2.3") == keep


@pytest.mark.parametrize(
    ("files", "inputs", "bases", "count"),
    [  # what there is, what is named, names of results, and how many are refused
        ("in/a.nii in/a.png", "in", "a.nii a.png", 0),  # only their endings differ
        ("x/a.nii y/a.nii", "x/a.nii y/a.nii", "", 2),  # neither is overwritten
        ("x/a.nii y/a.nii", "x y", "x/a y/a", 0),
        ("bern/im/a.nii basel/im/a.nii", "bern/im basel/im", "bern/im/a basel/im/a", 0),
        ("in/a.nii in/b.nii in/a/ in/b/c.nii", "in", "a.nii a b b/c", 0),  # a/ is a series
        ("in/a.hdr", "in", "a", 0),  # with its .img
        ("x/1.2.84.10 y/1.2.84.11", "x y", "x/1.2.84.10 y/1.2.84.11", 0),  # DICOM named by UIDs
        ("in/anna/d1/t1.nii in/.b/t1.nii in/anna/d1/t1.json", "in", "anna/d1/t1", 0),
        # Of a patient's disc its images alone.
        ("d/IM/ d/logo.png d/IM/title.png d/AUTORUN.INF d/viewer.exe d/d.ico", "d", "IM", 0),
    ],
)
def test_results_have_names_of_their_own(tmp_path, head, files, inputs, bases, count):
    for name in files.split():
        path = tmp_path / name
        if name.endswith("/"):
            save_series(path, head)
        elif path.name.startswith("1.2"):
            save_series(path.parent, head[:1], names=[path.name])
        elif name.endswith(".png"):
            Image.fromarray(head[1].astype(np.uint16)).save(path)
        elif ".nii" in name or ".hdr" in name:
            save_nifti(path, head)
        else:
            path.write_bytes(b"MZ")
    jobs, refused = planned(*(tmp_path / name for name in inputs.split()), out=tmp_path / "out")
    assert sorted(str(job.base) for job in jobs) == sorted(bases.split())
    assert len(refused) == count


def test_folders_are_searched_while_the_first_jobs_are_at_work(tmp_path, head):
    for name in "abc":
        save_nifti(tmp_path / f"in/{name}/v.nii", head)
    jobs = find_jobs([tmp_path / "in"], tmp_path / "out")
    assert next(jobs).base == Path("a/v")
    save_nifti(tmp_path / "in/c/found_late.nii", head)
    assert [str(job.base) for job in jobs] == ["b/v", "c/found_late", "c/v"]


def test_weights_that_are_missing_stop_it_at_once(tmp_path, capsys):
    arguments = [str(tmp_path), "--to", "T2", "--out", str(tmp_path / "out")]
    assert main([*arguments, "--weights", str(tmp_path / "none")]) == 2
    assert "no such weights folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("source", ["out", "."])
def test_results_in_the_source_folder_are_no_sources(run, tmp_path, head, source):
    top = tmp_path / "archive" / source
    out = tmp_path / "archive/out"
    save_nifti(top / "a.nii.gz", head)
    save_nifti(top / "b_synthetic-T2.nii.gz", head)  # named as a result, and none
    save_series(top / "study", head)
    assert run(top, out=out) == 0
    first = set(files_below(out))
    assert {"b_synthetic-T2_synthetic-T2.nii.gz", "study_synthetic-T2_dicom/0001.dcm"} <= first
    assert run(top, out=out, options=("--force",)) == 0
    assert set(files_below(out)) == first


def test_a_name_without_room_for_endings_is_shortened(run, tmp_path, head):
    for ending in ("a", "b"):
        save_nifti(tmp_path / "in" / f"{'ü' * 120}{ending}.nii.gz", head)
    assert run(tmp_path / "in") == 0
    names = results(tmp_path)
    assert len(names) == 2
    assert all(name.startswith("ü" * 90) and len(name.encode()) < 256 for name in names)


def test_a_style_is_followed_and_named_and_a_wrong_contrast_is_refused(tmp_path, head, capsys):
    from cyclegan.model.checkpoint import export_weights
    from cyclegan.model.networks import UNetGenerator
    from cyclegan.simulation.phantom import draw_slice
    from cyclegan.simulation.simulate import simulate_pair

    torch.manual_seed(0)
    options = {"channels": (8, 16), "style": 4}
    networks = {c: UNetGenerator(**options) for c in ("T1", "T2")}
    for network in networks.values():
        torch.nn.init.normal_(network.film.weight, std=0.5)
        torch.nn.init.normal_(network.head.weight, std=0.5)
    weights = export_weights(tmp_path / "w", networks, generator="unet",
                             generator_options=options, size=64, version="test")  # fmt: skip
    for name in ("checks.json", "checks.safetensors"):
        shutil.copy(Path(__file__).parents[2] / "weights" / name, weights)
    pair = simulate_pair(draw_slice(3, level=0.5), np.random.default_rng(3))
    for name, image in (("T1", pair.t1), ("T2", pair.t2)):
        Image.fromarray((image * 255).astype(np.uint8)).save(tmp_path / f"MEYER_{name}.png")
    source, reference = tmp_path / "MEYER_T1.png", tmp_path / "MEYER_T2.png"
    command = [str(source), "--to", "T2", "--weights", str(weights), "--out"]

    assert main([*command, str(tmp_path / "plain")]) == 0
    assert main([*command, str(tmp_path / "styled"), "--style", str(reference)]) == 0
    plain, styled = (
        Image.open(tmp_path / out / "MEYER_T1_synthetic-T2.png") for out in ("plain", "styled")
    )
    assert np.abs(np.asarray(plain, int) - np.asarray(styled, int)).max() > 3
    assert styled.text["Style"] == "of a given scan"  # and not the file's name
    assert "Style" not in plain.text

    Translator.from_pretrained(weights).style(pair.t2, "T2", name="ours").save(tmp_path / "l.json")
    assert main([*command, str(tmp_path / "saved"), "--style", str(tmp_path / "l.json")]) == 0
    assert Image.open(tmp_path / "saved" / "MEYER_T1_synthetic-T2.png").text["Style"] == "ours"
    assert main([*command, str(tmp_path / "wrong"), "--style", str(source)]) == 2
    assert "looks like T1, not like T2" in capsys.readouterr().err


def test_a_series_over_two_folders_is_one_volume(tmp_path, head):
    volume = np.concatenate([head, head])
    paths = save_series(tmp_path / "one", volume)
    (tmp_path / "ones").mkdir()
    moved = [path.rename(tmp_path / "ones" / path.name) for path in paths[:3]]
    save_series(tmp_path / "three", head)
    ways = (  # as folders, below one folder, file by file
        [tmp_path / "one", tmp_path / "ones", tmp_path / "three"],
        [tmp_path],
        [*paths[3:], *moved, *(tmp_path / "three").iterdir()],
    )
    for inputs in ways:
        jobs, refused = planned(*inputs, out=tmp_path / "out")
        assert refused == []
        assert {job.base.name: len(job.files) for job in jobs} == {"one": 6, "three": 3}
