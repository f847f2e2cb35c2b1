"""Killed, stopped or short of disk space, a run continues as if nothing had happened."""

import csv
import random
import signal
import time

import pytest
import tiny_training

from cyclegan.model.checkpoint import load_state
from cyclegan.report.runlog import DATA_WAIT, STEPS_PER_SECOND

STEPS = 10
TIMINGS = ("minutes", STEPS_PER_SECOND, DATA_WAIT)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny_training.write_slices(tmp_path_factory.mktemp("data") / "data")


@pytest.fixture(scope="module")
def arguments(data):
    return ["--data", data, "--steps", STEPS, "--save-every", 3, "--batch", 2]


@pytest.fixture(scope="module")
def uninterrupted(arguments, tmp_path_factory):
    out = tmp_path_factory.mktemp("uninterrupted")
    done = tiny_training.run(*arguments, "--out", out)
    assert done.returncode == 0, done.stderr[-3000:]
    return out


def curve(out):
    """The rows of the log without what a clock says."""
    with (out / "log.csv").open(newline="") as file:
        return [{k: v for k, v in r.items() if k not in TIMINGS} for r in csv.DictReader(file)]


def wait_for_rows(out, count, process):
    log = out / "log.csv"
    end = time.monotonic() + 120
    while not log.is_file() or log.read_bytes().count(b"\n") <= count:
        assert not process.ended, process.wait().stderr[-3000:]
        assert time.monotonic() < end
        time.sleep(0.005)


def weights(out):
    return (out / "weights/model.safetensors").read_bytes()


def test_a_run_killed_again_and_again_has_the_same_curve_and_weights(
    uninterrupted, arguments, tmp_path
):
    start = [*arguments, "--out", tmp_path]
    # From outside: at whatever it is doing then, a little after a row was written.
    moments = random.Random()
    for row in (1, 4):
        process = tiny_training.Run(*start, *(["--resume"] if row > 1 else []))
        wait_for_rows(tmp_path, row, process)
        time.sleep(moments.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        assert process.wait().returncode == -signal.SIGKILL
        assert len(curve(tmp_path)) < STEPS
    # From inside: where it hurts most.
    for where in (
        "torn-row:2",  # in the middle of a row of the log
        "torn-state",  # with half of the state written
        "kill:cyclegan.training.trainer:save_state:1:before",
        "kill:cyclegan.model.checkpoint:save_file:1:after",  # written, but not yet in its place
        "kill:cyclegan.training.trainer:save_state:1:after",
    ):
        killed = tiny_training.run("--sabotage", where, *start, "--resume")
        assert killed.returncode == -signal.SIGKILL, (where, killed.stderr[-3000:])
    done = tiny_training.run(*start, "--resume")
    assert done.returncode == 0, done.stderr[-3000:]
    assert [int(row["step"]) for row in curve(tmp_path)] == list(range(1, STEPS + 1))
    assert curve(tmp_path) == curve(uninterrupted)
    assert weights(tmp_path) == weights(uninterrupted)


def test_ctrl_c_and_sigterm_finish_the_step_and_save_it(uninterrupted, arguments, tmp_path):
    start = [*arguments, "--out", tmp_path]
    for row, number, code in ((2, signal.SIGINT, 130), (7, signal.SIGTERM, 143)):
        process = tiny_training.Run(*start, *(["--resume"] if row > 2 else []))
        wait_for_rows(tmp_path, row, process)
        process.send_signal(number)
        done = process.wait(60)
        error = done.stderr
        assert done.returncode == code, error[-3000:]
        step = load_state(tmp_path / "state.safetensors")["step"]
        assert row <= step == len(curve(tmp_path)) < STEPS
        said = f"{number.name} after step {step}, which is saved; continue with --resume"
        assert said in error
        assert "Traceback" not in error
    assert tiny_training.run(*start, "--resume").returncode == 0
    assert curve(tmp_path) == curve(uninterrupted)
    assert weights(tmp_path) == weights(uninterrupted)


@pytest.mark.parametrize(
    ("written", "size", "options"),
    [
        ("state.safetensors", 100_000, ["--log-every", 99]),
        ("log.csv", 60, []),
        ("0000006.png", 60, ["--log-every", 99]),
    ],
)
def test_a_full_disk_leaves_the_last_checkpoint(
    written, size, options, uninterrupted, arguments, tmp_path
):
    start = [*arguments, "--out", tmp_path]
    full = tiny_training.run("--sabotage", f"disk:4:{size}", *start, *options)
    assert full.returncode == 1
    assert f"{written}: cannot be written (" in full.stderr
    assert "make room, or repair the disk, and continue with --resume" in full.stderr
    assert "Traceback" not in full.stderr
    assert load_state(tmp_path / "state.safetensors")["step"] == 3
    assert not list(tmp_path.glob(".*.part"))
    if written == "log.csv":
        assert tiny_training.run(*start, "--resume").returncode == 0
        assert curve(tmp_path) == curve(uninterrupted)
        assert weights(tmp_path) == weights(uninterrupted)


def test_a_folder_with_a_run_is_not_written_over(uninterrupted, arguments):
    before = (uninterrupted / "state.safetensors").stat()
    again = tiny_training.run(*arguments, "--out", uninterrupted)
    assert again.returncode == 1
    assert "a run has been here; continue it with --resume, or give another --out" in again.stderr
    assert (uninterrupted / "state.safetensors").stat() == before
