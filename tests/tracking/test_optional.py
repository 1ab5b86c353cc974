"""Files that a run can do without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
import torch

import darts.plotting.run_figures as run_figures
import darts.plotting.study_figures as study_figures
from darts.tracking.optional import optional


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("two\nlines"), "two lines"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
        (RecursionError(), "RecursionError: RecursionError"),
    ],
)
def test_error_becomes_one_warning(error: Exception, reason: str) -> None:
    with pytest.warns(UserWarning, match="curves") as caught, optional("curves.png") as failures:
        raise error
    assert [str(warning.message) for warning in caught] == [f"curves.png was not made: {reason}"]
    assert failures == [reason]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
def test_end_of_a_run_is_not_swallowed(error: type[BaseException]) -> None:
    with pytest.raises(error), optional("curves.png"):
        raise error


def test_figure_that_fails_prevents_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> Any:
        raise ZeroDivisionError("no")

    rows = [{"epoch": 1, "train_loss": 0.5}]
    counts = torch.eye(2)

    class Objective:
        def confusion_matrix(self) -> torch.Tensor:
            return counts

    monkeypatch.setattr(run_figures, "draw_confusion", fail)
    with pytest.warns(UserWarning, match=r"confusion\.svg was not made"):
        run_figures.save_confusion(tmp_path / "confusion.svg", Objective(), ["a", "b"])
    run_figures.save_training_figures(tmp_path, rows, title="$\\frac$")
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]
    with pytest.warns(UserWarning, match=r"curves\.png was not made"):
        run_figures.save_training_figures(tmp_path, [], title="no rows")

    study = optuna.create_study(directions=["minimize"] * 2)
    study.add_trial(optuna.create_trial(values=[1.0, 2.0]))
    monkeypatch.setattr(study_figures, "draw_history", fail)
    with pytest.warns(UserWarning, match=r"history\.svg was not made"):
        study_figures.save_study_figures(tmp_path / "study", study, ["loss", "macs"])
    assert [path.name for path in (tmp_path / "study").iterdir()] == ["front_macs.svg"]
