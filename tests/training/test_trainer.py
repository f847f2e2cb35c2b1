"""A run: learns from each kind of data, resumes to the last bit, and says what is wrong."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from stored_slices import dataset_of

import train
from cyclegan.model.checkpoint import CheckpointError, load_state, load_weights, save_state
from cyclegan.model.translator import Translator
from cyclegan.report.run_report import NO_CURVES
from cyclegan.training import objective, samples
from cyclegan.training.config import TrainConfig
from cyclegan.training.training_state import STATE

FLOAT32 = ["--precision", "no"]  # one process has one precision, and the other tests use this
ALL = ("unpaired", "pairs", "simulated")


def weights_of(run):
    networks = [run.objective.generators, run.ema, run.objective.discriminators]
    return [p for by_contrast in networks for n in by_contrast.values() for p in n.parameters()]


def test_resume_continues_to_the_last_bit(make, monkeypatch):
    monkeypatch.setattr(objective, "POOL", 3)  # full and swapping by the middle of the run
    settings = {"steps": 8, "supervised": 0.3, "save_every": 1}
    straight = make(*ALL, out="a", **settings)
    straight.fit()
    killed = make(*ALL, out="b", **settings)
    for _ in range(6):
        killed.train_step()
        killed.step += 1
    for c, network in killed.average.items():  # as `fit` does from three quarters of the run on
        network.update_parameters(killed.ema[c])
    killed.save()
    killed.train_step()  # lost with the kill
    resumed = make(*ALL, out="b", **settings)
    resumed.resume()
    assert (resumed.step, resumed.average["T2"].n_averaged) == (6, 1)
    resumed.fit()
    assert all(map(torch.equal, weights_of(straight), weights_of(resumed)))
    exported = [(run.out / "weights/model.safetensors").read_bytes() for run in (straight, resumed)]
    assert exported[0] == exported[1]


@pytest.mark.parametrize(
    ("kinds", "loss", "falls_to", "settings"),
    [
        (["simulated"], "simulated", 0.5, {"steps": 100, "batch": 2, "lr": 8e-3}),
        (["pairs"], "pairs", 0.8, {"steps": 80, "lr": 1e-2, "implanted": 0.0}),
        (["unpaired"], "cycle", 0.92, {"steps": 40, "lr": 2e-3, "batch": 2,
                                       "weight_identity": 0.0}),
    ],
)  # fmt: skip
def test_each_kind_of_data_lowers_its_loss(make, monkeypatch, kinds, loss, falls_to, settings):
    run = make(*kinds, **settings)
    if kinds == ["simulated"]:  # two slices, always the same
        monkeypatch.setattr(samples, "STYLED", 0.0)
        simulate = run.data.simulator.sample
        fixed = {"lesions": 0.0, "stripped": 0.0, "degrade": False, "pick": torch.arange(2)}
        same = lambda batch, size, rngs, **_: simulate(2, size, rngs, **fixed)  # noqa: E731
        monkeypatch.setattr(run.data.simulator, "sample", same)
    weights = run.fit()
    losses = [float(row[loss]) for row in run.output.losses.rows()]
    assert len(losses) == settings["steps"]
    assert np.mean(losses[-10:]) < falls_to * np.mean(losses[:5])
    training = Translator.from_pretrained(weights).config["training"]
    assert training["paired_sources"] == (["phantom"] if kinds == ["pairs"] else [])
    # The recipe that made them, not None.
    assert training["config"]["weight_pairs"] == (12.0 if kinds == ["pairs"] else 0)
    assert training["steps"] == training["config"]["steps"] == settings["steps"]


@pytest.mark.parametrize(
    ("kinds", "absent"),
    [
        (ALL, "idt implanted"),
        (("unpaired", "simulated"), "pairs idt"),
        (("pairs", "simulated"), "loss_G loss_D cycle cycle_ssim structure intensity idt "
         "implanted"),
        (("unpaired",), "pairs simulated sharp faded lesions error cycle_ssim structure intensity "
         "implanted"),
    ],
)  # fmt: skip
def test_each_mix_of_data_logs_its_losses(make, kinds, absent):
    first = {"supervised": 0.0} if len(kinds) > 1 and "unpaired" in kinds else {}
    run = make(*kinds, steps=1, **first)
    run.fit()
    (row,) = run.output.losses.rows()
    losses = set(row) - set(NO_CURVES)
    table = {*run.objective.weights(), *run.objective.supervised_weights(), "loss_D"}
    assert losses == table - set(absent.split())
    assert all(np.isfinite(float(row[name])) for name in losses)


def test_a_run_leaves_weights_samples_and_a_log(make):
    run = make(*ALL, steps=4, save_every=2, supervised=0.5)
    translator = Translator.from_pretrained(run.fit())
    assert translator.translate(np.eye(40, 50), to="T2").shape == (40, 50)
    assert np.asarray(Image.open(run.out / "samples" / "0000002.png")).std() > 5
    rows = run.output.losses.rows()
    assert [int(r["step"]) for r in rows] == [1, 2, 3, 4]
    assert rows[1]["loss_D"] == ""  # the supervised part has no discriminator
    assert float(rows[2]["loss_D"]) > 0


@pytest.mark.parametrize(
    ("changes", "allow", "sentences"),
    [
        ({"seed": 3, "batch": 2}, ["seed", "batch"],
         ["seed: 0 then, 3 now", "batch x accumulate x processes: 3 then, 2 now"]),
        ({"ema": 0.9}, ["ema"], ["ema: 0.999 then, 0.9 now"]),
        ({"steps": 2, "minutes": 9.0, "lr": 1e-5, "save_every": 7, "batch": 1, "accumulate": 3},
         [], []),  # budget, learning rate and intervals may change
    ],
)  # fmt: skip
def test_resuming_with_other_settings_is_refused_by_name(make, changes, allow, sentences):
    make("simulated", steps=1).fit()
    run = make("simulated", **changes)
    for sentence in sentences:
        with pytest.raises(CheckpointError, match=f"{sentence}.*--allow-change"):
            run.resume()
    run.resume(allow)
    assert run.step == 1


def test_resuming_with_other_data_or_in_another_precision_is_refused(make, unpaired):
    make("unpaired", steps=1).fit()
    slices = {c: unpaired.slices[c][:] for c in ("T1", "T2")}
    slices["T1"] = slices["T1"].repeat(2, 1, 1, 1)
    more = dataset_of(slices, {"T1": [0] * 4, "T2": [0] * 2}, ["phantom"])
    run = make(more={"unpaired": more})
    save_state(run.out / STATE, load_state(run.out / STATE) | {"precision": "bf16"})
    changed = (
        r"precision: bf16 then, no now; "
        r"data source phantom: 2 T1 and 2 T2 slices then, 4 T1 and 2 T2 slices now"
    )
    with pytest.raises(CheckpointError, match=changed):
        run.resume()
    run.resume(["data", "precision"])


def test_a_setting_that_came_later_and_does_nothing_stops_no_older_run(make):
    run = make("simulated", steps=1)
    run.fit()
    state = load_state(run.out / STATE)
    older = {k: v for k, v in state["config"].items() if k not in ("ema", "weight_structure")}
    save_state(run.out / STATE, state | {"config": older | {"gone": 3}})
    make("simulated").resume()
    with pytest.raises(CheckpointError, match=r"ema: 0.999 then, 0.9 now"):
        make("simulated", ema=0.9).resume()
    save_state(run.out / STATE, state | {"format": 1})
    with pytest.raises(CheckpointError, match="another version of this software"):
        make("simulated").resume()


def test_a_loss_that_is_not_a_number_stops_the_run_and_keeps_the_checkpoint(make):
    run = make("simulated", steps=10, save_every=2)
    loss = run.objective.generator_loss

    def broken(*arguments):
        total, *rest = loss(*arguments)
        return total * (float("nan") if run.step == 3 else 1), *rest

    run.objective.generator_loss = broken
    with pytest.raises(FloatingPointError, match=r"at step 3; .* resume with a lower --lr"):
        run.fit()
    assert all(torch.isfinite(w).all() for w in weights_of(run))
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
        (["--data", "nowhere"], "nowhere: no such folder"),
        (["--labelmaps", "nowhere"], "nowhere: no label maps"),
        (["--labelmaps", "phantom", "--resume"], "start without --resume"),
    ],
)
def test_wrong_input_gets_one_sentence(tmp_path, monkeypatch, capsys, arguments, sentence):
    monkeypatch.setattr(train, "PHANTOMS", 1)
    assert train.main([*arguments, "--steps", "1", *FLOAT32, "--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert sentence in error
    assert "Traceback" not in error


@pytest.mark.parametrize("budget", [{"steps": 0}, {"minutes": 0.0}])
def test_a_budget_of_nothing_is_spent_at_once(make, budget):
    run = make("unpaired", **{"steps": None} | budget)
    assert run.progress == 1
    run.fit()
    assert run.step == 0


def test_weights_record_what_they_and_their_start_saw_and_a_resumed_run_still_does(make, unpaired):
    start = make("unpaired", out="start", steps=0).ema
    seen = {"sources": ["far", unpaired.names[0]], "paired_sources": ["a", "b"],
            "simulated_from": ["phantoms"]}  # fmt: skip
    record = {"version": "0.8.0", "sha256": "ab" * 32}
    run = make("unpaired", steps=2)
    style = {"T2": [0.25, -0.5]}
    run.start_from(start, record | {"training": seen, "default_style": style})
    for networks in (run.objective.generators, run.ema):
        for c, network in networks.items():
            assert all(map(torch.equal, network.parameters(), start[c].parameters()))
    run.train_step()
    run.step += 1
    run.save()
    resumed = make("unpaired", steps=2)
    resumed.resume()
    expected = seen | {"sources": [*unpaired.names, "far"], "started_from": record}
    for each in (run, resumed):
        config = load_weights(each.fit())[1]
        assert {name: config["training"][name] for name in expected} == expected
        assert config["default_style"] == style
    wider = make("unpaired", out="wide", steps=0, generator_options={"channels": [8, 24]})
    with pytest.raises(CheckpointError, match="another generator"):
        run.start_from(wider.ema, record)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "give --data, --pairs, --labelmaps, or several"),
        (["--data", "d", "--steps", "x"], "--steps: invalid int value"),
        (["--pairs", "p", "--weight-cycle", "5"], "--weight-cycle: has no effect without --data"),
        (["--data", "d", "--weight-pairs", "5"], "--weight-pairs: has no effect without --pairs"),
        (["--data", "d", "--labelmaps", "phantom", "--implanted", "0.2"],
         "--implanted: has no effect without --pairs"),
        (["--data", "d", "--supervised", "0.1"], "no effect without --pairs or --labelmaps"),
        (["--labelmaps", "phantom", "--discriminator", "32"], "no effect without --data"),
        (["--data", "d", "--discriminator", "32", "--weight-gan", "0"],
         "--discriminator: has no effect with --weight-gan 0"),
        (["--labelmaps", "phantom", "--lesions", "x"], "--lesions: has no effect without --pairs"),
        (["--pairs", "p", "--lesions", "x", "--implanted", "0"], "--implanted above 0"),
        (["--labelmaps", "phantom", "--cache", "x"], "--cache: has no effect without --data"),
        (["--data", "d", "--license", "mit"], "--license: has no effect without --push-to-hub"),
        (["--data", "d", "--allow-change", "lr"], "--allow-change: has no effect without --resume"),
        (["--data", "d", "--ema", "1.5"], "--ema 1.5: a share from 0 to 1"),
        (["--data", "d", "--batch", "0"], "--batch and --accumulate count from 1"),
    ],
)  # fmt: skip
def test_what_would_have_no_effect_is_refused_in_a_sentence(capsys, options, sentence):
    with pytest.raises(SystemExit):
        train.parse(["--out", "x", "--steps", "1", *options])
    assert sentence in capsys.readouterr().err


def test_a_step_that_cannot_hold_all_kinds_is_refused(make):
    with pytest.raises(ValueError, match=r"a step of 2 cannot hold .*raise --batch"):
        make(*ALL, batch=2)


def test_there_are_at_most_24_settings():
    assert len(dataclasses.fields(TrainConfig)) <= 24
