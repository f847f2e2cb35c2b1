"""The objective with networks whose outputs are known: identity, constant; numbers by hand."""

import pytest
import torch
from torch import nn

from cyclegan.data.dataset import Drawn
from cyclegan.model.guided import guided_grid
from cyclegan.training import losses, objective
from cyclegan.training.sharing import Share

ALL = ("unpaired", "pairs", "simulated")


class Known(nn.Module):
    """A generator that gives its input, or `value` everywhere, and the same error everywhere."""

    style_encoder = None

    def __init__(self, value=None, log_error=-2.0):
        super().__init__()
        self.value, self.log_error = value, log_error
        self.error_head = self
        self.dummy = nn.Parameter(torch.zeros(()))

    def forward(self, x, error=False):
        output = (x if self.value is None else torch.full_like(x, self.value)) + 0 * self.dummy
        return (output, torch.full_like(x, self.log_error)) if error else output


class Score(nn.Module):
    """A discriminator with the same score for everything."""

    def __init__(self, score):
        super().__init__()
        self.score = nn.Parameter(torch.tensor(score))
        self.saw = []

    def forward(self, images, source):
        self.saw.append((images.detach().clone(), source.clone()))
        return self.score.expand(len(images), 1, 4, 4)


def with_known(run, t1=None, t2=None, score=0.25):
    goal = run.objective
    # A module that holds itself is no module tree; the attribute is all that is asked for.
    goal.generators = {"T1": Known(t1), "T2": Known(t2)}
    goal.discriminators = {c: Score(score) for c in ("T1", "T2")}
    return goal


def batch_of(run, kinds=None):
    share = Share.deal(0, 0, run.samples_per_step, 1)[0]
    kinds = kinds or run.samples.kinds
    return run.samples.draw(share, run.config.size, kinds, run.samples.read(share, kinds))


def test_a_perfect_cycle_and_identity_cost_nothing_and_the_rest_is_known(make):
    run = make("unpaired", batch=2)
    goal, batch = with_known(run), batch_of(run)
    total, terms, fakes = goal.generator_loss(batch)
    assert terms["cycle"] == 0
    assert terms["idt"] == 0
    assert terms["loss_G"] == pytest.approx(2 * 0.75**2)  # to be taken for real: score 1
    assert total.item() == pytest.approx(2 * 0.75**2)  # weight 1, as published
    for to, given in (("T2", "T1"), ("T1", "T2")):
        images, mask, _ = batch.unpaired[given]
        assert torch.equal(fakes[to], images * mask)


def test_constant_generators_have_the_cycle_identity_and_total_that_arithmetic_says(make):
    run = make("unpaired", batch=2, weight_structure=0.5)
    goal, batch = with_known(run, t1=0.3, t2=0.6), batch_of(run)
    total, terms, _ = goal.generator_loss(batch)
    (t1, mask1, _), (t2, mask2, _) = batch.unpaired["T1"], batch.unpaired["T2"]
    cycle = ((0.3 - t1) * mask1).abs().mean() + ((0.6 - t2) * mask2).abs().mean()
    identity = (0.3 - t1).abs().mean() + (0.6 - t2).abs().mean()
    structure = losses.gradient_field(t1, 0.6 * mask1) + losses.gradient_field(t2, 0.3 * mask2)
    assert terms["cycle"] == pytest.approx(cycle.item(), rel=1e-5)
    assert terms["idt"] == pytest.approx(identity.item(), rel=1e-5)
    assert terms["structure"] == pytest.approx(structure.item(), rel=1e-5)
    by_hand = 1 * 2 * 0.75**2 + 10 * cycle + 5 * identity + 0.5 * structure
    assert total.item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_the_structure_loss_compares_the_source_with_its_translation(make):
    run = make(*ALL, batch=4, supervised=0.0)
    goal, batch = with_known(run, t1=0.5, t2=0.5), batch_of(run)
    goal.published = True  # undisturbed; the weights below are those of the run all the same
    _, terms, _ = goal.generator_loss(batch)
    inner = {c: losses.gradient_field(batch.unpaired[c].images, 0.5 * batch.unpaired[c].masks)
             for c in ("T1", "T2")}  # fmt: skip
    assert terms["structure"] == pytest.approx(sum(inner.values()).item(), rel=1e-5)
    own = sum(losses.gradient_field(d.images, d.images) for d in batch.unpaired.values())
    assert terms["structure"] > 1.5 * own


def test_the_intensity_loss_compares_with_real_slices_of_the_target_contrast(make):
    run = make(*ALL, batch=4, supervised=0.0)
    goal, batch = with_known(run, t1=0.2, t2=0.7), batch_of(run)
    images = {
        c: torch.full_like(batch.unpaired[c].images, v) for c, v in (("T1", 0.2), ("T2", 0.7))
    }
    full = {c: Drawn(i, torch.ones_like(i), batch.unpaired[c].sources) for c, i in images.items()}
    _, terms, _ = goal.generator_loss(batch._replace(unpaired=full))
    assert terms["intensity"] == pytest.approx(0, abs=1e-5)  # each makes what its contrast shows
    goal = with_known(run, t1=0.7, t2=0.2)
    _, terms, _ = goal.generator_loss(batch._replace(unpaired=full))
    assert terms["intensity"] == pytest.approx(2 * 0.5, abs=1e-4)


def test_the_total_is_the_table_of_weights_times_the_terms(make):
    run = make(*ALL, batch=4, supervised=0.0)
    goal, batch = run.objective, batch_of(run)
    for adversary in (1.0, 0.25):
        total, terms, _ = goal.generator_loss(batch, adversary)
        by_hand = (
            0.15 * adversary * terms["loss_G"] + 3 * terms["cycle"] + 1.5 * terms["cycle_ssim"]
            + 1 * terms["structure"] + 10 * terms["intensity"] + 12 * terms["pairs"]
            + 6 * terms["simulated"]
        )  # fmt: skip
        assert total.item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_a_supervised_loss_is_its_parts_and_judges_what_the_product_shows(make):
    run = make("pairs", weight_lesions=2.0)
    goal = with_known(run, t2=0.4)
    _, directions = batch_of(run).supervised["pairs"]
    sample = directions["T2"]
    total, parts = goal.supervised_loss("T2", sample)
    output = guided_grid(torch.full_like(sample.source, 0.4), sample.source) * sample.mask
    target = losses.aligned(sample.target, output, 2)
    expected = losses.dissimilarity(output, target, sample.weight)
    expected = expected + 0.5 * losses.sharpness(output, target, sample.weight)
    expected = expected + 2 * losses.faded_spots(output, target, sample.clean, sample.weight)
    expected = expected + 2 * losses.lesion_contrast(output, target, sample.lesion, sample.mask)
    error = losses.laplace(output, target, torch.full_like(output, -2.0), sample.mask)
    assert parts["error"].item() == pytest.approx(error.item(), rel=1e-5)
    assert total.item() == pytest.approx((expected + 0.02 * error).item(), rel=1e-5)


def test_discriminators_are_to_score_real_one_and_fakes_zero(make):
    run = make("unpaired", batch=2)
    goal, batch = with_known(run, score=0.25), batch_of(run)
    fakes = {c: (torch.ones(2, 1, 32, 32), torch.zeros(2, dtype=torch.int64)) for c in ("T1", "T2")}
    loss = goal.discriminator_loss(batch, fakes)
    assert loss.item() == pytest.approx(2 * 0.5 * (0.75**2 + 0.25**2))
    first, second = goal.discriminators["T2"].saw
    assert torch.equal(first[0], batch.unpaired["T2"].images)  # real ones of its own contrast
    assert second[0].min() == 1


def test_discriminators_learn_which_is_which(make):
    run = make("unpaired", batch=2, lr=1e-2)
    goal, batch = run.objective, batch_of(run)
    flat = {c: (torch.full((2, 1, 32, 32), 0.5), torch.zeros(2, dtype=torch.int64))
            for c in ("T1", "T2")}  # fmt: skip
    run.optimizer_D.param_groups[0]["lr"] = 1e-2
    for _ in range(15):
        run.optimizer_D.zero_grad()
        goal.discriminator_loss(batch, flat).backward()
        run.optimizer_D.step()
    for c in ("T1", "T2"):
        real = goal.discriminators[c](batch.unpaired[c].images).mean()
        assert real > goal.discriminators[c](flat[c][0]).mean() + 0.3


def test_the_adversarial_loss_moves_generators_and_its_opposite_moves_discriminators(make):
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


def test_a_step_moves_the_generators_first_and_shows_what_they_made_before(make, monkeypatch):
    run = make("unpaired", batch=2)
    goal, order = run.objective, []
    images = batch_of(run).unpaired["T1"]
    with torch.no_grad():
        before = goal.generate("T2", images.images) * images.masks
    optimise, judge = run._optimise, goal.discriminator_loss
    monkeypatch.setattr(
        run, "_optimise",
        lambda o: order.append("G" if o is run.optimizer_G else "D") or optimise(o),
    )  # fmt: skip
    monkeypatch.setattr(
        goal, "discriminator_loss",
        lambda batch, old: order.append(old["T2"][0]) or judge(batch, old),
    )  # fmt: skip
    run.train_step()
    assert [order[0], order[2]] == ["G", "D"]
    assert torch.allclose(order[1], before, atol=1e-6)
    with torch.no_grad():
        after = goal.generate("T2", images.images) * images.masks
    assert not torch.allclose(after, before, atol=1e-6)


def test_the_history_gives_back_older_translations_with_their_sources(make, monkeypatch):
    monkeypatch.setattr(objective, "POOL", 4)
    run = make("unpaired", batch=2)
    goal, batch = run.objective, batch_of(run)
    older = 0
    for step in range(12):
        sources = torch.tensor([2 * step, 2 * step + 1])  # of the slices that were translated
        made = torch.arange(2.0 * step, 2 * step + 2)[:, None, None, None].expand(2, 1, 32, 32)
        labelled = {"T1": batch.unpaired["T1"]._replace(sources=sources),
                    "T2": batch.unpaired["T2"]._replace(sources=sources + 100)}  # fmt: skip
        (recalled,) = goal.recall(step, [batch._replace(unpaired=labelled)], [
            {"T1": made + 100, "T2": made}])  # fmt: skip
        for to, first in (("T2", 0), ("T1", 100)):
            images, labels = recalled[to]
            assert torch.equal(images[:, 0, 0, 0], labels.float())
            older += int((labels < first + 2 * step).sum())
        if step < 2:
            assert torch.equal(recalled["T2"][1], sources)  # not full yet
    assert 10 <= older <= 30  # one half of 40


def test_references_reach_the_generators(make):
    run = make("pairs")
    goal, (_, directions) = run.objective, batch_of(run).supervised["pairs"]
    network = goal.generators["T2"]
    nn.init.normal_(network.film.weight, std=0.5)
    source, reference = directions["T2"].source, torch.rand(3, 1, 32, 32)
    reference[0] = 0
    plain, styled = goal.generate("T2", source), goal.generate("T2", source, reference)
    assert torch.equal(plain[0], styled[0])  # black: the source guesses
    assert (plain - styled)[1:].abs().amax((1, 2, 3)).min() > 1e-4


def test_without_a_weight_there_is_no_pass_and_no_discriminator(make):
    run = make(*ALL, batch=4, supervised=0.0, weight_gan=0.0, weight_cycle=0.0)
    assert run.objective.discriminators == {}
    calls = []
    goal = with_known(run)
    for c in ("T1", "T2"):
        goal.generators[c].register_forward_hook(lambda *_, c=c: calls.append(c))
    goal.generator_loss(batch_of(run))
    assert calls == ["T1", "T2"] * 2 + ["T1", "T2"]  # pairs, simulated, one way each
    run = make(*ALL, batch=4, out="b", supervised=0.0, weight_gan=0.0)
    run.fit()
    assert "loss_D" not in run.output.losses.rows()[-1]
