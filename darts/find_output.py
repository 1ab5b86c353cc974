"""What ``darts find`` prints about data, candidates and result, and its predictions."""

from __future__ import annotations

import math
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np

from darts.data.targets import CLASSES
from darts.data_modules import DataModule
from darts.finding.candidates import Candidate, Networks
from darts.finding.conclusion import Conclusion
from darts.finding.race import Race
from darts.finding.results import ranked
from darts.finding.setup import CLASSIFIED
from darts.reading import JsonObject
from darts.recipes.model import load, predict
from darts.reporting import read_run, render_model_card
from darts.searching.expected_cost import latency_of
from darts.spaces.averaging import average_mirror_images
from darts.tracking import format_duration, format_value, print_lines, print_summary
from darts.tracking.formats import aligned
from darts.tracking.optional import optional
from darts.training.device import resolve_device
from darts.training.run_directory import RunDirectory
from darts.writing import open_atomically, write_atomically

# File with the predictions for test samples without labels.
PREDICTIONS = "predictions.npy"

# Keys of sentences in a summary that come before its verdict.
NOTES = ("ensemble_note", "pretrained_note", "tree_note")

# Rows of the table of the best candidates.
LEADERS = 5


def print_data(data: DataModule, folds: int, metric: str | None) -> None:
    """Print the data as a table.

    Args:
        data: The data of a family, after its loaders were made.
        folds: Number of runs of each network, see ``darts.finding.folds``.
        metric: The metric that the user chose; None for the metric of the task.
    """
    rows = data.overview()
    if folds > 1:
        rows["validation"] += f", others in each of the {folds} runs of a network"
    reason = "as chosen" if metric else f"the default of task={data.config.task.name}"
    print_summary("data", {**rows, "metric": f"{data.config.metric}, {reason}"})


def print_leaders(race: Race) -> None:
    """Print the candidates with the best validation scores."""
    name, metric = race.metric
    header = ("candidate", f"valid_{name}", "epochs", "trained for", "parameters", "milliseconds")
    rows = [
        (
            result.candidate.name,
            format_value(f"valid_{name}", result.score),
            str(result.epochs),
            format_duration(result.seconds),
            format_value("parameters", result.summary["parameters"]),
            f"{1000 * _latency(race, result.candidate):.2f}",
        )
        for result in ranked(race.results.values(), metric)[:LEADERS]
    ]
    print_lines("", *aligned([header, *rows]), "")


def _latency(race: Race, candidate: Candidate) -> float:
    """Return the measured seconds of a candidate's network for a batch of one."""
    networks = race.pool.networks[candidate.family]
    net, example = networks.build(candidate.architecture)
    if candidate.setting.values.get("mirror") and not networks.config.mirror:
        average_mirror_images(net)
    return latency_of(net, example)


def outlook(race: Race, conclusion: Conclusion) -> str:
    """Return what a longer budget would change."""
    winner, final = conclusion.winner, conclusion.final
    note = ""
    if final is not None and math.isnan(final.score):
        note = "The validation score is from before the final run. "
    if winner.is_exhausted:
        return (
            f"{note}The winner reached its best score in epoch {winner.best_epoch} of "
            f"{winner.epochs}: more training would not help. A longer budget would compare more "
            "networks."
        )
    epochs = f"{winner.epochs} epoch{'s' if winner.epochs != 1 else ''}"
    if race.config.plan.equal == "epochs":
        return f"{note}The winner may still improve after {epochs}; set plan.epochs."
    unit, seconds = ("minutes", 60) if race.config.budget.hours is None else ("hours", 3600)
    return (
        f"{note}The winner may still improve after {epochs}. Continue with more time: darts find "
        f"{shlex.quote(f'resume={race.directory}')} budget.{unit}="
        f"{2 * race.stopwatch.total / seconds:g}"
    )


def print_results(summary: JsonObject, run: RunDirectory, kind: str) -> None:
    """Print scores, the verdict, and the commands that use the network; ``kind`` is of the data."""
    metric = summary["metric"]
    keys = (
        "result", f"test_{metric}", f"network_test_{metric}", f"single_test_{metric}",
        f"tree_test_{metric}", f"valid_{metric}", f"network_valid_{metric}",
        f"baseline_valid_{metric}", "true_accuracy",
        "baseline_true_accuracy", "family", "setting", "parameters", "ensemble_parameters", "macs",
        "latency_ms", "flash_kb", "candidates", "winner_seconds", "seconds", "joules",
        "genotype",
    )  # fmt: skip
    print_summary("find", {key: summary[key] for key in keys if summary.get(key) is not None})
    checkpoint = shlex.quote(f"checkpoint={run.path}")
    count, file = summary.get("predicted_samples"), run.path / PREDICTIONS
    print_lines(
        "",
        *(str(summary[note]) for note in NOTES if note in summary),
        str(summary["verdict"]),
        str(summary["outlook"]),
        *([f"Predictions for {count:,} test samples without labels: {file}"] if count else []),
        "",
        "Next commands:",
        *([f"  darts predict {checkpoint} input=PATH"] if kind in CLASSIFIED else []),
        f"  darts report {shlex.quote(str(run.path))}",
        f"  darts export {checkpoint}",
    )


def write_card(directory: Path, source: Path, networks: Networks, test: JsonObject) -> None:
    """Write the model card of the answer.

    Args:
        directory: Run directory of the race.
        source: Directory of the training run with the weights of the answer.
        networks: The networks of its family.
        test: Test scores of the answer, with names such as "test_accuracy".
    """
    with optional(directory / "model_card.md"):
        trained = read_run(source)
        record = replace(trained, summary={**trained.summary, **test})
        exports, weights = bool(networks.data.input_specs()), networks.space.weights_source
        card = render_model_card(record, exports=exports, weights=weights)
        write_atomically(directory / "model_card.md", card)


def write_predictions(directory: Path, networks: Networks) -> JsonObject:
    """Predict the targets of test samples without labels; return how many for the summary.

    ``predictions.npy`` has the index of the class of each sample, ``(N,)`` int64; or the
    probabilities of its labels or its numbers, ``(N, K)``.

    Args:
        directory: Run directory with the checkpoint of the answer.
        networks: The networks of a family; all families have the same test samples.
    """
    if (samples := networks.data.unlabeled) is None:
        return {}
    config = networks.config
    model = load(directory, resolve_device(config.device))
    found = predict(model, samples, batch_size=config.loader.eval_batch_size)
    values = found.values.argmax(1) if found.targets == CLASSES else found.values
    with open_atomically(directory / PREDICTIONS) as file:
        np.save(file, values.numpy())
    return {"predicted_samples": len(values)}
