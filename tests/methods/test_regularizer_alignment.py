"""Lambda-DARTS: the mean cosine of the cells' gradients and its gradient for the weights."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny_search import make_batch
from torch import Tensor

from darts.methods.regularizer import Alignment, agreement
from darts.spaces import SearchContext
from darts.spaces.cnn import EdgewiseSupernet
from darts.spaces.mixture import Mixture

GENERATOR = torch.Generator().manual_seed(0)


def naive(gradients: Tensor) -> float:
    """Return the mean cosine over all pairs of cells with explicit loops."""
    rows = gradients.flatten(1).tolist()
    cosines = []
    for i in range(len(rows)):
        for j in range(i + 1, len(rows)):
            dot = sum(a * b for a, b in zip(rows[i], rows[j], strict=True))
            lengths = [math.sqrt(sum(a * a for a in row)) for row in (rows[i], rows[j])]
            cosines.append(dot / (lengths[0] * lengths[1]))
    return sum(cosines) / len(cosines)


def test_agreement_is_the_mean_cosine_over_pairs_of_cells() -> None:
    gradients = torch.randn(4, 3, 5, generator=GENERATOR, dtype=torch.float64)
    assert float(agreement(gradients)) == pytest.approx(naive(gradients))
    alike = gradients[:1] * torch.tensor([1.0, 2.0, 0.1])[:, None, None]
    assert float(agreement(alike)) == pytest.approx(1)
    assert float(agreement(torch.stack([gradients[0], -gradients[0]]))) == pytest.approx(-1)
    assert float(agreement(gradients[:1])) == 0


class SmallProblem:
    """A supernet with five cells in float64, a batch and a mixture."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.net = EdgewiseSupernet(channels=2, cells=5, classes=3, nodes=1).double()
        images, self.labels = make_batch(1, size=6)
        self.images = images.double()
        weights = torch.rand(2, 2, 8, generator=torch.Generator().manual_seed(2)).double()
        self.mixture = Mixture(dict(zip(("normal", "reduce"), weights.softmax(-1), strict=True)))
        self.context = SearchContext(
            None, self.net.candidates, self.net.edges, self.net.counts, epoch=1, epochs=3
        )

    def __call__(self, mixture: Mapping[str, Tensor]) -> Tensor:
        return F.cross_entropy(self.net(self.images, mixture), self.labels)

    def gradient(self, mixture: Mixture) -> dict[str, Tensor]:
        leaves = {group: w.detach().requires_grad_() for group, w in mixture.items()}
        actual = torch.autograd.grad(self(mixture.with_weights(leaves)), list(leaves.values()))
        return dict(zip(leaves, actual, strict=True))

    def exact(self, all_groups: bool) -> list[Tensor]:
        """Return the gradient of the ``Lambda`` of the aligned groups by double backward."""
        leaves = {
            group: w.expand(self.net.counts[group], -1, -1).clone().requires_grad_()
            for group, w in self.mixture.items()
        }
        actual = torch.autograd.grad(
            self(Mixture(leaves)), list(leaves.values()), create_graph=True
        )
        aligned = actual if all_groups else actual[:1]
        total = sum((agreement(gradient) for gradient in aligned), torch.zeros(()))
        return list(torch.autograd.grad(total, self.net.weight_parameters(), allow_unused=True))


def flat(tensors: Any) -> Tensor:
    return torch.cat([t.flatten() for t in tensors if t is not None])


def relative_error(problem: SmallProblem, all_groups: bool, epsilon: float) -> float:
    """Return the error of the term's gradient, relative to the exact gradient."""
    exact = problem.exact(all_groups)
    used = [p for p, g in zip(problem.net.weight_parameters(), exact, strict=True) if g is not None]
    wanted = -0.8 * 0.5 * flat(exact)
    regularizer = Alignment(weight=0.8, epsilon=epsilon, all_groups=all_groups)
    term = regularizer.weight_term(problem.mixture, problem, problem.context)
    actual = flat(torch.autograd.grad(term, used, allow_unused=True, materialize_grads=True))
    return float((actual - wanted).norm() / wanted.norm())


def test_weight_term_has_the_exact_second_order_gradient() -> None:
    """The error falls with the square of the step; much longer steps cross kinks of ReLUs."""
    problem = SmallProblem()
    assert problem.net.counts == {"normal": 3, "reduce": 2}
    errors = [relative_error(problem, True, epsilon) for epsilon in (1e-4, 1e-5)]
    assert errors[0] < 1e-5
    assert errors[1] < errors[0] / 50


def test_only_the_cells_of_the_first_group_are_aligned_by_default() -> None:
    assert relative_error(SmallProblem(), False, 1e-5) < 1e-7


def test_weight_term_is_none_at_the_start_and_for_single_cells() -> None:
    problem = SmallProblem()

    begin = dataclasses.replace(problem.context, epoch=0)
    unused: Any = object()  # has neither loss nor gradient
    assert Alignment().weight_term(problem.mixture, unused, begin) is None
    single = dataclasses.replace(problem.context, counts={"normal": 1, "reduce": 1})
    ones: Any = SimpleNamespace(gradient=lambda _: {g: torch.ones(1, 2, 8) for g in single.counts})
    assert Alignment().weight_term(problem.mixture, ones, single) is None
