"""Candidates of ``darts find``, and the configuration of their networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from random import Random

import torch
from torch import Tensor, nn

from darts.comparing.plan import QUIET, as_overrides
from darts.config import RetrainConfig, compose
from darts.data_modules import DataModule, make_data_module
from darts.finding.families import Family
from darts.judging.devices.cell_features import is_connected
from darts.judging.devices.memory import count_weights
from darts.judging.limits.costs import CostMeter
from darts.recipes.commands import merge_overrides, retrain_config
from darts.recipes.retrain import build_network
from darts.recipes.rules import DEFAULT, Setting, Values
from darts.searching.expected_cost import MEASURES
from darts.spaces import SPACES, AnyGenotype, Space
from darts.spaces.lookup import find_genotype
from darts.spaces.parameters import Parameters, Point
from darts.training.distributed import Ranks

# A placeholder: a configuration of a retraining can be composed only with a genotype.
ANY_GENOTYPE = "DARTS_V2"

# Origins of architectures.
BASELINE, FOUND = "baseline", "found"


@dataclass(frozen=True)
class Start:
    """The training with which a candidate begins; by default, none.

    Attributes:
        parent: Name of the candidate that was trained.
        stage: The first stage of the new candidate, see ``darts.finding.policy``.
        seconds: Seconds of the training.
        epochs: Its epochs.
        best: Whether it ends with its best epoch, after which more training did not help.
    """

    parent: str = ""
    stage: int = 0
    seconds: float = 0.0
    epochs: int = 0
    best: bool = False


@dataclass(frozen=True)
class Candidate:
    """An architecture, the family that sets its size, and the hyperparameters of its training.

    Attributes:
        name: Unique name, which is also that of its run directory.
        family: Name of the family.
        genotype: The architecture as text.
        origin: Where the architecture comes from: "baseline" or "found".
        setting: Hyperparameters that differ from the recipe.
        start: The training of another candidate that it continues, with another setting or with
            inherited weights.
        moves: The changes of the architecture since the baseline.
    """

    name: str
    family: str
    genotype: str
    origin: str
    setting: Setting = DEFAULT
    start: Start = Start()
    moves: tuple[str, ...] = ()

    def changes_setting_of(self, other: Candidate) -> bool:
        """Return whether it continues the training of another candidate with another setting."""
        return self.start.parent == other.name and self.moves == other.moves

    @cached_property
    def architecture(self) -> AnyGenotype:
        """The genotype that the text denotes."""
        return find_genotype(self.genotype)[1]

    @property
    def is_baseline(self) -> bool:
        return self.origin == BASELINE

    @property
    def key(self) -> tuple[str, str, str, int, bool]:
        """Equal keys mean that two candidates would train in the same way."""
        values = repr(sorted(self.setting.values.items()))
        return self.family, self.architecture.function, values, self.start.stage, self.start.best


@dataclass
class Networks:
    """The networks of one family on one data set.

    Attributes:
        family: The family.
        values: Settings of the retrainings from the recipe, by dotted key.
        user: Overrides of the user by key; they take precedence.
        seed: Seed of all runs.
        metric: Steering metric; None for the metric of the task.
        limits: Hard limits of the networks.
        baselines: Baselines within the limits, by name.
        measured: Costs of architectures, see ``costs``.
    """

    family: Family
    values: Values
    user: Mapping[str, str]
    seed: int
    metric: str | None
    limits: CostMeter = field(default_factory=CostMeter)
    baselines: Mapping[str, AnyGenotype] = field(default_factory=dict)
    measured: dict[tuple[AnyGenotype, str], dict[str, float]] = field(default_factory=dict)

    def overrides(
        self, genotype: AnyGenotype | str = ANY_GENOTYPE, values: Values | None = None
    ) -> tuple[str, ...]:
        """Return the overrides of a retraining.

        Overrides of the user take precedence over ``values``, for example of a setting.
        """
        keys = set(SPACES[self.family.space].__dataclass_fields__)
        accepted = {
            key: value
            for key, value in (self.values | self.family.values | (values or {})).items()
            if not key.startswith("space.") or key.removeprefix("space.") in keys
        }
        overrides = [
            *QUIET,
            "evaluate_test=false",
            f"seed={self.seed}",
            f"space={self.family.space}",
            *as_overrides(accepted),
            *self.user.values(),
            *([] if self.metric is None else [f"metric={self.metric}"]),
            f"genotype={genotype}",
        ]
        return tuple(merge_overrides(overrides))

    @cached_property
    def config(self) -> RetrainConfig:
        """The checked configuration of a retraining of some architecture of the family."""
        genotype = next(iter(self.family.genotypes().values()), None)
        if genotype is None:
            declared: RetrainConfig = compose("retrain", self.overrides())
            genotype = declared.space.random(torch.Generator().manual_seed(0))
        return retrain_config(self.overrides(genotype))

    @property
    def space(self) -> Space:
        """The space of the family."""
        return self.config.space

    @cached_property
    def data(self) -> DataModule:
        """The data module; within ``keep_data``, families share the loaded data set."""
        return make_data_module(self.config, Ranks(self.config.device))

    def fits(self, genotype: AnyGenotype) -> bool:
        """Return whether the network of an architecture is within all limits."""
        return self.excess(genotype) <= 1

    def excess(self, genotype: AnyGenotype) -> float:
        """Return the largest ratio of a cost to its limit; at most 1 if all limits hold."""
        return self.limits.excess(self.costs(genotype)) if self.limits.limits else 0.0

    def neighbors(self, genotype: AnyGenotype, random: Random) -> Iterator[AnyGenotype]:
        """Yield the architectures that differ in one parameter, in random order.

        There are none if the space does not contain the architecture.
        """
        try:
            point = self.space.encode(genotype)
        except ValueError:
            return
        changed = Parameters(self.space.parameters()).neighbors(point, random)
        yield from (varied for varied in map(self.architecture, changed) if varied is not None)

    def architecture(self, point: Point) -> AnyGenotype | None:
        """Return the architecture of a point, without operations that have no effect.

        Missing values, for example the operation of a new edge, are drawn. None if the space does
        not have the architecture, or if it has no path from its input to its output.
        """
        complete = Parameters(self.space.parameters()).complete(point, Random(0))
        try:
            genotype = self.space.decode(complete).simplified()
        except ValueError:  # a combination that the space does not have
            return None
        return genotype if is_connected(genotype) else None

    def costs(self, genotype: AnyGenotype) -> dict[str, float]:
        """Return ``parameters``, ``macs`` and all limited costs of an architecture's network.

        They are measured once per architecture.
        """
        key = (genotype, str(self.limits))
        if key not in self.measured:
            net, example = self.build(genotype)
            self.measured[key] = {
                "parameters": float(count_weights(net, statistics=False)),
                "macs": MEASURES["flops"](net, example) / 2,
                **self.limits(genotype, net, example),
            }
        return self.measured[key]

    def build(self, genotype: AnyGenotype) -> tuple[nn.Module, Tensor]:
        """Return the untrained network of an architecture for evaluation, and a batch of one."""
        example = self.data.example_input()
        with torch.random.fork_rng():
            net = build_network(genotype, self.config, self.data.network_sizes(self.space))
        return net.to(example.device).eval(), example
