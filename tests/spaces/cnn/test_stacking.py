"""Stacks of copies of an operation, and their state dicts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cnn_supernets import REPEATABLE
from torch import Tensor, nn

from darts.spaces.cnn.operations import Zero, make_operation
from darts.spaces.cnn.stacking import concatenated, separated, stack

CHANNELS = 3


def copies_of(name: str, number: int, stride: int, **options: Any) -> list[nn.Module]:
    torch.manual_seed(0)
    copies = [
        make_operation(name, CHANNELS, stride, normalize_pool=True, **{"affine": False} | options)
        for _ in range(number)
    ]
    for one in copies:  # so that the statistics differ
        one(images(2, CHANNELS))
    return copies


def images(*shape: int) -> Tensor:
    return torch.randn(*shape, 8, 9)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("number", [1, 2, 5])
@pytest.mark.parametrize("name", REPEATABLE)
def test_stacks_have_the_state_of_their_copies(name: str, number: int, stride: int) -> None:
    copies = copies_of(name, number, stride)
    states = [one.state_dict() for one in copies]
    stacked = stack(copies)
    assert type(stacked) is type(copies[0])
    assert [type(part) for part in stacked.modules()] == [
        type(part) for part in copies[0].modules()
    ]
    assert list(stacked.state_dict()) == list(states[0])
    for key, value in stacked.state_dict().items():
        if states[0][key].ndim:
            assert torch.equal(value, torch.cat([state[key] for state in states]))
        else:
            assert value == states[0][key]
    assert {n for n, _ in stacked.named_parameters()} == {
        n for n, _ in copies[0].named_parameters()
    }
    assert all(parameter.requires_grad for parameter in stacked.parameters())


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", [name for name in REPEATABLE if name != "skip_connect"])
def test_a_stack_computes_the_outputs_of_its_copies(name: str, stride: int, affine: bool) -> None:
    copies = copies_of(name, 3, stride, affine=affine)
    x = images(4, 3 * CHANNELS)
    stacked = stack(copies)
    for training in (True, False):
        expected = [
            one.train(training)(part) for one, part in zip(copies, x.chunk(3, dim=1), strict=True)
        ]
        actual = stacked.train(training)(x)
        torch.testing.assert_close(actual, torch.cat(expected, dim=1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", ["sep_conv_5x5", "dil_conv_3x3", "conv_7x1_1x7"])
def test_stacked_convolutions_have_one_group_per_copy(name: str, stride: int) -> None:
    copies = copies_of(name, 4, stride)
    for actual, one in zip(stack(copies).modules(), copies[0].modules(), strict=True):
        if isinstance(one, nn.Conv2d):
            assert isinstance(actual, nn.Conv2d)
            assert actual.groups == 4 * one.groups
            assert actual.in_channels == 4 * one.in_channels
            assert actual.out_channels == 4 * one.out_channels
            for same in ("kernel_size", "stride", "padding", "dilation"):
                assert getattr(actual, same) == getattr(one, same)
        if isinstance(one, nn.BatchNorm2d):
            assert isinstance(actual, nn.BatchNorm2d)
            assert actual.num_features == 4 * one.num_features
            assert (actual.eps, actual.momentum, actual.affine) == (
                one.eps,
                one.momentum,
                one.affine,
            )


def test_convolutions_with_a_bias() -> None:
    copies = [nn.Conv2d(2, 4, 3, padding=1, groups=2) for _ in range(3)]
    x = images(2, 6)
    expected = [one(part) for one, part in zip(copies, x.chunk(3, dim=1), strict=True)]
    torch.testing.assert_close(stack(copies)(x), torch.cat(expected, dim=1))


def test_a_stack_shares_no_memory_with_its_copies() -> None:
    copies = copies_of("sep_conv_3x3", 1, 1)
    kept = {name: value.clone() for name, value in copies[0].state_dict().items()}
    stacked = stack(copies)
    with torch.no_grad():
        for value in stacked.state_dict().values():
            value.add_(1)
    for name, value in copies[0].state_dict().items():
        assert torch.equal(value, kept[name])


def test_stacking_draws_no_random_numbers() -> None:
    copies = copies_of("sep_conv_3x3", 3, 2)
    torch.manual_seed(1)
    stack(copies)
    after = torch.rand(())
    torch.manual_seed(1)
    assert torch.equal(torch.rand(()), after)


def test_modules_without_weights_are_unchanged() -> None:
    zero = stack([Zero(2), Zero(2), Zero(2)])
    assert isinstance(zero, Zero)
    assert zero.stride == 2
    assert isinstance(stack([nn.Identity()] * 2), nn.Identity)


@pytest.mark.parametrize(
    "module",
    [nn.Linear(2, 2), nn.PReLU(), nn.Sequential(nn.ReLU(), nn.Linear(2, 2))],
    ids=lambda module: type(module).__name__,
)
def test_other_modules_with_weights_are_rejected(module: nn.Module) -> None:
    with pytest.raises(TypeError, match=r"(Linear|PReLU) has its own weights and cannot be"):
        stack([module, module])


@pytest.mark.parametrize("number", [1, 2, 5])
@pytest.mark.parametrize("name", REPEATABLE)
def test_separated_inverts_concatenated(name: str, number: int) -> None:
    states = [one.state_dict() for one in copies_of(name, number, 2)]
    together = concatenated(states)
    apart = separated(together, number)
    assert len(apart) == number
    for one, expected in zip(apart, states, strict=True):
        assert list(one) == list(expected)
        for key, value in one.items():
            assert torch.equal(value, expected[key])
            value.zero_()
    for key, value in concatenated(states).items():  # the originals are unchanged
        assert torch.equal(value, together[key])


def test_the_largest_counter_is_used() -> None:
    states = [{"num_batches_tracked": torch.tensor(number)} for number in (3, 7, 5)]
    assert concatenated(states)["num_batches_tracked"] == 7
