"""Judge a method beside baselines of equal cost: ``python -m darts.compare``.

All runs are ordinary searches and retrainings in directories below the comparison's, each in a process
of its own. What the scores say, and what they do not, is in ``report.md``.

References:
    Yang, Esperança and Carlucci, "NAS evaluation is frustratingly hard", arXiv:1912.12522.
    Li and Talwalkar, "Random Search and Reproducibility for Neural Architecture Search",
    arXiv:1902.07638.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import shlex
from pathlib import Path
from typing import Any

from darts.comparing.scheduler import PlannedRun, execute
from darts.comparing.plan import ComparisonPlan, check_comparison
from darts.comparing.report import ComparisonResults, total_cost, shared_counter_warning
from darts.comparing.runs import RunFailed, RunLauncher
from darts.config import CompareConfig, ConfigError, Invocation, as_yaml, launch
from darts.judging.statistics import pairs_needed
from darts.tracking import Console, print_summary, environment
from darts.tracking.files import read_json, write_atomically, write_json
from darts.training.distributed import rank_and_size
from darts.training.interrupt import Interrupt, Interrupted
from darts.training.run_directory import differences

# What may differ between a comparison and its continuation.
FREE = ("name", "resume", "workers", "draws")


def check(config: CompareConfig) -> None:
    """Refuse, before the first run, whatever a run would be refused for."""
    if rank_and_size()[1] > 1:
        raise ConfigError("darts.compare starts its own runs: set workers=N and leave torchrun out")
    check_comparison(config)


def compare(config: CompareConfig, call: Invocation) -> dict[str, Any]:
    """Run what is missing, and compare; the returned summary is also in the run directory.

    Raises:
        ConfigError: if runs failed; all others are done before it is raised.
        Interrupted: after a signal, when the runs have saved themselves.
    """
    directory = Path(call.directory).resolve()
    _refuse_another(config, directory)
    if not config.resume:
        _write_what_is_known(config, directory, call)
    protocol, runs = ComparisonPlan(config, directory), RunLauncher(config.workers)
    jobs = protocol.jobs(runs)
    done = sum(job.done() for job in jobs)
    ended = itertools.count(done + 1)
    console = Console(total_steps=len(jobs), name="compare", done=done)

    warned: set[str] = {""}

    def told(job: PlannedRun, text: str) -> None:
        console.info(f"{job.name}: {text}")
        if (warning := shared_counter_warning(protocol, runs.sources)) not in warned:
            warned.add(warning)
            console.info(f"warning: {warning}")
        console.step(jobs=f"{next(ended)}/{len(jobs)}")

    with console, Interrupt() as interrupt:
        console.info(
            f"{'resuming' if config.resume else 'studying'} in {directory}: {len(jobs)} jobs"
        )
        needed = pairs_needed(len(config.baselines))
        if config.searches < needed:
            console.info(
                f"searches={config.searches} can show no difference, whatever comes of them: "
                f"comparisons with {len(config.baselines)} need at least {needed}"
            )
        failed = execute(
            jobs,
            config.workers,
            told=told,
            stopping=lambda: interrupt.received is not None,
            stop=runs.stop,
        )
        signal = interrupt.received
    word = shlex.quote(f"resume={call.directory}")
    if signal and not all(job.done() for job in jobs):
        print(f"stopped and saved; go on with: python -m darts.compare {word}", flush=True)
        raise Interrupted(128 + signal)
    if failed:
        name, why = next(iter(failed.items()))
        raise ConfigError(
            f"{len(failed)} of {len(jobs)} jobs failed, and nothing is compared without them; "
            f"{name}: {why}; {word} tries them again, which mends what chance has caused; what a "
            "setting has caused needs a new comparison with another"
        )
    overrides = read_json(directory / "overrides.json")["overrides"]
    try:
        results = ComparisonResults(protocol)
    except RunFailed as error:
        raise ConfigError(str(error)) from None
    results.write(overrides)
    summary = {
        "command": "compare",
        "name": config.name,
        "metric": config.metric,
        "method": config.method_name,
        "searches": config.searches,
        "retrainings": config.retrainings,
        **results.summary(),
        **total_cost(protocol),
        "seed": config.seed,
        "git_revision": read_json(directory / "env.json").get("git_revision"),
    }
    write_json(directory / "summary.json", summary)
    shown = {name: summary[f"{name}_{results.score}"] for name in protocol.names}
    print_summary("compare", {f"{name} {results.score}": value for name, value in shown.items()})
    print("\n" + "\n".join(results.verdicts()))
    print(f"\nThe report: {Path(call.directory) / 'report.md'}")
    return summary


def _refuse_another(config: CompareConfig, directory: Path) -> None:
    """See that the directory is free, or that the comparison resumed is the same and not complete."""
    file = directory / "comparison.json"
    if config.resume:
        plain = json.loads(json.dumps(dataclasses.asdict(config)))
        differing = list(differences(read_json(file), plain, free=FREE))
        if differing:
            key, old, new = differing[0]
            raise ConfigError(
                f"cannot resume {directory}: {key} is {old!r} in the comparison and {new!r} here"
            )
        if (directory / "summary.json").exists():
            raise ConfigError(f"the comparison in {directory} is complete; nothing to resume")
    elif file.exists():
        raise ConfigError(
            f"{directory} already holds a comparison; choose another hydra.run.dir, or go on with it by "
            f"resume={directory}"
        )


def _write_what_is_known(config: CompareConfig, directory: Path, call: Invocation) -> None:
    """Write what is known before the first run."""
    write_json(directory / "env.json", environment())
    overrides = [o for o in call.overrides if not o.startswith("resume=")]
    write_json(directory / "overrides.json", {"command": "compare", "overrides": overrides})
    write_atomically(directory / "config.yaml", as_yaml(config))
    write_json(directory / "comparison.json", dataclasses.asdict(config))


def main() -> None:
    """Entry point of ``darts-comparison``."""
    launch("compare", check, compare)


if __name__ == "__main__":
    main()
