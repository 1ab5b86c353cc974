"""Candidates of ``darts.find``, and the configuration of their trainings."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import cast

import torch

from darts.comparing.plan import as_overrides
from darts.config import RetrainConfig, compose
from darts.data_modules import DataModule, load_options, make_data_module
from darts.finding.families import Family
from darts.judging.devices.memory import count_weights
from darts.judging.limits import CostMeter
from darts.recipes.commands import merge_overrides, trial_config
from darts.recipes.retrain import build_network
from darts.recipes.rules import DEFAULT, Setting, Values
from darts.searching.expected_cost import MEASURES
from darts.spaces import SPACES, AnyGenotype, Space
from darts.spaces.lookup import find_genotype
from darts.training.distributed import Ranks

# A placeholder: a configuration of a retraining can be composed only with a genotype.
ANY_GENOTYPE = "genotype=DARTS_V2"

QUIET = ("tracking.tensorboard=false", "tracking.figures=false", "evaluate_test=false")


@dataclass(frozen=True)
class Candidate:
    """An architecture, the family that sets its size, and the hyperparameters of its trainings.

    Attributes:
        name: Unique name, which is part of the names of its run directories.
        family: Name of the family.
        genotype: The architecture as text.
        origin: "baseline", "evolution", or the method of the search that found it.
        setting: Hyperparameters of its trainings.
    """

    name: str
    family: str
    genotype: str
    origin: str
    setting: Setting = DEFAULT

    @property
    def is_baseline(self) -> bool:
        return self.origin == "baseline"

    @property
    def function(self) -> str:
        """Equal texts mean that the networks compute the same functions."""
        return function_of(self.genotype)


@dataclass
class Networks:
    """The configuration of the networks of one family, on one data set.

    Attributes:
        family: The family.
        values: Settings of the trainings from the recipe, by dotted key.
        user: Overrides of the user; they take precedence.
        seed: Seed of all trainings.
        metric: Steering metric; None for that of the task.
        limits: Hard limits of the networks.
        loaded: Data that was loaded so far, by its configuration; families share it.
    """

    family: Family
    values: Values
    user: tuple[str, ...]
    seed: int
    metric: str | None
    limits: CostMeter = field(default_factory=CostMeter)
    loaded: dict[str, DataModule] = field(default_factory=dict)
    _costs: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)

    def overrides(
        self,
        genotype: str,
        *,
        setting: Setting = DEFAULT,
        epochs: int | None = None,
        fold: int | None = None,
    ) -> tuple[str, ...]:
        """Return the overrides of a retraining; ``fold`` is its ``validation_fold``.

        Overrides of the user take precedence over ``setting``. ``rules.settings`` therefore returns
        no setting that changes a key of the user.
        """
        accepted = {
            key: value
            for key, value in (self.values | setting.values).items()
            if not key.startswith("space.") or key.removeprefix("space.") in self._space_keys
        }
        chosen = [] if epochs is None else [f"epochs={epochs}"]
        if fold is not None:
            chosen.append(f"validation_fold={fold}")
        if self.metric is not None:
            chosen.append(f"metric={self.metric}")
        overrides = [
            *QUIET,
            f"seed={self.seed}",
            f"space={self.family.space}",
            *as_overrides(self.family.sizes),
            *as_overrides(accepted),
            *self.user,
            *chosen,
            f"genotype={genotype}",
        ]
        return tuple(merge_overrides(overrides))

    @property
    def user_keys(self) -> set[str]:
        """The keys that the user has set."""
        return {item.partition("=")[0].lstrip("+") for item in self.user}

    @cached_property
    def _space_keys(self) -> set[str]:
        return set(SPACES[self.family.space].__dataclass_fields__)

    @cached_property
    def config(self) -> RetrainConfig:
        """The configuration of a retraining of the family's first baseline.

        If the family has no baseline, it is that of a random architecture.

        Raises:
            ConfigError: If the user's overrides do not fit together.
        """
        genotype = next(iter(self.family.baselines.values()), None)
        if genotype is None:
            overrides = [*self.overrides(""), ANY_GENOTYPE]
            declared = cast("RetrainConfig", compose("retrain", merge_overrides(overrides)))
            genotype = str(declared.space.random(torch.Generator().manual_seed(0)))
        return self.configured(genotype)

    def configured(self, genotype: str, setting: Setting = DEFAULT) -> RetrainConfig:
        """Return the checked configuration of a retraining."""
        overrides = self.overrides(genotype, setting=setting)
        return cast("RetrainConfig", trial_config("retrain", overrides))

    @property
    def space(self) -> Space:
        """The space of the family."""
        return self.config.space

    @property
    def data(self) -> DataModule:
        """The data module; families that read the same data share the loaded data set."""
        config = self.config
        key = f"{config.dataset} {config.task} {config.loader} {config.validation}"
        if key not in self.loaded:
            options = load_options(config)
            sources = (m.source for m in self.loaded.values() if load_options(m.config) == options)
            ranks = Ranks(config.device)
            self.loaded[key] = make_data_module(config, ranks, next(sources, None))
        return self.loaded[key]

    def fits(self, genotype: AnyGenotype | str) -> bool:
        """Return whether the network of an architecture is within all limits."""
        return self.excess(genotype) <= 1

    def excess(self, genotype: AnyGenotype | str) -> float:
        """Return the largest ratio of a cost to its limit; at most 1 if all limits hold."""
        return self.limits.excess(self.costs(genotype)) if self.limits.limits else 0.0

    def can_vary(self, genotype: str) -> bool:
        """Return whether the space contains an architecture; only then can it propose neighbors."""
        try:
            self.space.encode(find_genotype(genotype)[1])
        except ValueError:
            return False
        return True

    def costs(self, genotype: AnyGenotype | str) -> dict[str, float]:
        """Return ``parameters``, ``macs`` and all limited costs of an architecture's network.

        They are measured once per architecture.
        """
        text = str(genotype)
        key = (text, str(self.limits))
        if key not in self._costs:
            config, data = self.config, self.data
            example = data.example_input()
            _, parsed = find_genotype(text)
            with torch.random.fork_rng():
                net = build_network(parsed, config, data.network_sizes(config.space))
            net.to(example.device).eval()
            self._costs[key] = {
                "parameters": float(count_weights(net, statistics=False)),
                "macs": MEASURES["flops"](net, example) / 2,
                **self.limits(parsed, net, example),
            }
        return self._costs[key]


def function_of(text: str) -> str:
    """Return the function that an architecture computes; see ``AnyGenotype.function``."""
    return find_genotype(text)[1].function


def canonical(reference: str) -> str:
    """Return the text of the genotype that a reference denotes, equal for equal genotypes."""
    return str(find_genotype(reference)[1])
