"""The candidate sets S1 to S4, and the operation ``noise`` of S4."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from darts.config import ConfigError, compose
from darts.spaces.cnn.operations import make_operation


def space(name: str) -> Any:
    small = ["space.channels=2", "space.cells=3", f"space.candidates={name}"]
    return compose("search", small).space


@pytest.mark.parametrize("stride", [1, 2])
def test_noise_is_standard_normal_and_ignores_its_input(stride: int) -> None:
    noise = make_operation("noise", 16, stride, affine=False)
    assert not list(noise.parameters())
    x = torch.full((8, 16, 9, 10), 1e6).requires_grad_()
    torch.manual_seed(0)
    y = noise(x)
    assert y.shape == x[:, :, ::stride, ::stride].shape
    assert not y.requires_grad
    # Five standard errors of the mean and the variance of normal draws.
    error = 5 / y.numel() ** 0.5
    assert abs(float(y.mean())) < error
    assert abs(float(y.var()) - 1) < error * 2**0.5
    assert not torch.equal(noise(x), y), "other draws each time"
    torch.manual_seed(0)
    assert torch.equal(noise(torch.zeros_like(x)), y)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("s5", "space.candidates='s5' is unknown; choose from all, s1, s2, s3, s4"),
        ("[sep_conv_3x3,conv]", "space.candidates: 'conv' is unknown; choose from none, max_pool"),
        ("[]", "space.candidates=[]: must be a list of operations"),
        ("3", "space.candidates=3: must be a list of operations"),
        ("[[none]]", "space.candidates: ['none'] is unknown"),
    ],
)
def test_other_values_end_in_one_line(value: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(problem)):
        space(value)
