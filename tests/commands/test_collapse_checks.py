"""Collapse checks of a search: their log, that they change nothing, and their actions."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import command_calls as commands
import pytest
import torch
from end_states import NOT_REPRODUCIBLE, identical
from tiny_tasks import CASES

from darts.methods.bilevel.curvature import AlphaHessian
from darts.methods.collapse import CollapseChecks
from darts.recipes import inspection, search
from darts.searching.flaws import FlawFinder
from darts.tracking import Console
from darts.training.loop import TrainingLoop

CURVATURE = "collapse.ratio=0.75"
DATA = ("dataset=synthetic", "dataset.samples=48", "loader.batch_size=8", "seed=7", CURVATURE)
# The noise of S4 draws from the random generators that a check must not change.
SMALL = (
    *(*DATA, "epochs=4", "space.channels=1", "space.cells=1", "space.candidates=s4"),
    *("arch_optimizer.lr=0.1", "loader.eval_batch_size=8", "collapse.batches=2"),
    "collapse.warmup=0",
)
FAST = (*DATA, "epochs=4", "space=nas201", "space.channels=1", "space.cells=1", "collapse.warmup=0")


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A search with a collapse check in every second epoch."""
    folder = tmp_path_factory.mktemp("checked") / "run"
    tracking = ("tracking.tensorboard=true", "tracking.edge_curves=true")
    return commands.run("search", folder, *SMALL, "collapse.every=2", *tracking)


def collapse_values(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name.startswith("collapse")}


def test_checks_add_scores_and_a_verdict_to_rows_and_summary(checked: Any) -> None:
    rows = [row for row in checked.rows if collapse_values(row)]
    assert [row["epoch"] for row in rows] == [2, 4]
    for row in rows:
        assert row["collapse_seconds"] > 0
        assert 0 <= row["collapse/path_accuracy"] <= 1
        assert row["collapse/eigenvalue"] != 0
        assert row["collapse/normal/skips"] == 0  # S4 has none
        assert row["collapse/normal/weightless"] >= 0
        assert row["entropy/normal/mean"] >= row["margin/normal/mean"] >= 0
        assert isinstance(row["collapse_verdict"], str)
    assert rows[0]["collapse/drift"] is None
    assert 0 <= rows[1]["collapse/drift"] <= 1
    for summary in (checked.result, checked.json("summary.json")):
        assert summary["collapse_verdict"] == rows[1]["collapse_verdict"]
        assert summary["collapse_healthy_epoch"] == rows[1]["collapse_healthy_epoch"]
    assert checked.result["genotype_epoch"] == 4
    lines = [line for line in checked.out.splitlines() if " loss " in line]
    assert ["collapse" in line for line in lines] == [False, True, False, True]


def test_tensorboard_shows_eigenvalue_gap_and_verdict(checked: Any) -> None:
    board = checked.board
    tags = board.Tags()
    assert {"collapse/gap", "collapse/eigenvalue", "collapse/seconds"} <= set(tags["scalars"])
    assert {"margin/normal/mean", "alpha/reduce/0→2/sep_conv_3x3"} <= {*tags["scalars"]}
    assert [event.step for event in board.Scalars("collapse/eigenvalue")] == [6, 12]
    text = board.Tensors("collapse/text_summary")[-1].tensor_proto.string_val[0].decode()
    assert text.startswith("epoch 4\n")


def test_checks_do_not_change_the_search(checked: Any, tmp_path: Path) -> None:
    unchecked = commands.run("search", tmp_path / "off", *SMALL, "collapse.every=0")
    saved, expected = checked.checkpoint, unchecked.checkpoint
    for key in saved.keys() - NOT_REPRODUCIBLE - {"diagnosis"}:
        assert identical(saved[key], expected[key]), key
    assert len(saved["diagnosis"]) == 2
    assert "diagnosis" not in expected
    assert not collapse_values(unchecked.result)
    rows, expected_rows = map(commands.rows_without_costs, (checked, unchecked))
    for row, expected_row in zip(rows, expected_rows, strict=True):
        assert {name: row[name] for name in expected_row} == expected_row


def test_a_crash_between_checks_does_not_change_the_search(checked: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    overrides = (*SMALL, "collapse.every=2", "save_minutes=0")
    commands.crash(10, partial(commands.run, "search", folder, *overrides))  # in the last epoch
    done = commands.call("search", [f"resume={folder}"], folder)
    commands.assert_same_run(done, checked)
    assert collapse_values(done.result) == collapse_values(checked.result)


def test_a_check_that_a_signal_ends_is_repeated_on_resume(
    checked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C ends the eigenvalue before its next product; the search saves itself and exits."""
    folder = tmp_path / "run"
    products: list[torch.Tensor] = []
    shown: list[str] = []
    original = AlphaHessian.times

    def times(hessian: AlphaHessian, vector: torch.Tensor) -> torch.Tensor:
        products.append(vector)
        if len(products) == 2:
            signal.raise_signal(signal.SIGINT)
        return original(hessian, vector)

    with monkeypatch.context() as patch:
        patch.setattr(AlphaHessian, "times", times)
        patch.setattr(Console, "status", lambda console, text: shown.append(text))
        with pytest.raises(SystemExit, match=r"^130$"):
            commands.run("search", folder, *SMALL, "collapse.every=2")
    assert len(products) == 2
    shown = [text for text, _ in groupby(shown)]
    parts = [f"collapse check: eigenvalue, part {part} of at most 40" for part in (1, 2)]
    assert shown == ["", "collapse check: path score", "collapse check: eigenvalue", *parts, ""]
    done = commands.call("search", [f"resume={folder}"], folder)
    commands.assert_same_run(done, checked)
    assert collapse_values(done.result) == collapse_values(checked.result)


def warn_from(epoch: int) -> Callable[..., list[str]]:
    """Return a replacement of ``CollapseChecks.findings`` with a finding from an epoch on."""
    return lambda self, checks: ["collapsed"] if checks[-1].epoch >= epoch else []


@pytest.fixture
def flawless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that these tiny searches have learned something."""
    monkeypatch.setattr(FlawFinder, "find", lambda *_: [])
    monkeypatch.setattr(search, "uniform_alphas", lambda _: None)


@pytest.mark.usefixtures("flawless")
@pytest.mark.parametrize(
    ("action", "epochs", "chosen"), [("warn", 4, 4), ("stop", 3, 3), ("rollback", 3, 2)]
)
def test_the_action_decides_whether_the_search_ends_and_with_which_genotype(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str, epochs: int, chosen: int
) -> None:
    monkeypatch.setattr(CollapseChecks, "findings", warn_from(3))
    folder = tmp_path / "run"
    overrides = (*FAST, "collapse.every=1", f"collapse.action={action}")
    done = commands.run("search", folder, *overrides)
    assert len(done.rows) == epochs
    assert done.out.count("warning: collapse: collapsed") == epochs - 2
    assert done.result["genotype_epoch"] == chosen
    assert done.result["genotype"] == done.rows[chosen - 1]["genotype"]
    assert done.result["collapse_verdict"] == done.rows[-1]["collapse_verdict"] == "collapsed"
    assert done.result["collapse_healthy_epoch"] == 2
    text = (folder / "genotype.json").read_text(encoding="utf-8")
    assert text == done.checkpoint["genotypes"][chosen - 1]
    assert ("the genotype is from epoch" in done.out) == (action != "warn")


def test_a_rollback_without_a_healthy_epoch_continues_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CollapseChecks, "findings", warn_from(0))
    overrides = (*FAST, "collapse.every=2", "collapse.action=rollback")
    done = commands.run("search", tmp_path / "run", *overrides)
    assert len(done.rows) == done.result["genotype_epoch"] == 4
    assert done.out.count("no healthy epoch to roll back to; the search continues") == 2
    assert done.result["collapse_healthy_epoch"] is None


@pytest.mark.usefixtures("flawless")
def test_a_search_that_crashes_after_its_rollback_is_not_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The crash comes right after the checkpoint that contains the decision."""
    monkeypatch.setattr(CollapseChecks, "findings", warn_from(3))
    folder = tmp_path / "run"
    overrides = (*FAST, "collapse.every=1", "collapse.action=rollback")

    with monkeypatch.context() as patch:
        original = TrainingLoop.save
        calls = iter(range(100))

        def save(loop: TrainingLoop) -> None:
            original(loop)
            if next(calls) == 2:
                raise RuntimeError("crashed")

        patch.setattr(TrainingLoop, "save", save)
        with pytest.raises(RuntimeError, match="crashed"):
            commands.run("search", folder, *overrides)
    done = commands.call("search", [f"resume={folder}"], folder)
    assert len(done.rows) == 3
    assert done.result["genotype_epoch"] == 2


def test_checks_reuse_the_eigenvalue_of_the_stopping_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stopping rule needs an eigenvalue per epoch; the fifth call would fail."""
    values = iter([0.25, 0.5, 0.75, 1.0])
    monkeypatch.setattr(inspection.Inspection, "_eigenvalue", lambda *_: next(values))
    overrides = (*FAST, "collapse.every=2", "stopping=curvature")
    done = commands.run("search", tmp_path / "run", *overrides)
    assert [row["eigenvalue"] for row in done.rows] == [0.25, 0.5, 0.75, 1.0]
    assert [row.get("collapse/eigenvalue") for row in done.rows] == [None, 0.5, None, 1.0]


@pytest.mark.parametrize(
    "overrides",
    [
        ("space=nas201", "method=gdas"),
        ("space=mlp", "space.widths=[4,8]", "metric=loss"),
        ("space.candidates=s2", "method=p_darts", "epochs=3", "space.channels=1", "space.cells=1"),
        pytest.param(
            ("space.candidates=s2", "precision=bf16", "method=darts_minus", "space.cells=1"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_checks_work_in_every_space_and_method(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    small = [*DATA, "dataset.size=8", "epochs=2", "collapse.every=1"]
    if "space=mlp" not in overrides:
        small.append("space.cells=1")
    done = commands.run("search", tmp_path / "run", *small, *overrides)
    assert all(row["collapse/eigenvalue"] is not None for row in done.rows)
    assert all(row["collapse_seconds"] > 0 for row in done.rows)
    if "metric=loss" in overrides:
        row = done.rows[-1]
        before, after = row["collapse/supernet_loss"], row["collapse/path_loss"]
        assert row["collapse/gap"] == pytest.approx(1 - before / after)


def test_checks_do_not_change_searches_of_text_tasks(tmp_path: Path) -> None:
    """They score by the metric of the task and do not advance the random draws of dropout."""
    case = CASES["language_model"]
    overrides = [*case.data(tmp_path / "data"), *case.search, CURVATURE]
    runs = []
    for every in (1, 0):
        folder = tmp_path / str(every)
        own = [f"collapse.every={every}", f"hydra.run.dir={folder}"]
        runs.append(commands.call("search", [*overrides, *own], folder))
    with_checks, without = runs
    metric = with_checks.result["metric"]
    for row in with_checks.rows:
        assert {f"collapse/path_{metric}", "collapse/gap", "collapse/eigenvalue"} <= row.keys()
        assert row["collapse/eigenvalue"] is not None
    for key in ("searcher", "random", "valid_loader", "train_loader", "history"):
        assert identical(with_checks.checkpoint[key], without.checkpoint[key]), key


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("collapse.action=stop", "collapse.every=0"), "collapse.every=0 checks none of epochs=50"),
        (("collapse.action=rollback", "epochs=4"), "choose collapse.every from 1 to 4"),
        (("collapse.action=stop", "method=random_sharing"), "so no collapse check runs"),
    ],
)
def test_invalid_options_of_checks_are_refused(overrides: tuple[str, ...], message: str) -> None:
    line = commands.error_of("search", "dataset=cifar10", *overrides)
    assert message in line
