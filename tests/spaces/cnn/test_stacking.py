"""Copies of an operation, stacked into one, run side by side as they run one by one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from both_supernets import REPEATABLE
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
    for one in copies:  # statistics apart as well
        one(images(2, CHANNELS))
    return copies


def images(*shape: int) -> Tensor:
    return torch.randn(*shape, 8, 9)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("number", [1, 2, 5])
@pytest.mark.parametrize("name", REPEATABLE)
def test_names_and_values_are_those_of_the_copies(name: str, number: int, stride: int) -> None:
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
def test_a_stack_runs_its_copies_side_by_side(name: str, stride: int, affine: bool) -> None:
    copies = copies_of(name, 3, stride, affine=affine)
    x = images(4, 3 * CHANNELS)
    stacked = stack(copies)
    for training in (True, False):
        wanted = [
            one.train(training)(part) for one, part in zip(copies, x.chunk(3, dim=1), strict=True)
        ]
        found = stacked.train(training)(x)
        torch.testing.assert_close(found, torch.cat(wanted, dim=1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", ["sep_conv_5x5", "dil_conv_3x3", "conv_7x1_1x7"])
def test_convolutions_have_a_group_a_copy(name: str, stride: int) -> None:
    copies = copies_of(name, 4, stride)
    for found, one in zip(stack(copies).modules(), copies[0].modules(), strict=True):
        if isinstance(one, nn.Conv2d):
            assert isinstance(found, nn.Conv2d)
            assert found.groups == 4 * one.groups
            assert found.in_channels == 4 * one.in_channels
            assert found.out_channels == 4 * one.out_channels
            for same in ("kernel_size", "stride", "padding", "dilation"):
                assert getattr(found, same) == getattr(one, same)
        if isinstance(one, nn.BatchNorm2d):
            assert isinstance(found, nn.BatchNorm2d)
            assert found.num_features == 4 * one.num_features
            assert (found.eps, found.momentum, found.affine) == (one.eps, one.momentum, one.affine)


def test_convolutions_with_a_bias() -> None:
    copies = [nn.Conv2d(2, 4, 3, padding=1, groups=2) for _ in range(3)]
    x = images(2, 6)
    wanted = [one(part) for one, part in zip(copies, x.chunk(3, dim=1), strict=True)]
    torch.testing.assert_close(stack(copies)(x), torch.cat(wanted, dim=1))


def test_a_stack_shares_no_memory_with_its_copies() -> None:
    copies = copies_of("sep_conv_3x3", 1, 1)
    kept = {name: value.clone() for name, value in copies[0].state_dict().items()}
    stacked = stack(copies)
    with torch.no_grad():
        for value in stacked.state_dict().values():
            value.add_(1)
    for name, value in copies[0].state_dict().items():
        assert torch.equal(value, kept[name])


def test_drawing_goes_on_as_if_nothing_had_been_stacked() -> None:
    copies = copies_of("sep_conv_3x3", 3, 2)
    torch.manual_seed(1)
    stack(copies)
    after = torch.rand(())
    torch.manual_seed(1)
    assert torch.equal(torch.rand(()), after)


def test_what_has_no_weights_stays_as_it_is() -> None:
    zero = stack([Zero(2), Zero(2), Zero(2)])
    assert isinstance(zero, Zero)
    assert zero.stride == 2
    assert isinstance(stack([nn.Identity()] * 2), nn.Identity)


@pytest.mark.parametrize(
    "module",
    [nn.Linear(2, 2), nn.PReLU(), nn.Sequential(nn.ReLU(), nn.Linear(2, 2))],
    ids=lambda module: type(module).__name__,
)
def test_modules_with_weights_of_their_own_are_refused(module: nn.Module) -> None:
    with pytest.raises(TypeError, match=r"(Linear|PReLU) has its own weights and cannot be"):
        stack([module, module])


@pytest.mark.parametrize("number", [1, 2, 5])
@pytest.mark.parametrize("name", REPEATABLE)
def test_states_apart_and_together_again(name: str, number: int) -> None:
    states = [one.state_dict() for one in copies_of(name, number, 2)]
    together = concatenated(states)
    apart = separated(together, number)
    assert len(apart) == number
    for one, wanted in zip(apart, states, strict=True):
        assert list(one) == list(wanted)
        for key, value in one.items():
            assert torch.equal(value, wanted[key])
            value.zero_()
    for key, value in concatenated(states).items():  # nor did that change what they came from
        assert torch.equal(value, together[key])


def test_of_different_counters_the_largest_is_kept() -> None:
    states = [{"num_batches_tracked": torch.tensor(number)} for number in (3, 7, 5)]
    assert concatenated(states)["num_batches_tracked"] == 7
