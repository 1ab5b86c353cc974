"""Genotypes of the mlp space: text, structure and error messages."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from darts.spaces import parse_genotype, space_of
from darts.spaces.describe import difference, is_chain
from darts.spaces.mlp import ACTIVATIONS, Genotype
from darts.spaces.mlp.layers import ACTIVATION_MODULES

LAYERS = st.builds(lambda a, w: f"{a}_{w}", st.sampled_from(ACTIVATIONS), st.integers(1, 65536))


@given(st.lists(LAYERS, min_size=1, max_size=8))
@settings(deadline=None)
def test_json_text_round_trips(layers: list[str]) -> None:
    genotype = Genotype(tuple(layers))
    for text in (str(genotype), genotype.to_json(), f"\ufeff \n{genotype.to_json()}\n"):
        assert Genotype.parse(text) == genotype
        assert parse_genotype(text) == genotype
        assert json.loads(text.strip("\ufeff \n")) == {"space": "mlp", "layers": layers}
    assert "\n" not in str(genotype)
    space: Any = space_of(genotype)
    assert (space.name, space.cells) == ("mlp", len(layers))
    assert space.decode(space.encode(genotype)) == genotype


def test_a_genotype_is_a_chain_of_layers() -> None:
    genotype = Genotype(("leaky_relu_64", "tanh_32"))
    assert genotype.layer_specs == [("leaky_relu", 64), ("tanh", 32)]
    assert genotype.edges("layers") == [(0, 1, "leaky_relu_64"), (1, 2, "tanh_32")]
    assert is_chain(genotype, "layers")
    assert (genotype.nodes("layers"), genotype.concat("layers")) == (2, (2,))
    assert (genotype.count("tanh_32"), genotype.count("skip_connect", "layers")) == (1, 0)
    assert genotype.same_as(Genotype(["leaky_relu_64", "tanh_32"]))  # type: ignore[arg-type]
    other = Genotype(("leaky_relu_64", "tanh_16"))
    assert not genotype.same_as(other)
    assert difference(genotype, other) == ["layers, node 2: tanh_32 vs. tanh_16"]
    with pytest.raises(ValueError, match="unknown cell 'normal'"):
        genotype.edges("normal")


def test_every_activation_has_a_module() -> None:
    assert tuple(ACTIVATION_MODULES) == ACTIVATIONS
    x = torch.linspace(-2, 2, 9)
    for name, module in ACTIVATION_MODULES.items():
        expected = x if name == "identity" else getattr(torch.nn.functional, name)(x)
        assert torch.equal(module()(x), expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty text"),
        (None, "read from text"),
        ("[1]", "expected a JSON object"),
        ('{"space": "cnn", "layers": ["relu_1"]}', "belongs to the space 'cnn'"),
        ('{"space": "mlp"}', "layers missing; the fields are layers"),
        ('{"layers": ["relu_1"], "layers": ["relu_2"]}', "layers occurs twice"),
        ('{"layers": "relu_64"}', "layers must list hidden layers, not 'relu_64'"),
        ('{"layers": []}', "at least one hidden layer"),
        ('{"layers": ["relu"]}', "unknown layer 'relu'.*relu, leaky_relu, elu"),
        ('{"layers": ["relu_064"]}', "unknown layer 'relu_064'"),
        ('{"layers": ["relu_0"]}', "unknown layer 'relu_0'"),
        ('{"layers": ["relu_-1"]}', "unknown layer"),
        ('{"layers": ["relu_64 "]}', "unknown layer"),
        ('{"layers": ["relu_\\u0664"]}', "unknown layer"),  # a digit, but not an ASCII one
        ('{"layers": ["step_64"]}', "unknown layer 'step_64'"),
        ('{"layers": ["skip_connect"]}', "unknown layer 'skip_connect'"),
        ('{"layers": [64]}', "unknown layer 64"),
        ('{"layers": ["relu_65537"]}', "'relu_65537': the width must be at most 65536"),
    ],
)
def test_invalid_text_is_rejected_in_one_line(text: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Genotype.parse(text)
    assert "\n" not in str(caught.value)
