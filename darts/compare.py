"""Compare a search method with baselines of equal cost: ``darts compare``.

Each run is an ordinary search or retraining, by default in a worker process. Its directory is
inside the directory of the comparison. ``report.md`` states what the scores show and what they do
not show.

References:
    Yang, Esperança and Carlucci, "NAS evaluation is frustratingly hard", arXiv:1912.12522.
    Li and Talwalkar, "Random Search and Reproducibility for Neural Architecture Search",
    arXiv:1902.07638.

Keys that people use first::

    Keys: method=drnas baselines=[random] searches=5 retrainings=3 experiment=NAME
    Run: workers=2 seed=0 hydra.run.dir=DIR resume=DIR
"""

from __future__ import annotations

import itertools
from functools import partial

from darts.comparing.plan import ComparisonPlan
from darts.comparing.plan import check_comparison as check
from darts.comparing.report import write_report
from darts.comparing.results import ComparisonResults
from darts.comparing.scheduler import PlannedRun, execute, plan_runs
from darts.config import CompareConfig, ConfigError, Invocation, launch
from darts.confirm import confirm
from darts.judging.statistics import pairs_needed
from darts.reading import JsonObject
from darts.running.executors import make_executor
from darts.running.jobs import Executor
from darts.tracking import Console, print_lines, print_summary
from darts.training.interrupt import Interrupt, Interrupted
from darts.training.run_directory import RunDirectory
from darts.writing import remove_temporary_files

WORK = (
    "compares darts_v1 with two baselines on the digits: 14 searches of 15 epochs and 42 "
    "retrainings, which take hours (experiment=honest_digits is smaller)"
)


def compare(config: CompareConfig, call: Invocation) -> JsonObject:
    """Execute all runs that are not complete, write the report, and return the summary."""
    with RunDirectory(call.directory.resolve(), "compare") as files:
        files.start_or_resume(config, call)
        # The folders of searches, not the directories of their runs, which jobs may still own.
        for folder in files.path.glob("runs/*/[0-9]*") if config.resume else ():
            if folder.resolve().is_relative_to(files.path):  # not a link to somewhere else
                remove_temporary_files(folder)
        plan = ComparisonPlan(config, files.path)
        executor = make_executor(config.executor, config.workers, files.path)
        execute_runs(plan, executor, files.resume_command)
        results = ComparisonResults(plan)
        write_report(results, files.overrides())
        summary = files.finish(
            {
                "name": config.name,
                "metric": config.metric,
                "method": config.method_name,
                "searches": config.searches,
                "retrainings": config.retrainings,
                **results.summary(),
                **plan.total_cost(),
                "seed": config.seed,
            }
        )
    score = results.score
    print_summary("compare", {f"{n} {score}": summary[f"{n}_{score}"] for n in plan.names})
    print_lines("", *results.verdicts(), "", f"report: {files.path / 'report.md'}")
    return summary


def execute_runs(plan: ComparisonPlan, executor: Executor, resume_command: str) -> None:
    """Execute all runs that are not complete, and show progress on the console."""
    config, runs = plan.config, plan_runs(plan)
    done = sum(run.done() for run in runs)
    ended = itertools.count(done + 1)  # complete or failed
    console = Console(total_steps=len(runs), name="compare", done=done)
    given: set[str] = {""}  # warnings so far; an empty text does not warn

    def report_progress(run: PlannedRun, message: str) -> None:
        console.info(f"{run.name}: {message}")
        warning = plan.shared_counter_warning()
        if warning not in given:
            given.add(warning)
            console.warn(warning)
        console.step(1, runs=f"{next(ended)}/{len(runs)}", **executor.fields())

    with console, Interrupt("stopping the runs; Ctrl-C again to abort") as interrupt:
        action = "resuming" if config.resume else "comparing"
        console.info(f"{action} in {plan.directory}: {len(runs)} runs")
        count = len(config.baselines)
        needed = pairs_needed(count)
        if config.searches < needed:
            console.warn(
                f"searches={config.searches} cannot show a difference: a comparison with {count} "
                f"baseline{'s' if count > 1 else ''} needs at least {needed} searches"
            )
        failed = execute(
            runs, executor, on_end=report_progress, stopping=lambda: interrupt.received is not None
        )
    if interrupt.received and not all(run.done() for run in runs):
        print_lines(f"stopped and saved; continue with: {resume_command}")
        raise Interrupted(128 + interrupt.received)
    if failed:
        name, reason = next(iter(failed.items()))
        raise ConfigError(
            f"{len(failed)} of {len(runs)} runs failed, and the comparison needs all of them; "
            f"{name}: {reason}; {resume_command} starts failed runs again, which helps if the "
            "cause was temporary; if a setting was the cause, start a new comparison"
        )


def main() -> None:
    """Entry point of ``darts-compare``."""
    launch("compare", check, compare, prepare=partial(confirm, WORK))


if __name__ == "__main__":
    main()
