"""What ``darts judge`` scores: architectures, their true scores, and how to build networks."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from darts.config import ConfigError, JudgeConfig, RetrainConfig, compose, one_of
from darts.hpo.architecture_list import Architecture, random_architectures, read_architectures
from darts.hpo.config_checks import check_judge_settings
from darts.hpo.study import trial_overrides
from darts.judging.benchmark import Benchmark
from darts.judging.predictor import MIN_POINTS
from darts.judging.rankings import Values
from darts.judging.training_free import SCORES
from darts.recipes.commands import retrain_config
from darts.spaces import AnyGenotype, Space
from darts.strategies.judges import TrainingFreeJudge
from darts.tasks.metrics import Metric

# Smallest number of architectures whose truth calibrates scores.
MIN_CALIBRATION = 3

# A placeholder: a configuration of a retraining can be composed only with a genotype.
_ANY_GENOTYPE = "genotype=DARTS_V2"


@dataclass(frozen=True)
class JudgePlan:
    """The architectures to score, and the configuration of their networks.

    Attributes:
        overrides: Overrides of a retraining of any of the architectures, without its genotype.
        architectures: The architectures, all different, with their truth if it is known.
        calibrating: Architectures whose truth calibrates the judge, ``(n,)`` bool. Without a known
            truth, a short run takes its place.
    """

    overrides: tuple[str, ...]
    architectures: tuple[Architecture, ...]
    space: Space
    calibrating: NDArray[np.bool_]
    metric: Metric

    @property
    def genotypes(self) -> list[str]:
        """The genotypes as text."""
        return [str(architecture.genotype) for architecture in self.architectures]

    def truth(self) -> Values | None:
        """Return the true scores ``(n,)``, or None if they are unknown."""
        truths = [a.truth for a in self.architectures if a.truth is not None]
        return np.array(truths) if len(truths) == len(self.architectures) else None

    def digest(self) -> str:
        """Return a hash of the architectures, their truth and the choice for the calibration."""
        rows = [(str(a.genotype), a.truth) for a in self.architectures]
        text = json.dumps([rows, self.calibrating.tolist()])
        return hashlib.sha256(text.encode()).hexdigest()

    @classmethod
    def make(cls, config: JudgeConfig) -> JudgePlan:
        """Read or draw the architectures."""
        overrides = network_overrides(config)
        networks = check_networks(config, overrides)
        space = networks.space
        benchmark = Benchmark.from_config(config.benchmark, space)
        if config.genotypes is not None:
            listed = read_architectures(config.genotypes, truth=config.truth, space=space.name)
            unique = listed[: config.architectures]
        else:
            drawn = random_architectures(space, config.architectures, config.seed)
            unique = [Architecture(genotype) for genotype in drawn]
        if benchmark is not None and config.truth is None:
            scores = [benchmark.scores(a.genotype)["true_accuracy"] for a in unique]
            unique = [Architecture(a.genotype, s) for a, s in zip(unique, scores, strict=True)]
        if config.calibration > len(unique) - 2:
            raise ConfigError(
                f"calibration={config.calibration} leaves fewer than 2 of {len(unique)} "
                "architectures to judge; lower it"
            )
        if 0 < config.calibration < MIN_CALIBRATION:
            raise ConfigError(
                f"calibration={config.calibration}: must be 0 or at least {MIN_CALIBRATION}"
            )
        unknown = any(a.truth is None for a in unique)
        if networks.validation == 0 and (config.judge.trains or (config.calibration and unknown)):
            raise ConfigError("validation=0 leaves no data to score networks; set validation=0.1")
        if isinstance(config.judge, TrainingFreeJudge) and config.judge.combination == "predictor":
            for architecture in unique:
                space.encode(architecture.genotype)  # raises for sizes that the space lacks
        draw = np.random.default_rng(config.seed).permutation(len(unique))
        calibrating = np.isin(np.arange(len(unique)), draw[: config.calibration])
        metric = networks.task.metrics[networks.metric]
        return cls(tuple(overrides), tuple(unique), space, calibrating, metric)


def network_overrides(config: JudgeConfig) -> list[str]:
    """Return the overrides of all networks.

    ``base`` applies only if neither a data set nor an experiment is chosen.
    """
    chooses_data = any(item.startswith(("dataset=", "experiment")) for item in config.overrides)
    base = [] if chooses_data else config.base
    required = [] if config.metric is None else [f"metric={config.metric}"]
    return trial_overrides("retrain", config.seed, [*base, *config.overrides], required)


def check_networks(config: JudgeConfig, overrides: list[str]) -> RetrainConfig:
    """Check the settings that do not depend on files; return the configuration of a random network.

    ``overrides`` are the result of ``network_overrides``.
    """
    named = [item for item in overrides if item.startswith("genotype=")]
    if named:
        raise ConfigError(
            f"{named[0]}: darts judge scores several architectures; set genotypes=FILE"
        )
    declared: RetrainConfig = compose("retrain", [*overrides, _ANY_GENOTYPE])
    example: AnyGenotype = declared.space.random(torch.Generator().manual_seed(0))
    networks, judge = retrain_config([*overrides, f"genotype={example}"]), config.judge
    if isinstance(judge, TrainingFreeJudge):
        if not judge.scores:
            raise ConfigError(f"judge.scores=[]: name some of {', '.join(SCORES)}")
        for name in judge.scores:
            one_of("judge.scores", name, SCORES)
        if judge.combination == "predictor" and config.calibration < MIN_POINTS:
            raise ConfigError(
                f"calibration={config.calibration}: a predictor needs at least {MIN_POINTS}"
            )
    elif config.calibration:
        raise ConfigError(
            f"calibration={config.calibration} weighs several scores, and judge={judge.name} "
            "has only one"
        )
    check_judge_settings(judge, config.benchmark, networks.metric)
    if config.truth is not None and config.genotypes is None:
        raise ConfigError(f"truth={config.truth} names a column of a file; set genotypes=FILE")
    if config.truth is not None and config.benchmark.table is not None and judge.name != "table":
        raise ConfigError(f"truth={config.truth} and benchmark.table are mutually exclusive")
    return networks
