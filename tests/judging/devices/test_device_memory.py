"""Memory of networks: known answers, and an obvious implementation of the peak."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from darts.judging.devices import memory
from darts.judging.devices.memory import IN_PLACE, Step, peak, trace
from darts.spaces import SPACES
from darts.spaces.cnn import Cnn


class Branches(nn.Module):
    """Two convolutions of the input, and their concatenation or sum."""

    def __init__(self, *, concat: bool) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 4, 1), nn.Conv2d(2, 4, 1)
        self.concat = concat

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.a(x), self.b(x)
        return torch.cat([a, b], 1) if self.concat else a + b


class Constant(nn.Module):
    """A product with numbers that are computed from weights alone."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, 2, 4, 4))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale.exp().softmax(-1)


PIXELS = 16
KNOWN = [
    # Weights in numbers, and the largest sum of activations in channels of 16 pixels.
    (nn.Conv2d(2, 4, 1), 12, 2 + 4),
    (nn.Sequential(nn.Conv2d(2, 4, 1), nn.BatchNorm2d(4), nn.ReLU()), 12 + 16, 2 + 4),
    (nn.Sequential(nn.Conv2d(2, 4, 1), nn.ReLU(inplace=True), nn.Conv2d(4, 8, 1)), 52, 4 + 8),
    (nn.Sequential(nn.Conv2d(2, 8, 1), nn.Conv2d(8, 1, 1)), 24 + 9, 2 + 8),
    (nn.Sequential(nn.Flatten(), nn.Unflatten(1, (2, 4, 4)), nn.ReLU()), 0, 2),
    (nn.MaxPool2d(3, stride=1, padding=1), 0, 2 + 2),  # the indices are not read
    (Branches(concat=False), 24, 2 + 4 + 4),
    (Branches(concat=True), 24, 4 + 4 + 8),
    (Constant(), 32, 2),
]


@pytest.mark.parametrize(("network", "weights", "channels"), KNOWN)
def test_memory_of_small_networks(network: nn.Module, weights: int, channels: int) -> None:
    found = memory(network, (2, 4, 4))
    assert found.flash_bytes == 4 * weights
    assert found.ram_bytes == 4 * channels * PIXELS


def slow_peak(elements: int, steps: Sequence[Step]) -> int:
    """Return the peak by asking at each step which activations exist, one by one."""
    sizes = {0: elements} | {n: size for step in steps for n, size in step.outputs.items()}
    written = {0: -1} | {n: i for i, step in enumerate(steps) for n in step.outputs}
    reads = {n: [i for i, step in enumerate(steps) if n in step.inputs] for n in sizes}
    largest = elements
    for index, step in enumerate(steps):
        total = sum(
            size
            for number, size in sizes.items()
            if written[number] <= index and any(i >= index for i in reads[number])
        )
        new = sum(size for number, size in step.outputs.items() if reads[number])
        ends = [n for n in step.inputs if not any(i > index for i in reads[n])]
        if step.name in IN_PLACE and any(sizes[n] == new for n in ends):
            total -= new
        largest = max(largest, total)
    return largest


@pytest.mark.parametrize("seed", range(100))
def test_the_peak_of_random_schedules_equals_the_obvious_one(seed: int) -> None:
    draw = random.Random(seed)
    steps: list[Step] = []
    length = draw.randint(2, 12)
    for number in range(1, length):
        inputs = tuple(draw.choices(range(number), k=draw.randint(1, 3)))
        outputs = {number: draw.choice([1, 2, 4, 8])}
        if draw.random() < 0.2:
            outputs[100 + number] = draw.choice([1, 16])  # never read
        steps.append(Step(draw.choice(["relu", "add", "convolution", "cat"]), inputs, outputs))
    steps.append(Step("output", (length - 1,), {}))
    elements = draw.choice([1, 2, 4, 8])
    assert peak(elements, steps) == slow_peak(elements, steps)


@pytest.mark.parametrize("space", ["cnn", "macro", "mlp", "nas201"])
def test_networks_of_spaces(space: str) -> None:
    chosen = SPACES[space]()
    shape = (3, 16, 16)
    network = chosen.network(
        chosen.random(torch.Generator().manual_seed(1)),
        classes=5,
        in_channels=chosen.in_channels(shape),
    )
    before = {name: t.clone() for name, t in network.state_dict().items()}
    network.train()
    found = memory(network, shape)
    numbers = [*network.parameters(), *(b for b in network.buffers() if b.is_floating_point())]
    assert found.flash_bytes == 4 * sum(t.numel() for t in numbers)
    elements, steps = trace(network, shape)
    assert elements == 3 * 16 * 16
    assert found.ram_bytes == 4 * slow_peak(elements, steps)
    assert network.training
    assert all(t.equal(before[name]) for name, t in network.state_dict().items())


def test_an_auxiliary_head_needs_no_memory() -> None:
    space = Cnn(channels=4, cells=3)
    genotype = space.random(torch.Generator().manual_seed(0))
    plain, with_head = (
        space.network(genotype, classes=10, in_channels=3, auxiliary=auxiliary)
        for auxiliary in (False, True)
    )
    assert memory(with_head, (3, 32, 32)) == memory(plain, (3, 32, 32))
