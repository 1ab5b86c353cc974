"""Limits of the networks of points, which are known before a training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from darts.config import LimitConfig
from darts.hpo.search_space import TrialSpace
from darts.hpo.trial_networks import TrialNetworks
from darts.judging.devices.latency_model import LinearModel
from darts.judging.limits import CostMeter, require_sizes
from darts.spaces.parameters import Point, point_key


@dataclass
class LimitedPoints:
    """Measures the limited costs of the networks that a study's trials would train.

    Attributes:
        limit: The limits.
        space: Space of the points.
        overrides: Function that returns all overrides of the retraining of a point.
    """

    limit: LimitConfig
    space: TrialSpace
    overrides: Callable[[Point], Sequence[str]]
    _costs: dict[object, dict[str, float]] = field(default_factory=dict, init=False)
    _networks: TrialNetworks = field(default_factory=TrialNetworks, init=False)

    @cached_property
    def meter(self) -> CostMeter:
        """The limits of the study."""
        return CostMeter.from_config(self.limit)

    def allows(self, point: Point) -> bool:
        """Return whether the network of a point is within all limits."""
        return self.meter.excess(self.costs(point)) <= 1

    def may_propose(self, point: Point) -> bool:
        """Return ``allows``; True if the costs cannot be measured.

        The trial of such a point then fails, with the reason and the point.
        """
        try:
            return self.allows(point)
        except (ValueError, RuntimeError):
            return True

    def costs(self, point: Point) -> dict[str, float]:
        """Return the limited costs of the network of a point, by name; measured once per point."""
        key = point_key(point)
        if key not in self._costs:
            self._costs[key] = self._measure(point)
        return self._costs[key]

    def _measure(self, point: Point) -> dict[str, float]:
        meter = self.meter
        genotype = self.space.genotype(point)
        if (
            genotype is not None
            and isinstance(meter.model, LinearModel)
            and not meter.needs_network
        ):
            return {"latency_ms": meter.model.predict(genotype)}
        built = self._networks.build(self.overrides(point))
        require_sizes("limit.device", meter.model, built.space, built.data.sample_shape)
        return meter(built.genotype, built.network, built.example)
