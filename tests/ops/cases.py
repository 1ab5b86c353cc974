"""Selection of test cases for the everyday run, random tensors, and checks of gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from slow_cases import slow_except
from torch import Tensor


def mark_slow(cases: Iterable[tuple[Any, ...]], *, except_every: int) -> list[Any]:
    """Mark the cases ``slow``, except the first, the last and every n-th one.

    Choose n without a common divisor with the sizes of the parametrized axes, so that the remaining
    cases cover each value of each axis.
    """
    rows = list(cases)
    return slow_except(rows, [*rows[::except_every], rows[-1]])


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return normal random numbers that depend on the seed only."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def assert_same_gradients(
    actual: Tensor, expected: Tensor, inputs: Sequence[Tensor], tolerance: float = 1e-9
) -> None:
    """Compare two results, and their gradients with respect to the inputs."""
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)
    out = draw(*expected.shape, seed=99)
    gradients = [torch.autograd.grad(y, inputs, out) for y in (actual, expected)]
    torch.testing.assert_close(*gradients, rtol=tolerance, atol=tolerance)


def check_derivatives(function: Callable[..., Any], *inputs: Tensor, fast: bool = False) -> None:
    """Compare first and second derivatives with finite differences."""
    assert torch.autograd.gradcheck(function, inputs, fast_mode=fast)
    assert torch.autograd.gradgradcheck(function, inputs, fast_mode=fast)
