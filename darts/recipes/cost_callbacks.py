"""Parts of a search for costs and true scores: limits, penalties, a front, a benchmark table."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from darts.config import ConfigError
from darts.judging.benchmark import Benchmark
from darts.judging.devices.lookup_table import info_file
from darts.judging.limits.costs import describe_limits, find_model_file
from darts.judging.limits.of_search import predicted_costs, search_limits
from darts.recipes.front import Front
from darts.recipes.search_callbacks import NETWORK, SearchCallback
from darts.searching.expected_cost import Penalty
from darts.spaces import AnyGenotype
from darts.typed_values import Misfit, typed

if TYPE_CHECKING:
    from darts.recipes.search import Search


def cost_callbacks(search: Search) -> list[SearchCallback]:
    """Return the callbacks for costs and true scores that the configuration asks for."""
    config, penalty = search.config, search.config.penalty
    parts: list[tuple[type[SearchCallback], bool]] = [
        (LatencyModels, bool(config.limit.device or config.front.device)),
        (Table, config.benchmark.table is not None),
        (Limits, bool(config.limit.values())),
        (Penalties, (penalty.flops, penalty.parameters, penalty.latency) != (None, None, None)),
        (Front, config.front.enabled),
    ]
    return [part(search) for part, is_configured in parts if is_configured]


class LatencyModels(SearchCallback):
    """Raises an error if the file of a latency model has changed when a search is resumed.

    The files belong to the user and may be replaced in between. The genotypes of both parts of the
    search would then keep different limits. A checkpoint contains what penalties need.
    """

    def __init__(self, search: Search) -> None:
        super().__init__(search)
        config = search.config
        devices = {"limit.device": config.limit.device, "front.device": config.front.device}
        self._devices = {key: device for key, device in devices.items() if device is not None}
        self._digests = {key: _digest(device) for key, device in self._devices.items()}
        search.state.parts["latency_models"] = self

    def state_dict(self) -> dict[str, str]:
        return self._digests

    def load_state_dict(self, state: object) -> None:
        saved = typed(dict[str, str], state, "latency_models")
        for key, digest in self._digests.items():
            if saved.get(key) != digest:
                raise Misfit(
                    f"the file of {key}={self._devices[key]} has changed since the run began; "
                    "restore it, or start a new run"
                )


def _digest(device: str) -> str:
    """Return a hash of the files of a latency model."""
    file = find_model_file(device)
    content = file.read_bytes()
    if file.suffix == ".csv":
        content += info_file(file).read_bytes()
    return hashlib.sha256(content).hexdigest()


class Table(SearchCallback):
    """Looks up the true accuracy and rank of genotypes in a benchmark table."""

    def __init__(self, search: Search) -> None:
        super().__init__(search)
        self._benchmark = Benchmark.from_config(search.config.benchmark, search.config.space)

    def measures(self, genotype: AnyGenotype) -> dict[str, float]:
        return {} if self._benchmark is None else self._benchmark.scores(genotype)


class Limits(SearchCallback):
    """Keeps the costs of genotypes within hard limits."""

    def __init__(self, search: Search) -> None:
        super().__init__(search)
        self._limit = search_limits(search.config, search.context, search.data)
        search.context.limit = self._limit

    def measures(self, genotype: AnyGenotype) -> dict[str, float]:
        return {f"{NETWORK}{name}": cost for name, cost in self._limit.costs(genotype).items()}

    def end_search(self, genotype: AnyGenotype) -> None:
        if not self._limit.allows(genotype):
            raise ConfigError(
                f"the discretization returned a genotype beyond "
                f"{describe_limits(self._limit.limits)}; choose discretize=argmax"
            )


class Penalties(SearchCallback):
    """Adds expected costs above their targets to the loss of the alphas."""

    def __init__(self, search: Search) -> None:
        super().__init__(search)
        config, context, data = search.config, search.context, search.data
        known = predicted_costs(config, context, data)
        self._penalty = Penalty.measured(config.penalty, context, data, known)
        search.searcher.alpha_costs.append(self._penalty)
        search.state.parts["penalty"] = self._penalty

    def measures(self, genotype: AnyGenotype) -> dict[str, float]:
        return self._penalty.expected(self.search.searcher.probabilities())
