"""Order of the runs of a comparison, and their execution, several at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from darts.comparing.baselines import (
    RunLauncher,
    describe_run,
    draw_random,
    pilot_overrides,
    random_search,
    search_at_equal_cost,
)
from darts.comparing.plan import RANDOM, RANDOM_BASELINES, RANDOM_SEARCH, ComparisonPlan
from darts.recipes.commands import merge_overrides, search_config
from darts.running.jobs import RunFailed, is_complete
from darts.training.interrupt import Interrupted


@dataclass(frozen=True)
class PlannedRun:
    """A pilot, a search, a retraining, or what a baseline does instead of a search."""

    name: str  # on the console, unique in the comparison
    work: Callable[[], str]  # executes the run and returns a short message about the result
    done: Callable[[], bool]  # returns whether the run is complete
    needs: tuple[str, ...] = ()  # names of the runs that must be complete before this one starts


def plan_runs(plan: ComparisonPlan, launcher: RunLauncher) -> list[PlannedRun]:
    """Return all runs of a comparison: pilots, then searches and retrainings seed by seed."""
    runs: list[PlannedRun] = []

    def add(title: str, command: str, directory: Path, overrides: list[str], *needs: str) -> None:
        def work() -> str:
            return describe_run(plan, launcher(command, directory, overrides))

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
                work = partial(random_search, plan, launcher, index)
                chosen = folder / "chosen.json"
                runs.append(PlannedRun(title, work, chosen.exists, (method_search,)))
            else:
                work = partial(search_at_equal_cost, plan, launcher, name, index)
                done = partial(is_complete, folder / "search")
                runs.append(PlannedRun(title, work, done, (method_search, f"pilot of {name}")))
            genotype = str(plan.genotype_path(name, index))
            for number, directory in enumerate(plan.retrain_directories(name, index)):
                overrides = plan.retrain_overrides(genotype, index, number)
                add(f"retrain {name} {index}.{number}", "retrain", directory, overrides, title)
    return runs


def execute(
    runs: Sequence[PlannedRun],
    launcher: RunLauncher,
    *,
    on_done: Callable[[PlannedRun, str], None],
    stopping: Callable[[], bool],
) -> dict[str, str]:
    """Execute all runs that are not complete.

    Runs start in the given order, except that a run waits until all runs that it needs are
    complete. A run therefore never starts if a run that it needs has failed. ``on_done`` is called
    in this thread after each run that completes, with its message. ``stopping`` is called several
    times per second, and returns whether to stop all runs.

    Return the reason for each failed run by name, without runs that were stopped or not started.
    Raise ExecutorError if no run can be executed.
    """
    done = {run.name for run in runs if run.done()}
    waiting = [run for run in runs if run.name not in done]
    failed: dict[str, str] = {}
    running: dict[Future[str], PlannedRun] = {}
    if not waiting:
        return failed
    workers = launcher.executor.workers
    # The context of the executor ends first: it stops the runs for which the threads wait.
    with ThreadPoolExecutor(workers) as threads, launcher.executor:
        start: Callable[[Callable[[], str]], Future[str]] = (
            _execute if launcher.executor.blocks else threads.submit
        )
        while not stopping():
            for run in [run for run in waiting if done.issuperset(run.needs)]:
                if len(running) < workers:
                    waiting.remove(run)
                    running[start(run.work)] = run
            if not running:
                break
            ended, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
            for future in ended:
                run = running.pop(future)
                try:
                    message = future.result()
                except RunFailed as error:
                    failed[run.name] = str(error)
                except CancelledError:
                    pass
                else:
                    done.add(run.name)
                    on_done(run, message)
    return failed


def _execute(work: Callable[[], str]) -> Future[str]:
    """Execute a run in this thread, in which the run can handle signals if it is the main one."""
    future: Future[str] = Future()
    try:
        future.set_result(work())
    except Interrupted:
        future.set_exception(CancelledError())
    except Exception as error:
        future.set_exception(error)
    return future
