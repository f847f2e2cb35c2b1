"""The objective with networks whose outputs are known: identity, constant; numbers by hand."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from cyclegan import CONTRASTS
from cyclegan.data.dataset import SliceBatch
from cyclegan.model.guided import guided_grid
from cyclegan.training import losses, objective

ALL = ("unpaired", "pairs", "simulated")


class Known(nn.Module):
    """A generator that outputs its input, or `value` everywhere, and the same error everywhere."""

    style_encoder, error_head = None, "present"

    def __init__(self, value=None):
        super().__init__()
        self.value = value
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, x, style=None, error=False):
        output = (x if self.value is None else torch.full_like(x, self.value)) + 0 * self.weight
        return (output, torch.full_like(x, -2.0)) if error else output


class Score(nn.Module):
    """A discriminator with the same score for everything."""

    def __init__(self, score):
        super().__init__()
        self.score = nn.Parameter(torch.tensor(score))
        self.inputs = []

    def forward(self, images, source):
        self.inputs.append(images.detach().clone())
        return self.score.expand(len(images), 1, 4, 4)


def with_known(run, t1=None, t2=None, score=0.25):
    goal = run.objective
    goal.generators = {"T1": Known(t1), "T2": Known(t2)}
    goal.discriminators = {c: Score(score) for c in CONTRASTS}
    return goal


def test_a_perfect_cycle_and_identity_cost_nothing_and_the_rest_is_known(make, batch_of):
    run = make("unpaired", batch=2)
    goal, batch = with_known(run), batch_of(run)
    total, terms, fakes = goal.generator_loss(batch)
    assert terms["cycle"] == terms["idt"] == 0
    assert terms["loss_G"] == pytest.approx(2 * 0.75**2)  # to be taken for real: score 1
    assert total.item() == pytest.approx(2 * 0.75**2)  # weight 1, as published
    for to, source in (("T2", "T1"), ("T1", "T2")):
        images, mask, _ = batch.unpaired[source]
        assert torch.equal(fakes[to], images * mask)


def test_constant_generators_have_the_cycle_identity_and_total_that_arithmetic_gives(
    make, batch_of
):
    run = make("unpaired", batch=2, weight_structure=0.5)
    goal, batch = with_known(run, t1=0.3, t2=0.6), batch_of(run)
    total, terms, _ = goal.generator_loss(batch)
    (t1, mask1, _), (t2, mask2, _) = batch.unpaired["T1"], batch.unpaired["T2"]
    cycle = ((0.3 - t1) * mask1).abs().mean() + ((0.6 - t2) * mask2).abs().mean()
    identity = (0.3 - t1).abs().mean() + (0.6 - t2).abs().mean()
    structure = losses.gradient_field(t1, 0.6 * mask1) + losses.gradient_field(t2, 0.3 * mask2)
    for name, expected in (("cycle", cycle), ("idt", identity), ("structure", structure)):
        assert terms[name] == pytest.approx(expected.item(), rel=1e-5)
    by_hand = 1 * 2 * 0.75**2 + 10 * cycle + 5 * identity + 0.5 * structure
    assert total.item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_the_intensity_loss_compares_with_real_slices_of_the_target_contrast(make, batch_of):
    run = make(*ALL, batch=4, supervised=0.0)
    batch = batch_of(run)
    flat = {}
    for c, value in (("T1", 0.2), ("T2", 0.7)):
        images = torch.full_like(batch.unpaired[c].images, value)
        flat[c] = SliceBatch(images, torch.ones_like(images), batch.unpaired[c].sources)
    # Each outputs what its contrast shows, and then what the other one shows.
    for t1, t2, loss in ((0.2, 0.7, 0), (0.7, 0.2, 2 * 0.5)):
        goal = with_known(run, t1, t2)
        _, terms, _ = goal.generator_loss(batch._replace(unpaired=flat))
        assert terms["intensity"] == pytest.approx(loss, abs=1e-4)


def test_the_total_is_the_table_of_weights_times_the_terms(make, batch_of):
    run = make(*ALL, batch=4, supervised=0.0)
    goal, batch = run.objective, batch_of(run)
    weights = {"cycle": 3, "cycle_ssim": 1.5, "structure": 1, "intensity": 10, "pairs": 12,
               "simulated": 6}  # fmt: skip
    for adversary in (1.0, 0.25):
        table = goal.weights(adversary)
        assert table.items() >= (weights | {"loss_G": 0.15 * adversary}).items()
        total, terms, _ = goal.generator_loss(batch, adversary)
        by_hand = sum(weight * terms[name] for name, weight in table.items() if weight)
        assert total.item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_a_supervised_loss_is_its_parts_and_judges_what_the_product_shows(make, batch_of):
    run = make("pairs", weight_lesions=2.0)
    goal = with_known(run, t2=0.4)
    _, directions = batch_of(run).supervised["pairs"]
    sample = directions["T2"]
    total, parts = goal.supervised_loss("T2", sample)
    output = guided_grid(torch.full_like(sample.source, 0.4), sample.source) * sample.mask
    target = losses.aligned(sample.target, output, 2)
    expected = {
        "sharp": losses.sharpness(output, target, sample.weight),
        "faded": losses.faded_spots(output, target, sample.clean, sample.weight),
        "lesions": losses.lesion_contrast(output, target, sample.lesion, sample.mask),
        "error": losses.laplace(output, target, torch.full_like(output, -2.0), sample.mask),
    }
    weights = goal.supervised_weights()
    assert weights.items() >= {"sharp": 0.5, "faded": 2, "lesions": 2, "error": 0.02}.items()
    for name, value in expected.items():
        assert parts[name].item() == pytest.approx(value.item(), rel=1e-5)
    by_hand = sum(weights[name] * value for name, value in parts.items())
    by_hand = losses.dissimilarity(output, target, sample.weight) + by_hand
    assert total.item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_discriminators_are_to_score_real_one_and_fakes_zero(make, batch_of):
    run = make("unpaired", batch=2)
    goal, batch = with_known(run, score=0.25), batch_of(run)
    fakes = {c: (torch.ones(2, 1, 32, 32), torch.zeros(2, dtype=torch.int64)) for c in CONTRASTS}
    loss = goal.discriminator_loss(batch, fakes)
    assert loss.item() == pytest.approx(2 * 0.5 * (0.75**2 + 0.25**2))
    first, second = goal.discriminators["T2"].inputs
    assert torch.equal(first, batch.unpaired["T2"].images)  # real ones of its own contrast
    assert second.min() == 1


def test_each_loss_moves_its_own_networks_only(make, batch_of):
    run = make("unpaired", batch=2)
    goal, batch = run.objective, batch_of(run)
    total, _, fakes = goal.generator_loss(batch)
    total.backward()
    for network in goal.discriminators.values():
        assert all(p.grad is None for p in network.parameters())
    assert all(p.grad is not None for p in goal.generators["T2"].head.parameters())
    run.optimizer_G.zero_grad(set_to_none=True)
    (recalled,) = goal.recall(0, [batch], [{c: f.detach() for c, f in fakes.items()}])
    goal.discriminator_loss(batch, recalled).backward()
    for network in goal.generators.values():
        assert all(p.grad is None for p in network.parameters())
    assert all(p.grad is not None for p in goal.discriminators["T1"].parameters())


def test_a_step_moves_the_generators_first_and_shows_what_they_made_before(
    make, batch_of, monkeypatch
):
    run = make("unpaired", batch=2)
    goal, order = run.objective, []
    slices = batch_of(run).unpaired["T1"]
    with torch.no_grad():
        before = goal.generate("T2", slices.images) * slices.masks
    judge = goal.discriminator_loss
    for name, optimizer in (("G", run.optimizer_G), ("D", run.optimizer_D)):
        optimizer.register_step_post_hook(lambda *_, name=name: order.append(name))
    monkeypatch.setattr(
        goal, "discriminator_loss",
        lambda batch, recalled: order.append(recalled["T2"][0]) or judge(batch, recalled),
    )  # fmt: skip
    run.train_step()
    assert [order[0], order[2]] == ["G", "D"]
    assert torch.allclose(order[1], before, atol=1e-6)
    with torch.no_grad():
        after = goal.generate("T2", slices.images) * slices.masks
    assert not torch.allclose(after, before, atol=1e-6)


def test_the_history_returns_older_translations_with_their_sources(make, batch_of, monkeypatch):
    monkeypatch.setattr(objective, "POOL", 4)
    run = make("unpaired", batch=2)
    goal, batch = run.objective, batch_of(run)
    older = 0
    for step in range(12):
        numbers = torch.tensor([2 * step, 2 * step + 1])  # of the slices that were translated
        labelled = {c: batch.unpaired[c]._replace(sources=numbers + first)
                    for c, first in (("T1", 0), ("T2", 100))}  # fmt: skip
        fakes = {to: (numbers + first).float()[:, None, None, None].expand(2, 1, 32, 32)
                 for to, first in (("T2", 0), ("T1", 100))}  # fmt: skip
        (recalled,) = goal.recall(step, [batch._replace(unpaired=labelled)], [fakes])
        for to, first in (("T2", 0), ("T1", 100)):
            images, labels = recalled[to]
            assert torch.equal(images[:, 0, 0, 0], labels.float())
            older += int((labels < first + 2 * step).sum())
        if step < 2:
            assert torch.equal(recalled["T2"][1], numbers)  # not full yet
    assert 10 <= older <= 30  # one half of 40


def test_references_reach_the_generators(make, batch_of):
    run = make("pairs")
    goal, (_, directions) = run.objective, batch_of(run).supervised["pairs"]
    nn.init.normal_(goal.generators["T2"].film.weight, std=0.5)
    source = directions["T2"].source
    reference = torch.rand(3, 1, 32, 32, generator=torch.manual_seed(0))
    reference[0] = 0
    plain, styled = goal.generate("T2", source), goal.generate("T2", source, reference)
    assert torch.equal(plain[0], styled[0])  # black: the source guesses
    assert (plain - styled)[1:].abs().amax((1, 2, 3)).min() > 1e-4


def test_every_loss_is_in_the_table_of_the_documents(make):
    goal = make(*ALL, batch=4).objective
    text = (Path(__file__).parents[2] / "docs/training.md").read_text("utf-8")
    table = text.split("| term | is | paper |")[1].split("\n\n")[0]
    cells = [row.split("|")[1] for row in table.splitlines()[2:]]
    documented = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    assert set(documented) == {*goal.weights(), *goal.supervised_weights(), "loss_D"}
    assert set(goal.supervised_weights()) == set(objective.SUPERVISED)


def test_without_a_weight_there_is_no_pass_no_loss_and_no_discriminator(
    make, batch_of, monkeypatch
):
    monkeypatch.delattr(losses, "faded_spots")
    zero = {"weight_gan": 0.0, "weight_cycle": 0.0, "weight_lesions": 0.0}
    run = make(*ALL, batch=4, supervised=0.0, **zero)
    assert run.objective.discriminators == {}
    calls = []
    goal = with_known(run)
    for c in CONTRASTS:
        goal.generators[c].register_forward_hook(lambda *_, c=c: calls.append(c))
    goal.generator_loss(batch_of(run))
    assert calls == ["T1", "T2"] * 3  # pairs, simulated, unpaired: one way each
    run = make(*ALL, batch=4, out="b", supervised=0.0, steps=1, **zero)
    run.fit()
    assert "loss_D" not in run.output.losses.rows()[-1]
