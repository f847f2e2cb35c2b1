"""A run: learns from each kind of data, resumes to the last bit, and says what is wrong."""

import csv
import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

import train
from cyclegan.data.dataset import SliceDataset
from cyclegan.model.checkpoint import CheckpointError, load_weights, save_state
from cyclegan.model.translator import Translator
from cyclegan.report.run_report import NO_CURVES, NOTES
from cyclegan.training import objective, samples, training_state
from cyclegan.training.config import TrainConfig

FLOAT32 = ["--precision", "no"]  # one process has one precision, and the other tests use this
ALL = ("unpaired", "pairs", "simulated")


def weights_of(run):
    return {
        f"{kind}.{c}.{k}": v.clone()
        for kind, networks in run.stored().networks.items()
        for c, network in networks.items()
        for k, v in network.state_dict().items()
    }


def test_resume_continues_to_the_last_bit(make, monkeypatch):
    monkeypatch.setattr(objective, "POOL", 3)  # full and swapping by the middle of the run
    settings = {"steps": 8, "supervised": 0.3, "save_every": 1}
    straight = make(*ALL, out="a", **settings)
    straight.fit()
    killed = make(*ALL, out="b", **settings)
    for _ in range(6):
        killed.train_step()
        killed.step += 1
        if killed.step == 6:
            killed.average.add(killed.ema)  # as `fit` does from three quarters of the run on
    killed.save()
    killed.train_step()  # lost with the kill
    resumed = make(*ALL, out="b", **settings)
    resumed.resume()
    assert (resumed.step, resumed.average.count) == (6, 1)
    resumed.fit()
    expected, restored = weights_of(straight), weights_of(resumed)
    different = [k for k in expected if not torch.equal(expected[k], restored[k])]
    assert different == []
    exported = [(run.out / "weights/model.safetensors").read_bytes() for run in (straight, resumed)]
    assert exported[0] == exported[1]


def test_simulated_pairs_overfit_two_phantom_slices(make, monkeypatch):
    run = make("simulated", steps=150, batch=2, lr=8e-3)
    clean = run.samples.simulator.draw
    monkeypatch.setattr(
        run.samples.simulator, "draw", lambda batch, size, rng, **_: clean(
            2, size, rng, lesions=0.0, stripped=0.0, degrade=False, pick=torch.arange(2)
        )
    )  # fmt: skip
    monkeypatch.setattr(samples, "STYLED", 0.0)
    run.fit()
    losses = [float(row["simulated"]) for row in run.output.losses.rows()]
    assert losses[-1] < 0.5 * losses[0]


def test_pairs_alone_lower_their_loss_and_are_named_in_the_weights(make):
    run = make("pairs", steps=80, lr=1e-2, implanted=0.0)
    weights = run.fit()
    losses = [float(row["pairs"]) for row in run.output.losses.rows()]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
    training = Translator.from_pretrained(weights).config["training"]
    assert training["paired_sources"] == ["phantom"]
    assert training["config"]["weight_pairs"] == 12.0  # the recipe that made them, not None
    assert (training["steps"], training["config"]["steps"]) == (80, 80)


def test_the_published_setting_lowers_the_cycle_error(make):
    run = make("unpaired", steps=40, lr=2e-3, batch=2, weight_identity=0.0)
    run.fit()
    rows = run.output.losses.rows()
    cycle = [float(r["cycle"]) for r in rows]
    assert len(rows) == 40
    assert np.mean(cycle[-10:]) < 0.92 * np.mean(cycle[:5])


@pytest.mark.parametrize(
    ("kinds", "columns"),
    [
        (ALL, "pairs simulated sharp faded lesions error loss_G cycle cycle_ssim structure "
         "intensity loss_D"),
        (("unpaired", "simulated"), "simulated sharp faded lesions error loss_G cycle cycle_ssim "
         "structure intensity implanted loss_D"),
        (("pairs", "simulated"), "pairs simulated sharp faded lesions error"),
        (("unpaired",), "loss_G cycle idt loss_D"),
    ],
)  # fmt: skip
def test_each_mix_of_data_logs_its_losses_and_each_has_words(make, kinds, columns):
    run = make(*kinds, steps=1, **({"supervised": 0.0} if len(kinds) > 1 and "unpaired" in kinds
                                   else {}))  # fmt: skip
    run.fit()
    (row,) = run.output.losses.rows()
    losses = [name for name in row if name not in NO_CURVES]
    assert losses == columns.split()
    assert set(losses) <= set(NOTES)
    assert all(np.isfinite(float(row[name])) for name in losses)


def test_a_run_leaves_weights_samples_and_a_log(make, tmp_path):
    run = make(*ALL, steps=4, save_every=2, supervised=0.5)
    translator = Translator.from_pretrained(run.fit())
    assert translator.translate(np.eye(40, 50), to="T2").shape == (40, 50)
    sheet = np.asarray(Image.open(run.out / "samples" / "0000002.png"))
    assert sheet.std() > 5
    assert (run.out / "state.safetensors").is_file()
    with (run.out / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(r["step"]) for r in rows] == [1, 2, 3, 4]
    assert rows[1]["loss_D"] == ""  # the supervised part has no discriminator
    assert float(rows[2]["loss_D"]) > 0


def test_resuming_with_other_settings_is_refused_by_name(make):
    run = make("simulated", steps=1)
    run.fit()
    with pytest.raises(CheckpointError, match=r"seed: 0 then, 3 now; .*--allow-change") as refusal:
        make("simulated", steps=2, seed=3, batch=2).resume()
    assert "batch x accumulate x processes: 3 then, 2 now" in str(refusal.value)
    again = make("simulated", steps=2, seed=3, batch=2)
    again.resume(["seed", "batch"])
    assert again.step == 1


def test_budget_learning_rate_and_intervals_may_change(make):
    make("simulated", steps=1).fit()
    changes = {"steps": 2, "minutes": 9.0, "lr": 1e-5, "save_every": 7, "batch": 1, "accumulate": 3}
    run = make("simulated", **changes)
    run.resume()
    assert run.step == 1


def test_resuming_in_another_precision_is_refused(make):
    run = make("simulated", steps=1)
    state = training_state.collect_state(run.stored()) | {"precision": "bf16"}
    save_state(run.out / training_state.STATE, state)
    with pytest.raises(CheckpointError, match="precision: bf16 then, no now"):
        run.resume()
    run.resume(["precision"])


def test_resuming_with_other_data_is_refused_by_source(make, unpaired):
    make("unpaired", steps=1).fit()
    slices = unpaired.slices
    more = SliceDataset(
        {"T1": slices["T1"].repeat(2, 1, 1, 1), "T2": slices["T2"]},
        {"T1": np.zeros(4, int), "T2": np.zeros(2, int)},
        ["phantom"],
    )
    changed = r"data source phantom: 2 T1 and 2 T2 slices then, 4 T1 and 2 T2 slices now"
    with pytest.raises(CheckpointError, match=changed):
        make(more={"unpaired": more}, steps=2).resume()
    make(more={"unpaired": more}, steps=2).resume(["data"])


def test_a_loss_that_is_not_a_number_stops_the_run_and_keeps_the_checkpoint(make):
    run = make("simulated", steps=10, save_every=2)
    loss = run.objective.generator_loss

    def broken(*arguments):
        total, *rest = loss(*arguments)
        return total * (float("nan") if run.step == 3 else 1), *rest

    run.objective.generator_loss = broken
    with pytest.raises(FloatingPointError, match=r"at step 3; .* resume with a lower --lr"):
        run.fit()
    assert all(torch.isfinite(w).all() for w in weights_of(run).values())
    resumed = make("simulated", steps=10, lr=1e-5)
    resumed.resume()
    assert resumed.step == 2


@pytest.mark.parametrize("generator", ["unet", "resnet"])
def test_the_command_runs_anywhere_without_data(generator, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(train, "PHANTOMS", 2)
    arguments = ["--labelmaps", "phantom", "--out", str(tmp_path / "run"), "--steps", "2", *FLOAT32]
    arguments += ["--size", "32", "--start-size", "32", "--batch", "1", "--generator", generator]
    assert train.main(arguments) == 0
    assert (tmp_path / "run/weights/model.safetensors").is_file()
    assert "weights written" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--data", "nowhere", "--steps", "1"], "nowhere: no such folder"),
        (["--labelmaps", "nowhere", "--steps", "1"], "nowhere: no label maps"),
    ],
)
def test_wrong_input_gets_one_sentence(tmp_path, capsys, arguments, sentence):
    assert train.main([*arguments, *FLOAT32, "--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert sentence in error
    assert "Traceback" not in error


def test_resume_without_a_checkpoint_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(train, "PHANTOMS", 1)
    arguments = [
        "--labelmaps",
        "phantom",
        "--out",
        str(tmp_path),
        "--steps",
        "1",
        "--resume",
        *FLOAT32,
    ]
    assert train.main(arguments) == 1
    assert "start without --resume" in capsys.readouterr().err


@pytest.mark.parametrize("budget", [{"steps": 0}, {"minutes": 0.0}])
def test_a_budget_of_nothing_is_spent_at_once(make, budget):
    run = make("unpaired", **{"steps": None} | budget)
    assert run.progress == 1
    run.fit()
    assert run.step == 0


def test_weights_say_what_they_and_their_start_saw_and_a_resumed_run_still_does(make, unpaired):
    start = make("unpaired", out="start", steps=0).ema
    record = {
        "sources": ["far", unpaired.names[0]],
        "paired_sources": ["a", "b"],
        "simulated_from": ["heads drawn"],
    }
    run = make("unpaired", steps=2)
    run.start_from(start, record)
    for c in ("T1", "T2"):
        for network in (run.objective.generators[c], run.ema[c]):
            expected = start[c].state_dict()
            assert all(torch.equal(v, expected[k]) for k, v in network.state_dict().items())
    run.train_step()
    run.step += 1
    run.save()
    resumed = make("unpaired", steps=2)
    resumed.resume()
    for each in (run, resumed):
        training = load_weights(each.fit())[1]["training"]
        assert training["sources"] == [*unpaired.names, "far"]
        assert training["paired_sources"] == ["a", "b"]
        assert training["simulated_from"] == ["heads drawn"]
    wider = make("unpaired", out="wide", steps=0, generator_options={"channels": [8, 24]})
    with pytest.raises(CheckpointError, match="another generator"):
        run.start_from(wider.ema, {})


def test_a_setting_that_came_later_and_does_nothing_stops_no_older_run(make):
    run = make("simulated", steps=1)
    run.fit()
    state = training_state.collect_state(run.stored())
    older = {k: v for k, v in state["config"].items() if k not in ("ema", "weight_structure")}
    save_state(run.out / training_state.STATE, state | {"config": older | {"gone": 3}})
    make("simulated", steps=2).resume()
    with pytest.raises(CheckpointError, match=r"ema: 0.999 then, 0.9 now"):
        make("simulated", steps=2, ema=0.9).resume()
    save_state(run.out / training_state.STATE, state | {"format": 1})
    with pytest.raises(CheckpointError, match="another version of this software"):
        make("simulated", steps=2).resume()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--pairs", "p", "--weight-cycle", "5"], "--weight-cycle: has no effect without --data"),
        (["--data", "d", "--weight-pairs", "5"], "--weight-pairs: has no effect without --pairs"),
        (["--data", "d", "--supervised", "0.1"], "no effect without --pairs or --labelmaps"),
        (["--labelmaps", "phantom", "--discriminator", "32"], "no effect without --data"),
        (["--labelmaps", "phantom", "--lesions", "x"], "--lesions: has no effect without --pairs"),
        (["--labelmaps", "phantom", "--cache", "x"], "--cache: has no effect without --data"),
        (["--data", "d", "--license", "mit"], "--license: has no effect without --push-to-hub"),
        (["--data", "d", "--allow-change", "lr"], "--allow-change: has no effect without --resume"),
        (["--data", "d", "--ema", "1.5"], "--ema 1.5: a share from 0 to 1"),
        (["--data", "d", "--batch", "0"], "--batch and --accumulate count from 1"),
    ],
)
def test_what_would_have_no_effect_is_refused_in_a_sentence(capsys, given, sentence):
    with pytest.raises(SystemExit):
        train.parse(["--out", "x", "--steps", "1", *given])
    assert sentence in capsys.readouterr().err


def test_a_step_that_cannot_hold_all_kinds_is_refused(make):
    with pytest.raises(ValueError, match=r"a step of 2 cannot hold .*raise --batch"):
        make(*ALL, batch=2)


def test_there_are_at_most_24_settings():
    assert len(dataclasses.fields(TrainConfig)) <= 24
