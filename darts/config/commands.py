"""Configuration of the commands; the defaults are the published CIFAR-10 recipes.

References:
    DARTS, arXiv:1806.09055, appendix A.1 (search) and A.2 (evaluation).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

from darts.config.datasets import DatasetConfig
from darts.config.fields import MISSING
from darts.config.options import (
    ArchOptimizerConfig,
    BenchmarkConfig,
    FrontConfig,
    LoaderConfig,
    PenaltyConfig,
    SearchLimitConfig,
    TrackingConfig,
    WeightOptimizerConfig,
)
from darts.methods.bilevel import ArchGradient
from darts.methods.collapse import CollapseChecks
from darts.methods.discretization import Discretization
from darts.methods.freezing import Freezing
from darts.methods.perturbation import Perturbation
from darts.methods.regularizer import Regularizer
from darts.methods.relaxation import Relaxation
from darts.methods.stages import Stage
from darts.methods.stopping import Stopping
from darts.registry import choice, number
from darts.spaces import Space
from darts.tasks import Task

DEVICE_ACTIONS = ("measure", "fit", "compare")


@dataclass
class RunConfig:
    """Options that ``search`` and ``retrain`` share."""

    # Keys, or prefixes of keys, that a resumed run may change.
    may_change_on_resume: ClassVar[tuple[str, ...]] = (
        "name", "resume", "device", "save_minutes", "dry_run", "memory", "loader.workers",
        "dataset.root", "dataset.download", "dataset.verify", "tracking.", "benchmark.",
    )  # fmt: skip

    name: str = "run"
    task: Task = MISSING  # what is learned
    metric: str = "accuracy"  # the steering metric, measured on validation data
    dataset: DatasetConfig = MISSING  # the data
    space: Space = MISSING  # the architectures
    optimizer: WeightOptimizerConfig = field(default_factory=WeightOptimizerConfig)
    loader: LoaderConfig = field(default_factory=LoaderConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    seed: int = number(0, low=0, high=2**62)  # of all random numbers
    device: str = "auto"  # cpu, cuda, cuda:N or mps
    precision: str = choice("fp32", "fp32", "tf32", "bf16", "fp16")  # of the steps
    sync_batchnorm: bool = True  # several ranks: batch norms use the whole batch
    # Largest number of restarts of a run that diverges. Each restart repeats the epoch and
    # multiplies the learning rate of the weights by 0.3.
    restarts: int = number(3, low=0, high=10)
    save_minutes: float = number(10.0, low=0)  # between checkpoints in an epoch; 0: at each step
    resume: str | None = None  # run directory to continue
    dry_run: bool = False  # predict the cost of the run, and stop

    def continued_keys(self, saved: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the keys that may change when a complete run continues; () if it cannot."""
        return ()

    def extends(self, saved: Mapping[str, Any]) -> bool:
        """Return whether the run continues beyond the last epoch of the saved values."""
        return False

    def resumed(self, begun: Mapping[str, Any], saved: Mapping[str, Any]) -> RunConfig:
        """Return the configuration with the values of an earlier continuation, which are saved.

        The run began with the values in ``begun``.
        """
        return self


@dataclass
class SearchConfig(RunConfig):
    """``darts search``"""

    epochs: int = number(50, low=1)  # length of the search
    # Share of the training samples for the weights; the others train the alphas. 1: all samples
    # train both.
    train_portion: float = number(0.5, above=0, high=1)
    cutout: int = number(0, low=0)  # side of the erased square in pixels; 0: none
    # Probability of dropping the output of an edge of the supernet for a sample.
    drop_path: float = number(0.0, low=0, below=1)
    drop_path_schedule: str = choice("linear", "linear", "constant")  # linear: grows from 0
    memory: str = choice("full", "full", "checkpoint")  # checkpoint: recompute cells
    method: str = MISSING  # a combination of components
    arch_optimizer: ArchOptimizerConfig = field(default_factory=ArchOptimizerConfig)
    relaxation: Relaxation = MISSING
    bilevel: ArchGradient = MISSING
    perturbation: Perturbation = MISSING
    regularizer: Regularizer = MISSING
    stopping: Stopping = MISSING
    freezing: Freezing = MISSING
    discretize: Discretization = MISSING
    stages: list[Stage] = field(default_factory=list)  # empty: one stage with all epochs
    penalty: PenaltyConfig = field(default_factory=PenaltyConfig)
    limit: SearchLimitConfig = field(default_factory=SearchLimitConfig)
    front: FrontConfig = field(default_factory=FrontConfig)
    collapse: CollapseChecks = field(default_factory=CollapseChecks)
    benchmark: BenchmarkConfig = field(default_factory=BenchmarkConfig)

    @property
    def all_stages(self) -> list[Stage]:
        """The stages of the search; one by default."""
        return self.stages or [Stage()]

    @property
    def learns_budgets(self) -> bool:
        """Whether alphas are learned for the budgets of a front."""
        return self.front.enabled and not self.discretize.fills_budgets

    def continued_keys(self, saved: Mapping[str, Any]) -> tuple[str, ...]:
        # An evolution trains nothing for its budgets, so a finished search can serve others.
        keys = ("front.cost", "front.points", "front.least", "front.most")
        return keys if self.discretize.fills_budgets else ()

    def extends(self, saved: Mapping[str, Any]) -> bool:
        return bool(self.continued_keys(saved)) and asdict(self.front) != saved["front"]

    def resumed(self, begun: Mapping[str, Any], saved: Mapping[str, Any]) -> SearchConfig:
        if not self.continued_keys(begun):
            return self
        # A value equal to config.yaml was not given again: use the one of the last continuation.
        first, last = begun["front"], saved["front"]
        values = {k: last[k] if v == first[k] else v for k, v in asdict(self.front).items()}
        return replace(self, front=FrontConfig(**values))


@dataclass
class RetrainConfig(RunConfig):
    """``darts retrain``"""

    genotype: str = MISSING  # a name, a JSON file, a run directory, or Genotype(...) text
    epochs: int = number(600, low=1)  # length of the training
    # End the training after this time, even within an epoch, which then counts as complete. Only
    # with optimizer.schedule=stable.
    max_seconds: float | None = number(None, above=0)
    # Share of the steps in which the learning rate rises from almost 0 to optimizer.lr; afterwards
    # it falls with each step. 0: no rise, and a fall with each epoch.
    warmup: float = number(0.0, low=0, below=1)
    validation: float = number(0.1, low=0, below=1)  # share of the training split held out
    # Which of the disjoint held-out parts, from 0, for cross-validation; null: a random part.
    validation_fold: int | None = number(None, low=0, high=1000)
    selection: str = choice("best", "best", "last")  # epoch whose weights are the result
    evaluate_test: bool = True  # score the selected weights on the test split, once, at the end
    auxiliary: float = number(0.4, low=0)  # weight of the auxiliary head's loss; 0: no head
    drop_path: float = number(0.2, low=0, below=1)  # final probability; grows linearly from 0
    cutout: int = number(16, low=0)  # side of the erased square in pixels; 0: none
    label_smoothing: float = number(0.0, low=0, below=1)
    # Average in which step t has a weight about proportional to t to this power; 0: none.
    average_power: float = number(0.0, low=0)
    # Start to average weights when the score has not improved for this many epochs; 0: never.
    averaging_patience: int = number(0, low=0)
    mirror: bool = False  # images: average the outputs for the image and its mirror image
    # Run directory or checkpoint whose weights and optimizer state the training begins with.
    start: str | None = None
    start_epoch: str = choice("last", "last", "best")  # epoch of these weights

    def continued_keys(self, saved: Mapping[str, Any]) -> tuple[str, ...]:
        # Without a cooldown, the learning rate does not depend on the number of epochs.
        optimizer = saved.get("optimizer", {})
        is_open = optimizer.get("schedule") == "stable" and not optimizer.get("cooldown")
        return ("epochs", "max_seconds", "optimizer.cooldown") if is_open else ()

    def extends(self, saved: Mapping[str, Any]) -> bool:
        if not self.continued_keys(saved):
            return False
        before = saved.get("max_seconds")
        longer = before is not None and (self.max_seconds is None or self.max_seconds > before)
        return longer or self.epochs > saved.get("epochs", 0)

    def resumed(self, begun: Mapping[str, Any], saved: Mapping[str, Any]) -> RetrainConfig:
        if not self.continued_keys(begun):
            return self
        # A value equal to config.yaml was not given again: use the one of the last continuation.
        first, last, seconds = begun["optimizer"], saved["optimizer"], self.max_seconds
        cooldown = self.optimizer.cooldown
        if seconds == begun["max_seconds"]:
            seconds = saved["max_seconds"]
        if cooldown == first["cooldown"]:
            cooldown = last["cooldown"]
        epochs = max(self.epochs, saved["epochs"])
        optimizer = replace(self.optimizer, cooldown=cooldown)
        return replace(self, epochs=epochs, max_seconds=seconds, optimizer=optimizer)


@dataclass
class EvaluateConfig:
    """``darts evaluate``"""

    name: str = "evaluate"
    checkpoint: str = MISSING  # a checkpoint file or the directory of a retrain or find run
    split: str = choice("test", "test", "valid")  # the data to score on
    root: str | None = None  # folder of the data set; null: as in the retraining
    device: str = "auto"  # cpu, cuda, cuda:N or mps
    precision: str = choice("fp32", "fp32", "tf32", "bf16", "fp16")
    batch_size: int | None = number(None, low=1)  # null: as in the retraining
    workers: int = number(4, low=0, high=256)


@dataclass
class PredictConfig:
    """``darts predict``"""

    name: str = "predict"
    checkpoint: str = MISSING  # a checkpoint file or the directory of a retrain or find run
    # Files, folders, patterns such as 'photos/*.jpg', texts, or - for standard input. Several:
    # [A,B], or A B without "input=".
    input: list[str] = MISSING
    output: str | None = None  # the table; null: predictions.csv in the run directory
    device: str = "auto"  # cpu, cuda, cuda:N or mps
    batch_size: int = number(64, low=1)


# Formats of exported networks that a runtime executes.
GRAPHS = ("onnx", "torch_export", "executorch")

INT8_GRAPHS = ("onnx", "executorch")  # those that also exist in int8
INT8 = "_int8"


@dataclass
class ExportConfig:
    """``darts export``"""

    name: str = "export"
    checkpoint: str = MISSING  # a checkpoint file or the directory of a retrain or find run
    # Of the file: onnx, torch_export, executorch, or the weights as safetensors.
    format: str = choice("onnx", *GRAPHS, "safetensors")
    # Largest error of an output of a graph in float32, absolute or relative; safetensors must be
    # equal.
    tolerance: float = number(1e-4, above=0)
    quantize: str = choice("none", "none", "int8")  # type of weights and activations
    calibration: int = number(256, low=1)  # training samples that give the ranges of activations
    # Largest loss of the steering metric on validation data, as a fraction; on training data if the
    # run held no validation data out.
    max_drop: float = number(0.01, low=0)
    # Score the file in its runtime on validation data; null: if the run held some out and the
    # network has one input of numbers. quantize=int8 always does.
    validate: bool | None = None
    root: str | None = None  # folder of the data set; null: as in the retraining
    workers: int = number(4, low=0, high=256)


@dataclass
class GenotypesConfig:
    """``darts genotypes``"""

    draw: str | None = None  # genotype to draw
    validate: str | None = None  # genotype to check and describe
    compare: list[str] | None = None  # two genotypes to compare
    out: str | None = None  # figure to write: .svg, .png or .pdf


@dataclass
class ReportConfig:
    """``darts report RUN [RUN ...]``"""

    runs: list[str] = field(default_factory=list)  # run directories
    out: str | None = None  # page to write; null: report.html in the first run directory


@dataclass
class DeviceConfig:
    """``darts device ACTION``"""

    name: str = "device"
    action: str = choice("measure", *DEVICE_ACTIONS)
    space: Space = MISSING  # the networks
    # File to write; null: latencies.csv (measure) or model.json (fit) in the run directory.
    out: str | None = None
    # Of a sample: channels, height, width.
    shape: list[int] = number([3, 32, 32], low=1, high=10_000)
    classes: int = number(10, low=1, high=1_000_000)  # outputs of the networks
    device: str = "auto"  # cpu, cuda, cuda:N or mps
    precision: str = choice("fp32", "fp32", "bf16", "fp16")  # of weights and activations
    threads: int | None = number(None, low=1, high=1024)  # of PyTorch; null: its default
    batch_size: int = number(1, low=1, high=65_536)  # samples of a pass
    warmup: int = number(10, low=0, high=100_000)  # passes before the timed ones
    repeats: int = number(50, low=3, high=100_000)  # timed passes
    table: str | None = None  # measurements of fit and compare: a CSV file with a column per device
    column: str | None = None  # the device: its column of milliseconds
    train: int = number(200, low=20, high=100_000)  # networks that fit reads; the others test it
    model: str | None = None  # file of compare: a lookup table or a fitted model
    # Number of random networks that compare measures on this machine.
    networks: int = number(0, low=0, high=200)
    seed: int = number(0, low=0, high=2**31)  # of all random numbers
