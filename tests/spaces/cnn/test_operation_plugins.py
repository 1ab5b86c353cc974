"""Operations that are not built from ReLU, convolutions and batch norm, as plug-ins add them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from darts.spaces.cnn import EdgewiseSupernet, Supernet
from darts.spaces.cnn.edge_bundle import Separate, can_stack
from darts.spaces.cnn.operations import FACTORIES, make_operation, register_operation
from darts.spaces.genotype import Genotype

OPTIONS = {"channels": 4, "cells": 3, "classes": 3}


class Gate(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.linear(x.mean((2, 3))).sigmoid()[:, :, None, None]


def gated(channels: int, stride: int, affine: bool) -> nn.Module:
    return nn.Sequential(
        make_operation("sep_conv_3x3", channels, stride, affine=affine), Gate(channels)
    )


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
def test_the_fast_supernet_equals_the_edgewise_one(
    operations: tuple[str, ...], partial: int
) -> None:
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
