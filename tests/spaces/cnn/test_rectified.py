"""Operations that read rectified states."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from cnn_supernets import REPEATABLE
from torch import nn

from darts.spaces.cnn import EdgewiseSupernet
from darts.spaces.cnn.operations import (
    DepthwiseConv2d,
    FactorizedReduce,
    RectifiedReduce,
    make_operation,
    relu_conv_norm,
    remove_leading_relu,
)

PLAIN = ("none", "max_pool_3x3", "avg_pool_3x3")


@pytest.mark.parametrize("size", [(8, 8), (9, 9), (8, 11), (1, 1), (3, 2)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", REPEATABLE)
def test_rectified_operations_equal_the_originals(
    name: str, stride: int, size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    operation = make_operation(name, 3, stride).double()
    lean = copy.deepcopy(operation)
    rectifies = remove_leading_relu(lean)
    assert rectifies == (name not in PLAIN and (name, stride) != ("skip_connect", 1))
    assert list(lean.state_dict()) == list(operation.state_dict())
    x = torch.randn(4, 3, *size, dtype=torch.float64)
    y, expected = lean(F.relu(x) if rectifies else x), operation(x)
    torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-10)
    if rectifies:  # its own ReLU is gone
        assert not torch.allclose(lean(x), expected)


def test_remove_leading_relu_keeps_the_weights() -> None:
    operation = make_operation("sep_conv_5x5", 4, 2)
    weights = {name: id(weight) for name, weight in operation.named_parameters()}
    assert remove_leading_relu(operation)
    assert {name: id(weight) for name, weight in operation.named_parameters()} == weights
    kinds = [type(module) for module in operation]
    convolutions = [DepthwiseConv2d, nn.Conv2d, nn.BatchNorm2d]
    assert kinds == [nn.Identity, *convolutions, nn.ReLU, *convolutions]


def test_only_square_depthwise_convolutions_are_replaced() -> None:
    for operation in (
        relu_conv_norm(1, 1),
        relu_conv_norm(6, 3),
        make_operation("conv_7x1_1x7", 4, 1),
    ):
        assert remove_leading_relu(operation)
        assert not any(isinstance(m, DepthwiseConv2d) for m in operation.modules())


def test_the_edgewise_supernet_keeps_its_relus() -> None:
    net = EdgewiseSupernet(channels=2, cells=3)
    assert any(type(module) is FactorizedReduce for module in net.modules())
    assert not any(isinstance(m, (DepthwiseConv2d, RectifiedReduce)) for m in net.modules())
