"""A dry run as search and retrain make it: what it needs to know, and what it tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from darts.tracking import closing_table
from darts.training.distributed import Ranks
from darts.training.planner import Plan, levers_of
from darts.training.run_directory import meter_of


def check_budget(config: Any) -> None:
    """Raise ``ValueError`` for a budget that nothing is held against."""
    budget = config.budget
    if not config.dry_run and (budget.hours is not None or budget.memory_mb is not None):
        raise ValueError(
            "budget.hours and budget.memory_mb are what a plan is held against; "
            "add dry_run=true or leave them out"
        )


def plan_of(config: Any, ranks: Ranks) -> dict[str, Any]:
    """Options of ``dry_run`` that search and retrain have in common."""
    tracking = config.tracking
    return {
        "meter": meter_of(tracking.energy, ranks),
        "gco2_per_kwh": tracking.energy.gco2_per_kwh,
        "pictures": tracking.pictures or tracking.tensorboard,
        "highest": ranks.all_reduce_max,
    }


def tell_plan(config: Any, told: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """Print what a dry run has found, and what to change where it exceeds the budget."""
    inner = ("estimated_seconds", "finish_seconds", "looks_memory_mb", "not_counted")
    closing_table("dry run", {k: v for k, v in told.items() if k not in inner})
    plan = Plan(
        batch_size=config.loader.batch_size,
        lr=config.optimizer.lr,
        adam=config.optimizer.kind == "adam",
        epochs=config.epochs,
        levers=levers_of(config, device.type, told),
    )
    limits = {"hours": config.budget.hours, "memory_mb": config.budget.memory_mb}
    lines = plan.advice(told, **limits)
    if lines:
        print("\n" + "\n".join(lines))
    elif any(limit is not None for limit in limits.values()):
        whole = "not_counted" not in told
        print("\nThe run keeps to its budget." if whole else "\nWhat is counted fits the budget.")
    if "not_counted" in told:
        print(f"\nnot counted: {told['not_counted']}")
    return {**told, "advice": lines}
