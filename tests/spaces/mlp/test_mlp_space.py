"""The mlp space: derived networks, points and error messages."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch

from darts.methods.discretization import Argmax
from darts.spaces import SPACES, SearchContext
from darts.spaces.mlp import Genotype, Mlp
from darts.spaces.parameters import Parameters

SIZES: dict[str, Any] = {"classes": 4, "in_channels": 12}
SMALL: dict[str, Any] = {"widths": [4, 2], "activations": ["relu", "tanh"]}


def test_the_space_is_registered() -> None:
    assert SPACES["mlp"] is Mlp
    assert (Mlp().cells, Mlp().widths) == (2, [16, 32, 64, 128])
    assert not hasattr(Mlp(), "channels")  # the architecture defines the widths


def test_in_channels_is_the_number_of_values_of_a_sample() -> None:
    assert Mlp().in_channels((3, 8, 8)) == 192
    assert Mlp().in_channels((5, 1, 1)) == 5


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


def test_derive_inverts_mask() -> None:
    space = Mlp(cells=3, **SMALL)
    candidates = space.supernet(**SIZES).candidates
    for seed in range(20):
        genotype = space.random(torch.Generator().manual_seed(seed))
        mask = space.mask(genotype, candidates)
        assert {group: m.shape for group, m in mask.items()} == {"first": (1, 4), "rest": (2, 5)}
        assert all(bool((m.sum(-1) == 1).all()) for m in mask.values())
        probabilities = {group: m.double() for group, m in mask.items()}
        assert space.derive(probabilities, candidates) == genotype
        assert all(
            torch.equal(space.derived_mask(probabilities, candidates)[g], mask[g]) for g in mask
        )


def test_random_draws_uniformly() -> None:
    space, generator = Mlp(cells=2, **SMALL), torch.Generator().manual_seed(0)
    counts = Counter(space.random(generator) for _ in range(4000))
    assert len(counts) == 4 + 16
    assert max(abs(count - 200) for count in counts.values()) < 60  # four standard deviations
    deep = Mlp(cells=50).random(generator)  # the number of networks exceeds the float range
    assert 48 <= len(deep.layers) <= 50


def test_genotypes_and_points_correspond_one_to_one() -> None:
    space = Mlp(cells=2, widths=[4, 2, 8], activations=["relu", "tanh"])
    points = list(Parameters(space.parameters()).points(9))
    genotypes = [space.decode(point) for point in points]
    assert len(set(genotypes)) == len(genotypes) == 6 + 36
    assert [space.encode(genotype) for genotype in genotypes] == points
    names = [f"{a}_{w}" for a in ("relu", "tanh") for w in (4, 2, 8)]
    expected = {(a,) for a in names} | {(a, b) for a in names for b in names}
    assert {genotype.layers for genotype in genotypes} == expected
    assert points[0] == {"depth": 1, "layer1.width": 4, "layer1.activation": "relu"}


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"partial": 4}, "space=mlp has no partial channels, got partial=4"),
        ({"auxiliary_skip": True}, "space=mlp has no auxiliary skip connections"),
        ({"depth": 0.5}, "space=mlp has no stages of another depth, got depth=0.5"),
    ],
)
def test_unsupported_options_are_rejected_in_one_line(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Mlp().supernet(**SIZES, **options)
    assert "\n" not in str(caught.value)


def test_settings_reach_supernet_and_network() -> None:
    space = Mlp(normalization="none", dropout=0.25)
    supernet = space.supernet(**SIZES)
    network = space.network(Genotype(("relu_7",)), **SIZES)
    for net in (supernet, network):
        assert net.dropout == 0.25
        assert not any("Norm" in type(module).__name__ for module in net.modules())


@pytest.mark.parametrize("limit", [0, 1, 2])
def test_skip_limit_drops_the_weakest_skips(limit: int) -> None:
    """Skipped layers count at any position, although a genotype does not record the position."""
    space = Mlp(cells=4, **SMALL)
    context = SearchContext.from_supernet(space, space.supernet(**SIZES))
    rest = torch.tensor(
        [[0.0, 0.1, 0.0, 0.0, 0.9], [0.0, 0.0, 0.3, 0.0, 0.7], [0.9, 0.0, 0.0, 0.0, 0.1]]
    )
    p = {"first": torch.full((1, 4), 0.25), "rest": rest}
    actual = Argmax(skip_limit=limit).genotype(p, context)
    expected = {0: ("relu_2", "tanh_4"), 1: ("tanh_4",), 2: ()}[limit]
    assert actual.layers == ("relu_4", *expected, "relu_4")


@pytest.mark.parametrize("key", ["widths", "activations"])
def test_repeated_candidates_are_rejected(key: str) -> None:
    values: dict[str, Any] = {"widths": [8, 8], "activations": ["relu", "relu"]}
    with pytest.raises(
        ValueError, match=f"space.{key}=.*: must contain at least one value and no value twice"
    ):
        Mlp(**{key: values[key]})
