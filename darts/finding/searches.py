"""How long the gradient searches of ``darts.find`` may take."""

from __future__ import annotations

from darts.config import FindConfig
from darts.finding.proposals import GradientSearches
from darts.recipes.commands import run_command
from darts.running.output import redirect_output

SHARE = 0.1
"""Share of the budget for each search."""

MIN_EPOCHS, MAX_EPOCHS = 8, 50
"""In fewer epochs, alphas hardly change; published searches have 50."""


def affordable_epochs(
    config: FindConfig, searches: GradientSearches, seconds_per_epoch: float, total: float
) -> int:
    """Return the number of epochs of each search; 0 if there is time for too few.

    Args:
        config: Configuration of the run.
        searches: The searches.
        seconds_per_epoch: Of a retraining of the leader, which is faster than a supernet.
        total: The budget in seconds.
    """
    if config.plan.search_epochs is not None:
        return config.plan.search_epochs
    seconds = SHARE * total
    if config.plan.equal == "epochs" or seconds < MIN_EPOCHS * seconds_per_epoch:
        return 0
    slowest = seconds_per_epoch
    for job in searches.jobs(MIN_EPOCHS):
        folder = searches.directory
        with redirect_output(folder / "measure-search.log"):
            values = run_command("search", (*job.overrides, "dry_run=true"), folder / "measure")
        slowest = max(slowest, float(str(values["estimated_seconds"])) / MIN_EPOCHS)
    epochs = int(seconds / slowest)
    return 0 if epochs < MIN_EPOCHS else min(epochs, MAX_EPOCHS)
