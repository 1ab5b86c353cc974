"""Networks of ``unseen.py`` that anyone could train.

They are ResNet-18, a random DARTS cell, and EfficientNet-Lite0 with its published weights.

References:
    He et al., "Deep Residual Learning for Image Recognition", arXiv:1512.03385.
    Liu et al., "DARTS: Differentiable Architecture Search", arXiv:1806.09055.
    Geada et al., arXiv:2404.02189: ResNet-18 as a baseline of the challenge.
    Kumar et al., arXiv:2202.10054: fit the classifier first, then train all layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from own_data_baselines import Samples, count_weights
from own_data_expert import SHIFT, augmented
from own_data_result import Limits, Result
from torch import Tensor, nn

from darts.spaces import cnn
from darts.spaces.pretrained.model import Backbone, fit_head
from darts.spaces.pretrained.weights import Weights

BATCH = 64
LR, MOMENTUM, DECAY = 0.04, 0.9, 3e-4

SIDE = 96
"""Side in pixels to which images are enlarged for the published weights."""

FINE_TUNING_LR = 3e-4

Build = Callable[[int, int, int], nn.Module]
"""Returns a network, given the channels of the samples, the number of classes, and a seed."""


def resnet18(channels: int, classes: int, seed: int) -> nn.Module:
    """Return a ResNet-18 whose first convolution takes small samples: stride 1."""
    from torchvision.models import resnet18 as published

    net: nn.Module = published(num_classes=classes)
    net.conv1 = nn.Conv2d(channels, 64, 7, padding=3, bias=False)
    return net


def random_cell(channels: int, classes: int, seed: int) -> nn.Module:
    """Return a network of 8 random cells of the DARTS space with 16 channels."""
    space = cnn.Cnn(channels=16, cells=8)
    genotype = space.random(torch.Generator().manual_seed(seed))
    return space.network(genotype, classes=classes, in_channels=channels)


def standardized(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return samples of both parts with mean 0 and deviation 1 by channel, and both statistics."""
    dims = (0, 2, 3)
    mean, std = train.mean(dims, keepdim=True), train.std(dims, keepdim=True).clamp(min=1e-6)
    return (train - mean) / std, (test - mean) / std, mean, std


def train_network(
    build: Build, train: Samples, test: Samples, classes: int, limits: Limits
) -> Result:
    """Train a network for a time with SGD, and score it on the test part.

    Args:
        build: Returns the network.
        train, test: Samples ``(N, C, H, W)`` and labels.
        classes: Number of classes.
        limits: Limits of time, and the seed.
    """
    begin = limits.clock()
    torch.manual_seed(limits.seed)
    samples, held_out, _, _ = standardized(train[0], test[0])
    net = build(samples.shape[1], classes, limits.seed).to(limits.device)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster on CPUs
    optimizer = torch.optim.SGD(net.parameters(), LR, momentum=MOMENTUM, weight_decay=DECAY)
    loop = Loop(net, optimizer, limits, begin)
    return loop.run(build.__name__, (samples, train[1]), (held_out, test[1]))


def fine_tune(train: Samples, test: Samples, classes: int, limits: Limits) -> Result:
    """Fine-tune EfficientNet-Lite0 for a time, and score it on the test part.

    First, a new classifier is fitted to features of training images, as many as a quarter of the
    time permits. Then all layers train with shifted and mirrored images.

    Args:
        train, test: Samples ``(N, 1 or 3, H, W)`` in [0, 1], and labels.
        classes: Number of classes.
        limits: Limits of time, and the seed.
    """
    begin = limits.clock()
    torch.manual_seed(limits.seed)
    samples, held_out, mean, std = standardized(train[0], test[0])
    backbone = Backbone(Weights.parse("efficientnet_lite0"), SIDE)
    backbone.load(mean.flatten().tolist(), std.flatten().tolist())
    backbone.to(limits.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    order = torch.randperm(len(samples))
    parts: list[Tensor] = []
    with torch.no_grad():
        for rows in torch.split(order, BATCH):
            parts.append(backbone(samples[rows].to(limits.device)))
            if limits.clock() - begin > limits.seconds / 4:
                break
    features = torch.cat(parts)
    head = nn.Linear(features.shape[1], classes).to(limits.device)

    def loss(function: Callable[[Tensor], Tensor], batch: Samples) -> Samples:
        logits = function(batch[0])
        return F.cross_entropy(logits, batch[1]), logits

    fit_head(head, features, train[1][order[: len(features)]].to(limits.device), loss)
    net = nn.Sequential(backbone, head)
    optimizer = torch.optim.AdamW(net.parameters(), FINE_TUNING_LR)
    loop = Loop(net, optimizer, limits, begin, augments=True)
    return loop.run("fine-tuned EfficientNet-Lite0", (samples, train[1]), (held_out, test[1]))


@dataclass
class Loop:
    """Training for a time, with a learning rate that falls to 0 like a cosine.

    Attributes:
        net: The network.
        optimizer: Its optimizer, with the first learning rate.
        limits: Limits of time.
        begin: Time of the start, by the clock of the limits.
        augments: Whether images are shifted, and half of them mirrored.
    """

    net: nn.Module
    optimizer: torch.optim.Optimizer
    limits: Limits
    begin: float
    augments: bool = False

    def run(self, name: str, train: Samples, test: Samples) -> Result:
        """Train the network, and return its result on the test part."""
        (samples, labels), (held_out, answers) = train, test
        device, clock = self.limits.device, self.limits.clock
        start = clock()  # the time that the scores of the test part take is kept free
        probe = samples[: min(BATCH, len(samples))]
        predict(self.net, probe, device)
        reserve = (clock() - start) * len(held_out) / len(probe)

        def done() -> float:
            return (clock() - self.begin + reserve) / self.limits.seconds

        first, epochs = self.optimizer.param_groups[0]["lr"], 0
        while done() < 1:
            epochs += 1
            self.net.train()
            order = torch.randperm(len(labels))
            for rows in torch.split(order, BATCH):
                if (share := done()) >= 1:
                    break
                if len(rows) < 2:  # batch norm needs two samples
                    continue
                self.optimizer.param_groups[0]["lr"] = 0.5 * first * (1 + math.cos(math.pi * share))
                images = samples[rows].to(device)
                if self.augments:
                    images = augmented(F.pad(images, [SHIFT] * 4, mode="reflect"))
                self.optimizer.zero_grad()
                loss = F.cross_entropy(self.net(images), labels[rows].to(device))
                loss.backward()  # type: ignore[no-untyped-call]
                self.optimizer.step()
        correct = (predict(self.net, held_out, device) == answers).numpy()
        return Result(
            name,
            test=float(correct.mean()),
            samples=len(answers),
            train_samples=len(labels),
            weights=count_weights(self.net),
            epochs=epochs,
            correct=correct,
        )


@torch.no_grad()
def predict(net: nn.Module, samples: Tensor, device: str) -> Tensor:
    """Return the classes ``(N,)`` of samples, on the CPU."""
    net.eval()
    parts = [net(part.to(device)).argmax(1).cpu() for part in torch.split(samples, 250)]
    return torch.cat(parts)
