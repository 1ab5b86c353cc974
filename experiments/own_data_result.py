"""Limits and scores of the methods that ``own_data.py`` compares with ``darts.find``."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from own_data_samples import Flags


@dataclass(frozen=True)
class Limits:
    """Limits of a method.

    Attributes:
        seconds: Maximum time, from the start of the method.
        epochs: Maximum number of epochs of a network; the expert has no such limit.
        seed: Seed of weights, batches and the validation part.
        device: Device of the networks.
        clock: Clock that measures the time: ``time.monotonic``, or ``time.process_time`` on a
            machine that other programs use.
    """

    seconds: float
    epochs: int
    seed: int
    device: str = "cpu"
    clock: Callable[[], float] = time.monotonic


@dataclass(frozen=True)
class Result:
    """Scores of a method.

    Attributes:
        method: What was trained.
        test: Accuracy as a fraction, or perplexity, on the test part.
        samples: Samples or tokens of the test part.
        train_samples: Samples or tokens of the training part, including those held out of it.
        valid: The same score on validation data; None if nothing was chosen.
        weights: Number of weights of a network.
        epochs: Epochs of a network; a part of one counts as one.
        chosen: What validation data decided, for example the best epoch.
        information: Test scores of other models, which decided nothing.
        correct: Whether each test sample is classified correctly, in the order of classes and
            files or of the lines of test.csv; None for texts.
        errors: For numbers, the squared error of each test sample divided by the variance of the
            test targets, so that the mean is ``1 - test``.
    """

    method: str
    test: float
    samples: int
    train_samples: int
    valid: float | None = None
    weights: int | None = None
    epochs: int | None = None
    chosen: str = ""
    information: str = ""
    correct: Flags | None = None
    errors: list[float] | None = None
