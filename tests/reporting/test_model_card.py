"""Model cards of retrained networks."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from darts.reporting import RunRecord, render_model_card
from darts.spaces.cnn import PUBLISHED


def record(**changes: Any) -> RunRecord:
    """Return the record of a finished retraining with some attributes changed."""
    summary = {
        "epoch": 3,
        "epochs": 5,
        "seed": 7,
        "device": "cpu",
        "parameters": 1234,
        "macs": 56789,
        "valid_accuracy": 0.75,
        "test_accuracy": 0.625,
        "valid_loss": 1.5,
        "git_revision": "abc123",
        "metric": "accuracy",
    }
    phases = [
        {"phase": phase, "source": source, "seconds": 60.0, "joules": joules, "gco2e": 1.0}
        for phase, source, joules in (
            ("training", "nvml", 1000.0),
            ("training", "rapl", 20.0),
            ("test", "nvml", 500.0),
        )
    ]
    return dataclasses.replace(
        RunRecord(
            directory=Path("run"),
            command="retrain",
            config={
                "name": "pipes | and *stars*",
                "selection": "best",
                "metric": "accuracy",
                "epochs": 5,
                "task": {"name": "classification"},
                "dataset": {"name": "digits"},
                "space": {"name": "cnn", "channels": 12},
                "optimizer": {"lr": 0.025},
            },
            summary=summary,
            phases=phases,
            gco2_per_kwh=480.0,
            genotype=PUBLISHED["DARTS_V2"].genotype,
            samples={"train": 1200, "valid": 100},
        ),
        **changes,
    )


def test_card_shows_scores_genotype_data_settings_and_commands() -> None:
    card = render_model_card(record())
    for text in (
        "# pipes \\| and \\*stars\\*",
        "classification",
        "digits",
        "epoch 3 of 5",
        "| accuracy | 75.00 % | 62.50 % |",
        "| loss | 1.5 |  |",
        "1,234",
        "56,789",
        str(PUBLISHED["DARTS_V2"].genotype),
        "| train | 1,200 |",
        "| valid | 100 |",
        "| optimizer.lr | 0.025 |",
        "480 g",
        "seed 7",
        "`abc123`",
        "darts.evaluate checkpoint=RUN",
        "darts.export checkpoint=RUN",
    ):
        assert text in card


def test_costs_are_summed_over_phases_but_not_over_sources() -> None:
    card = render_model_card(record())
    assert "| nvml | 0:02:00 | 1,500 | 2 |" in card
    assert "| rapl | 0:01:00 | 20 | 1 |" in card
    assert "1,520" not in card


def test_limitations_name_missing_scores_and_a_selected_epoch() -> None:
    both = render_model_card(record())  # validation and test scores
    assert "selected on the validation data" in both
    assert "scored once" in both
    summary = {k: v for k, v in record().summary.items() if not k.startswith(("test_", "valid_"))}
    last = {**record().config, "selection": "last"}
    neither = render_model_card(record(summary=summary, config=last))
    assert "There is no test score." in neither
    assert "No data was held out" in neither
    assert "selected on the validation data" not in neither
    assert "scored once" not in neither


def test_card_without_support_for_export_omits_the_command() -> None:
    assert "darts.export" not in render_model_card(record(), exports=False)


def test_search_or_unfinished_retraining_raises() -> None:
    with pytest.raises(ValueError, match="is not a finished retraining"):
        render_model_card(record(command="search"))
    with pytest.raises(ValueError, match="is not a finished retraining"):
        render_model_card(record(summary={}))
