"""Cost of a comparison, and whether its energy counters are shared by several runs."""

from __future__ import annotations

from collections.abc import Iterable

from darts.comparing.plan import ComparisonPlan
from darts.comparing.runs import read_divergence
from darts.tracking import JsonObject, read_json
from darts.tracking.energy import is_shared_counter
from darts.tracking.ledger import sum_costs
from darts.training.device import visible_gpus
from darts.training.run import DIVERGED


def shared_counter_warning(plan: ComparisonPlan, sources: Iterable[object]) -> str:
    """Return a warning if simultaneous runs share an energy counter, else an empty text.

    Args:
        plan: The comparison.
        sources: Sources of the joules of its runs.
    """
    workers = plan.config.workers
    start = plan.directory / "comparison.json"  # the comparison may have started with more workers
    workers = max(workers, read_json(start)["workers"] if start.exists() else 0)
    gpus = len(visible_gpus())
    shared = sorted({str(s) for s in sources if is_shared_counter(str(s), workers, gpus)})
    if not shared:
        return ""
    return (
        f"With workers={workers}, simultaneous runs share the counter {', '.join(shared)}, so each "
        "run is charged for all of them. Costs are too high and only roughly comparable; use "
        "workers=1 to measure each run alone."
    )


def total_cost(plan: ComparisonPlan) -> JsonObject:
    """Return the cost of all runs of a comparison, including pilots and short trainings."""
    costs: list[JsonObject] = [
        read_json(file) for file in sorted(plan.directory.glob("runs/**/summary.json"))
    ]
    for file in sorted(plan.directory.glob(f"runs/**/{DIVERGED}")):
        divergence = read_divergence(file.parent)
        if divergence is not None:
            costs.append(divergence)
    return {"seconds": sum(cost["seconds"] for cost in costs), **sum_costs(costs)}
