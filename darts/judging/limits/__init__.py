"""Hard limits of the costs of networks: which costs, and the best genotype within them."""

from darts.judging.limits.costs import (
    CostMeter,
    describe_limits,
    has_fixed_size,
    limit_overrides,
    require_known_memory,
    require_sizes,
    require_space,
)
from darts.judging.limits.front_budgets import Budgets, check_front
from darts.judging.limits.genotype_limits import GenotypeLimits
from darts.judging.limits.of_search import (
    check_limits,
    overrides_of_limits,
    predicted_costs,
    random_within_limits,
    search_limits,
)

__all__ = [
    "Budgets",
    "CostMeter",
    "GenotypeLimits",
    "check_front",
    "check_limits",
    "describe_limits",
    "has_fixed_size",
    "limit_overrides",
    "overrides_of_limits",
    "predicted_costs",
    "random_within_limits",
    "require_known_memory",
    "require_sizes",
    "require_space",
    "search_limits",
]
