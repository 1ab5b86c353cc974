"""The norm folded into its convolution against convolution and norm one after the other."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from darts.kernels.pointwise import plain_pointwise_norm, pointwise_norm

EPS = 1e-3
OPTIONS = [
    {"groups": groups, "rectify": rectify, "summed": summed}
    for groups, rectify, summed in itertools.product((1, 2, 5), (False, True), (False, True))
    if not (rectify and summed)  # ReLU comes before the next convolution, the sum at the end
]


def name_of(options: dict[str, Any]) -> str:
    return "-".join(f"{name}={value}" for name, value in options.items())


def draw(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def inputs_of(
    groups: int, scaled: bool, channels: int = 3, size: tuple[int, ...] = (4, 3, 5), mean: float = 0
) -> list[Tensor]:
    batch, *sides = size
    inputs = [
        mean + draw(batch, groups * channels, *sides),
        draw(groups * channels, channels, 1, 1, seed=1),
    ]
    return inputs + ([draw(groups, seed=2)] if scaled else [])


def derivatives(function: Any, inputs: list[Tensor], **options: Any) -> list[Tensor]:
    inputs = [x.detach().requires_grad_() for x in inputs]
    d, weight, scale = (*inputs, None)[:3]
    y = function(d, weight, scale, **({"eps": EPS} | options))
    y = y if isinstance(y, Tensor) else y.output
    return [y.detach(), *torch.autograd.grad(y, inputs, draw(*y.shape, seed=3).to(y.dtype))]


@pytest.mark.parametrize("size", [(4, 3, 5), (2, 1, 1), (1, 1, 2), (3, 8, 8)], ids=str)
@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("scaled", [False, True], ids=["unscaled", "scaled"])
@pytest.mark.parametrize("options", OPTIONS, ids=name_of)
def test_values_and_gradients(
    options: dict[str, Any], scaled: bool, channels: int, size: tuple[int, ...]
) -> None:
    inputs = inputs_of(options["groups"], scaled, channels, size)
    found = derivatives(pointwise_norm, inputs, **options)
    wanted = derivatives(plain_pointwise_norm, inputs, **options)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_layout(layout: torch.memory_format) -> None:
    d, *others = inputs_of(2, True)
    options = {"groups": 2, "summed": True}
    inputs = [d.contiguous(memory_format=layout), *others]
    for one, other in zip(
        derivatives(pointwise_norm, inputs, **options),
        derivatives(plain_pointwise_norm, [d, *others], **options),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("options", OPTIONS, ids=name_of)
def test_statistics_are_those_of_the_convolution(options: dict[str, Any]) -> None:
    d, weight, scale = inputs_of(options["groups"], True, mean=2)
    found = pointwise_norm(d.requires_grad_(), weight, scale, eps=EPS, **options)
    y = F.conv2d(d.detach(), weight, groups=options["groups"])
    torch.testing.assert_close(found.mean, y.mean((0, 2, 3)))
    torch.testing.assert_close(found.variance, y.var((0, 2, 3)))
    assert found.output.requires_grad
    assert not found.mean.requires_grad
    assert not found.variance.requires_grad


@pytest.mark.parametrize("scaled", [False, True], ids=["unscaled", "scaled"])
@pytest.mark.parametrize("options", OPTIONS, ids=name_of)
def test_derivatives_of_both_orders(options: dict[str, Any], scaled: bool) -> None:
    inputs = [x.requires_grad_() for x in inputs_of(options["groups"], scaled, 2, (2, 2, 2))]

    def function(d: Tensor, weight: Tensor, scale: Tensor | None = None) -> Tensor:
        return pointwise_norm(d, weight, scale, eps=EPS, **options).output

    how: dict[str, Any] = {"fast_mode": True, "check_undefined_grad": False}
    assert torch.autograd.gradcheck(function, inputs, **how)
    assert torch.autograd.gradgradcheck(function, inputs, **how)


class Silent(torch.autograd.Function):
    """Gives no gradient at all, which is not a gradient of zeros."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 1

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> None:
        return None


@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
def test_no_gradient_from_above_is_none_below(again: bool) -> None:
    inputs = [x.requires_grad_() for x in inputs_of(2, True)]
    y = Silent.apply(pointwise_norm(*inputs, groups=2, eps=EPS).output)
    found = torch.autograd.grad(y.sum(), inputs, create_graph=again, allow_unused=True)
    assert all(gradient is None or not gradient.any() for gradient in found)


@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
@pytest.mark.parametrize("needed", [(0,), (1,), (2,), (0, 2), (1, 2)], ids=str)
def test_only_what_is_asked_for_gets_a_gradient(needed: tuple[int, ...], again: bool) -> None:
    found = []
    for function in (pointwise_norm, plain_pointwise_norm):
        inputs = inputs_of(2, True)
        asked = [inputs[index].requires_grad_() for index in needed]
        y: Any = function(*inputs, groups=2, eps=EPS, summed=True)
        y = y if isinstance(y, Tensor) else y.output
        gradients = torch.autograd.grad(y.sin().sum(), asked, create_graph=again)
        if again:
            gradients = torch.autograd.grad(sum(g.pow(3).sum() for g in gradients), asked)
        found.append(gradients)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shared", ["weight", "scale"])
def test_inputs_that_depend_on_each_other(shared: str) -> None:
    """With a graph for the second derivative, the first one is the same as without."""
    d, weight, scale = (x.requires_grad_() for x in inputs_of(1, True))
    made = F.conv2d(d, weight) if shared == "weight" else d * (1 + scale.square())
    loss = pointwise_norm(made, weight, scale, groups=1, eps=EPS).output.pow(3).sum()
    inputs = [d, weight, scale]
    with_graph = torch.autograd.grad(loss, inputs, create_graph=True)
    for one, other in zip(with_graph, torch.autograd.grad(loss, inputs), strict=True):
        torch.testing.assert_close(one, other)


def test_an_output_may_be_written_into_when_nothing_rectified_it() -> None:
    inputs = [x.requires_grad_() for x in inputs_of(2, True)]
    options: dict[str, Any] = {"groups": 2, "eps": EPS, "summed": True}
    found = pointwise_norm(*inputs, **options).output
    more = draw(*found.shape, seed=5)
    wanted = plain_pointwise_norm(*inputs, **options) + more
    for one, other in zip(
        torch.autograd.grad(found.add_(more).sin().sum(), inputs),
        torch.autograd.grad(wanted.sin().sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def errors(function: Any, mean: float) -> list[float]:
    """Of output and gradients in single precision, each relative to the exact one."""
    inputs = inputs_of(1, True, channels=16, size=(16, 8, 8), mean=mean)
    inputs[1] = inputs[1] / 4
    exact = derivatives(plain_pointwise_norm, inputs, groups=1, eps=1e-5)
    found = derivatives(function, [x.float() for x in inputs], groups=1, eps=1e-5)
    return [
        float((one.double() - other).norm() / other.norm())
        for one, other in zip(found, exact, strict=True)
    ]


@pytest.mark.parametrize(("mean", "limit"), [(0.0, 1e-5), (1.0, 1e-5), (5.0, 2e-4), (30.0, 5e-3)])
def test_single_precision_with_means_far_from_zero(mean: float, limit: float) -> None:
    """Variances lose digits as the square of mean over deviation, here of a deviation of one.

    What a ReLU and a convolution put out has a mean of about its deviation.
    """
    assert max(errors(plain_pointwise_norm, mean)) < limit
    assert max(errors(pointwise_norm, mean)) < limit


@pytest.mark.parametrize("value", [0.0, 1.0, 1e3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("options", OPTIONS, ids=name_of)
def test_constant_channels_stay_finite(
    options: dict[str, Any], dtype: torch.dtype, value: float
) -> None:
    d, weight, scale = (x.to(dtype) for x in inputs_of(options["groups"], True))
    d[:, 1] = value
    weight[0] = 0  # an output that is constant whatever comes in
    inputs = [d, weight, scale]
    found = derivatives(pointwise_norm, inputs, eps=1e-5, **options)
    assert all(tensor.isfinite().all() for tensor in found)
    statistics = pointwise_norm(*inputs, eps=1e-5, **options)
    assert (statistics.variance >= 0).all()
    if dtype == torch.float64:
        wanted = derivatives(plain_pointwise_norm, inputs, eps=1e-5, **options)
        for one, other in zip(found, wanted, strict=True):
            # A value of a thousand leaves 1e-10 of rounding in variances about 1.
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_all_channels_constant() -> None:
    d, weight, scale = inputs_of(2, True)
    d[:] = 0.5
    found = derivatives(pointwise_norm, [d, weight, scale], groups=2)
    assert all(tensor.isfinite().all() for tensor in found)
    assert float(found[0].abs().max()) < 1e-9


def test_a_single_value_a_channel_is_refused() -> None:
    inputs = inputs_of(2, False, size=(1, 1, 1))
    with pytest.raises(ValueError, match=r"more than one value a channel, got \(1, 6, 1, 1\)"):
        pointwise_norm(*inputs, None, groups=2, eps=EPS)
