"""The expert of ``own_data.py``: a small network with the recipe of speed-record runs.

An expert writes such a program in an hour and tunes nothing. It trains on all training samples for
the whole time, in float32 with all threads, and classifies the test part once. Gray images have
one channel. It always mirrors images, also where left and right matter.

References:
    Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", arXiv:2404.00498, and
    https://github.com/KellerJordan/cifar10-airbench: the network, its initial weights, augmentation
    and schedule, with the batches and learning rates of a small machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from own_data_baselines import Samples, count_weights, read_images
from own_data_result import Limits, Result
from own_data_sets import DataSet
from torch import Tensor, nn

WIDTH = 32
BATCH = 64
SHIFT = 2  # pixels
TEMPERATURE = 4.0  # divides the logits
LR, RISE, FIRST = 0.1, 0.2, 0.2  # peak, share of the time until the peak, first rate / peak
SMALL = 32  # pixels; larger images keep 2x2 positions


def whitening_filters(images: Tensor) -> Tensor:
    """Return 2x2 filters ``(8C, C, 2, 2)`` whose outputs are uncorrelated with variance 1.

    The second half are the negatives of the first half, because GELU loses the sign.

    Args:
        images: Normalized images, ``(N, C, H, W)``; 2,000 random ones are used.
    """
    channels = images.shape[1]
    chosen = images[torch.randperm(len(images))[:2000]]
    patches = F.unfold(chosen, 2, stride=2).transpose(1, 2).flatten(0, 1)
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    filters = (vectors / torch.sqrt(values + 5e-4)).T.unflatten(1, (channels, 2, 2))
    return torch.cat([filters, -filters])


class Group(nn.Sequential):
    """Two 3x3 convolutions, the first with max pooling, which start as identity functions."""

    def __init__(self, channels: int, width: int) -> None:
        first, second = (
            nn.Conv2d(size, width, 3, padding=1, bias=False) for size in (channels, width)
        )
        norms = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        super().__init__(
            first, nn.MaxPool2d(2), norms[0], nn.GELU(), second, norms[1], nn.GELU()
        )  # fmt: skip
        for convolution in (first, second):
            nn.init.dirac_(convolution.weight[: convolution.in_channels])


class ExpertNet(nn.Sequential):
    """A fixed whitening layer, three groups and global max pooling.

    Args:
        images: Normalized training images, ``(N, C, H, W)``.
        classes: Number of classes.
    """

    def __init__(self, images: Tensor, classes: int) -> None:
        filters = whitening_filters(images)
        whitening = nn.Conv2d(filters.shape[1], len(filters), 2)
        whitening.weight = nn.Parameter(filters, requires_grad=False)
        positions = 1 if images.shape[-1] <= SMALL else 2
        groups = Group(len(filters), WIDTH), Group(WIDTH, 4 * WIDTH), Group(4 * WIDTH, 4 * WIDTH)
        linear = nn.Linear(4 * WIDTH * positions**2, classes, bias=False)
        pooling = nn.AdaptiveMaxPool2d(positions)
        super().__init__(whitening, nn.GELU(), *groups, pooling, nn.Flatten(), linear)


def learning_rate(done: float) -> float:
    """Return the learning rate after a share of the time: a line up, then a line down to 0."""
    if done < RISE:
        return LR * (FIRST + (1 - FIRST) * done / RISE)
    return LR * max(1 - done, 0.0) / (1 - RISE)


def augmented(padded: Tensor) -> Tensor:
    """Return random crops of images padded by ``SHIFT`` on all sides, half of them mirrored."""
    count, _, height, width = padded.shape
    device = padded.device
    crops = padded.unfold(2, height - 2 * SHIFT, 1).unfold(3, width - 2 * SHIFT, 1)
    top, left = torch.randint(2 * SHIFT + 1, (2, count), device=device)
    images = crops[torch.arange(count, device=device), :, top, left]
    mirrored = torch.rand(count, device=device) < 0.5
    return torch.where(mirrored[:, None, None, None], images.flip(3), images)


def train_expert(dataset: DataSet, folder: Path, limits: Limits) -> Result:
    """Train the expert's network on a data set of images in its prepared folder."""
    begin = limits.clock()
    classes = sorted(path.name for path in (folder / "train").iterdir())
    return train_on(*(read_images(folder / split, classes) for split in ("train", "test")),
                    classes=len(classes), limits=limits, begin=begin)  # fmt: skip


def train_on(
    train_part: Samples, test_part: Samples, *, classes: int, limits: Limits, begin: float
) -> Result:
    """Train the expert's network on images.

    Args:
        train_part, test_part: Images and labels.
        classes: Number of classes.
        limits: Limits of time, and the seed.
        begin: Time of the start, by the clock of the limits.
    """
    torch.manual_seed(limits.seed)
    (train, labels), (test, answers) = train_part, test_part
    mean, std = train.mean((0, 2, 3), keepdim=True), train.std((0, 2, 3), keepdim=True)
    train, test = (train - mean) / std, (test - mean) / std
    net = ExpertNet(train, classes).to(limits.device)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster on CPUs
    padded = F.pad(train, [SHIFT] * 4, mode="reflect").to(limits.device)
    labels = labels.to(limits.device)

    start = limits.clock()  # the time that the scores of the test part take is kept free
    predict(net, train[:512].to(limits.device))
    reserve = (limits.clock() - start) * len(test) / min(len(train), 512)

    def done() -> float:
        return (limits.clock() - begin + reserve) / limits.seconds

    epochs = fit(net, lambda: batches(padded, labels), done)
    correct = (predict(net, test.to(limits.device)).cpu() == answers).numpy()
    return Result(
        "network of speed-record runs",
        test=float(correct.mean()),
        samples=len(answers),
        train_samples=len(labels),
        weights=count_weights(net),
        epochs=epochs,
        correct=correct,
    )


def batches(padded: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the augmented batches of one epoch; an incomplete last batch is dropped."""
    size = min(BATCH, len(labels))
    order = torch.randperm(len(labels), device=labels.device)
    for rows in torch.split(order[: len(order) // size * size], size):
        yield augmented(padded[rows]), labels[rows]


def fit(
    net: nn.Module, epoch: Callable[[], Iterator[tuple[Tensor, Tensor]]], done: Callable[[], float]
) -> int:
    """Train a network until ``done()``, the share of the time, reaches 1; return the epochs."""
    weights = [weight for weight in net.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(weights, LR, momentum=0.9, nesterov=True, weight_decay=5e-4)
    net.train()
    epochs = 0
    while (share := done()) < 1:
        epochs += 1
        for images, labels in epoch():
            optimizer.param_groups[0]["lr"] = learning_rate(share)
            images = images.contiguous(memory_format=torch.channels_last)
            loss = F.cross_entropy(net(images) / TEMPERATURE, labels, label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if (share := done()) >= 1:
                break
    return epochs


@torch.no_grad()
def predict(net: nn.Module, images: Tensor) -> Tensor:
    """Return the classes ``(N,)`` of images; each is scored together with its mirror image."""
    training = net.training
    net.eval()
    parts = torch.split(images, 500)
    probabilities = [net(part).softmax(1) + net(part.flip(3)).softmax(1) for part in parts]
    net.train(training)
    return torch.cat(probabilities).argmax(1)
