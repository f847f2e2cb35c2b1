"""Training: both stages run, learn, resume to the last bit, and say what is wrong."""

import csv
import shutil

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image

import train
from cyclegan.model.checkpoint import CheckpointError, load_weights, save_state
from cyclegan.model.translator import Translator
from cyclegan.simulation.simulate import Simulator, simulate_pair
from cyclegan.slices.data import SliceDataset
from cyclegan.training import training_state
from cyclegan.training.config import TrainConfig
from cyclegan.training.sharing import Share
from cyclegan.training.trainer import Trainer

FLOAT32 = ["--precision", "no"]  # one process has one precision, and the other tests use this
TINY = {
    "generator_options": {"channels": [8, 16]},
    "size": 32,
    "start_size": 32,
    "batch": 2,
    "pool": 3,
    "sample_every": 1000,
    "save_every": 1000,
    "log_every": 1,
}


@pytest.fixture(scope="module")
def dataset(labels):
    pairs = [simulate_pair(m, np.random.default_rng(0)) for m in labels]
    stack = {
        c: torch.from_numpy(np.stack([getattr(p, c.lower()) for p in pairs]))[:, None, ::2, ::2]
        for c in ("T1", "T2")
    }
    return SliceDataset(
        {c: s.half() for c, s in stack.items()}, {c: np.zeros(2, int) for c in stack}, ["phantom"]
    )


def trainer(out, dataset=None, labels=None, **changes):
    config = TrainConfig(**{**TINY, **changes})
    simulator = Simulator(labels) if labels is not None else None
    return Trainer(
        config, out, dataset=dataset, simulator=simulator, accelerator=Accelerator(cpu=True)
    )


def weights_of(run):
    return {
        f"{kind}.{c}.{k}": v.clone()
        for kind, networks in run.stored().networks.items()
        for c, network in networks.items()
        for k, v in network.state_dict().items()
    }


def test_resume_continues_to_the_last_bit(tmp_path, dataset, labels):
    # Six steps reach into both stages; the pool, of three, is full and swapping by then.
    straight = trainer(tmp_path / "a", dataset, labels, steps=8)
    straight.fit()
    killed = trainer(tmp_path / "b", dataset, labels, steps=8)
    for _ in range(5):
        killed.train_step()
        killed.step += 1
    killed.save()
    killed.train_step()  # lost with the kill
    resumed = trainer(tmp_path / "b", dataset, labels, steps=8)
    resumed.resume()
    assert resumed.step == 5
    resumed.fit()
    expected, found = weights_of(straight), weights_of(resumed)
    different = [k for k in expected if not torch.equal(expected[k], found[k])]
    assert different == []


def test_supervised_stage_overfits_two_phantom_slices(tmp_path, labels):
    run = trainer(
        tmp_path, None, labels, steps=150, lesions=0.0, stripped=0.0, lr_warmup=8e-3, batch=2
    )
    clean = run.simulator.draw
    run.simulator.draw = lambda batch, size, rng, **_: clean(
        2, size, rng, lesions=0.0, stripped=0.0, degrade=False, pick=torch.arange(2)
    )
    run.fit()
    losses = [float(row["pairs"]) for row in run.output.losses.rows()]
    assert losses[-1] < 0.35 * losses[0]


def test_adversarial_stage_lowers_the_cycle_error(tmp_path, dataset):
    # Weights at which the cycle leads; at the default ones it competes with four other losses.
    weights = {"weight_gan": 0.1, "weight_intensity": 0.1, "weight_structure": 0.1}
    run = trainer(tmp_path, dataset, None, steps=40, lr=2e-3, weight_cycle=20.0, **weights)
    run.fit()
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    cycle = [float(r["cycle"]) for r in rows]
    assert len(rows) == 40
    assert np.mean(cycle[-10:]) < 0.92 * np.mean(cycle[:5])
    assert {"loss_G", "loss_D", "structure"} <= set(rows[-1])


def test_a_run_leaves_weights_samples_and_a_log(tmp_path, dataset, labels):
    run = trainer(tmp_path, dataset, labels, steps=4, sample_every=2)
    translator = Translator.from_pretrained(run.fit())
    assert translator.translate(np.eye(40, 50), to="T2").shape == (40, 50)
    sheet = np.asarray(Image.open(tmp_path / "samples" / "0000002.png"))
    assert sheet.std() > 5
    assert (tmp_path / "state.safetensors").is_file()
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(r["step"]) for r in rows] == [1, 2, 3, 4]
    assert rows[0]["loss_D"] == ""  # the warm-up has no discriminator
    assert float(rows[-1]["loss_D"]) > 0


def test_resuming_with_other_settings_is_refused_by_name(tmp_path, labels):
    run = trainer(tmp_path, None, labels, steps=1)
    run.fit()
    with pytest.raises(CheckpointError, match=r"seed: 0 then, 3 now; .*--allow-change") as refusal:
        trainer(tmp_path, None, labels, steps=2, seed=3, batch=3).resume()
    assert "batch x accumulate x processes: 2 then, 3 now" in str(refusal.value)
    again = trainer(tmp_path, None, labels, steps=2, seed=3, batch=3)
    again.resume(["seed", "batch"])
    assert again.step == 1


def test_budget_learning_rate_and_intervals_may_change(tmp_path, labels):
    trainer(tmp_path, None, labels, steps=1).fit()
    changes = {"steps": 2, "minutes": 9.0, "lr": 1e-5, "save_every": 7, "batch": 1, "accumulate": 2}
    run = trainer(tmp_path, None, labels, **changes)
    run.resume()
    assert run.step == 1


def test_resuming_in_another_precision_is_refused(tmp_path, labels):
    run = trainer(tmp_path, None, labels, steps=1)
    state = training_state.collect_state(run.stored()) | {"precision": "bf16"}
    save_state(tmp_path / training_state.STATE, state)
    with pytest.raises(CheckpointError, match="precision: bf16 then, no now"):
        run.resume()
    run.resume(["precision"])


def test_resuming_with_other_data_is_refused_by_source(tmp_path, dataset, labels):
    trainer(tmp_path, dataset, labels, steps=1).fit()
    more = SliceDataset(
        {"T1": dataset.slices["T1"].repeat(2, 1, 1, 1), "T2": dataset.slices["T2"]},
        {"T1": np.zeros(4, int), "T2": np.zeros(2, int)},
        ["phantom"],
    )
    changed = r"data source phantom: 2 T1 and 2 T2 slices then, 4 T1 and 2 T2 slices now"
    with pytest.raises(CheckpointError, match=changed):
        trainer(tmp_path, more, labels, steps=2).resume()
    trainer(tmp_path, more, labels, steps=2).resume(["data"])


def test_a_loss_that_is_not_a_number_stops_the_run_and_keeps_the_checkpoint(tmp_path, labels):
    run = trainer(tmp_path, None, labels, steps=10, save_every=2)
    loss = run.objective.pairs_loss
    run.objective.pairs_loss = lambda batch: loss(batch) * (float("nan") if run.step == 3 else 1)
    with pytest.raises(FloatingPointError, match=r"at step 3; .* resume with a lower --lr"):
        run.fit()
    assert all(torch.isfinite(w).all() for w in weights_of(run).values())
    resumed = trainer(tmp_path, None, labels, steps=10, lr_warmup=1e-5)
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


@pytest.mark.parametrize("stage", ["--refine", "--back-translation"])
@pytest.mark.parametrize("given", [["--data", "x"], ["--init", "x", "--labelmaps", "phantom"]])
def test_a_stage_taught_by_weights_needs_weights_and_slices(capsys, given, stage):
    with pytest.raises(SystemExit):
        train.parse(["--out", "x", "--steps", "1", stage, *given])
    assert f"{stage}: give --data and --init" in capsys.readouterr().err


def test_only_one_stage_at_a_time(capsys):
    both = ["--refine", "--back-translation", "--data", "x", "--init", "x"]
    with pytest.raises(SystemExit):
        train.parse(["--out", "x", "--steps", "1", *both])
    assert "one after the other" in capsys.readouterr().err


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


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler (Debian: apt install g++)")
def test_a_compiled_run_continues_without_a_compiler(tmp_path, labels, monkeypatch):
    compiled_module = torch.nn.Module.compile
    # Traced and differentiated as ever; only no C++ is written for it, which takes minutes.
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda self: compiled_module(self, backend="aot_eager")
    )
    plain = trainer(tmp_path / "plain", None, labels, steps=2)
    compiled = trainer(tmp_path / "compiled", None, labels, steps=2, compile=True)
    assert weights_of(compiled).keys() == weights_of(plain).keys()
    for run in (plain, compiled):
        run.fit()
    losses = [
        [float(row["pairs"]) for row in run.output.losses.rows()] for run in (plain, compiled)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    resumed = trainer(tmp_path / "compiled", None, labels, steps=3)
    resumed.resume()
    expected, found = weights_of(compiled), weights_of(resumed)
    assert all(torch.equal(expected[k], found[k]) for k in expected)
    resumed.fit()
    assert resumed.step == 3


def test_a_missing_compiler_is_said_before_the_first_step(tmp_path, labels, monkeypatch):
    def missing(function):
        raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\nsecond line")

    monkeypatch.setattr(torch, "compile", missing)
    with pytest.raises(ValueError, match=r"--compile: .*No working C.* found\); install"):
        trainer(tmp_path, None, labels, steps=1, compile=True)


@pytest.mark.parametrize("budget", [{"steps": 0}, {"minutes": 0.0}])
def test_a_budget_of_nothing_is_spent_at_once(tmp_path, dataset, budget):
    run = trainer(tmp_path, dataset, **budget)
    assert run.progress == 1
    run.fit()
    assert run.step == 0


def test_without_a_step_the_weights_are_the_mean_of_the_starts(tmp_path, dataset):
    starts = [trainer(tmp_path / f"{seed}", dataset, seed=seed, steps=0).ema for seed in (1, 2)]
    run = trainer(tmp_path / "mean", dataset, steps=0)
    run.start_from(starts)
    written = load_weights(run.fit())[0]
    for c, network in written.items():
        one, other = (start[c].state_dict() for start in starts)
        for name, value in network.state_dict().items():
            assert torch.equal(value, ((one[name] + other[name]) / 2).half().float()), name
        assert not all(torch.equal(one[name], other[name]) for name in one)
    wider = trainer(tmp_path / "wide", dataset, steps=0, generator_options={"channels": [8, 24]})
    with pytest.raises(CheckpointError, match="another generator"):
        run.start_from([starts[0], wider.ema])


def test_weights_say_what_they_and_their_starts_saw_and_a_resumed_run_still_does(tmp_path, dataset):
    start = trainer(tmp_path / "start", dataset, steps=0)
    records = [
        {"sources": ["far", dataset.names[0]]},
        {"paired_sources": ["a", "b"]},
        {"simulated_from": ["heads drawn"]},
    ]
    run = trainer(tmp_path / "run", dataset, steps=2)
    run.start_from([start.ema] * 3, records)
    run.train_step()
    run.step += 1
    run.save()
    resumed = trainer(tmp_path / "run", dataset, steps=2)
    resumed.resume()
    for each in (run, resumed):
        training = load_weights(each.fit())[1]["training"]
        assert training["sources"] == [*dataset.names, "far"]
        assert training["paired_sources"] == ["a", "b"]
        assert training["simulated_from"] == ["heads drawn"]


@torch.no_grad()
def test_look_gain_frees_the_codes_of_a_start_from_their_bounds(tmp_path, dataset):
    start = trainer(tmp_path / "start", dataset, steps=0, look=4).ema
    for network in start.values():
        network.look_encoder.code.bias.add_(torch.tensor([5.0, -5, 5, -5]))
    run = trainer(tmp_path / "run", dataset, steps=0, look=4, look_gain=0.2)
    run.start_from([start])
    slices = dataset.slices["T1"][[0, 1]].float()
    before, after = (n["T1"].look_encoder(slices) for n in (start, run.ema))
    assert before.abs().min() > 0.99
    assert after.abs().max() < 0.9
    assert (torch.atanh(after.double()) - 0.2 * torch.atanh(before.double())).abs().max() < 0.1
    plain = trainer(tmp_path / "plain", dataset, steps=0, look=0, look_gain=0.2)
    plain.start_from([trainer(tmp_path / "none", dataset, steps=0, look=0).ema])  # has no codes


@torch.no_grad()
def test_refinement_teaches_mirrored_answers_to_mirrored_slices(tmp_path, dataset):
    objective = trainer(tmp_path, dataset, refine=True, steps=1).objective
    share = Share.deal(9, 0, 2, 1)[0]
    images, mask, _ = objective.draw(share, 32, objective.read_real(share)).real["T2"]
    taught = objective._taught("T1", images, mask)
    mirrored = objective._taught("T1", images.flip(-1), mask.flip(-1)).flip(-1)
    assert (mirrored - taught).abs().max() < 1e-4
    teacher = objective.teacher["T1"]
    assert (teacher(images.flip(-1)).flip(-1) - teacher(images)).abs().max() > 1e-3


def test_refinement_learns_its_changed_answers_and_resumes_to_the_last_bit(tmp_path, dataset):
    start = trainer(tmp_path / "start", dataset, steps=1).ema

    def refining(out):
        run = trainer(tmp_path / out, dataset, refine=True, steps=60, lr=5e-3, ema=0.0)
        run.start_from([start])
        return run

    @torch.no_grad()
    def unseen_loss(run):
        shares = [Share.deal(9, step, 2, 1)[0] for step in range(20)]
        batches = [run.objective.draw(s, 32, run.objective.read_real(s)) for s in shares]
        return np.mean([run.objective.generator_loss(b)[0].item() for b in batches])

    straight = refining("a")
    before = unseen_loss(straight)
    straight.fit()
    assert unseen_loss(straight) < 0.97 * before
    for c, network in straight.objective.teacher.items():
        assert all(
            torch.equal(v, start[c].state_dict()[k]) for k, v in network.state_dict().items()
        )

    killed = refining("b")
    for _ in range(20):
        killed.train_step()
        killed.step += 1
    killed.save()
    resumed = trainer(tmp_path / "b", dataset, refine=True, steps=60, lr=5e-3, ema=0.0)
    resumed.resume()
    resumed.fit()
    expected, found = weights_of(straight), weights_of(resumed)
    assert [k for k in expected if not torch.equal(expected[k], found[k])] == []
