"""Options that several commands share: optimizers, loaders, tracking, targets and budgets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from darts.config.fields import ConfigError
from darts.registry import choice, number
from darts.spaces.supernet import INITIAL_DEVIATION


@dataclass
class WeightOptimizerConfig:
    """SGD or Adam, and the schedule of the learning rate."""

    algorithm: str = choice("sgd", "sgd", "adam")  # adam: with decoupled weight decay
    lr: float = number(0.025, above=0)  # learning rate of the weights
    lr_min: float = number(0.001, low=0)  # smallest rate of the schedule
    schedule: str = choice("cosine", "cosine", "linear", "exponential", "stable")
    decay: float = number(0.97, above=0, high=1)  # exponential: factor of each epoch
    warmup_epochs: int = number(0, low=0)  # first epochs, in which the rate rises to lr
    # stable: after n steps of epochs in which the network does not memorize its training samples,
    # the rate is lr / sqrt(1 + n / timescale). null: constant.
    timescale: int | None = number(None, low=1)
    # stable: share of the run at its end in which the rate falls to 0.
    cooldown: float = number(0.0, low=0, high=1)
    momentum: float = number(0.9, low=0, below=1)  # for Adam: decay of the first moment
    nesterov: bool = False  # for SGD: Nesterov momentum
    weight_decay: float = number(3e-4, low=0)  # of the weights
    clip: float = number(5.0, low=0)  # largest norm of the gradient; 0: no clipping
    # Factor of the rate from each eighth of the parameters, in the order of the network, to the
    # eighth before it; 1: all have the same rate.
    layer_decay: float = number(1.0, above=0, high=1)


@dataclass
class ArchOptimizerConfig:
    """Adam for the alphas."""

    lr: float = number(3e-4, above=0)  # learning rate of the alphas
    betas: list[float] = number([0.5, 0.999], low=0, below=1)
    warmup: float = number(0.0, low=0, below=1)  # share of a stage's epochs with frozen alphas
    weight_decay: float = number(1e-3, low=0)
    clip: float = number(0.0, low=0)  # largest norm of the gradient; 0: no clipping
    # Standard deviation of the initial alphas, which are normally distributed.
    initial_deviation: float = number(INITIAL_DEVIATION, low=0)
    # Maximum number of raises of lr, each by the factor 3, while no edge prefers an operation.
    raises: int = number(3, low=0, high=10)


@dataclass
class LoaderConfig:
    """Batch sizes, and the processes that read images from disk."""

    batch_size: int = number(64, low=2)  # samples per step; batch normalization needs two
    eval_batch_size: int = number(256, low=1)
    workers: int = number(4, low=0, high=256)


@dataclass
class EnergyConfig:
    """Power estimates if no meter can be read, and the emissions of a kilowatt-hour."""

    watts_per_core: float = number(10.0, above=0)  # of a busy processor core
    gpu_watts: float | None = number(None, above=0)  # of a GPU in use; null: its rated power
    gco2_per_kwh: float = number(480.0, low=0)  # gCO2e; the world average of 2023


@dataclass
class TrackingConfig:
    """TensorBoard events, figures and energy of a run."""

    tensorboard: bool = True
    trackers: list[str] = field(default_factory=list)  # besides TensorBoard: wandb
    figures: bool = True  # write figures to the run directory and to TensorBoard
    figures_every: int = number(1, low=0)  # epochs between figures in TensorBoard; 0: at the end
    edge_curves: bool = False  # TensorBoard curves of each edge and candidate, often hundreds
    energy: EnergyConfig = field(default_factory=EnergyConfig)


@dataclass
class PenaltyConfig:
    """Targets for the expected cost per sample of networks with the size settings of the search."""

    # Target of the floating-point operations, two per multiply-accumulate.
    flops: float | None = number(None, above=0)
    parameters: float | None = number(None, above=0)
    latency: float | None = number(None, above=0)  # seconds, summed over operations
    # Latency model that predicts the latency, see limit.device; null: operations are measured here.
    device: str | None = None
    weight: float = number(1.0, low=0)  # factor of each cost's relative excess over its target


@dataclass
class BenchmarkConfig:
    """A benchmark table, and the column with the accuracies to use."""

    table: str | None = None  # file with the accuracy of every architecture of the space
    dataset: str = "cifar10"  # data set of that column
    # Epochs of the runs behind that column; null: 200 for NAS-Bench-201, 50 for NAS-Bench-Macro.
    epochs: int | None = number(None, low=1)


@dataclass
class TuneBudgetConfig:
    """Limits after which a tuning run starts no more trials."""

    trials: int | None = number(30, low=1)  # number of trials
    hours: float | None = number(None, above=0)  # time over all resumes; running trials finish


@dataclass
class AnalysisConfig:
    """Computations of ``darts tune`` after the last trial."""

    retrain_best: bool = True  # train the best point once more and score it on the test split


@dataclass
class FindBudgetConfig:
    """Wall-clock time of a run of ``darts find``, summed over all resumes; default: 10 minutes."""

    default_minutes: ClassVar[float] = 10.0
    hours: float | None = number(None, above=0)  # time of the whole run
    minutes: float | None = number(None, above=0)  # time of the whole run, instead of hours

    @property
    def seconds(self) -> float:
        """The time in seconds."""
        if self.hours is not None and self.minutes is not None:
            raise ConfigError(
                f"budget.hours={self.hours:g} and budget.minutes={self.minutes:g} are mutually "
                "exclusive; use one of them, and null for the other"
            )
        if self.hours is not None:
            return 3600 * self.hours
        return 60 * (self.default_minutes if self.minutes is None else self.minutes)


@dataclass
class PretrainedConfig:
    """Trained weights with which some networks of ``darts find`` begin."""

    # none; auto: those that are on this machine; NETWORK, NETWORK.ENTRY, FILE or NETWORK:FILE, see
    # docs/find.md.
    weights: str = "none"


@dataclass
class LimitConfig:
    """Hard upper limits of a network, for one sample."""

    # Limits that are known before training.
    network: ClassVar[tuple[str, ...]] = ("macs", "parameters", "latency_ms", "flash_kb")

    macs: float | None = number(None, above=0)  # largest number of multiply-accumulate operations
    parameters: float | None = number(None, above=0)  # largest number of weights
    latency_ms: float | None = number(None, above=0)  # milliseconds on limit.device
    # Latency model: a file of darts device, or NAME for devices/NAME.json or devices/NAME.csv. A
    # search needs one; elsewhere, null measures on this machine.
    device: str | None = None
    flash_kb: float | None = number(None, above=0)  # 1,024 bytes of weights and statistics of norms
    bits: int = 32  # of each number in flash_kb: 8, 16 or 32

    def values(self) -> dict[str, float]:
        """Return the limits of the network that are set, by name."""
        return {n: value for n in self.network if (value := getattr(self, n)) is not None}


@dataclass
class TrialLimitConfig(LimitConfig):
    """Hard upper limits of the trials of a study."""

    # Known after training: such a trial ranks behind all within the limits.
    seconds: float | None = number(None, above=0)
    joules: float | None = number(None, above=0)
    gco2e: float | None = number(None, above=0)

    def measured(self) -> dict[str, float]:
        """Return the limits that only training can measure and that are set, by name."""
        names = ("seconds", "joules", "gco2e")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


@dataclass
class SearchLimitConfig(LimitConfig):
    """Hard upper limits of the network that a search returns."""

    # Sizes of the networks if they differ from the sizes of the supernet, for example
    # limit.sizes.channels=36 limit.sizes.cells=20.
    sizes: dict[str, int] = field(default_factory=dict)


@dataclass
class FrontConfig:
    """Genotypes for several budgets of one cost, all from one search."""

    # The cost for one sample that the budgets bound; none: the search returns one genotype.
    cost: str = choice("none", "none", "macs", "parameters", "latency_ms")
    device: str | None = None  # latency model that predicts latency_ms, see limit.device
    points: int = number(8, low=2, high=100)  # budgets, evenly spaced from least to most
    # Range of the budgets, in the unit of the cost; null: the range of 500 random genotypes.
    least: float | None = number(None, above=0)
    most: float | None = number(None, above=0)
    # Budgets with alphas of their own; the alphas of budgets between them are interpolated.
    anchors: int = number(5, low=2, high=20)
    weight: float = number(1.0, above=0)  # factor of the relative difference of cost and budget

    @property
    def enabled(self) -> bool:
        """Whether the search looks for a front."""
        return self.cost != "none"


@dataclass
class FindPlanConfig:
    """Decisions of ``darts find``; null: made from the data, measured speed and the budget."""

    # What the slices of candidates have in common. epochs: the run can be repeated bit for bit.
    equal: str = choice("time", "time", "epochs")
    slice_epochs: int = number(2, low=1, high=100_000)  # equal=epochs: epochs of the first slice
    # Rounds before the winner trains alone; null: as long as time allows, or one for equal=epochs.
    rounds: int | None = number(None, low=1, high=10_000)
    epochs: int | None = number(None, low=1, high=100_000)  # equal=epochs: of the winner
    newcomers: int | None = number(None, low=0, high=1000)  # candidates per round; null: 4
    settings: bool = True  # also compare hyperparameters
    architectures: bool = True  # also compare architectures other than the baselines
    # Runs of each candidate, each with another part of the samples held out; null: as many as hold
    # out 200 samples together.
    folds: int | None = number(None, low=1, high=20)
    refit: bool = True  # the final run also trains on the validation samples
