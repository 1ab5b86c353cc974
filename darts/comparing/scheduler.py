"""Order of the runs of a comparison, and their execution, several at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from darts.comparing.baselines import (
    Work,
    describe_run,
    draw_random,
    execute_run,
    pilot_overrides,
    random_search,
    search_at_equal_cost,
)
from darts.comparing.plan import RANDOM, RANDOM_BASELINES, RANDOM_SEARCH, ComparisonPlan
from darts.recipes.commands import merge_overrides, search_config
from darts.running.jobs import Executor, Future, Outcome, RunFailed, is_complete
from darts.training.interrupt import Interrupted


@dataclass(frozen=True)
class PlannedRun:
    """A pilot, a search, a retraining, or what a baseline does instead of a search."""

    name: str  # on the console, unique in the comparison
    work: Callable[[], Work]
    done: Callable[[], bool]  # returns whether the run is complete
    needs: tuple[str, ...] = ()  # names of the runs that must be complete before this one starts


def plan_runs(plan: ComparisonPlan) -> list[PlannedRun]:
    """Return all runs of a comparison: pilots, then searches and retrainings seed by seed."""
    runs: list[PlannedRun] = []

    def add(title: str, command: str, directory: Path, overrides: list[str], *needs: str) -> None:
        def work() -> Work:
            return describe_run(plan, (yield from execute_run(command, directory, overrides)))

        runs.append(PlannedRun(title, work, partial(is_complete, directory), needs))

    for name in plan.config.baselines:
        if name not in RANDOM_BASELINES:
            overrides = plan.search_overrides(name, 0)
            overrides = merge_overrides([*overrides, *pilot_overrides(search_config(overrides))])
            add(f"pilot of {name}", "search", plan.pilot_directory(name), overrides)
    for index in range(plan.config.searches):
        method_search = f"search {plan.method} {index}"
        for name in plan.names:
            title, folder = f"search {name} {index}", plan.search_folder(name, index)
            if name == plan.method:
                add(title, "search", folder / "search", plan.search_overrides(name, index))
            elif name == RANDOM:
                work = partial(draw_random, plan, index)
                runs.append(PlannedRun(title, work, plan.genotype_path(name, index).exists))
            elif name == RANDOM_SEARCH:
                work = partial(random_search, plan, index)
                chosen = folder / "chosen.json"
                runs.append(PlannedRun(title, work, chosen.exists, (method_search,)))
            else:
                work = partial(search_at_equal_cost, plan, name, index)
                done = partial(is_complete, folder / "search")
                runs.append(PlannedRun(title, work, done, (method_search, f"pilot of {name}")))
            genotype = str(plan.genotype_path(name, index))
            for number, directory in enumerate(plan.retrain_directories(name, index)):
                overrides = plan.retrain_overrides(genotype, index, number)
                add(f"retrain {name} {index}.{number}", "retrain", directory, overrides, title)
    return runs


def execute(
    runs: Sequence[PlannedRun],
    executor: Executor,
    *,
    on_end: Callable[[PlannedRun, str], None],
    stopping: Callable[[], bool],
) -> dict[str, str]:
    """Execute all runs that are not complete.

    Runs start in the given order, except that a run waits until all runs that it needs are
    complete. A run therefore never starts if a run that it needs has failed. ``on_end`` is called
    after each run that ends, with its message or the reason of its failure. ``stopping`` is called
    several times per second, and returns whether to stop all runs.

    Return the reason for each failed run by name, without runs that were stopped or not started.
    Raise ExecutorError if no run can be executed.
    """
    done = {run.name for run in runs if run.done()}
    waiting = [run for run in runs if run.name not in done]
    failed: dict[str, str] = {}
    running: dict[Future, tuple[PlannedRun, Work]] = {}

    def advance(run: PlannedRun, work: Work, outcome: Outcome | None = None) -> None:
        """Submit the next job of a run, or record its end."""
        try:
            job = next(work) if outcome is None else work.send(outcome)
        except StopIteration as end:
            done.add(run.name)
            on_end(run, end.value)
        except RunFailed as error:
            failed[run.name] = str(error)
            on_end(run, f"failed: {error}")
        else:
            running[executor.submit(job)] = run, work

    if not waiting:
        return failed
    with executor, suppress(Interrupted):  # a signal may end a run in this process
        while not stopping():
            ready = [run for run in waiting if done.issuperset(run.needs)]
            for run in ready[: executor.workers - len(running)]:
                waiting.remove(run)
                advance(run, run.work())
            if not running and not ready:
                break
            wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
            for future in [future for future in running if future.done()]:
                run, work = running.pop(future)
                if not future.cancelled():
                    advance(run, work, future.result())
    return failed
