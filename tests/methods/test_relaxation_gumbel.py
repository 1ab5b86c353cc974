"""Gumbel samples: frequencies, temperature, gradients, and the operations that run."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch
from oracles import nas201_supernet
from tiny_search import context_and_supernet, make_batch, make_searcher
from torch import Tensor

from darts.methods.relaxation_sampled import Concrete, Gumbel
from darts.spaces import SearchContext, cnn

ROW = torch.tensor([0.7, -0.4, 0.0, 1.1, -2.0], dtype=torch.float64)
KEPT = torch.tensor([True, False, True, True, False])


CONTEXT, _ = context_and_supernet("nas201")


def context_at(schedule: float) -> SearchContext:
    return dataclasses.replace(CONTEXT, epoch=round(100 * schedule), epochs=101)


def noise_of(seed: int, shape: torch.Size) -> Tensor:
    torch.manual_seed(seed)
    return -torch.empty(shape, dtype=torch.float64).exponential_().log()


@pytest.mark.parametrize("kept", [None, KEPT])
@pytest.mark.parametrize("progress", [0.0, 0.9])
def test_hard_samples_have_softmax_frequencies(kept: Tensor | None, progress: float) -> None:
    torch.manual_seed(1)
    count = 20_000
    mask = None if kept is None else kept.expand(count, -1)
    weights = Gumbel().sample_weights(ROW.expand(count, -1), mask, context_at(progress))
    assert weights.unique().tolist() == [0, 1]
    assert weights.sum(1).eq(1).all()
    logits = ROW if kept is None else ROW.masked_fill(~kept, float("-inf"))
    wanted = count * logits.softmax(0)
    possible = wanted > 0
    actual = weights.sum(0)
    assert actual[~possible].sum() == 0
    chi_square = ((actual - wanted).square() / wanted)[possible].sum()
    assert chi_square < 18.5  # 4 degrees of freedom: one seed in a thousand


def test_soft_sample_matches_the_formula_of_the_paper() -> None:
    relaxation = Concrete(temperature=2.0, temperature_end=1.0)
    alpha = ROW.expand(6, -1)
    noise = noise_of(3, alpha.shape)
    torch.manual_seed(3)
    weights = relaxation.sample_weights(alpha, None, context_at(0.25))
    torch.testing.assert_close(weights, ((alpha + noise) / 1.75).softmax(1))


@pytest.mark.parametrize("epochs", [2, 8, 250])
def test_the_last_epoch_has_the_last_temperature(epochs: int) -> None:
    """GDAS code: 10 in the first epoch and 0.1 in the last one, in equal steps."""
    contexts = [dataclasses.replace(CONTEXT, epoch=n, epochs=epochs) for n in range(epochs)]
    temperatures = [Gumbel().temperature_at(context.schedule_position) for context in contexts]
    assert temperatures == pytest.approx(torch.linspace(10, 0.1, epochs).tolist())


def test_hard_sample_has_the_softmax_gradient_of_the_sampled_operation() -> None:
    context = context_at(0.25)
    alpha = (ROW * torch.tensor([[1.0], [-1.0], [0.3]], dtype=torch.float64)).requires_grad_()
    temperature = Gumbel().temperature_at(0.25)
    soft = ((alpha.detach() + noise_of(4, alpha.shape)) / temperature).softmax(1)
    torch.manual_seed(4)
    weights = Gumbel().sample_weights(alpha, None, context)
    drawn = soft.argmax(1)
    assert weights.nonzero()[:, 1].equal(drawn)
    upstream = torch.tensor([2.0, -3.0, 0.5], dtype=torch.float64)
    (gradient,) = torch.autograd.grad((weights[range(3), drawn] * upstream).sum(), alpha)
    for edge in range(3):
        p, k = soft[edge], int(drawn[edge])
        row = p[k] * (torch.eye(5, dtype=torch.float64)[k] - p) / temperature
        torch.testing.assert_close(gradient[edge], upstream[edge] * row)


def test_mean_weights_are_one_hot_or_the_softmax() -> None:
    assert Gumbel().mean_weights(ROW[None], None).tolist() == [[0, 0, 0, 1, 0]]
    torch.testing.assert_close(Concrete().mean_weights(ROW[None], None), ROW.softmax(0)[None])


UNFUSE = {"cnn": cnn.unfuse_state_dict, "nas201": nas201_supernet.unfuse_state_dict}


@pytest.mark.parametrize("space", UNFUSE)
def test_only_sampled_operations_update_running_statistics(space: str) -> None:
    context, net = context_and_supernet(space)
    num_sampled = 0
    for seed in range(3):
        torch.manual_seed(seed)
        mixture = Gumbel().mixture(net.alphas, context)
        before = UNFUSE[space](net.state_dict())
        net(make_batch(seed)[0], mixture)
        for name, value in UNFUSE[space](net.state_dict()).items():
            match = re.search(r"edges\.(\d+)\.operations\.(\d+)\..*running_var$", name)
            if match is None:
                continue
            (group,) = [g for g in context.candidates if context.counts[g]]
            ran = bool(mixture.active[group][int(match[1]), int(match[2])])
            assert (not value.equal(before[name])) == ran, name
            num_sampled += ran
    assert num_sampled > 0


@pytest.mark.parametrize("bilevel", ["first_order", "unrolled"])
def test_search_survives_cells_whose_operations_are_all_none(bilevel: str) -> None:
    """All edges sample ``none``, so the loss depends on no alpha and on no weight of a cell."""
    searcher = make_searcher(
        "method=gdas", "space=nas201", f"bilevel={bilevel}", "arch_optimizer.weight_decay=0"
    )
    searcher.begin_epoch(0)
    with torch.no_grad():
        searcher.net.alphas["cell"][:, 0] = 100.0
    before = searcher.net.alphas["cell"].detach().clone()
    assert searcher.arch_step(make_batch(0), make_batch(1)) == 0
    step = searcher.weight_step(make_batch(0))
    assert step.loss.isfinite()
    assert step.norm > 0  # the bias of the classifier has a gradient
    assert searcher.net.alphas["cell"].equal(before)
