"""The mlp space: genotypes, derived networks, points and error messages."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from darts.spaces.mlp import Genotype, Mlp

SIZES: dict[str, Any] = {"classes": 4, "in_channels": 12}
SMALL: dict[str, Any] = {"widths": [4, 2], "activations": ["relu", "tanh"]}


def test_derive_keeps_the_most_probable_candidates_and_drops_skipped_layers() -> None:
    space = Mlp(cells=3, **SMALL)
    candidates = space.supernet(**SIZES).candidates
    p = {"first": torch.tensor([[0.1, 0.2, 0.6, 0.1]])}
    p["rest"] = torch.tensor([[0.1, 0.1, 0.1, 0.1, 0.6], [0.0, 0.4, 0.2, 0.2, 0.2]])
    assert space.derive(p, candidates).layers == ("tanh_4", "relu_2")
    used = space.derived_mask(p, candidates)
    assert used["rest"].tolist() == [[False] * 4 + [True], [False, True, False, False, False]]
    uniform = {group: torch.full_like(value, 0.2) for group, value in p.items()}
    assert space.derive(uniform, candidates).layers == ("relu_4",) * 3  # the lower column
    with pytest.raises(ValueError, match=r"groups \['first'\] must be \['first', 'rest'\]"):
        space.derive({"first": p["first"]}, candidates)


def test_the_number_of_networks_may_exceed_the_range_of_floats() -> None:
    deep = Mlp(cells=50).random(torch.Generator().manual_seed(0))
    assert 48 <= len(deep.layers) <= 50


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (("relu_4",) * 3, "3 layers, more than space.cells=2"),
        (("relu_5",), r"relu_5 is not in .* space.widths=\[4, 2\]"),
        (("gelu_4",), r"gelu_4 is not in space.activations=\['relu', 'tanh'\]"),
    ],
)
def test_encode_rejects_genotypes_outside_the_space(layers: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Mlp(cells=2, **SMALL).encode(Genotype(layers))


@pytest.mark.parametrize("key", ["widths", "activations"])
def test_repeated_candidates_are_rejected(key: str) -> None:
    values: dict[str, Any] = {"widths": [8, 8], "activations": ["relu", "relu"]}
    with pytest.raises(
        ValueError, match=f"space.{key}=.*: must contain at least one value and no value twice"
    ):
        Mlp(**{key: values[key]})
