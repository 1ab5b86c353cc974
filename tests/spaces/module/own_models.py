"""Models with choices, for tests."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import darts
from darts.spaces.module.space import Supernet


class Scale(nn.Module):
    """Multiply by a constant; as a candidate, it has no weights."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


def convolution(inputs: int, outputs: int, size: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class SmallNet(nn.Module):
    """Two choices of their own, two that share their alphas, and a nested one."""

    def __init__(self, classes: int = 3, in_channels: int = 3) -> None:
        super().__init__()
        width = 4
        self.stem = convolution(in_channels, width, 3)
        self.first = darts.Choice({f"conv{n}": convolution(width, width, n) for n in (1, 3)})
        nested = darts.Choice({"small": Scale(0.1), "large": Scale(1.0), "skip": nn.Identity()})
        self.second = darts.Choice({"nested": nested, "conv": convolution(width, width, 1)})
        self.left = darts.Choice({"a": nn.Identity(), "b": Scale(0.5)}, key="shared")
        self.right = darts.Choice({"a": nn.Identity(), "b": Scale(2.0)}, key="shared")
        self.classifier = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(self.stem(x))
        x = self.second(x) + self.second(x)  # the same choice twice
        x = self.left(x) + self.right(x)
        return self.classifier(x.mean((2, 3)))


class Noisy(nn.Module):
    def __init__(self, scale: float = 3.0) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * torch.randn_like(x)


class Planted(nn.Module):
    """Each choice has one candidate that keeps the signal; the others shrink it or add noise."""

    def __init__(self, noisy: bool = False) -> None:
        super().__init__()

        def weak() -> nn.Module:
            return Noisy() if noisy else Scale(0.2)

        self.first = darts.Choice({"weak": weak(), "keep": nn.Identity(), "tiny": Scale(0.01)})
        inner = darts.Choice({"keep": nn.Identity(), "weak": weak()})
        self.nested = darts.Choice({"weak": weak(), "inner": inner})
        self.one = darts.Choice({"keep": nn.Identity(), "weak": weak()}, key="shared")
        self.two = darts.Choice({"keep": nn.Identity(), "weak": weak()}, key="shared")
        self.classifier = nn.Linear(3 * 8 * 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.nested(self.first(x.flatten(1)))
        return self.classifier(self.two(self.one(x)))


ANSWER = {"first": "keep", "nested": "inner", "nested.candidates.inner": "keep", "shared": "keep"}


def search_planted(model: nn.Module, method: str, more: list[str]) -> dict[str, str]:
    """Search a model on the planted data; return the chosen candidate by key."""
    data = TensorDataset(*planted_data())
    keys = [
        "epochs=8", "arch_optimizer.lr=0.1", "optimizer.lr=0.05", "dataset.padding=0",
        "tracking.figures=false", "tracking.tensorboard=false", "loader.batch_size=16", *more,
    ]  # fmt: skip
    run = darts.search(model, data=(data, data), method=method, seed=1, overrides=keys)
    return dict(run.genotype.choices)


def planted_data(count: int = 120) -> tuple[Tensor, Tensor]:
    """Return images, floats from 0 to 1, whose pixels tell the class."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 3
    patterns = torch.rand(3, 3, 8, 8, generator=generator)
    noise = 0.2 * torch.randn(count, 3, 8, 8, generator=generator)
    return (patterns[labels] + noise).clamp(0, 1), labels


def require_mixture(net: Supernet, by_hand: Callable[..., Tensor]) -> None:
    """Compare logits and gradients at random alphas with those of a mixture written by hand."""
    with torch.no_grad():
        for alpha in net.alphas.values():
            alpha.copy_(torch.randn_like(alpha))
    x, y = torch.randn(5, 3, 8, 8, dtype=torch.float64), torch.arange(5) % 3
    parameters = [*net.alphas.values(), *net.weight_parameters()]
    tables = {group: alpha.softmax(-1) for group, alpha in net.alphas.items()}
    expected, actual = by_hand(net.model, x, tables), net(x)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)
    ours = torch.autograd.grad(F.cross_entropy(actual, y), parameters)
    theirs = torch.autograd.grad(F.cross_entropy(expected, y), parameters)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)


class Chain(nn.Module):
    """A choice of inputs, and of the number of blocks, which contain choices."""

    def __init__(self, classes: int = 3, in_channels: int = 3) -> None:
        super().__init__()
        self.stem = convolution(in_channels, 4, 3)
        self.merge = darts.InputChoice(inputs=3, keep=2)
        self.depth = darts.Repeat(self.block, min=0, max=2)
        self.classifier = nn.Linear(4, classes)

    @staticmethod
    def block(number: int) -> nn.Module:
        conv = convolution(4, 4, 1)
        return darts.Choice({"conv": conv, "skip": nn.Identity()}) if number else conv

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.merge(x, x.square(), -x)
        return self.classifier(self.depth(x).mean((2, 3)))


class PlantedChain(nn.Module):
    """The signal is in two of three inputs; the third and each block add noise."""

    def __init__(self) -> None:
        super().__init__()
        self.merge = darts.InputChoice(inputs=3, keep=2)
        self.noise = Noisy(10.0)
        self.depth = darts.Repeat(Noisy, min=0, max=2)
        self.classifier = nn.Linear(3 * 8 * 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        odd = torch.arange(x.shape[1]) % 2
        return self.classifier(self.depth(self.merge([x * odd, self.noise(x), x * (1 - odd)])))


CHAIN_ANSWER = {"merge": "0+2", "depth": "0"}
