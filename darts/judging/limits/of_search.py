"""The limits of a search, from its configuration and its data."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import torch

from darts.config import ConfigError, SearchConfig, SearchLimitConfig
from darts.data_modules import DataModule, make_data_module
from darts.data_modules.compatibility import data_kind
from darts.judging.devices.pieces import candidates_of
from darts.judging.limits.costs import CostMeter, find_model, require_sizes, require_space
from darts.judging.limits.decisions import GenotypeDecisions, expected_cost
from darts.judging.limits.genotype_limits import Cost, GenotypeLimits
from darts.searching.expected_cost import ExpectedCost
from darts.spaces import AnyGenotype, SearchContext, Space
from darts.training.distributed import Ranks

# Random genotypes to draw until one is within the limits.
DRAWS = 10_000


def check_limits(config: SearchConfig) -> None:
    """Raise ConfigError if limits do not fit the other settings; no data is read."""
    if config.penalty.device is not None:
        if config.penalty.latency is None:
            raise ConfigError(
                f"penalty.device={config.penalty.device}: has no effect unless penalty.latency is "
                "set"
            )
        model = find_model(config.penalty.device, "penalty.device")
        require_space("penalty.device", model, config.space)
    meter = CostMeter.from_config(config.limit)
    if not meter.limits:
        if config.limit.sizes and not config.front.enabled:
            raise ConfigError(f"limit.sizes={config.limit.sizes}: no limit uses it; leave it out")
        return
    check_bounds(str(meter), config, "limit.device", meter)


def check_bounds(key: str, config: SearchConfig, device_key: str, meter: CostMeter) -> None:
    """Raise ConfigError if a search cannot keep the limits of a meter, which ``key`` sets."""
    discretize, rule = config.discretize, config.discretize.edge_rule
    if not discretize.supports_limits:
        raise ConfigError(
            f"{key}: discretize={discretize.name} cannot keep limits; choose discretize=argmax"
        )
    if rule != "two":
        raise ConfigError(
            f"{key}: discretize.edges={rule} cannot keep limits; set discretize.edges=two"
        )
    if data_kind(config) == "pairs":
        raise ConfigError(
            f"{key}: the costs of networks for sentence pairs are not known to a search"
        )
    if "latency_ms" in meter.limits and meter.model is None:
        raise ConfigError(
            f"{key}: a search needs a latency model; set {device_key}=FILE, which darts device "
            "writes"
        )
    if meter.model is not None:
        require_space(device_key, meter.model, config.space)
    sized_space(config.space, config.limit)  # raises if limit.sizes do not fit


def sized_space(space: Space, limit: SearchLimitConfig) -> Space:
    """Return the space of the networks that the limits refer to."""
    for name in limit.sizes:
        if name not in space.size_keys:
            known = ", ".join(space.size_keys) or "none"
            raise ConfigError(
                f"limit.sizes={limit.sizes}: space={space.name} has no size {name}; choose from "
                f"{known}"
            )
    try:
        sizes: dict[str, Any] = dict(limit.sizes)  # Any, as the fields of spaces differ
        return dataclasses.replace(space, **sizes)
    except ValueError as error:
        raise ConfigError(f"limit.sizes={limit.sizes}: {error}") from None


def search_limits(config: SearchConfig, context: SearchContext, data: DataModule) -> GenotypeLimits:
    """Return the limits of a search, which has at least one."""
    limits, costs = search_costs(config, context, data)
    return GenotypeLimits(GenotypeDecisions.of(context), costs, limits, context.uniform())


def search_costs(
    config: SearchConfig, context: SearchContext, data: DataModule
) -> tuple[dict[str, float], dict[str, Cost]]:
    """Return the limits of a search, and the functions that compute their costs, by name."""
    meter = CostMeter.from_config(config.limit)
    if not meter.limits:
        return {}, {}
    return dict(meter.limits), genotype_costs(meter, "limit.device", config, context, data)


def genotype_costs(
    meter: CostMeter,
    device_key: str,
    config: SearchConfig,
    context: SearchContext,
    data: DataModule,
) -> dict[str, Cost]:
    """Return the functions that compute the costs of a meter for a genotype of a search."""
    space = sized_space(config.space, config.limit)
    require_sizes(device_key, meter.model, space, data.sample_shape)
    classes, shape = len(data.target_names), tuple(data.sample_shape)
    sizes = data.network_sizes(space)
    if config.limit.sizes and candidates_of(space, **sizes) != context.candidates:
        raise ConfigError(
            f"limit.sizes={config.limit.sizes}: networks of these sizes have other candidates than "
            "the supernet; leave out the size that sets their number"
        )
    costs: dict[str, Cost] = {}
    for name, measure in meter.measures().items():
        expected = ExpectedCost.measured(
            space, context.candidates, classes=classes, sample_shape=shape, measure=measure
        )
        costs[name] = expected.of_genotype
    if meter.model is not None:
        costs["latency_ms"] = meter.model.predict
    return costs


def predicted_costs(
    config: SearchConfig, context: SearchContext, data: DataModule
) -> dict[str, ExpectedCost]:
    """Return the expected latency by the latency model of ``penalty.device``, in seconds.

    The result is empty without a model.
    """
    if config.penalty.device is None:
        return {}
    model = find_model(config.penalty.device, "penalty.device")
    require_sizes("penalty.device", model, config.space, data.sample_shape)
    return {"latency": expected_cost(context, lambda genotype: model.predict(genotype) / 1000)}


def random_within_limits(config: SearchConfig, generator: torch.Generator) -> Iterator[AnyGenotype]:
    """Yield random genotypes within the limits of a search, without end.

    If none of ``DRAWS`` random genotypes is within the limits, the best one by uniform
    probabilities takes its place.
    """
    space = config.space
    if not config.limit.values():
        while True:
            yield space.random(generator)
    data = make_data_module(config, Ranks(config.device))
    sizes: dict[str, Any] = {**data.network_sizes(space)}
    context = SearchContext.from_supernet(space, space.supernet(**sizes))
    limit = search_limits(config, context, data)
    best = space.derive(limit.restrict(context.uniform()), context.candidates)
    while True:
        drawn = (space.random(generator) for _ in range(DRAWS))
        yield next((genotype for genotype in drawn if limit.allows(genotype)), best)
