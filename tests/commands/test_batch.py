"""Archives: many workers, any of them killed, and every result there once, as by one process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import psutil  # comes with dask[distributed]
from archive_files import save_series

from cyclegan import batch
from cyclegan.batch import summary, translation
from cyclegan.batch.jobs import Job, count_files, find_jobs
from cyclegan.batch.translation import Network, Options, translate_job
from cyclegan.model.translator import Translator
from cyclegan.simulation.phantom import draw_volume
from cyclegan.translate import main

ROOT = Path(__file__).parents[2]
SERIES = 20


def write_archive(folder: Path, series: int) -> Path:
    """Write `series` small different DICOM series, ten to a patient."""
    head = draw_volume(2, slices=3, size=64) % 251
    rng = np.random.default_rng(0)
    for number in range(series):
        stack = head * rng.uniform(2, 5) + rng.integers(0, 9, head.shape)
        save_series(folder / f"Mustermann_{number // 10}" / f"series{number:03}", stack)
    return folder


def contents(out: Path) -> dict[str, bytes]:
    files = (path for path in out.rglob("*") if path.is_file())
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def wait_for(what, process: subprocess.Popen, seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.02)


def test_killed_workers_and_commands_lose_and_repeat_nothing(export_tiny, tmp_path, capfd):
    archive, weights = write_archive(tmp_path / "in", SERIES), str(export_tiny(64))
    (archive / "Mustermann_1/broken.nii.gz").write_bytes(b"nothing")
    stack = draw_volume(2, slices=3, size=64) % 251
    save_series(archive / "Mustermann_1/ct", stack, Modality="CT")
    save_series(archive / "Mustermann_1/two", stack, stack[:, ::-1])
    arguments = [str(archive), "--to", "T2", "--weights", weights]
    assert main([*arguments, "--out", str(tmp_path / "single")]) == 1
    single = contents(tmp_path / "single")
    out = tmp_path / "out"
    shared = [sys.executable, "-m", "cyclegan.translate", *arguments, "--workers", "2"]

    def results() -> list[Path]:
        return list(out.glob("*/*.nii.gz"))  # not into folders on their way

    process = subprocess.Popen([*shared, "--out", str(out)], cwd=ROOT)
    try:
        wait_for(lambda: len(results()) >= 4, process)
        family = psutil.Process(process.pid).children(recursive=True)
        workers = [child for child in family if "spawn_main" in " ".join(child.cmdline())]
        workers[0].send_signal(signal.SIGKILL)
        wait_for(lambda: len(results()) >= 9, process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    _, alive = psutil.wait_procs(family, timeout=300)
    assert not alive  # no worker outlives its command
    made = {path: path.stat().st_mtime_ns for path in results()}
    assert len(made) < SERIES
    assert main([*arguments, "--out", str(out), "--workers", "2"]) == 1
    assert all(path.stat().st_mtime_ns == when for path, when in made.items())
    (table,) = set(contents(out)) - set(single)
    assert table == "failures.csv"
    assert (out / table).read_text().splitlines()[0] == "failure,files,reason"
    assert {name: data for name, data in contents(out).items() if name != table} == single
    assert len(results()) == SERIES + 2
    printed = capfd.readouterr().err
    assert "broken.nii.gz: this is not an image" in printed
    assert "no MR image, its modality is CT" in printed
    done = f"{SERIES + 2 - len(made)} done, 1 failed, {len(made)} there before, 1 left out"
    assert done in printed


def test_a_result_in_work_elsewhere_is_waited_for(export_tiny, tmp_path):
    options = Options("T2", tmp_path / "out")
    job = Job(tuple(sorted(write_archive(tmp_path / "in", 1).rglob("IM*"))), Path("a"))
    target = options.target(job.base)
    lock = target.with_name(f".{target.name}.lock")
    lock.parent.mkdir()
    holder = (
        "import sys, time; from filelock import FileLock\n"
        "with FileLock(sys.argv[1]): print('locked', flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(lock)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"locked\n"
        network, outcomes = Network(Translator.from_pretrained(export_tiny(64)), 1), []
        threads = [
            threading.Thread(target=lambda: outcomes.append(translate_job(job, options, network)))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        threads[0].join(1)
        assert outcomes == []
        process.kill()
        for thread in threads:
            thread.join()
    assert sorted(len(outcome.written) for outcome in outcomes) == [0, 1]
    assert sorted(len(outcome.existing) for outcome in outcomes) == [0, 1]
    assert not [name for name in os.listdir(target.parent) if name.startswith(".")]


def test_a_lock_of_a_process_killed_at_its_very_end_is_cleared_away(export_tiny, tmp_path):
    archive, out = write_archive(tmp_path / "in", 2), tmp_path / "out"
    options = [str(archive), "--to", "T2", "--out", str(out), "--weights", str(export_tiny(64))]
    assert main(options) == 0
    made = contents(out)
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*.nii.gz")}
    for path in times:
        path.with_name(f".{path.name}.lock").touch()
    assert main(options) == 0
    assert contents(out) == made
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_a_result_that_cannot_be_written_whole_is_not_there(export_tiny, tmp_path, monkeypatch):
    archive, out = write_archive(tmp_path / "in", 1), tmp_path / "out"
    real = translation.replace_file

    def full(path: Path, write) -> None:
        def half(partial: str) -> None:
            write(partial)
            os.truncate(partial, 100)
            raise OSError(28, "No space left on device")

        real(path, half)

    monkeypatch.setattr(translation, "replace_file", full)
    options = [str(archive), "--to", "T2", "--out", str(out), "--weights", str(export_tiny(64))]
    assert main(options) == 1
    assert not [name for name in contents(out) if name.endswith((".nii.gz", ".part", ".lock"))]


def test_the_search_holds_one_folder_at_a_time(tmp_path):
    def peak(folders: int) -> int:
        top = tmp_path / f"study_synthetic-T1/{folders}"  # of folders of ten files
        for number in range(folders):
            place = top / f"{number:04}"
            place.mkdir(parents=True)
            for name in range(10):
                (place / f"scan{name}.nii").touch()
        tracemalloc.start()
        count = sum(1 for _ in find_jobs([top], tmp_path / "out"))
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count == count_files([top], tmp_path / "out") == 10 * folders
        return peak_bytes

    few, many = peak(20), peak(120)
    assert many - few < 100_000  # less than 100 bytes for each of the 1000 more files


def test_a_dry_run_says_how_much_and_how_long_and_writes_nothing(export_tiny, tmp_path, capsys):
    archive, out = write_archive(tmp_path / "in", 12), tmp_path / "out"
    options = ["--to", "T2", "--out", str(out), "--weights", str(export_tiny(64))]
    assert main([str(archive), *options, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "12 series or volumes in 36 files to translate, 0 there before" in printed
    assert "5 of them took" in printed
    assert not out.exists()


def test_without_dask_it_says_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delattr(batch, "cluster", raising=False)
    monkeypatch.delitem(sys.modules, "cyclegan.batch.cluster", raising=False)
    options = ["--to", "T2", "--out", str(tmp_path / "out"), "--workers", "2"]
    assert main([str(tmp_path), *options]) == 2
    assert "pip install 'dask[distributed]' cryptography" in capsys.readouterr().err


def test_the_line_has_the_pace_and_what_is_left(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(summary.time, "monotonic", lambda: now[0])
    counts = summary.RunSummary(None, False, lambda: 100)
    counts.done, counts.failed, counts.existing, now[0] = 30, 2, 8, 120.0
    counts.files, counts.worked_on, counts.expected = 40, 30, 100
    words = "30 done, 2 failed, 8 there before, about 60 files left, 15.0 series/min, 4 min left"
    assert counts.line() == words
