"""Genotypes of the mlp space: text, structure and error messages."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from darts.spaces.mlp import ACTIVATIONS, Genotype
from darts.spaces.mlp.network import ACTIVATION_MODULES


def test_every_activation_has_a_module() -> None:
    assert tuple(ACTIVATION_MODULES) == ACTIVATIONS
    x = torch.linspace(-2, 2, 9)
    for name, module in ACTIVATION_MODULES.items():
        expected = x if name == "identity" else getattr(torch.nn.functional, name)(x)
        assert torch.equal(module()(x), expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"layers": "relu_64"}', "layers must be a list with at least one entry, not 'relu_64'"),
        ('{"layers": ["relu"]}', "unknown layer 'relu'.*relu, leaky_relu, elu"),
        ('{"layers": ["relu_064"]}', "unknown layer 'relu_064'"),
        ('{"layers": ["relu_0"]}', "unknown layer 'relu_0'"),
        ('{"layers": ["relu_\\u0664"]}', "unknown layer"),  # a digit, but not an ASCII one
        ('{"layers": ["skip_connect"]}', "unknown layer 'skip_connect'"),
        ('{"layers": [64]}', "unknown layer 64"),
        ('{"layers": ["relu_65537"]}', "'relu_65537': the width must be at most 65536"),
    ],
)
def test_invalid_text_is_rejected_in_one_line(text: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Genotype.parse(text)
    assert "\n" not in str(caught.value)
