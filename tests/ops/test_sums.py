"""Weighted sums and group sums, compared with plain sums."""

from __future__ import annotations

from functools import reduce

import pytest
import torch
from cases import check_derivatives, draw
from torch import Tensor

from darts.ops.sums import dense_gradient, weighted_sum

LAYOUTS = [torch.contiguous_format, torch.channels_last]


def plain(terms: list[Tensor], weights: list[Tensor]) -> Tensor:
    return reduce(torch.add, (w * t for t, w in zip(terms, weights, strict=True)))


def derivatives(
    function: object, terms: list[Tensor], weights: Tensor, out: Tensor
) -> list[Tensor]:
    assert callable(function)
    y = function(terms, list(weights.unbind()))
    return [y, *torch.autograd.grad(y, [*terms, weights], out)]


@pytest.mark.parametrize("outgoing", LAYOUTS)
@pytest.mark.parametrize("layouts", [LAYOUTS[:1] * 3, LAYOUTS[1:] * 3, [*LAYOUTS, LAYOUTS[0]]])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_weighted_sum_matches_plain_sum_in_all_layouts(
    count: int, layouts: list[torch.memory_format], outgoing: torch.memory_format
) -> None:
    terms = [
        draw(2, 3, 4, 5, seed=seed).contiguous(memory_format=layout).requires_grad_()
        for seed, layout in enumerate(layouts[:count])
    ]
    weights, out = draw(count, seed=7).requires_grad_(), draw(2, 3, 4, 5, seed=8)
    out = out.contiguous(memory_format=outgoing)
    originals = [term.detach().clone() for term in terms]
    actual, expected = (derivatives(f, terms, weights, out) for f in (weighted_sum, plain))
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(terms, originals, rtol=0, atol=0)


def test_first_and_second_derivatives() -> None:
    inputs = [draw(1, 2, 2, 3, seed=seed).requires_grad_() for seed in (0, 1, 2)]
    inputs += [weight.requires_grad_() for weight in draw(3, seed=7).unbind()]
    check_derivatives(lambda *each: weighted_sum(each[:3], each[3:]), *inputs)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16], ids=str)
def test_bfloat16_terms_keep_the_precision_of_the_weights(kind: torch.dtype) -> None:
    terms = [draw(4, 3, 8, 8, seed=seed, dtype=torch.bfloat16) for seed in (0, 1)]
    terms = [term.requires_grad_() for term in terms]
    weights = draw(2, seed=7, dtype=kind).requires_grad_()
    out = draw(4, 3, 8, 8, seed=8, dtype=torch.bfloat16)
    actual = derivatives(weighted_sum, terms, weights, out)
    exact = [tensor.detach().double().requires_grad_() for tensor in (*terms, weights)]
    expected = derivatives(plain, exact[:2], exact[2], out.double())
    assert [x.dtype for x in actual] == [torch.bfloat16] * 3 + [kind]
    for a, b in zip(actual, expected, strict=True):
        difference = (a.double() - b).detach()
        assert float(difference.norm() / b.detach().norm()) < 2**-7
    if kind == torch.float32:  # products are summed in the precision of the weights
        torch.testing.assert_close(actual[-1].double(), expected[-1], rtol=1e-4, atol=1e-4)


def test_dense_gradient_is_the_identity_with_a_contiguous_gradient() -> None:
    x = draw(2, 3, 4, 5).requires_grad_()
    y = dense_gradient(x)
    assert torch.equal(y, x)
    gaps = draw(2, 9, 4, 5, seed=1)[:, 3:6]
    received: list[Tensor] = []
    middle = x * 1
    middle.register_hook(received.append)
    (gradient,) = torch.autograd.grad(dense_gradient(middle), x, gaps)
    assert torch.equal(gradient, gaps)
    assert received[0].is_contiguous(memory_format=torch.channels_last)
    check_derivatives(dense_gradient, x)


def test_dense_gradient_keeps_the_layout_of_a_single_sample_in_inference() -> None:
    x = torch.randn(1, 4, 6, 5).contiguous(memory_format=torch.channels_last)
    assert dense_gradient(x).stride() == x.stride()
    with torch.no_grad():
        y = dense_gradient(x.requires_grad_())
    pooled = torch.nn.functional.max_pool2d(y, 3, 1, 1)
    assert pooled.is_contiguous(memory_format=torch.channels_last)
