"""Fine-tuning with the rounding of int8 computes what the paper defines."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.config import ConfigError
from darts.recipes.exporting import fake_quantization
from darts.recipes.exporting.fake_quantization import (
    ActivationRange,
    FakeQuantizedWeight,
    fake_quantized,
    finetune,
)
from darts.tasks.classification import Classification


def rounded_weight(weight: Tensor) -> Tensor:
    """The definition, one channel at a time."""
    channels = []
    for channel in weight:
        scale = float(channel.abs().max()) / 127
        channels.append(torch.round(channel / scale) * scale)
    return torch.stack(channels)


def test_weights_are_rounded_per_channel_and_the_gradient_passes() -> None:
    torch.manual_seed(0)
    weight = (
        torch.randn(4, 3, 3, 3) * torch.tensor([1e-3, 1.0, 30.0, 5.0]).view(4, 1, 1, 1)
    ).requires_grad_()
    rounded = FakeQuantizedWeight()(weight)
    torch.testing.assert_close(rounded, rounded_weight(weight.detach()), rtol=1e-5, atol=1e-7)
    assert all(len(channel.unique()) > 10 for channel in rounded)  # no channel is crushed
    slope = torch.randn(weight.shape)
    (rounded * slope).sum().backward()
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, slope)


def test_a_channel_of_zeros_stays_zero() -> None:
    assert FakeQuantizedWeight()(torch.zeros(2, 3)).eq(0).all()


def test_rounding_commutes_with_folding_a_batch_norm() -> None:
    """So the network need not be folded for the fine-tuning."""
    torch.manual_seed(1)
    weight, factor = torch.randn(5, 2, 3, 3), torch.rand(5, 1, 1, 1) + 0.1
    rounding = FakeQuantizedWeight()
    torch.testing.assert_close(rounding(weight * factor), rounding(weight) * factor)


def test_activations_use_moving_averages_of_their_range() -> None:
    rounding = ActivationRange()
    module = nn.Identity()
    rounding(module, (torch.tensor([1.0, 3.0]),))
    assert (rounding.low, rounding.high) == (0.0, 3.0)  # contains 0
    (out,) = rounding(module, (torch.tensor([-1.0, 5.0]),))
    assert rounding.low == pytest.approx(-0.01)
    assert rounding.high == pytest.approx(0.99 * 3 + 0.01 * 5)
    scale = (rounding.high - rounding.low) / 255
    zero = round(-rounding.low / scale)
    expected = [(-zero) * scale, (255 - zero) * scale]  # both are outside and are clipped
    torch.testing.assert_close(out, torch.tensor(expected))


def test_the_block_rounds_every_layer_and_leaves_plain_weights() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.Linear(4, 3)).eval()
    x, before = torch.randn(6, 2, 3, 3), {k: v.clone() for k, v in net.state_dict().items()}
    with fake_quantized(net):
        inside = net(x)

    def round_input(values: Tensor) -> Tensor:
        return ActivationRange()(net, (values,))[0]

    hidden = F.conv2d(round_input(x), rounded_weight(before["0.weight"]), before["0.bias"])
    expected = F.linear(
        round_input(hidden.flatten(1)), rounded_weight(before["2.weight"]), before["2.bias"]
    )
    torch.testing.assert_close(inside, expected)
    assert not torch.equal(inside, net(x))
    assert {k: v.tolist() for k, v in net.state_dict().items()} == {
        k: v.tolist() for k, v in before.items()
    }
    assert type(net[0]) is nn.Conv2d


class Tiny(nn.Module):
    """A classifier with the interface of networks."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))

    def forward(self, x: Tensor, auxiliary: bool = False) -> Any:
        logits = self.layers(x)
        return (logits, None) if auxiliary else logits


class Batches:
    def __init__(self, batch: tuple[Tensor, Tensor]) -> None:
        self.batch = batch

    def epoch(self, number: int) -> list[tuple[Tensor, Tensor]]:
        return [self.batch] * 50


def test_fine_tuning_lowers_the_loss_of_the_rounded_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Weights of three values (-1, 0, 1 times a scale) make the effect large."""
    torch.manual_seed(0)
    x = torch.randn(64, 6)
    targets = x[:, :3].argmax(dim=1)
    net: Any = Tiny()
    objective = Classification().objective(("a", "b", "c"))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(200):
        optimizer.zero_grad()
        F.cross_entropy(net(x), targets).backward()
        optimizer.step()
    monkeypatch.setattr(fake_quantization, "LEVELS", 1)

    def rounded_loss() -> float:
        with fake_quantized(net), torch.no_grad():
            return float(F.cross_entropy(net(x), targets))

    net.eval()
    before = rounded_loss()
    loader: Any = Batches((x, targets))
    finetune(net, loader, objective, epochs=4, lr=0.01)
    assert rounded_loss() < before / 2


def test_a_diverging_fine_tuning_ends() -> None:
    net: Any = Tiny().eval()
    loader: Any = Batches((torch.full((4, 6), float("inf")), torch.zeros(4, dtype=torch.int64)))
    with pytest.raises(ConfigError, match=r"finetune_lr=0.1: the loss of the fine-tuning is nan"):
        finetune(net, loader, Classification().objective(("a", "b", "c")), epochs=1, lr=0.1)
