"""What an exported file is worth: its scores on validation data, and its latency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from darts.config import ConfigError, ExportConfig
from darts.data import Loader, load_split
from darts.data.randomness import permutation
from darts.data_modules.samples import SampleDataModule
from darts.judging.devices.stopwatch import TimingSettings, time_passes, timing
from darts.reading import FileError, JsonObject, one_line
from darts.recipes.exporting.network import ExportableNetwork, Graph
from darts.recipes.trained import TrainedNetwork, open_data
from darts.tasks import Forward
from darts.tracking import print_lines
from darts.tracking.formats import format_value, is_fraction
from darts.training.distributed import Ranks
from darts.training.scoring import evaluate


def takes_numbers(trained: TrainedNetwork) -> bool:
    """Return whether the network has one input, and it is made of numbers."""
    return len(trained.input_specs) == 1 and trained.input_specs[0].num_tokens is None


@dataclass(frozen=True)
class Validation:
    """The data with which the files of one network are calibrated and scored."""

    network: ExportableNetwork
    trained: TrainedNetwork
    data: SampleDataModule  # of its retraining
    # "valid"; "train" if no validation data was held out, as in the last run of ``darts find``.
    split: str
    # The samples that are scored, in a fixed order, without augmentation. Of the training samples,
    # those that do not calibrate.
    loader: Loader
    calibration: Tensor  # indices of the training samples that calibrate, (n,) int64

    @classmethod
    def open(
        cls, config: ExportConfig, trained: TrainedNetwork, network: ExportableNetwork
    ) -> Validation | None:
        """Read the data of a retraining and the split that it saved; None to score no file.

        If the data cannot be read and the user did not ask for a score, print a line.
        """
        is_asked = config.quantize != "none" or config.validate is True
        file = trained.file.parent / "split.npz"
        if not is_asked:
            held_out = trained.config.validation > 0 and file.is_file()
            if config.validate is False or not (held_out and takes_numbers(trained)):
                return None
        if not takes_numbers(trained):
            raise ConfigError(
                f"task={trained.config.task.name}: only networks with one input of numbers "
                "(images, rows, spectrograms) can be quantized or scored as a file; set "
                "quantize=none validate=false"
            )
        try:
            subsets = load_split(file)
            data = open_data(trained, Ranks(), root=config.root, workers=config.workers)
            assert isinstance(data, SampleDataModule)  # of networks with such an input
            train = subsets.get("train", torch.tensor([]))
            if not len(train) or int(train.max()) >= len(data.source.train):
                folder = trained.file.parent
                raise FileError(f"the split of {folder} does not fit the training samples")
        except (ValueError, OSError) as error:
            if is_asked:
                raise
            print_lines(f"the file is not scored on validation data: {one_line(error)}")
            return None
        order = train[permutation(len(train), trained.config.seed, "calibration")]
        calibration, rest = order[: config.calibration], order[config.calibration :]
        split, loader = "valid", data.held_out_loader("valid", subsets)
        if loader is None:
            split = "train"
            loader = data.evaluation_loader(data.source.train, rest if len(rest) else order)
        return cls(network, trained, data, split, loader, calibration)

    def calibration_samples(self) -> Tensor:
        """Return the samples that calibrate, without augmentation, ``(n, ...)`` float32."""
        loader = self.data.evaluation_loader(self.data.source.train, self.calibration)
        return torch.cat([samples for samples, _ in loader.epoch(0)]).contiguous()

    def score(self, graph: Graph | None = None) -> float:
        """Return the steering metric of the network, or of a graph in its place."""
        forward: Forward | None = None
        if graph is not None:
            scale = self.trained.target_scale

            def forward(samples: Tensor) -> Tensor:
                (out,) = graph(self.network.of_samples(samples))
                return out if scale is None else scale.standardize(out).float()

        objective, device = self.data.objective(), torch.device("cpu")
        with torch.inference_mode():
            scores = evaluate(
                self.network.net, self.loader.epoch(0), objective, device=device, forward=forward
            )
        return scores[self.trained.config.metric]

    def compare(self, config: ExportConfig, graph: Graph) -> JsonObject:
        """Return the scores of the network and of a file, which may drop by ``max_drop``."""
        metric, before, after = self.trained.config.metric, self.score(), self.score(graph)
        name = f"{self.split}_{metric}"
        higher = self.data.objective().metrics[metric].higher_is_better
        drop = score_drop(metric, before, after, higher_is_better=higher)
        if not drop <= config.max_drop:
            advice = "; calibrate with more samples" if config.quantize == "int8" else ""
            raise ConfigError(
                f"max_drop={config.max_drop:g}: {name} goes from {format_value(name, before)} to "
                f"{format_value(name, after)}, a drop of {drop:.2g}; nothing was written{advice}"
            )
        return {f"float_{name}": before, name: after, "drop": drop}


def score_drop(metric: str, before: float, after: float, *, higher_is_better: bool) -> float:
    """Return by how much a score is worse than another one; negative if it is better.

    It is a difference for fractions such as the accuracy, and relative to ``before`` for other
    metrics.
    """
    lost = before - after if higher_is_better else after - before
    if is_fraction(metric) or lost == 0:
        return lost
    return lost / max(abs(before), torch.finfo(torch.float32).tiny)


def median_milliseconds(graphs: Sequence[Graph], inputs: Sequence[Tensor]) -> list[float]:
    """Return the median time of a pass of each graph, on one thread.

    ``inputs`` is a batch of one sample, as the graphs take it.
    """
    settings = TimingSettings("cpu", 1, 1, "fp32", warmup=10, repeats=100)
    with timing(settings):
        times = time_passes(graphs, [inputs] * len(graphs), settings)
    return [own.median_ms for own in times]
