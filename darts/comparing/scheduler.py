"""Order of the runs of a comparison, and their execution, several at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from darts.comparing.baselines import (
    describe_run,
    draw_random,
    pilot_overrides,
    random_search,
    search_at_equal_cost,
)
from darts.comparing.plan import (
    RANDOM,
    RANDOM_BASELINES,
    RANDOM_SEARCH,
    ComparisonPlan,
    search_config,
)
from darts.comparing.runs import RunFailed, RunLauncher, RunStopped
from darts.recipes.commands import merge_overrides
from darts.running.jobs import is_complete


@dataclass(frozen=True)
class PlannedRun:
    """A pilot, a search, a retraining, or what a baseline does instead of a search."""

    name: str  # on the console, unique in the comparison
    work: Callable[[], str]  # executes the run and returns a short message about the result
    done: Callable[[], bool]  # returns whether the run is complete
    needs: tuple[str, ...] = ()  # names of the runs that must be complete before this one starts


def plan_runs(plan: ComparisonPlan, launcher: RunLauncher) -> list[PlannedRun]:
    """Return all runs of a comparison: pilots, then searches and retrainings seed by seed."""
    runs = []
    for name in plan.config.baselines:
        if name not in RANDOM_BASELINES:
            overrides = plan.search_overrides(name, 0)
            overrides = merge_overrides([*overrides, *pilot_overrides(search_config(overrides))])
            directory = plan.pilot_directory(name)
            title = f"pilot of {name}"
            runs.append(_plan_command(plan, launcher, title, "search", directory, overrides))
    for index in range(plan.config.searches):
        for name in plan.names:
            search = _plan_search(plan, launcher, name, index)
            runs.append(search)
            genotype = str(plan.genotype_path(name, index))
            for number, directory in enumerate(plan.retrain_directories(name, index)):
                title = f"retrain {name} {index}.{number}"
                overrides = plan.retrain_overrides(genotype, index, number)
                needs = (search.name,)
                runs.append(
                    _plan_command(plan, launcher, title, "retrain", directory, overrides, needs)
                )
    return runs


def _plan_search(plan: ComparisonPlan, launcher: RunLauncher, name: str, index: int) -> PlannedRun:
    """Return search ``index`` of the method or of a baseline, or what replaces the search."""
    folder, title = plan.search_folder(name, index), f"search {name} {index}"
    method_search = f"search {plan.method} {index}"
    if name == plan.method:
        overrides = plan.search_overrides(name, index)
        return _plan_command(plan, launcher, title, "search", folder / "search", overrides)
    if name == RANDOM:
        genotype = plan.genotype_path(name, index)
        return PlannedRun(title, partial(draw_random, plan, index), genotype.exists)
    if name == RANDOM_SEARCH:
        work = partial(random_search, plan, launcher, index)
        return PlannedRun(title, work, (folder / "chosen.json").exists, (method_search,))
    work = partial(search_at_equal_cost, plan, launcher, name, index)
    done = partial(is_complete, folder / "search")
    return PlannedRun(title, work, done, (method_search, f"pilot of {name}"))


def _plan_command(
    plan: ComparisonPlan,
    launcher: RunLauncher,
    title: str,
    command: str,
    directory: Path,
    overrides: list[str],
    needs: tuple[str, ...] = (),
) -> PlannedRun:
    def work() -> str:
        return describe_run(plan, launcher(command, directory, overrides))

    return PlannedRun(title, work, partial(is_complete, directory), needs)


def execute(
    runs: Sequence[PlannedRun],
    workers: int,
    *,
    on_done: Callable[[PlannedRun, str], None],
    stopping: Callable[[], bool],
    stop: Callable[[], None],
) -> dict[str, str]:
    """Execute all runs that are not complete.

    Runs start in the given order, except that a run waits until all runs that it needs are
    complete. A run therefore never starts if a run that it needs has failed.

    Args:
        runs: All runs of the comparison.
        workers: Maximum number of simultaneous runs.
        on_done: Called in this thread after each run that completes, with its message.
        stopping: Returns whether to stop; called several times per second.
        stop: Stops the runs in progress.

    Returns:
        By name of each failed run, the reason. Runs that were stopped or never started are missing.
    """
    done = {run.name for run in runs if run.done()}
    waiting = [run for run in runs if run.name not in done]
    failed: dict[str, str] = {}
    running: dict[Future[str], PlannedRun] = {}
    with ThreadPoolExecutor(workers) as pool:
        try:
            while True:
                if stopping():
                    waiting.clear()
                    stop()
                for run in [run for run in waiting if done.issuperset(run.needs)]:
                    if len(running) < workers:
                        waiting.remove(run)
                        running[pool.submit(run.work)] = run
                if not running:
                    return failed
                ended, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
                for future in ended:
                    run = running.pop(future)
                    try:
                        message = future.result()
                    except RunFailed as error:
                        failed[run.name] = str(error)
                    except RunStopped:
                        pass
                    else:
                        done.add(run.name)
                        on_done(run, message)
        except BaseException:
            stop()  # otherwise the pool would wait until the runs in progress end
            raise
