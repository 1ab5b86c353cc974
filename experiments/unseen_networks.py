"""Networks of ``unseen.py`` that anyone could train: ResNet-18 and a random DARTS cell.

References:
    He et al., "Deep Residual Learning for Image Recognition", arXiv:1512.03385.
    Liu et al., "DARTS: Differentiable Architecture Search", arXiv:1806.09055.
    Geada et al., arXiv:2404.02189: ResNet-18 as a baseline of the challenge.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from own_data_baselines import Samples, count_weights
from own_data_result import Limits, Result
from torch import Tensor, nn

from darts.spaces import cnn

BATCH = 64
LR, MOMENTUM, DECAY = 0.04, 0.9, 3e-4

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


def train_network(
    build: Build, train: Samples, test: Samples, classes: int, limits: Limits
) -> Result:
    """Train a network for a time with SGD and a cosine schedule, and score it on the test part.

    Args:
        build: Returns the network.
        train, test: Samples ``(N, C, H, W)`` and labels.
        classes: Number of classes.
        limits: Limits of time, and the seed.
    """
    begin = limits.clock()
    torch.manual_seed(limits.seed)
    (samples, labels), (held_out, answers) = train, test
    dims = (0, 2, 3)
    mean, std = samples.mean(dims, keepdim=True), samples.std(dims, keepdim=True).clamp(min=1e-6)
    samples, held_out = (samples - mean) / std, (held_out - mean) / std
    net = build(samples.shape[1], classes, limits.seed).to(limits.device)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster on CPUs
    start = limits.clock()  # the time that the scores of the test part take is kept free
    probe = samples[: min(BATCH, len(samples))]
    predict(net, probe, limits.device)
    reserve = (limits.clock() - start) * len(held_out) / len(probe)

    def done() -> float:
        return (limits.clock() - begin + reserve) / limits.seconds

    optimizer = torch.optim.SGD(net.parameters(), LR, momentum=MOMENTUM, weight_decay=DECAY)
    epochs = 0
    while done() < 1:
        epochs += 1
        net.train()
        order = torch.randperm(len(labels))
        for rows in torch.split(order, BATCH):
            if (share := done()) >= 1:
                break
            if len(rows) < 2:  # batch norm needs two samples
                continue
            optimizer.param_groups[0]["lr"] = 0.5 * LR * (1 + math.cos(math.pi * share))
            optimizer.zero_grad()
            loss = F.cross_entropy(
                net(samples[rows].to(limits.device)), labels[rows].to(limits.device)
            )
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    correct = (predict(net, held_out, limits.device) == answers).numpy()
    return Result(
        build.__name__,
        test=float(correct.mean()),
        samples=len(answers),
        train_samples=len(labels),
        weights=count_weights(net),
        epochs=epochs,
        correct=correct,
    )


@torch.no_grad()
def predict(net: nn.Module, samples: Tensor, device: str) -> Tensor:
    """Return the classes ``(N,)`` of samples, on the CPU."""
    net.eval()
    parts = [net(part.to(device)).argmax(1).cpu() for part in torch.split(samples, 250)]
    return torch.cat(parts)
