"""Which test samples a method classifies correctly, and the intervals that follow from it.

References:
    Newcombe, "Interval estimation for the difference between independent proportions", Statistics
    in Medicine 17, 1998, method 10.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import darts
from darts.data import SampleBatch
from darts.data.sentence_loader import DocumentLoader
from darts.recipes.trained import TrainedNetwork, build_on, open_data
from darts.training.distributed import Ranks

QUANTILE = 1.959964  # of the normal distribution, for 95 %
Flags = NDArray[np.bool_]
Numbers = NDArray[np.float64]
Interval = tuple[float, float]


def pack(correct: Flags) -> str:
    """Return flags of test samples ``(N,)`` as text; the inverse of ``unpack``."""
    return np.packbits(correct).tobytes().hex()


def unpack(text: str, count: int) -> Flags:
    """Return the ``count`` flags of a text of ``pack``."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8), count=count).astype(bool)


def correct_samples(run: Path, device: str) -> Flags:
    """Return which test samples the network of a run classifies correctly, in the order of files.

    Args:
        run: Run directory with the checkpoint of a classifier.
        device: Device of the network.
    """
    ranks = Ranks(device)
    trained = TrainedNetwork.load(str(run))
    data = open_data(trained, ranks)
    loader = data.held_out_loader("test", {})
    assert loader is not None
    net = build_on(trained, ranks.device).eval()
    correct: list[Tensor] = []

    def add(batch: SampleBatch) -> None:
        inputs, labels = batch
        correct.append((net(inputs).argmax(1) == labels).cpu())

    with torch.inference_mode():
        if isinstance(loader, DocumentLoader):  # its batches are sorted by length
            for rows in torch.split(torch.arange(len(loader.split)), 100):
                add(loader.collate(rows))
        else:
            for batch in loader.epoch(0):
                add(cast(SampleBatch, batch))
    return np.asarray(torch.cat(correct).numpy(), dtype=bool)


def relative_errors(found: Numbers, true: Numbers) -> list[float]:
    """Return squared errors ``(N,)`` divided by the variance of the targets: mean 1 - R2."""
    return [float(f"{error:.5g}") for error in (found - true) ** 2 / true.var()]


def number_errors(run: Path, file: Path) -> list[float]:
    """Return the relative errors of the network of a run on a table, whose last column it predicts.

    Args:
        run: Run directory with the checkpoint of a regression.
        file: The CSV file.
    """
    with file.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    inputs = [{name: float(cell) for name, cell in row.items()} for row in rows]
    found = darts.predict(str(run), inputs).values[:, 0].numpy()
    return relative_errors(found, np.array([list(row.values())[-1] for row in inputs]))


def paired_interval(
    ours: Sequence[Flags] | Sequence[Numbers], theirs: Sequence[Flags] | Sequence[Numbers]
) -> Interval:
    """Return the 95 % interval of a difference of mean scores on the same samples.

    Args:
        ours: Scores of the samples for each seed, ``(N,)`` each, for example whether they are
            classified correctly.
        theirs: The same for the other method, whose number of seeds may differ.

    Returns:
        The mean difference over samples of the means over seeds, plus and minus 1.96 standard
        errors. The interval covers the choice of the test samples, not the seeds.
    """
    difference = np.mean(ours, 0) - np.mean(theirs, 0)
    center = float(difference.mean())
    half = QUANTILE * float(difference.std(ddof=1)) / math.sqrt(len(difference))
    return center - half, center + half


def unpaired_interval(ours: float, theirs: float, count: int, their_count: int) -> Interval:
    """Return Newcombe's 95 % interval of a difference of two accuracies on unpaired samples.

    It is wider than that of paired predictions.

    Args:
        ours, theirs: Accuracies; means over seeds.
        count, their_count: Numbers of test samples.
    """
    low, high = _wilson(ours, count)
    their_low, their_high = _wilson(theirs, their_count)
    difference = ours - theirs
    return (
        difference - math.hypot(ours - low, their_high - theirs),
        difference + math.hypot(high - ours, theirs - their_low),
    )


def _wilson(share: float, count: int) -> Interval:
    z2 = QUANTILE**2
    center = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = math.sqrt(z2 * (share * (1 - share) + z2 / (4 * count)) / count) / (1 + z2 / count)
    return center - half, center + half
