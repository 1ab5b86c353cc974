"""The doctor of a search: what it tells, that it changes nothing, how it ends a search."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import darts.recipes.search as search_recipe
from darts.methods.collapse import CollapseChecks
from darts.tracking import read_json
from darts.training.loop import TrainingLoop

QUIET = "tracking.tensorboard=false"
DATA = ("dataset=synthetic", "dataset.samples=48", "loader.batch_size=8", "seed=7")
# Skip dropout and noise draw from the generators that a look must leave alone.
SMALL = (
    *(*DATA, "epochs=4", "space.channels=1", "space.cells=1", "space.candidates=s4"),
    *("arch_optimizer.lr=0.1", "loader.eval_batch_size=8", "collapse.batches=2", "collapse.warmup=0"),
)
FAST = (*DATA, "epochs=4", "space=nas201", "space.channels=1", "space.cells=1", "collapse.warmup=0")

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture(scope="module")
def examined(commands: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A search that is looked at in each second epoch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_recipe, "save_search_figures", lambda *_, **__: None)
        folder = tmp_path_factory.mktemp("examined") / "run"
        return commands.run("search", folder, *SMALL, "collapse.every=2")


def ours(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name.startswith("collapse")}


def test_what_it_tells(examined: Any) -> None:
    rows = [row for row in examined.rows if ours(row)]
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
    assert examined.result["collapse_verdict"] == rows[1]["collapse_verdict"] == examined.json("summary.json")["collapse_verdict"]
    assert examined.result["collapse_healthy_epoch"] == rows[1]["collapse_healthy_epoch"]
    assert examined.result["genotype_epoch"] == 4
    lines = [line for line in examined.out.splitlines() if " loss " in line]
    assert ["collapse" in line for line in lines] == [False, True, False, True]


def test_the_eigenvalue_and_the_gap_in_tensorboard(examined: Any) -> None:
    board = EventAccumulator(str(examined.directory), size_guidance={"tensors": 0})
    board.Reload()
    tags = board.Tags()
    assert {"collapse/gap", "collapse/eigenvalue", "collapse/seconds"} <= set(tags["scalars"])
    assert "margin/normal/0→2" in tags["scalars"]
    assert [event.step for event in board.Scalars("collapse/eigenvalue")] == [6, 12]
    text = board.Tensors("collapse/text_summary")[-1].tensor_proto.string_val[0].decode()
    assert text.startswith("epoch 4\n")


def test_looking_changes_nothing(commands: Any, examined: Any, tmp_path: Path) -> None:
    """Bit for bit: alphas, weights, statistics, optimizers, random states, rows."""
    off = commands.run("search", tmp_path / "off", *SMALL, "collapse.every=0", QUIET)
    on, without = examined.checkpoint, off.checkpoint
    for key in on.keys() - {"energy", "config", "metrics_offset", "diagnosis"}:
        assert commands.same(on[key], without[key]), key
    assert len(on["diagnosis"]) == 2
    assert without["diagnosis"] == []
    assert not ours(off.result)
    for row, other in zip(commands.steps(examined), commands.steps(off), strict=True):
        left = {n: v for n, v in row.items() if n in other}
        assert left == other


class Crash(RuntimeError):
    """Stands for whatever ends a process without warning."""


def test_resumed_between_two_looks(commands: Any, examined: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    given = (*SMALL, "collapse.every=2", "save_minutes=0", QUIET)
    begun = partial(commands.run, "search", folder, *given)
    commands.crash("search", 10, begun)  # in the last epoch
    done = commands.exactly("search", [f"resume={folder}"], folder)
    for key in done.checkpoint.keys() - {"energy", "config", "metrics_offset"}:
        assert commands.same(done.checkpoint[key], examined.checkpoint[key]), key
    assert commands.steps(done) == commands.steps(examined)
    assert ours(done.result) == ours(examined.result)


def complaining_from(epoch: int) -> Callable[..., list[str]]:
    """Stands for the rules: something is wrong from an epoch on."""
    return lambda self, looks: ["all is lost"] if looks[-1].epoch >= epoch else []


@pytest.mark.parametrize(
    ("action", "epochs", "chosen"), [("warn", 4, 4), ("stop", 3, 3), ("rollback", 3, 2)]
)
def test_actions(
    commands: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    action: str,
    epochs: int,
    chosen: int,
) -> None:
    monkeypatch.setattr(CollapseChecks, "findings", complaining_from(3))
    folder = tmp_path / "run"
    done = commands.run("search", folder, *FAST, "collapse.every=1", f"collapse.action={action}", QUIET)
    assert len(done.rows) == epochs
    assert done.out.count("warning: collapse: all is lost") == epochs - 2
    assert done.result["genotype_epoch"] == chosen
    assert done.result["genotype"] == done.rows[chosen - 1]["genotype"]
    assert done.result["collapse_verdict"] == done.rows[-1]["collapse_verdict"] == "all is lost"
    assert done.result["collapse_healthy_epoch"] == 2
    text = (folder / "genotype.json").read_text(encoding="utf-8")
    assert text == done.checkpoint["genotypes"][chosen - 1]
    assert ("the genotype is that of epoch" in done.out) == (action != "warn")


def test_there_may_be_nothing_to_go_back_to(
    commands: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CollapseChecks, "findings", complaining_from(0))
    given = (*FAST, "collapse.every=2", "collapse.action=rollback", QUIET)
    done = commands.run("search", tmp_path / "run", *given)
    assert len(done.rows) == done.result["genotype_epoch"] == 4
    assert done.out.count("no healthy epoch to roll back to; the search continues") == 2
    assert done.result["collapse_healthy_epoch"] is None


def test_a_stop_survives_a_kill(
    commands: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed right behind the checkpoint that has decided it."""
    monkeypatch.setattr(CollapseChecks, "findings", complaining_from(3))
    folder = tmp_path / "run"
    given = (*FAST, "collapse.every=1", "collapse.action=rollback", QUIET)

    with monkeypatch.context() as patch:
        real = TrainingLoop.save
        calls = iter(range(100))

        def save(loop: TrainingLoop) -> None:
            real(loop)
            if next(calls) == 2:
                raise Crash

        patch.setattr(TrainingLoop, "save", save)
        with pytest.raises(Crash):
            commands.run("search", folder, *given)
    done = commands.exactly("search", [f"resume={folder}"], folder)
    assert len(done.rows) == 3
    assert done.result["genotype_epoch"] == 2


def test_an_eigenvalue_is_computed_once(
    commands: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a stopping rule that needs it in each epoch, the doctor takes that."""
    from darts.searching import diagnosis

    values = iter([0.25, 0.5, 0.75, 1.0])
    for module in (search_recipe, diagnosis):
        monkeypatch.setattr(module, "dominant_alpha_eigenvalue", lambda *_: next(values))
    given = (*FAST, "collapse.every=2", "stopping=curvature", QUIET)
    done = commands.run("search", tmp_path / "run", *given)
    assert [row["eigenvalue"] for row in done.rows] == [0.25, 0.5, 0.75, 1.0]
    assert [row.get("collapse/eigenvalue") for row in done.rows] == [None, 0.5, None, 1.0]


@pytest.mark.parametrize(
    "overrides",
    [
        ("space=nas201", "method=gdas"),
        ("space=nas201", "method=pc_darts"),
        ("space=macro",),
        ("space=mlp", "space.widths=[4,8]", "metric=loss"),
        ("space.candidates=s2", "method=p_darts", "epochs=3", "space.channels=1", "space.cells=1"),
        ("space.candidates=s2", "memory=checkpoint", "space.channels=1", "space.cells=1"),
        ("space.candidates=s2", "precision=bf16", "method=darts_minus", "space.cells=1"),
        ("space=nas201", "method=fair_darts", "stopping=curvature"),
    ],
)
def test_spaces_and_methods(commands: Any, tmp_path: Path, overrides: tuple[str, ...]) -> None:
    small = [*DATA, "dataset.size=8", QUIET, "epochs=2", "collapse.every=1"]
    if "space=mlp" not in overrides:
        small.append("space.cells=1")
    done = commands.run("search", tmp_path / "run", *small, *overrides)
    assert all(row["collapse/eigenvalue"] is not None for row in done.rows)
    assert all(row["collapse_seconds"] > 0 for row in done.rows)
    if "metric=loss" in overrides:
        row = done.rows[-1]
        before, after = row["collapse/supernet_loss"], row["collapse/path_loss"]
        assert row["collapse/gap"] == pytest.approx(1 - before / after)


def texts(folder: Path) -> list[str]:
    draw = random.Random(0)
    for part, lines in (("train", 60), ("valid", 20), ("test", 20)):
        rows = [" ".join(draw.choices("abcdef", k=6)) for _ in range(lines)]
        (folder / f"{part}.txt").write_text("\n".join(rows) + "\n")
    sizes = ("space.embedding=8", "space.hidden=8", "task.window=9", "loader.batch_size=6")
    return ["task=language_model", "dataset=text", *sizes, "space.nodes=3"]


def pairs(folder: Path) -> list[str]:
    draw = random.Random(0)
    for part, count in (("train", 64), ("valid", 16), ("test", 16)):
        rows = [" ".join(draw.choices("abcdef", k=draw.randrange(1, 5))) for _ in range(count)]
        for ending in ("src", "tgt"):
            (folder / f"{part}.{ending}").write_text("\n".join(rows) + "\n")
    sizes = ("space.embedding=8", "space.hidden=8", "loader.batch_size=16", "space.nodes=2")
    small = ("dataset.subset=64", "task.max_length=6")
    return ["task=translation", "dataset=pairs", *sizes, *small]


def documents(folder: Path) -> list[str]:
    draw = random.Random(0)
    for part, count in (("train", 64), ("test", 16)):
        rows = [f"{i % 2},{' '.join(draw.choices('abcdef', k=5))}" for i in range(count)]
        (folder / f"{part}.csv").write_text("\n".join(["label,text", *rows]) + "\n")
    sizes = ("space.hidden=8", "space.cells=1", "loader.batch_size=16", "space.dropout=0.1")
    return ["task=text_classification", "dataset=documents", *sizes]


@pytest.mark.parametrize("task", [texts, pairs, documents])
def test_tasks_of_language(commands: Any, tmp_path: Path, task: Callable[..., list[str]]) -> None:
    """Whatever the metric and its direction; dropout's draws are left alone, too."""
    data = tmp_path / "data"
    data.mkdir()
    given = [*task(data), f"dataset.root={data}", QUIET, "tracking.figures=false", "epochs=2"]
    runs = []
    for every in (1, 0):
        folder = tmp_path / str(every)
        words = [*given, f"collapse.every={every}", f"hydra.run.dir={folder}"]
        runs.append(commands.exactly("search", words, folder))
    on, off = runs
    metric = on.result["metric"]
    for row in on.rows:
        assert {f"collapse/path_{metric}", "collapse/gap", "collapse/eigenvalue"} <= row.keys()
        assert row["collapse/eigenvalue"] is not None
    for key in ("searcher", "random", "valid_loader", "train_loader", "history"):
        assert commands.same(on.checkpoint[key], off.checkpoint[key]), key
    if task is pairs:  # those of the supernet, not of the path
        told = [(run.directory / "samples.md").read_text() for run in runs]
        assert told[0] == told[1]


def test_random_search_has_nothing_to_judge(commands: Any, tmp_path: Path) -> None:
    given = (*DATA, "epochs=1", "space=nas201", "space.cells=1", "method=random_sharing", QUIET)
    few = ("discretize.samples=2", "discretize.finalists=1", "collapse.every=1")
    done = commands.run("search", tmp_path / "run", *given, *few)
    assert not ours(done.result)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("collapse.action=cure",), "collapse.action='cure' is unknown; choose from warn, stop"),
        (("collapse.every=-1",), "collapse.every=-1: must be"),
        (("collapse.skips=1.5",), "collapse.skips=1.5: must be"),
        (("collapse.action=stop", "collapse.every=0"), "collapse.every=0 checks none of epochs=50"),
        (("collapse.action=rollback", "epochs=4"), "choose collapse.every from 1 to 4"),
        (("collapse.action=stop", "method=random_sharing"), "nothing is checked"),
        (("collapse.evry=1",), "collapse.evry"),
    ],
)
def test_refusals(commands: Any, overrides: tuple[str, ...], message: str) -> None:
    line = commands.refused("search", "dataset=cifar10", *overrides)
    assert message in line


def test_a_dry_run_tells_nothing_of_a_look(commands: Any) -> None:
    done = commands.run("search", None, "dry_run=true", "epochs=5", "collapse.every=1")
    assert "collapse" not in done.out
    assert not ours(done.result)


def test_the_history_is_plain(examined: Any) -> None:
    saved = torch.load(examined.directory / "checkpoint.pt", weights_only=True)
    assert [look["epoch"] for look in saved["diagnosis"]] == [2, 4]
    assert "collapse_seconds" not in str(saved["diagnosis"])
    assert read_json(examined.directory / "summary.json")["command"] == "search"


def test_an_eigenvalue_that_does_not_fit_is_left_out(
    commands: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search goes on as it would have without a look; other errors end it."""
    from darts.bilevel.curvature import AlphaHessian

    def fails_by(kind: type[Exception]) -> Callable[..., Any]:
        def times(*_: Any) -> Any:
            raise kind("no room")

        return times

    given = (*FAST, "collapse.every=2", "dataset.size=8", QUIET)
    monkeypatch.setattr(AlphaHessian, "times", fails_by(torch.OutOfMemoryError))
    done = commands.run("search", tmp_path / "run", *given)
    assert done.out.count("warning: collapse: not enough device memory for the eigenvalue") == 2
    looked = [row for row in done.rows if ours(row)]
    assert [row["collapse/eigenvalue"] for row in looked] == [None, None]
    assert all(0 <= row["collapse/path_accuracy"] <= 1 for row in looked)
    off = commands.run("search", tmp_path / "off", *given, "collapse.every=0")
    assert commands.same(done.checkpoint["searcher"], off.checkpoint["searcher"])
    assert commands.same(done.checkpoint["random"], off.checkpoint["random"])
    monkeypatch.setattr(AlphaHessian, "times", fails_by(RuntimeError))
    with pytest.raises(RuntimeError, match="no room"):
        commands.run("search", tmp_path / "other", *given)
