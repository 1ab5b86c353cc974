"""What a study leaves in its directory: trials.csv, best.json, the account of P over A and H."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from darts.hpo.store import FAILURE, counted
from darts.hpo.study import Plan, best_of, failure_of, merged, scores_of
from darts.spaces.parameters import Point
from darts.tracking import Board, read_metrics
from darts.tracking.files import read_json, write_atomically, write_json
from darts.tracking.ledger import added_up


def point_of(trial: FrozenTrial) -> Point:
    """The point that was tried."""
    return dict(trial.params)


def state_of(trial: FrozenTrial) -> str:
    """ "complete", "pruned" or "failed"."""
    names = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned"}
    return names.get(trial.state, "failed" if trial.state.is_finished() else "running")


def rows_of(plan: Plan, trials: Sequence[FrozenTrial]) -> list[dict[str, Any]]:
    """A row a trial that has ended: number, state, scores, costs, parameters and genotype."""
    rows = []
    for trial in counted(trials):
        if not trial.state.is_finished():
            continue
        whole = plan.space.parameters.contains(trial.params)
        shown = plan.space.shown(point_of(trial)) if whole else dict(trial.params)
        begin, end = trial.datetime_start, trial.datetime_complete
        seconds = (end - begin).total_seconds() if begin and end else None
        failed = trial.state == TrialState.FAIL
        rows.append(
            {
                "trial": trial.number,
                "state": state_of(trial),
                **scores_of(trial),
                "wall_seconds": seconds,
                **shown,
                "failure": failure_of(trial) if failed or FAILURE in trial.user_attrs else None,
            }
        )
    return rows


def write_trials(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """All rows as CSV; what a row does not have is empty."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    if "failure" in columns:  # last, since it is long
        columns.append(columns.pop(columns.index("failure")))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue())


def best_overrides(plan: Plan, trial: FrozenTrial) -> list[str]:
    """The command line that trains a trial's network: nothing that only trials must do."""
    only = ("test=", "tracking.", "metric=")
    own = [o for o in plan.fixed if not o.startswith(only)]
    own.append(f"metric={plan.config.metric}")
    return merged([*own, *plan.space.overrides(point_of(trial))])


def write_best(plan: Plan, trials: Sequence[FrozenTrial]) -> dict[str, Any] | None:
    """best.json, and genotype.json where there is an architecture; None without a trial."""
    best = best_of(plan, trials)
    if best is None:
        return None
    overrides = best_overrides(plan, best)
    genotype = plan.space.genotype(point_of(best))
    # As the command for people to copy: its genotype is in this directory.
    short = [f"genotype={plan.directory}" if o.startswith("genotype=") else o for o in overrides]
    words = " ".join(shlex.quote(word) for word in (overrides if genotype is None else short))
    content = {
        "trial": best.number,
        **{name: scores_of(best)[name] for name in plan.objectives},
        "parameters": plan.space.settings(point_of(best)),
        "genotype": None if genotype is None else str(genotype),
        "overrides": overrides,
        "command": f"python -m darts.{plan.config.target} {words}",
    }
    if genotype is not None:
        write_atomically(plan.directory / "genotype.json", genotype.to_json())
    write_json(plan.directory / "best.json", content)
    return content


def joules_of(plan: Plan, trials: Sequence[FrozenTrial]) -> dict[str, Any]:
    """What all trainings used, those for the account too: ``joules``, their source and ``gco2e``.

    What a trial used that did not come to its end is in its directory, if it ran here.
    """
    told = [scores_of(trial) for trial in trials if "joules" in scores_of(trial)]
    complete = {f"{trial.number:04d}" for trial in trials if "joules" in scores_of(trial)}
    others = [d for d in plan.directory.glob("trials/*") if d.name not in complete]
    others += [*plan.directory.glob("corners/trials/*"), plan.directory / "final"]
    for directory in others:
        told += _bill(directory)
    return added_up(told)


def _bill(directory: Path) -> list[Mapping[str, Any]]:
    """What a training has used: by its summary or, if it did not come to its end, its last row."""
    summary, metrics = directory / "summary.json", directory / "metrics.jsonl"
    if summary.exists():
        rows = [read_json(summary)]
    else:
        rows = read_metrics(metrics) if metrics.exists() else []
    return [row for row in rows[-1:] if "joules" in row]


def show_hparams(plan: Plan, trials: Sequence[FrozenTrial], shown: set[int]) -> None:
    """A row of TensorBoard's HPARAMS page for each completed trial that has none yet."""
    for trial in counted(trials):
        if trial.state != TrialState.COMPLETE or trial.number in shown:
            continue
        shown.add(trial.number)
        with Board(plan.directory / "hparams" / f"{trial.number:04d}") as board:
            scores = {f"hparam/{name}": value for name, value in scores_of(trial).items()}
            board.hparams(plan.space.shown(point_of(trial)), scores, step=trial.number)
