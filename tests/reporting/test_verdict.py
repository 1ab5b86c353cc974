"""The first sentences of the article of a run."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pytest

from darts.reporting import RunRecord, render_page
from darts.reporting.verdict import next_command


def record(command: str, **values: Any) -> RunRecord:
    """Return the record of a run whose other files are missing."""
    names = {"space": {"name": "mlp"}, "task": {"name": "classification"}}
    config = {"metric": "accuracy", "epochs": 20, **names, "dataset": {"name": "csv"}}
    given = {"directory": Path("runs/my run"), "command": command, "config": config}
    return RunRecord(**{**given, **values})


def verdict(run: RunRecord) -> tuple[str, bool]:
    """Return the first paragraph of the article of a run, and whether it is a warning."""
    page = html.unescape(render_page([run]))
    found = re.search(r'</span>\s*<p( class="warn")?>(.*?)</p>', page, re.DOTALL)
    return found[2], found[1] is not None


SEARCH = {"valid_accuracy": 0.853}


def test_a_search_says_that_its_score_is_that_of_the_supernet() -> None:
    text, doubtful = verdict(record("search", summary=SEARCH))
    assert "The supernet has a valid accuracy of 85.30 %" in text
    assert "was not checked for collapse" in text
    assert not doubtful


def test_a_healthy_search_can_be_trusted_and_a_collapsed_one_not() -> None:
    healthy = record("search", summary=SEARCH, rows=[{"epoch": 1, "collapse_verdict": "healthy"}])
    assert verdict(healthy)[0].endswith("no sign of collapse.")
    summary = {**SEARCH, "collapse_verdict": "too many skip connections"}
    text, doubtful = verdict(record("search", summary=summary))
    assert "the last collapse check says too many skip connections" in text
    assert doubtful


@pytest.mark.parametrize("command", ["search", "retrain"])
def test_a_worthless_result_is_called_so_and_has_no_next_command(command: str) -> None:
    run = record(command, summary={**SEARCH, "worthless": "the loss is nan"})
    assert verdict(run) == ("The result is worthless: the loss is nan.", True)
    assert next_command(run) == ""


@pytest.mark.parametrize(
    ("command", "summary", "expected"),
    [
        (
            "retrain",
            {"test_accuracy": 0.9, "valid_accuracy": 0.8, "epoch": 7},
            "The trained network has a test accuracy of 90.00 %, with the weights of epoch 7 of "
            "20.",
        ),
        (
            "evaluate",
            {"valid_accuracy": 0.8, "samples": 1500},
            "The evaluated network has a valid accuracy of 80.00 %, measured on 1,500 samples.",
        ),
        ("tune", {"valid_accuracy": 0.7}, "The best trial has a valid accuracy of 70.00 %."),
        ("find", {"verdict": "The baseline won."}, "The baseline won."),
        ("retrain", {"parameters": 3}, "The trained network has no score."),
    ],
)
def test_a_complete_run_says_what_it_found(
    command: str, summary: dict[str, Any], expected: str
) -> None:
    assert verdict(record(command, summary=summary)) == (expected, False)


def test_a_race_says_what_pretrained_weights_were_worth() -> None:
    summary = {"verdict": "The baseline won.", "pretrained_note": "The weights alone had 70 %."}
    assert "<p>The weights alone had 70 %.</p>" in render_page([record("find", summary=summary)])


def test_the_next_command_of_a_search_retrains_on_the_same_data() -> None:
    overrides = ["dataset=csv", "dataset.root=a b.csv", "space=mlp", "space.cells=2", "epochs=3"]
    run = record("search", summary=SEARCH, overrides=overrides)
    start = "python -m darts.retrain genotype='runs/my run' space=mlp "
    assert next_command(run) == start + "dataset=csv 'dataset.root=a b.csv'"
    overrides = ["experiment/search=nas201_cpu", "hydra.run.dir=x", "seed=3", "dataset.root=${x}"]
    run = record("search", summary=SEARCH, overrides=overrides)
    assert next_command(run) == start + "experiment=nas201_cpu seed=3"


def test_a_configuration_cannot_put_other_words_into_the_next_command() -> None:
    config = {"space": {"name": "$(reboot)"}, "dataset": {"name": "${oc.env:HOME}"}, "task": 3}
    run = record("search", summary=SEARCH, overrides=[], config=config)
    assert next_command(run) == "python -m darts.retrain genotype='runs/my run'"
    config["space"] = {"name": "mlp"}
    run = record("search", summary=SEARCH, overrides=[], config=config)
    assert next_command(run) == "python -m darts.retrain genotype='runs/my run' task= space=mlp"
