"""Plain baselines of ``own_data.py``: what a user could write without a search.

* tables: histogram gradient boosting of scikit-learn with its defaults; for information, logistic
  or, for numbers, ridge regression on standardized columns
* images and spectrograms: three blocks of convolution, batch norm, ReLU and max pooling
* texts: an LSTM
* documents: logistic regression on TF-IDF of words and word pairs

The networks train with Adam and a cosine schedule over their epochs or the time limit, whichever
ends first, and keep the weights of the best epoch on validation data. Where the data has no
validation part, a stratified 15 % of the training part is held out. The test part is used once.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from own_data_models import VALIDATION, train_on_documents, train_on_numbers, train_on_table
from own_data_networks import PlainConvNet, PlainLstm
from own_data_result import Limits, Result
from own_data_sets import DataSet
from PIL import Image
from torch import Tensor, nn

from darts.data import MemoryImages, load
from darts.data.corpus import Corpus
from darts.data.images import Images
from darts.data.source import Source
from darts.data.split import stratified_split

MIN_STEPS = 50  # per epoch; a small data set is read several times per epoch
Samples = tuple[Tensor, Tensor]
"""Images ``(N, C, H, W)`` float32 and labels ``(N,)`` int64."""


def run_baseline(dataset: DataSet, folder: Path, limits: Limits) -> Result:
    """Train the baseline for a data set in its prepared folder."""
    torch.manual_seed(limits.seed)
    return _BASELINES[dataset.kind](dataset, folder, limits)


def fit(
    net: nn.Module,
    losses: Callable[[], Iterator[Tensor]],
    validate: Callable[[], tuple[float, ...]],
    limits: Limits,
    *,
    lr: float,
    begin: float,
) -> tuple[tuple[float, ...], int, int]:
    """Train a network and restore the weights of the epoch with the smallest validation score.

    Args:
        net: The network.
        losses: Returns the training losses of one epoch, one per step.
        validate: Returns the validation score; smaller is better.
        limits: Limits of time and epochs.
        lr: Initial learning rate of Adam.
        begin: Time of the start, by the clock of the limits.

    Returns:
        The best score, its epoch, and the number of epochs.
    """
    optimizer = torch.optim.Adam(net.parameters(), lr)
    best: tuple[float, ...] = (math.inf,)
    best_epoch, best_weights = 0, net.state_dict()
    evaluation = 0.0  # seconds of a validation; the time of two is kept free
    epoch, out_of_time = 0, False
    while epoch < limits.epochs and not out_of_time:
        net.train()
        for loss in losses():
            elapsed = limits.clock() - begin + 2 * evaluation
            done = max(epoch / limits.epochs, elapsed / limits.seconds)
            optimizer.param_groups[0]["lr"] = lr * 0.5 * (1 + math.cos(math.pi * min(1, done)))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            if elapsed > limits.seconds:
                out_of_time = True
                break
        epoch += 1
        net.eval()
        start = limits.clock()
        with torch.no_grad():
            score = validate()
        evaluation = limits.clock() - start
        if score < best:
            best, best_epoch, best_weights = score, epoch, copy.deepcopy(net.state_dict())
    net.load_state_dict(best_weights)
    net.eval()
    return best, best_epoch, epoch


def count_weights(net: nn.Module) -> int:
    """Return the number of trained weights."""
    return sum(weight.numel() for weight in net.parameters())


def read_images(folder: Path, classes: list[str]) -> Samples:
    """Read the PNG files of class folders: gray images with one channel, values from 0 to 1."""
    images, labels = [], []
    for label, name in enumerate(classes):
        for path in sorted((folder / name).iterdir()):
            pixels = torch.from_numpy(np.array(Image.open(path))).float() / 255
            images.append(pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1))
            labels.append(label)
    return torch.stack(images), torch.tensor(labels)


def _images(dataset: DataSet, folder: Path, limits: Limits) -> Result:
    begin = limits.clock()
    classes = sorted(path.name for path in (folder / "train").iterdir())
    train, test = (read_images(folder / split, classes) for split in ("train", "test"))
    return _train_convnet(train, None, test, limits, begin)


def _recordings(dataset: DataSet, folder: Path, limits: Limits) -> Result:
    begin = limits.clock()
    source: Source = load("audiofolder", root=folder, rate=8000, window=32.0, hop=16.0)
    train, valid, test = (_samples(part) for part in (source.train, source.valid, source.test))
    return _train_convnet(train, valid, test, limits, begin)


def _samples(split: Images | None) -> Samples:
    assert isinstance(split, MemoryImages)
    return split.pixels, split.labels


def _train_convnet(
    train: Samples, valid: Samples | None, test: Samples, limits: Limits, begin: float
) -> Result:
    samples = len(train[1])
    if valid is None:
        kept, held_out = stratified_split(train[1], (1 - VALIDATION, VALIDATION), seed=limits.seed)
        train, valid = (train[0][kept], train[1][kept]), (train[0][held_out], train[1][held_out])
    dims = (0, 2, 3)
    mean, std = train[0].mean(dims, keepdim=True), train[0].std(dims, keepdim=True)
    train, valid, test = (
        (((images - mean) / std).to(limits.device), labels.to(limits.device))
        for images, labels in (train, valid, test)
    )
    net = PlainConvNet(train[0].shape[1], int(train[1].max()) + 1)
    net.to(limits.device)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster on CPUs
    count = len(train[1])
    batch = 64 if count >= 2000 else 32
    shift = max(2, train[0].shape[-1] // 16)

    def losses() -> Iterator[Tensor]:
        order = torch.cat(
            [torch.randperm(count) for _ in range(max(1, math.ceil(MIN_STEPS * batch / count)))]
        )
        for rows in torch.split(order, batch):
            if len(rows) > 1:  # batch norm needs two samples
                images = shifted(train[0][rows.to(limits.device)], shift)
                yield F.cross_entropy(net(images), train[1][rows.to(limits.device)])

    def predict(images: Tensor) -> Tensor:
        return torch.cat([net(part) for part in torch.split(images, 256)])

    def validate() -> tuple[float, ...]:
        logits = predict(valid[0])
        errors = (logits.argmax(1) != valid[1]).float().mean()
        return float(errors), float(F.cross_entropy(logits, valid[1]))  # the loss decides ties

    score, best, epochs = fit(net, losses, validate, limits, lr=2e-3, begin=begin)
    with torch.no_grad():
        correct = (predict(test[0]).argmax(1) == test[1]).cpu().numpy()
    return Result(
        "convolutional network",
        test=float(correct.mean()),
        samples=len(test[1]),
        train_samples=samples,
        valid=1 - score[0],
        weights=count_weights(net),
        epochs=epochs,
        chosen=f"epoch {best}",
        correct=correct,
    )


def shifted(images: Tensor, distance: int) -> Tensor:
    """Shift each image by up to ``distance`` pixels in both directions; zeros fill the gap."""
    height, width = images.shape[-2:]
    padded = F.pad(images, [distance] * 4)
    offsets = torch.randint(0, 2 * distance + 1, (len(images), 2)).tolist()
    return torch.stack(
        [
            image[:, top : top + height, left : left + width]
            for image, (top, left) in zip(padded, offsets, strict=True)
        ]
    )


def _texts(dataset: DataSet, folder: Path, limits: Limits) -> Result:
    begin = limits.clock()
    level = "char" if dataset.kind == "characters" else "word"
    corpus: Corpus = load("text", root=folder, level=level)
    net = PlainLstm(len(corpus.vocabulary), level).to(limits.device)
    columns, length = (16, 64) if level == "char" else (20, 35)
    tokens = corpus.train.to(limits.device)

    def losses() -> Iterator[Tensor]:
        for _ in range(max(1, math.ceil(MIN_STEPS * columns * length / len(tokens)))):
            offset = int(torch.randint(length, ()))
            inputs, targets = in_columns(tokens[offset:], columns)
            state = None
            windows = zip(torch.split(inputs, length), torch.split(targets, length), strict=True)
            for window, target in windows:
                logits, state = net(window, state)
                state = (state[0].detach(), state[1].detach())
                yield F.cross_entropy(logits.flatten(0, 1), target.flatten())

    def validate() -> tuple[float, ...]:
        return (text_loss(net, corpus.valid.to(limits.device), columns=10),)

    score, best, epochs = fit(net, losses, validate, limits, lr=3e-3, begin=begin)
    with torch.no_grad():
        test = text_loss(net, corpus.test.to(limits.device), columns=1)
    return Result(
        "LSTM",
        test=math.exp(test),
        samples=len(corpus.test) - 1,
        train_samples=len(corpus.train),
        valid=math.exp(score[0]),
        weights=count_weights(net),
        epochs=epochs,
        chosen=f"epoch {best}",
    )


def in_columns(tokens: Tensor, columns: int) -> tuple[Tensor, Tensor]:
    """Return inputs and next tokens ``(T, columns)``; consecutive rows continue the text."""
    height = (len(tokens) - 1) // columns
    count = height * columns
    inputs, targets = tokens[:count], tokens[1 : count + 1]
    return inputs.view(columns, height).t(), targets.view(columns, height).t()


def text_loss(net: PlainLstm, tokens: Tensor, *, columns: int) -> float:
    """Return the mean loss of each token after the first, in nats."""
    inputs, targets = in_columns(tokens, columns)
    total, state = 0.0, None
    for window, target in zip(torch.split(inputs, 500), torch.split(targets, 500), strict=True):
        logits, state = net(window, state)
        total += float(F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="sum"))
    return total / targets.numel()


_BASELINES: dict[str, Callable[[DataSet, Path, Limits], Result]] = {
    "images": _images,
    "recordings": _recordings,
    "characters": _texts,
    "words": _texts,
    "table": train_on_table,
    "numbers": train_on_numbers,
    "documents": train_on_documents,
}
