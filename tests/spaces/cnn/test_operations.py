"""Operations of cells, derivation of genotypes against a literal implementation, and masks."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.comparing import derive_cell
from torch import Tensor, nn

from darts.config import ConfigError, compose
from darts.spaces.cnn import Cnn, EdgewiseSupernet, Supernet
from darts.spaces.cnn.edge_bundle import Separate, can_stack
from darts.spaces.cnn.operations import FACTORIES, make_operation, register_operation
from darts.spaces.genotype import OPERATIONS, PRIMITIVES, Genotype

SIZES = [(8, 8), (9, 9), (8, 11), (13, 10), (16, 17), (1, 1), (1, 4), (3, 2)]


def images(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("channels", [2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", OPERATIONS)
def test_output_sides_are_rounded_up(name: str, stride: int, channels: int) -> None:
    operation = make_operation(name, channels, stride)
    for height, width in SIZES:
        wanted = (2, channels, math.ceil(height / stride), math.ceil(width / stride))
        assert operation(images(2, channels, height, width)).shape == wanted, (height, width)


def test_none_outputs_zeros_for_nan_and_inf() -> None:
    x = torch.full((2, 3, 7, 8), float("nan"))
    x[0] = float("inf")
    for stride in (1, 2):
        y = make_operation("none", 3, stride)(x)
        assert y.shape == (2, 3, math.ceil(7 / stride), 8 // stride)
        assert torch.equal(y, torch.zeros_like(y))


@pytest.mark.parametrize(
    ("name", "weights"), [("sep_conv_7x7", 2 * (49 * 6 + 36)), ("conv_7x1_1x7", 2 * 7 * 36)]
)
def test_number_of_weights_beyond_the_candidates_of_darts(name: str, weights: int) -> None:
    operation = make_operation(name, 6, 1, affine=False)
    assert sum(p.numel() for p in operation.parameters()) == weights
    assert all(p.ndim == 4 for p in operation.parameters())  # no biases


@pytest.mark.parametrize(("name", "reach"), [
    ("sep_conv_3x3", 2), ("sep_conv_5x5", 4), ("sep_conv_7x7", 6),
    ("dil_conv_3x3", 2), ("dil_conv_5x5", 4), ("conv_7x1_1x7", 3),
])  # fmt: skip
def test_receptive_fields(name: str, reach: int) -> None:
    torch.manual_seed(0)  # with other weights, a ReLU between the convolutions may be 0
    operation = make_operation(name, 8, 1).eval()
    x = (images(1, 8, 15, 15).abs() + 1).requires_grad_()
    middle = operation(x)[0, :, 7, 7].square().sum()
    seen = torch.autograd.grad(middle, x)[0].abs().sum((0, 1)).nonzero()
    assert seen.amin(0).tolist() == [7 - reach] * 2
    assert seen.amax(0).tolist() == [7 + reach] * 2
    if name.startswith("dil"):  # every second pixel only
        assert len(seen) == (reach + 1) ** 2


OPTIONS = {"channels": 4, "cells": 3, "classes": 3}


class Gate(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.linear(x.mean((2, 3))).sigmoid()[:, :, None, None]


def gated(channels: int, stride: int, affine: bool) -> nn.Module:
    conv = make_operation("sep_conv_3x3", channels, stride, affine=affine)
    return nn.Sequential(conv, Gate(channels))


def biased(channels: int, stride: int, affine: bool) -> nn.Module:
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, stride, padding=1, bias=True),
        nn.BatchNorm2d(channels, affine=affine),
        nn.GELU(),
    )


@pytest.fixture
def operations(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    monkeypatch.setattr("darts.spaces.cnn.operations.FACTORIES", dict(FACTORIES))
    monkeypatch.setattr(Genotype, "vocabulary", Genotype.vocabulary)
    register_operation("gated", gated)
    register_operation("biased", biased)
    assert Genotype.vocabulary[-2:] == ("gated", "biased")
    return ("skip_connect", "gated", "sep_conv_3x3", "biased")


@pytest.mark.parametrize("partial", [1, 2])
def test_the_fast_supernet_equals_the_slow_one(operations: tuple[str, ...], partial: int) -> None:
    nets: list[EdgewiseSupernet] = []
    for make in (EdgewiseSupernet, Supernet):
        torch.manual_seed(0)
        nets.append(make(**OPTIONS, partial=partial, operations=operations).double())
    assert any(isinstance(module, Separate) for module in nets[1].modules())
    x = torch.randn(4, 3, 16, 16, dtype=torch.float64)
    for training in (True, False):
        outputs = [net.train(training)(x) for net in nets]
        torch.testing.assert_close(outputs[0], outputs[1])
    for net in nets:
        net.train()(x).square().sum().backward()
    norms = [
        torch.stack([p.grad.square().sum() for p in net.weight_parameters() if p.grad is not None])
        for net in nets
    ]
    torch.testing.assert_close(norms[0].sum(), norms[1].sum())
    for group, alpha in nets[0].alphas.items():
        torch.testing.assert_close(alpha.grad, nets[1].alphas[group].grad)


def test_each_edge_owns_the_weights_of_such_an_operation(operations: tuple[str, ...]) -> None:
    rows = Supernet(**OPTIONS, operations=operations).operation_rows()
    owned = [parameter for name in rows if name.endswith("gated") for parameter, *_ in rows[name]]
    assert len({id(parameter) for parameter in owned}) == len(owned) > 0


def test_wider_supernets_keep_the_weights_of_such_operations(operations: tuple[str, ...]) -> None:
    narrow = Supernet(**OPTIONS, partial=2, operations=operations)
    wide = Supernet(**OPTIONS, partial=1, operations=operations)
    wide.load_state_dict(wide.widened(narrow.state_dict()))
    assert wide(torch.randn(2, 3, 8, 8)).isfinite().all()


def test_an_operation_cannot_be_registered_twice(operations: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="'gated' exists already"):
        register_operation("gated", gated)


@pytest.mark.parametrize("name", sorted(FACTORIES))
def test_the_operations_of_this_project_are_stacked(name: str) -> None:
    for stride in (1, 2):
        assert can_stack(make_operation(name, 4, stride, affine=False, normalize_pool=True))


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
        compose("search", [f"space.candidates={value}"])


NODES = (2, 3, 4, 5)


def derive(probabilities: dict[str, Tensor]) -> Genotype:
    """Derive a genotype; the candidates of each edge are the ones of DARTS."""
    rows = {cell: [PRIMITIVES] * len(table) for cell, table in probabilities.items()}
    return Cnn().derive(probabilities, rows)


@st.composite
def tables(draw: st.DrawFn) -> tuple[int, list[list[float]]]:
    """Cells with few distinct probabilities, so that ties are frequent."""
    nodes = draw(st.integers(1, 5))
    value = st.sampled_from([0.0, 0.125, 0.25, 0.5, 1.0]) | st.floats(0, 1, width=32)
    row = st.lists(value, min_size=8, max_size=8)
    count = sum(range(2, nodes + 2))
    return nodes, draw(st.lists(row, min_size=count, max_size=count))


@given(tables(), tables(), st.sampled_from([torch.float32, torch.float64]))
@settings(deadline=None, max_examples=60)
def test_derive_matches_a_literal_reading_of_the_paper(
    normal: tuple[int, list[list[float]]], reduce: tuple[int, list[list[float]]], dtype: torch.dtype
) -> None:
    tables = {"normal": normal[1], "reduce": reduce[1]}
    genotype = derive({name: torch.tensor(own, dtype=dtype) for name, own in tables.items()})
    for cell, (nodes, table) in (("normal", normal), ("reduce", reduce)):
        sources = [source for count in range(2, nodes + 2) for source in range(count)]
        expected = [(name, sources[edge]) for _, edge, name in derive_cell(table, nodes)]
        assert list(getattr(genotype, cell)) == expected
        assert genotype.concat(cell) == tuple(range(2, nodes + 2))


def both(table: Tensor) -> dict[str, Tensor]:
    return {"normal": table, "reduce": table}


def test_derive_accepts_bfloat16_with_gradient() -> None:
    table = torch.softmax(torch.randn(14, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    expected = derive(both(table.bfloat16().double()))
    assert derive(both(table.bfloat16().requires_grad_())) == expected


def test_other_numbers_of_edges_are_rejected() -> None:
    with pytest.raises(ValueError, match=r"2, 5, 9, 14, 20, ... edges, not 13"):
        derive(both(torch.rand(13, 8)))


def test_mask_rejects_operations_outside_the_candidates() -> None:
    space = Cnn()
    other = Cnn(candidates=["sep_conv_7x7"]).random(torch.Generator().manual_seed(0))
    message = r"^sep_conv_7x7 from \d to \d is not a candidate of normal$"
    with pytest.raises(ValueError, match=message):
        space.mask(other, space.edge_candidates)
    pairs, nodes = (("skip_connect", 0), ("skip_connect", 1)) * 5, tuple(range(2, 7))
    with pytest.raises(ValueError, match="from 0 to 6 is not a candidate"):
        space.mask(Genotype(pairs, nodes, pairs, nodes), space.edge_candidates)


def cell(*sources: int, name: str = "skip_connect") -> tuple[tuple[str, int], ...]:
    return tuple((name, source) for _ in range(4) for source in sources)


@pytest.mark.parametrize(
    ("candidates", "normal", "reduce_concat", "message"),
    [
        ("s2", cell(0, 1, name="max_pool_3x3"), NODES,
         "max_pool_3x3 is not a candidate of the edge from 0 to 2 of the normal cell"),
        ("all", cell(0, 0), NODES, "node 2 of the normal cell reads state 0 twice"),
        ("all", cell(0, 1), (2, 3), "the reduce cell must have 4 nodes and concatenate all"),
    ],
)  # fmt: skip
def test_cells_outside_the_space_have_no_point(
    candidates: str, normal: Any, reduce_concat: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Cnn(candidates=candidates).encode(Genotype(normal, NODES, cell(0, 1), reduce_concat))
