"""Compare trees with the network that ``darts find`` has found; they may become its answer."""

from __future__ import annotations

from pathlib import Path

from darts.reading import JsonObject
from darts.recipes.gain import Gain, measure_gain
from darts.recipes.trees import FILE, TreeScores
from darts.tasks.metrics import Metric
from darts.tracking.formats import format_duration, format_value
from darts.training.checkpoint import FILE as CHECKPOINT
from darts.writing import write_atomically


def compare_trees(
    run: Path, trees: TreeScores, summary: JsonObject, metric: Metric, *, can_win: bool
) -> JsonObject:
    """Return a summary with the scores of trees and a sentence that compares them.

    Args:
        run: Run directory with the checkpoint of the network, and the file of the trees.
        trees: The scores of the trees.
        summary: The summary of the network.
        metric: The steering metric.
        can_win: Whether trees with a better validation score become the answer: their file becomes
            the checkpoint, and scores and verdict of the network get names with "network_".
    """
    name = metric.name
    values = {**summary, "tree_setting": trees.setting, "tree_seconds": trees.seconds}
    scores: JsonObject = {f"valid_{name}": trees.valid}
    if f"test_{name}" in summary:
        gain = measure_gain(run / FILE, run, metric=name)
        scores |= {f"test_{key}": score for key, score in gain.found.items()}
        values |= {**gain.entries("tree_gain"), "tree_note": _note(trees, name, gain)}
    values |= {f"tree_{key}": score for key, score in scores.items()}
    wins = trees.valid is not None and not metric.prefers(summary[f"valid_{name}"], trees.valid)
    if can_win and wins:
        write_atomically(run / CHECKPOINT, (run / FILE).read_bytes())
        (run / "model_card.md").unlink(missing_ok=True)  # of the network
        own = [key for key in summary if key.startswith("valid_") or key in scores]
        values |= {f"network_{key}": values.pop(key) for key in own} | scores
        values["network_verdict"] = summary["verdict"]
        values["verdict"] = f"The trees are the result: their valid_{name} is better."
    return values | {"result": "trees" if can_win and wins else "network"}


def _note(trees: TreeScores, metric: str, gain: Gain) -> str:
    """Return a sentence that compares trees with a network on the test split."""
    verdict = "which may be chance"
    if gain.is_significant:
        verdict = f"so the {'trees are' if gain.difference > 0 else 'network is'} better"
    score = format_value(f"test_{metric}", gain.found[metric])
    return (
        f"Gradient-boosted trees, the best of {trees.trials} settings in "
        f"{format_duration(trees.seconds)}, have a test_{metric} of {score}; the difference to the "
        f"network is {gain.text(metric)}, {verdict}."
    )
