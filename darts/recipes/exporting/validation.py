"""What an exported file is worth: its scores on validation data, and its latency."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from darts.config import ConfigError, ExportConfig
from darts.data import Loader, load_split
from darts.data.randomness import permutation
from darts.data_modules.samples import SampleDataModule
from darts.reading import FileError
from darts.recipes.exporting.network import Graph
from darts.recipes.trained import TrainedNetwork, open_data
from darts.spaces import NetworkBase
from darts.tasks import Forward, Objective
from darts.tracking.formats import is_fraction
from darts.training.distributed import Ranks
from darts.training.scoring import evaluate

WARMUP, PASSES = 10, 100  # untimed and timed passes of each graph


def takes_numbers(trained: TrainedNetwork) -> bool:
    """Return whether the network has one input, and it is made of numbers."""
    return len(trained.input_specs) == 1 and trained.input_specs[0].num_tokens is None


def is_validated(config: ExportConfig, trained: TrainedNetwork) -> bool:
    """Return whether an export scores its file: see ``ExportConfig.validate``."""
    if config.quantize != "none":
        return True
    if config.validate is not None:
        return config.validate
    held_out = trained.config.validation > 0 and split_file(trained).is_file()
    return held_out and takes_numbers(trained)


def split_file(trained: TrainedNetwork) -> Path:
    """Return the split of a retraining, which is next to its checkpoint."""
    return trained.file.parent / "split.npz"


@dataclass(frozen=True)
class Validation:
    """The data with which the files of one network are calibrated and scored."""

    trained: TrainedNetwork
    data: SampleDataModule  # of its retraining
    # "valid"; "train" if no validation data was held out, as in the last run of ``darts.find``.
    split: str
    # The samples that are scored, in a fixed order, without augmentation. Of the training samples,
    # those that do not calibrate.
    loader: Loader
    calibration: Tensor  # indices of the training samples that calibrate, (n,) int64

    @classmethod
    def open(cls, config: ExportConfig, trained: TrainedNetwork) -> Validation:
        """Read the data of a retraining and the split that it saved."""
        if not takes_numbers(trained):
            raise ConfigError(
                f"task={trained.config.task.name}: only networks with one input of numbers "
                "(images, rows, spectrograms) can be quantized or scored as a file; set "
                "quantize=none validate=false"
            )
        subsets = load_split(split_file(trained))
        data = open_data(trained, Ranks(), root=config.root, workers=config.workers)
        assert isinstance(data, SampleDataModule)  # the data module of networks with such an input
        train = subsets.get("train", torch.tensor([]))
        if not len(train) or int(train.max()) >= len(data.source.train):
            raise FileError(f"the split of {trained.file.parent} does not fit the training samples")
        order = train[permutation(len(train), trained.config.seed, "calibration")]
        calibration, rest = order[: config.calibration], order[config.calibration :]
        split, loader = "valid", data.held_out_loader("valid", subsets)
        if loader is None:
            split = "train"
            loader = data.evaluation_loader(data.source.train, rest if len(rest) else order)
        return cls(trained, data, split, loader, calibration)

    @property
    def score_name(self) -> str:
        """Name of the score in the summary."""
        return f"{self.split}_{self.metric}"

    @property
    def metric(self) -> str:
        """Steering metric of the retraining."""
        return self.trained.config.metric

    @property
    def objective(self) -> Objective:
        return self.data.objective()

    def calibration_samples(self) -> Tensor:
        """Return the samples that calibrate, without augmentation, ``(n, ...)`` float32."""
        loader = self.data.evaluation_loader(self.data.source.train, self.calibration)
        return torch.cat([samples for samples, _ in loader.epoch(0)]).contiguous()

    def score(self, net: NetworkBase, graph: Graph | None = None) -> float:
        """Return the steering metric of the network, or of a graph in its place."""
        forward: Forward | None = None
        if graph is not None:
            scale = self.trained.target_scale

            def forward(samples: Tensor) -> Tensor:
                (out,) = graph([samples.contiguous()])
                return out if scale is None else scale.standardize(out).float()

        with torch.inference_mode():
            scores = evaluate(
                net,
                self.loader.epoch(0),
                self.objective,
                device=torch.device("cpu"),
                forward=forward,
            )
        return scores[self.metric]

    def loss(self, before: float, after: float) -> float:
        """Return by how much a score is worse than another one; negative if it is better.

        It is a difference for fractions such as the accuracy, and relative to ``before`` for other
        metrics.
        """
        lost = before - after
        if not self.objective.metrics[self.metric].higher_is_better:
            lost = -lost
        if is_fraction(self.metric) or lost == 0:
            return lost
        return lost / max(abs(before), torch.finfo(torch.float32).tiny)


def median_milliseconds(graphs: Sequence[Graph], sample: Tensor) -> list[float]:
    """Return the median time of a pass of each graph, on one thread.

    The graphs take turns, so that slow phases of the machine affect all of them alike. ``sample``
    is a batch of one sample.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    times = np.zeros((WARMUP + PASSES, len(graphs)))
    try:
        for row in times:
            for column, graph in enumerate(graphs):
                start = time.perf_counter()
                graph([sample])
                row[column] = 1000 * (time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    medians: list[float] = np.median(times[WARMUP:], axis=0).tolist()
    return medians
