"""Pairs reach the loss and the weights; the loss bears a shift, and minds what a blur loses."""

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from cyclegan.model.guided import guided_grid
from cyclegan.model.translator import Translator
from cyclegan.simulation.augment import Draw
from cyclegan.simulation.simulate import Simulator, simulate_pair
from cyclegan.slices.data import SliceDataset
from cyclegan.slices.paired_slices import PairedSlices
from cyclegan.training import paired_lessons
from cyclegan.training.config import TrainConfig
from cyclegan.training.look_lessons import seen_elsewhere
from cyclegan.training.losses import laplace, unlikeness
from cyclegan.training.paired_lessons import PairedLessons
from cyclegan.training.paired_losses import aligned, faded_blobs, sharpness
from cyclegan.training.sharing import Share
from cyclegan.training.trainer import Trainer

TINY = {
    "generator_options": {"channels": [8, 16]},
    "size": 32,
    "start_size": 32,
    "batch": 3,
    "sample_every": 1000,
    "save_every": 1000,
    "log_every": 1,
}


@pytest.fixture(scope="module")
def paired(labels):
    pairs = [simulate_pair(m, np.random.default_rng(0), clean=True) for m in labels]
    slices = {
        c: torch.from_numpy(np.stack([getattr(p, c.lower()) for p in pairs]))[:, None, ::2, ::2]
        for c in ("T1", "T2")
    }
    heads = (torch.maximum(*slices.values()) > 0.05).expand(2, 1, 32, 32)
    return PairedSlices(
        {c: s.half() for c, s in slices.items()}, dict.fromkeys(slices, heads), np.zeros(2, int),
        ["phantom"],
    )  # fmt: skip


def trainer(out, pairs, labels=None, unpaired=None, **changes):
    simulator = Simulator(labels) if labels is not None else None
    config = TrainConfig(**{**TINY, **changes})
    return Trainer(config, out, dataset=unpaired, simulator=simulator, paired=pairs,
                   accelerator=Accelerator(cpu=True))  # fmt: skip


@pytest.fixture(scope="module")
def truth():
    """(1, 1, 96, 96): spots of many sizes in a disc."""
    noise = torch.randn(1, 1, 24, 24, generator=torch.manual_seed(0))
    spots = torch.nn.functional.interpolate(noise, (96, 96), mode="bicubic").clamp(-2, 2)
    axis = torch.linspace(-1, 1, 96)
    return (0.5 + 0.15 * spots) * (axis[:, None] ** 2 + axis**2 < 0.8)


def test_the_loss_bears_two_pixels(truth):
    answer = (truth + 0.02 * torch.randn(truth.shape, generator=torch.manual_seed(1))).clamp(0, 1)
    straight = unlikeness(answer, truth)
    for shift in ((2, -2), (0, 1), (-2, 0)):
        beside = torch.roll(truth, shift, (2, 3))
        assert unlikeness(answer, aligned(beside, answer, 2)) < 1.1 * straight
        assert unlikeness(answer, beside) > 2 * straight
        assert torch.equal(aligned(beside, answer, 0), beside)
    far = torch.roll(truth, (6, 6), (2, 3))  # further than it tolerates stays wrong
    assert unlikeness(answer, aligned(far, answer, 2)) > 2 * straight


def test_grey_values_do_not_decide_how_the_truth_is_moved(truth):
    answer = 0.2 + 0.5 * truth
    assert (aligned(torch.roll(truth, 1, 3), answer, 2) == truth).float().mean() > 0.95


def test_sharpness_and_faded_spots(truth):
    weight = torch.ones_like(truth)
    blurred = torch.nn.functional.avg_pool2d(truth, 5, stride=1, padding=2)
    assert sharpness(truth, truth, weight) == 0
    assert sharpness(blurred, truth, weight) > 10 * sharpness(truth + 0.05, truth, weight)
    source = 1 - truth
    assert faded_blobs(truth, truth, source, weight) == 0
    assert faded_blobs(1.2 * truth, truth, source, weight) == pytest.approx(0, abs=1e-4)
    faint = faded_blobs(0.5 * truth, truth, source, weight)
    assert faint > 0.004
    assert faded_blobs(source, truth, source, weight) > 2 * faint  # dark where it should be bright
    # What the source shows just as bright, or not at all, is no lesion that can be held against it.
    assert faded_blobs(0.5 * truth, truth, truth, weight) == 0
    assert faded_blobs(0.5 * truth, truth, torch.full_like(truth, 0.5), weight) == 0


def test_lesions_are_in_both_contrasts_and_weigh_as_much_as_the_slice(paired, monkeypatch):
    monkeypatch.setattr(paired_lessons, "FADING", 0.0)
    share = Share.deal(0, 0, 8, 1)[0]
    lessons = PairedLessons(TrainConfig(implanted=1.0, disturb=False), paired, torch.device("cpu"))
    pairs = lessons.draw(share, 32)
    plain = PairedLessons(TrainConfig(implanted=0.0, disturb=False), paired, torch.device("cpu"))
    lesion, without = (x.lesson("T2", pairs, share) for x in (lessons, plain))
    around = without.weight > 0
    changed = (lesion.truth - without.truth)[around]
    assert changed.max() > 0.1
    assert changed.min() > -0.3
    assert (lesion.given - without.given)[around].min() < -0.05
    assert torch.equal(lesion.clean, lesion.given)
    assert (lesion.weight >= without.weight).all()
    assert lesion.weight.max() <= 101
    assert 1.2 < lesion.weight.sum() / without.weight.sum() <= 2.01


def test_the_filter_on_the_grid_is_that_of_the_product(truth):
    from cyclegan.model.guided import guided
    from cyclegan.model.preprocess import Frame

    answer = torch.rand(truth.shape, generator=torch.manual_seed(0))
    frame = Frame(96, 96, 0, 0, 96, 96)
    expected = guided(answer, truth, truth[0].numpy(), frame)
    assert np.abs(guided_grid(answer, truth)[0].numpy() - expected).max() < 1e-6


@pytest.mark.parametrize(("share", "disturbed"), [(0.0, 0), (0.5, 4), (1.0, 8)])
def test_a_share_of_the_sources_is_disturbed(paired, share, disturbed):
    config = TrainConfig(implanted=0.0, look=0, paired_disturbed=share)
    lessons = PairedLessons(config, paired, torch.device("cpu"))
    places = lessons.share(Share.deal(2, 0, 12, 1)[0])  # eight pairs
    lesson = lessons.lesson("T2", lessons.draw(places, 32), places)
    changed = (lesson.given != lesson.clean).flatten(1).any(1)
    assert abs(int(changed.sum()) - disturbed) <= (2 if 0 < share < 1 else 0)


def test_pairs_alone_lower_the_paired_loss(tmp_path, paired):
    run = trainer(tmp_path, paired, steps=80, batch=2, lr_warmup=1e-2, implanted=0.0, start_share=0)
    weights = run.fit()
    rows = run.output.losses.rows()
    losses = [float(row["paired"]) for row in rows]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
    assert "pairs" not in rows[0]
    translator = Translator.from_pretrained(weights)
    assert translator.config["training"]["paired_sources"] == ["phantom"]


def test_truth_and_reference_share_a_tone_in_some_lessons(paired, monkeypatch):
    monkeypatch.setattr(paired_lessons, "FADING", 0.0)
    monkeypatch.setattr(paired_lessons, "seen_elsewhere", lambda images, draw: images)
    share = Share.deal(0, 0, 16, 1)[0]
    told, plain = (
        PairedLessons(TrainConfig(implanted=0.0, look=n), paired, torch.device("cpu"))
        for n in (12, 0)
    )
    pairs = told.draw(share, 32)
    lesson, without = (lessons.lesson("T2", pairs, share) for lessons in (told, plain))
    looked = lesson.reference.amax((1, 2, 3)) > 0
    assert 3 < looked.sum() < 13
    assert torch.equal(lesson.reference[looked], lesson.truth[looked])
    assert (lesson.truth - without.truth)[looked].abs().amax((1, 2, 3)).min() > 0.02
    assert torch.equal(lesson.truth[~looked], without.truth[~looked])
    assert without.reference.max() == 0


def test_a_reference_lies_elsewhere(truth):
    seen = seen_elsewhere(truth.expand(16, 1, 96, 96), Draw(16, torch.Generator().manual_seed(0)))
    share = (seen > 0.05).float().mean((1, 2, 3)) / (truth > 0.05).float().mean()
    assert share.min() > 0.2
    assert 3 <= (share < 0.75).sum() <= 13  # half covered
    assert (seen - truth).abs().mean((1, 2, 3)).min() > 0.02


def test_the_likely_errors_are_learnt_and_move_no_answer():
    truth, answer = torch.zeros(1, 1, 8, 8), torch.full((1, 1, 8, 8), 0.1, requires_grad=True)
    log_error = torch.full((1, 1, 8, 8), -3.0, requires_grad=True)
    laplace(answer, truth, log_error, torch.ones(1, 1, 8, 8)).backward()
    assert answer.grad is None
    assert (log_error.grad < 0).all()  # 0.1 is more than exp(-3): expect more
    best = torch.full((1, 1, 8, 8), 0.1).log().requires_grad_()
    laplace(answer, truth, best, torch.ones(1, 1, 8, 8)).backward()
    assert best.grad.abs().max() < 1e-6


def test_simulated_pairs_share_the_places_with_real_ones(tmp_path, paired, labels):
    run = trainer(tmp_path, paired, labels, steps=1)
    (share,) = run._shares(0)
    batch = run.objective.draw(share, 32, None)
    assert len(batch.paired.images["T1"]) == len(batch.paired_share) == 2
    assert len(batch.pairs.t1) == 1
    run.fit()
    assert {"pairs", "paired", "paired_sharp", "paired_faded"} <= set(run.output.losses.rows()[0])


@pytest.fixture(scope="module")
def unpaired(paired):
    return SliceDataset(
        dict(paired.slices), {c: np.zeros(2, int) for c in ("T1", "T2")}, ["phantom"]
    )


@pytest.mark.parametrize(
    ("stage", "term"),
    [({}, "cycle"), ({"refine": True}, "refine"), ({"back_translation": True}, "returned")],
)
def test_pairs_teach_beside_unpaired_slices(tmp_path, unpaired, paired, labels, stage, term):
    run = trainer(tmp_path, paired, labels, unpaired, steps=2, batch=4, warmup=0.0, **stage)
    run.fit()
    row = run.output.losses.rows()[-1]
    assert float(row["paired"]) > 0
    assert float(row[term]) > 0


def test_back_translation_has_real_slices_as_truth_and_answers_of_the_start_as_sources(
    tmp_path, unpaired, paired, labels
):
    run = trainer(tmp_path, paired, labels, unpaired, steps=1, batch=4, back_translation=True,
                  paired=0.5, look=0)  # fmt: skip
    objective = run.objective
    start = [p.clone() for p in objective.teacher["T1"].parameters()]
    (share,) = run._shares(0)
    batch = objective.draw(share, 32, objective.read_real(share))
    counts = len(batch.paired_share), len(batch.pairs_share), len(batch.share)
    assert counts == (2, 1, 1)  # of four places
    assert len(batch.real["T1"].images) == len(batch.real["T2"].images) == 1
    pair, (truth, mask, _) = objective._made_pair("T2", batch), batch.real["T2"]
    assert torch.equal(pair.images["T2"], truth)
    with torch.no_grad():
        made = guided_grid(objective.teacher["T1"](truth), truth) * mask
    assert torch.allclose(pair.images["T1"], made, atol=1e-5)
    run.fit()
    assert all(map(torch.equal, objective.teacher["T1"].parameters(), start))
    moved = zip(objective.generators["T1"].parameters(), start, strict=True)
    assert any(not torch.equal(p, q) for p, q in moved)


def test_back_translation_learns_without_pairs(tmp_path, unpaired):
    run = trainer(tmp_path, None, None, unpaired, steps=60, batch=2, back_translation=True, lr=3e-3,
                  implanted=0.0, look=0)  # fmt: skip
    run.fit()
    falling = [float(row["returned"]) for row in run.output.losses.rows()]
    assert np.mean(falling[-10:]) < 0.8 * np.mean(falling[:10])


def test_back_translation_says_when_no_place_is_left(tmp_path, unpaired, paired):
    with pytest.raises(ValueError, match="larger --batch or a smaller --paired"):
        trainer(tmp_path, paired, None, unpaired, steps=1, batch=1, back_translation=True)


def test_resume_continues_to_the_last_bit(tmp_path, paired, labels):
    straight = trainer(tmp_path / "a", paired, labels, steps=6)
    straight.fit()
    killed = trainer(tmp_path / "b", paired, labels, steps=6)
    for _ in range(3):
        killed.train_step()
        killed.step += 1
    killed.save()
    killed.train_step()  # lost with the kill
    resumed = trainer(tmp_path / "b", paired, labels, steps=6)
    resumed.resume()
    resumed.fit()
    for kind, networks in straight.stored().networks.items():
        for c, network in networks.items():
            found = resumed.stored().networks[kind][c].state_dict()
            assert all(torch.equal(v, found[k]) for k, v in network.state_dict().items()), kind
