"""Gumbel draws: how often, how sharp, with which gradient, and what of a supernet runs."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch
from tiny_search import make_batch, make_searcher, context_and_supernet
from torch import Tensor

from darts.methods.relaxation_gumbel import Concrete, Gumbel, straight_through
from darts.spaces import SearchContext, cnn, nas201

ROW = torch.tensor([0.7, -0.4, 0.0, 1.1, -2.0], dtype=torch.float64)
KEPT = torch.tensor([True, False, True, True, False])


SETTING, _ = context_and_supernet("nas201")


def at(progress: float) -> SearchContext:
    return dataclasses.replace(SETTING, progress=progress)


def noise_of(seed: int, shape: torch.Size) -> Tensor:
    """The Gumbel noise that a draw with this seed has used."""
    torch.manual_seed(seed)
    return -torch.empty(shape, dtype=torch.float64).exponential_().log()


@pytest.mark.parametrize("kept", [None, KEPT])
@pytest.mark.parametrize("progress", [0.0, 0.9])
def test_hard_draws_are_as_frequent_as_softmax_says(kept: Tensor | None, progress: float) -> None:
    torch.manual_seed(1)
    count = 20_000
    mask = None if kept is None else kept.expand(count, -1)
    weights, active = Gumbel().draw(ROW.expand(count, -1), mask, at(progress))
    assert active.sum(1).eq(1).all()
    assert weights.equal(active.double())
    logits = ROW if kept is None else ROW.masked_fill(~kept, float("-inf"))
    wanted = count * logits.softmax(0)
    possible = wanted > 0
    found = active.sum(0)
    assert found[~possible].sum() == 0
    chi_square = ((found - wanted).square() / wanted)[possible].sum()
    assert chi_square < 18.5  # 4 degrees of freedom: one seed in a thousand


def test_soft_samples_sum_to_one_and_sharpen_as_the_search_goes_on() -> None:
    relaxation = Concrete(temperature=5.0, temperature_end=0.05)
    largest = []
    for progress in (0.0, 0.5, 0.99):
        torch.manual_seed(2)
        weights, active = relaxation.draw(ROW.expand(500, -1), None, at(progress))
        assert active is None
        torch.testing.assert_close(weights.sum(1), torch.ones(500, dtype=torch.float64))
        largest.append(weights.amax(1))
    assert (largest[0] < largest[1]).all()
    assert (largest[1] < largest[2]).all()
    assert largest[0].mean() < 0.5
    assert largest[2].mean() > 0.9


def test_a_soft_sample_is_the_papers_formula() -> None:
    relaxation = Concrete(temperature=2.0, temperature_end=1.0)
    alpha = ROW.expand(6, -1)
    noise = noise_of(3, alpha.shape)
    torch.manual_seed(3)
    weights, _ = relaxation.draw(alpha, None, at(0.25))
    torch.testing.assert_close(weights, ((alpha + noise) / 1.75).softmax(1))


def test_the_temperature_falls_linearly() -> None:
    assert [Gumbel().temperature_at(p) for p in (0, 0.5, 1)] == pytest.approx([10, 5.05, 0.1])
    assert [Concrete().temperature_at(p) for p in (0, 0.5, 1)] == pytest.approx([1, 0.515, 0.03])


def test_a_hard_draw_has_the_softmax_gradient_of_the_drawn_operation() -> None:
    context = at(0.25)
    alpha = (ROW * torch.tensor([[1.0], [-1.0], [0.3]], dtype=torch.float64)).requires_grad_()
    temperature = Gumbel().temperature_at(0.25)
    soft = ((alpha.detach() + noise_of(4, alpha.shape)) / temperature).softmax(1)
    torch.manual_seed(4)
    weights, active = Gumbel().draw(alpha, None, context)
    drawn = soft.argmax(1)
    assert active.nonzero()[:, 1].equal(drawn)
    upstream = torch.tensor([2.0, -3.0, 0.5], dtype=torch.float64)
    (gradient,) = torch.autograd.grad((weights[range(3), drawn] * upstream).sum(), alpha)
    for edge in range(3):
        p, k = soft[edge], int(drawn[edge])
        row = p[k] * (torch.eye(5, dtype=torch.float64)[k] - p) / temperature
        torch.testing.assert_close(gradient[edge], upstream[edge] * row)


def test_judged_without_chance() -> None:
    weights, active = Gumbel().judge(ROW[None], None)
    assert weights.tolist() == [[0, 0, 0, 1, 0]]
    assert active.equal(weights.bool())
    torch.testing.assert_close(Concrete().judge(ROW[None], None)[0], ROW.softmax(0)[None])


def test_an_edge_that_keeps_nothing_runs_nothing() -> None:
    kept = torch.stack([KEPT, torch.zeros(5, dtype=torch.bool)])
    alpha = ROW.repeat(2, 1).requires_grad_()
    weights, active = Gumbel().draw(alpha, kept, at(0.0))
    assert active.sum(1).tolist() == [1, 0]
    assert weights.sum(1).tolist() == [1, 0]
    weights.sum().backward()
    assert alpha.grad is not None
    assert alpha.grad.isfinite().all()


def test_one_hot_to_the_last_bit() -> None:
    torch.manual_seed(5)
    soft = torch.rand(1000, 5).softmax(1)
    weights, mask = straight_through(soft)
    assert weights.equal(mask.float())


FREE = {"cnn": cnn.unfuse_state_dict, "nas201": nas201.unfuse_state_dict}


@pytest.mark.parametrize("space", FREE)
def test_only_what_was_drawn_runs(space: str) -> None:
    """The statistics of no other operation move."""
    context, net = context_and_supernet(space)
    seen = 0
    for seed in range(3):
        torch.manual_seed(seed)
        mixture = Gumbel().mixture(net.alphas, context)
        assert mixture.active is not None
        before = FREE[space](net.state_dict())
        net(make_batch(seed)[0], mixture)
        for name, value in FREE[space](net.state_dict()).items():
            place = re.search(r"edges\.(\d+)\.operations\.(\d+)\..*running_var$", name)
            if place is None:
                continue
            (group,) = [g for g in context.candidates if context.counts[g]]
            ran = bool(mixture.active[group][int(place[1]), int(place[2])])
            assert (not value.equal(before[name])) == ran, name
            seen += ran
    assert seen > 0


@pytest.mark.parametrize("space", FREE)
def test_what_did_not_run_learns_nothing(space: str) -> None:
    context, net = context_and_supernet(space)
    torch.manual_seed(0)
    mixture = Gumbel().mixture(net.alphas, context)
    net(make_batch(1)[0], mixture).square().sum().backward()
    assert mixture.active is not None
    gradients = {
        name: torch.zeros_like(p) if p.grad is None else p.grad
        for name, p in net.named_parameters()
    }
    (group,) = [g for g in context.candidates if context.counts[g]]
    alive = 0
    for name, gradient in FREE[space](net.state_dict() | gradients).items():
        place = re.search(r"edges\.(\d+)\.operations\.(\d+)\..*weight$", name)
        if place and not mixture.active[group][int(place[1]), int(place[2])]:
            assert not gradient.any(), name
        alive += bool(place) and bool(gradient.any())
    assert alive > 0
    # But all alphas of an edge whose operation has put something out.
    assert (gradients[f"alphas.{group}"].count_nonzero(1) > 1).any()


@pytest.mark.parametrize("bilevel", ["first_order", "unrolled"])
def test_a_search_lives_through_a_cell_that_lets_nothing_pass(bilevel: str) -> None:
    """All six edges draw ``none``: no alpha has a part in the loss, and no weight of a cell."""
    searcher = make_searcher(
        "method=gdas", "space=nas201", f"bilevel={bilevel}", "arch_optimizer.weight_decay=0"
    )
    searcher.begin_epoch(0)
    with torch.no_grad():
        searcher.net.alphas["cell"][:, 0] = 100.0
    before = searcher.net.alphas["cell"].detach().clone()
    assert searcher.arch_step(make_batch(0), make_batch(1)) == 0
    loss, _, norm = searcher.weight_step(make_batch(0))
    assert loss.isfinite()
    assert norm > 0  # of the classifier's bias
    assert searcher.net.alphas["cell"].equal(before)
