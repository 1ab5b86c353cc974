"""The typed configuration of every command; the defaults are the published CIFAR-10 recipes.

References:
    DARTS, arXiv:1806.09055, appendix A.1 (search) and A.2 (evaluation).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from darts.bilevel import ArchGradient
from darts.methods.collapse import Doctor
from darts.methods.discretization import Discretization
from darts.methods.freezing import Freezing
from darts.methods.perturbation import Perturbation
from darts.methods.regularizer import Regularizer
from darts.methods.relaxation import Relaxation
from darts.methods.stages import Stage
from darts.methods.stopping import Stopping
from darts.registry import choice, number
from darts.spaces import Space
from darts.strategies import Strategy
from darts.strategies.judge import Evaluation
from darts.strategies.pruner import Pruning
from darts.tasks import Task


@dataclass
class DatasetConfig:
    """What to learn from."""

    name: str = MISSING
    root: str = "data"  # folder that holds or will hold the files
    subset: int | None = number(None, low=2)  # use so many training samples only, stratified


@dataclass
class ImagesConfig(DatasetConfig):
    """Images, and what may be done to them."""

    download: bool = True
    verify: bool = True  # false takes files with other checksums, with a warning
    size: int | None = number(None, low=8, high=4096)  # side of the images, resized if need be
    storage: str = choice("auto", "auto", "memory", "disk")
    crop: str = choice("pad", "pad", "resized", "none")
    padding: int = number(4, low=0, high=64)
    flip: bool = True


@dataclass
class TableConfig(DatasetConfig):
    """Rows of numbers; the root is a file, or a folder with train.csv."""

    label: str | None = None  # the column of classes; none: the last
    test_share: float = number(0.2, above=0, below=1)  # held out where there is no test.csv
    split_seed: int = number(0, low=0, high=2**62)  # of that split; the run's seed is not in it


@dataclass
class TextConfig(DatasetConfig):
    """Text as a stream of tokens, in three parts; the subset is of its first tokens."""

    level: str = choice("word", "word", "char")  # what a token is


@dataclass
class PublishedTextConfig(TextConfig):
    """A text that may be fetched."""

    download: bool = True
    verify: bool = True  # false takes files with other checksums, with a warning


@dataclass
class SentencesConfig(DatasetConfig):
    """Sentences, and which words of them are known."""

    least: int = number(2, low=1)  # occurrences in the training part that a word needs
    most: int = number(20000, low=1)  # words of a side
    longest: int = number(60, low=1, high=1000)  # words of a sentence that are read
    lower: bool = False  # whether capitals are read as small letters


@dataclass
class DocumentsConfig(SentencesConfig):
    """Tables of texts."""

    label: str = "label"  # the column of classes
    text: str = "text"  # and that of texts


@dataclass
class PairsConfig(SentencesConfig):
    """Two files a part, a sentence a line."""

    source: str = "src"  # ending of the files that are read, such as de
    target: str = "tgt"  # of those that are to be said
    joint: bool = False  # whether both sides have one vocabulary


@dataclass
class AudioConfig(DatasetConfig):
    """Recordings, the spectrograms made of them, and what may be done to these."""

    rate: int = number(16000, low=1000, high=1_000_000)  # samples a second; others are resampled
    mels: int = number(64, low=8, high=1024)  # bands of frequency, the height of an image
    window: float = number(25.0, above=0, high=10_000)  # milliseconds
    hop: float = number(10.0, above=0, high=10_000)  # milliseconds from one frame to the next
    seconds: float = number(1.0, above=0, high=3600)  # of a recording, padded or cropped if need be
    scale: str = choice("slaney", "slaney", "htk")  # what a mel is
    frequency_masks: int = number(2, low=0, high=100)
    frequency_width: int = number(8, low=0)  # bands of the widest mask
    time_masks: int = number(2, low=0, high=100)
    time_width: int = number(8, low=0)  # frames of the widest mask
    shift: int = number(4, low=0)  # frames, earlier or later


@dataclass
class SpokenDigitsConfig(AudioConfig):
    """The Free Spoken Digit Dataset."""

    held_out: list[str] = field(default_factory=list)  # speakers who are the test split instead


@dataclass
class AudioFolderConfig(AudioConfig):
    """WAV files in class folders."""

    test_share: float = number(0.2, above=0, below=1)  # held out where there is no test folder
    split_seed: int = number(0, low=0, high=2**62)  # of that split; the run's seed is not in it


@dataclass
class SyntheticConfig(ImagesConfig):
    """A made-up set for tests."""

    samples: int = number(256, low=4)
    classes: int = number(10, low=2)
    channels: int = number(3, low=1)


@dataclass
class WeightOptimizerConfig:
    """SGD or Adam with a cosine schedule."""

    kind: str = choice("sgd", "sgd", "adam")  # adam: with decoupled weight decay
    lr: float = number(0.025, above=0)
    lr_min: float = number(0.001, low=0)
    momentum: float = number(0.9, low=0, below=1)  # of Adam: the decay of the first moment
    weight_decay: float = number(3e-4, low=0)
    clip: float = number(5.0, low=0)  # largest norm of the gradient; 0: no clipping


@dataclass
class ArchOptimizerConfig:
    """Adam for the alphas."""

    lr: float = number(3e-4, above=0)
    betas: list[float] = number([0.5, 0.999], low=0, below=1)
    warmup: float = number(0.0, low=0, below=1)  # share of a stage's epochs before alphas move
    weight_decay: float = number(1e-3, low=0)


@dataclass
class LoaderConfig:
    """Batches, and the processes that read images from disk."""

    batch_size: int = number(64, low=2)  # one sample has no batch statistics
    eval_batch_size: int = number(256, low=1)
    workers: int = number(4, low=0, high=256)


@dataclass
class EnergyConfig:
    """What energy is estimated by where no meter can be read, and what it causes."""

    watts_per_core: float = number(10.0, above=0)  # of a busy processor core
    gpu_watts: float = number(250.0, above=0)  # of a GPU in use
    gco2_per_kwh: float = number(480.0, low=0)  # grams of CO2-equivalent; the world's mean of 2023


@dataclass
class TrackingConfig:
    """What is told while it runs."""

    tensorboard: bool = True
    pictures: bool = True  # in the run directory and TensorBoard
    figures_every: int = number(1, low=0)  # epochs between pictures in TensorBoard; 0: at the end
    energy: EnergyConfig = field(default_factory=EnergyConfig)


@dataclass
class PenaltyConfig:
    """Targets for what the architecture costs at the size of the search's networks, an image."""

    flops: float | None = number(None, above=0)  # two for each multiply-accumulate
    parameters: float | None = number(None, above=0)
    latency: float | None = number(None, above=0)  # seconds of single operations, added up
    weight: float = number(1.0, low=0)  # of each cost's share above its target


@dataclass
class BenchmarkConfig:
    """Where the truth about architectures is known."""

    table: str | None = None  # file of accuracies for all architectures of space=nas201
    dataset: str = "cifar10"
    epochs: int = number(200, low=1)  # of the training that the table tells of


@dataclass
class RunBudgetConfig:
    """What a plan is held against."""

    hours: float | None = number(None, above=0)
    memory_mb: float | None = number(None, above=0)  # of the process on a CPU, else of the device


@dataclass
class RunConfig:
    """What search and retrain share."""

    name: str = "run"
    task: Task = MISSING
    metric: str = "accuracy"  # steers choices; measured on validation data
    dataset: DatasetConfig = MISSING
    space: Space = MISSING
    optimizer: WeightOptimizerConfig = field(default_factory=WeightOptimizerConfig)
    loader: LoaderConfig = field(default_factory=LoaderConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    seed: int = number(0, low=0, high=2**62)
    device: str = "auto"
    precision: str = choice("fp32", "fp32", "bf16", "fp16")
    save_minutes: float = number(10.0, low=0)  # between checkpoints within an epoch; 0: each step
    resume: str | None = None
    dry_run: bool = False  # plan: tell what the run will cost, and do no more
    budget: RunBudgetConfig = field(default_factory=RunBudgetConfig)  # of the plan


@dataclass
class SearchConfig(RunConfig):
    """``python -m darts.search``"""

    epochs: int = number(50, low=1)
    split: float = number(0.5, above=0, below=1)  # share of the training images for the weights
    memory: str = choice("full", "full", "checkpoint")  # checkpoint: cells are computed twice
    compile: bool = False  # run the convolutions with their norms through torch.compile
    method: str = MISSING  # named by conf/method/*.yaml, which chooses the parts below
    arch_optimizer: ArchOptimizerConfig = field(default_factory=ArchOptimizerConfig)
    relaxation: Relaxation = MISSING
    bilevel: ArchGradient = MISSING
    perturbation: Perturbation = MISSING
    regularizer: Regularizer = MISSING
    stopping: Stopping = MISSING
    freezing: Freezing = MISSING
    discretize: Discretization = MISSING
    stages: list[Stage] = field(default_factory=list)  # none: one stage as long as the search
    penalty: PenaltyConfig = field(default_factory=PenaltyConfig)
    doctor: Doctor = field(default_factory=Doctor)  # whether the search is collapsing
    benchmark: BenchmarkConfig = field(default_factory=BenchmarkConfig)


@dataclass
class RetrainConfig(RunConfig):
    """``python -m darts.retrain``"""

    genotype: str = MISSING  # a name, a JSON file, a run directory, or Genotype(...) text
    epochs: int = number(600, low=1)
    validation: float = number(0.1, low=0, below=1)  # share of the training images held out
    choose: str = choice("best", "best", "last")  # which epoch's weights: by validation, or last
    test: bool = True  # score the chosen weights on the test split, once, at the end
    auxiliary: float = number(0.4, low=0)  # weight of the auxiliary head's loss; 0: no head
    drop_path: float = number(0.2, low=0, below=1)  # reached linearly over the epochs
    cutout: int = number(16, low=0)  # side of the erased square in pixels; 0: none
    label_smoothing: float = number(0.0, low=0, below=1)
    averaging: float = number(0.0, low=0, below=1)  # decay of averaged weights; 0: none
    average_after: int = number(0, low=0)  # epochs without a better score before a mean; 0: none


@dataclass
class BudgetConfig:
    """When a study ends."""

    trials: int | None = number(30, low=1)
    hours: float | None = number(None, above=0)  # of all sessions; a trial that runs is let end


@dataclass
class AccountConfig:
    """What is found out beside the best point."""

    surrogate: str = choice("forest", "forest", "gp", "none")  # model of the score
    corners: int = number(0, low=0, high=100)  # seeds for {default, best} architecture x the rest
    final: bool = True  # train the best once more at the end, and score it on the test split


@dataclass
class TuneConfig:
    """``python -m darts.tune``"""

    name: str = "tune"
    target: str = choice("retrain", "retrain", "search")  # the command that a trial runs
    base: list[str] = field(default_factory=list)  # its overrides, by the experiment
    overrides: list[str] = field(default_factory=list)  # and by the command line
    parameters: dict[str, Any] = field(default_factory=dict)  # what to vary
    metric: str = "accuracy"  # on validation data
    costs: list[str] = field(default_factory=list)  # to lower beside it
    limits: dict[str, float] = field(default_factory=dict)  # costs that must not be exceeded
    strategy: Strategy = MISSING
    pruning: Pruning = MISSING
    evaluation: Evaluation = MISSING
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    account: AccountConfig = field(default_factory=AccountConfig)
    benchmark: BenchmarkConfig = field(default_factory=BenchmarkConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    storage: str | None = None  # address of a database; a file in the run's directory by default
    heartbeat: int = number(20, low=1, high=3600)  # seconds between a worker's signs of life
    retries: int = number(1, low=0, high=100)  # of a trial whose worker was killed
    workers: int = number(1, low=0, high=1024)  # processes here; 0: in the command's own
    seed: int = number(0, low=0, high=2**31)
    resume: str | None = None


@dataclass
class CompareConfig:
    """``python -m darts.compare``"""

    name: str = "compare"
    judged: str = "darts_v1"  # of conf/method; on the command line method=, here a group's name
    baselines: list[str] = field(default_factory=lambda: ["random", "random_sharing"])
    searches: int = number(7, low=1, high=1000)  # of each, with seeds seed, seed + 1, ...
    retrainings: int = number(2, low=1, high=100)  # of what each search found
    metric: str = "accuracy"  # by validation for choices, on the test split for the comparison
    base: list[str] = field(default_factory=list)  # overrides of all runs, by the experiment
    overrides: list[str] = field(default_factory=list)  # and by the command line
    search: dict[str, Any] = field(default_factory=dict)  # keys of the searches alone
    retrain: dict[str, Any] = field(default_factory=dict)  # of the retrainings alone
    settings: dict[str, Any] = field(default_factory=dict)  # of the searches of one name
    draws: int = number(10_000, low=1000, high=10_000_000)  # resamples of the bootstrap
    workers: int = number(1, low=1, high=1024)  # runs at the same time
    seed: int = number(0, low=0, high=2**31)
    resume: str | None = None


@dataclass
class EvaluateConfig:
    """``python -m darts.evaluate``"""

    name: str = "evaluate"
    checkpoint: str = MISSING  # a checkpoint file or the directory of a retrain run
    part: str = choice("test", "test", "valid")
    importance: bool = False  # what validation data lose without each edge of the network
    root: str | None = None  # where the data set is now, if not where it was for training
    device: str = "auto"
    precision: str = choice("fp32", "fp32", "bf16", "fp16")
    batch_size: int | None = number(None, low=1)  # none: as in training
    workers: int = number(4, low=0, high=256)


@dataclass
class ExportConfig:
    """``python -m darts.export``"""

    name: str = "export"
    checkpoint: str = MISSING  # a checkpoint file or the directory of a retrain run
    format: str = choice("onnx", "onnx", "torch_export")
    tolerance: float = number(1e-4, above=0)  # largest difference of any output, or share of it


@dataclass
class GenotypesConfig:
    """``python -m darts.genotypes``"""

    draw: str | None = None  # genotype to draw
    validate: str | None = None  # genotype to check and describe
    compare: list[str] | None = None  # two genotypes
    out: str | None = None  # picture to write: .svg, .png or .pdf


@dataclass
class ReportConfig:
    """``python -m darts.report RUN [RUN ...]``"""

    runs: list[str] = field(default_factory=list)  # run directories
    out: str | None = None  # page to write; report.html in the first of them by default
