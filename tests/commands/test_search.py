"""``darts search``: its files, output, summary and rates, and repeated epochs."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import command_calls as commands
import pytest
import torch
import yaml
from end_states import NOT_REPRODUCIBLE, identical

import darts.training.restarts as divergence
from darts.config import SearchConfig, compose, rebuild
from darts.recipes.search import Search
from darts.spaces import Genotype


def test_the_summary_is_flat_and_has_no_test_scores(search_run: Any) -> None:
    summary = search_run.json("summary.json")
    assert summary == json.loads(json.dumps(search_run.result))
    assert not [key for key, value in summary.items() if isinstance(value, (dict, list))]
    assert 0 <= summary["valid_accuracy"] <= 1
    assert 0 <= summary["valid_macro_f1"] <= 1
    assert summary["metric"] == "accuracy"
    assert summary["seed"] == 3
    assert summary["flops"] == 2 * summary["macs"] > 0
    assert summary["parameters"] > 0
    assert summary["seconds"] > 0
    assert summary["joules"] >= 0
    assert isinstance(summary["joules_source"], str)
    assert "git_revision" in summary
    assert not [key for key in summary if key.startswith("test")]


def test_the_run_directory_contains_all_files_which_can_be_read_back(search_run: Any) -> None:
    commands.assert_files(search_run, "alphas.json")
    text = (search_run.directory / "config.yaml").read_text(encoding="utf-8")
    config = rebuild(SearchConfig, yaml.safe_load(text))
    assert (config.seed, config.dataset.name, config.epochs) == (3, "synthetic", 2)
    genotype = Genotype.parse((search_run.directory / "genotype.json").read_text(encoding="utf-8"))
    assert str(genotype) == search_run.result["genotype"]
    assert str(genotype) in search_run.out
    assert "none" not in {name for cell in genotype.cells for _, _, name in genotype.edges(cell)}
    assert (search_run.directory / "genotype.svg").read_text(encoding="utf-8").lstrip()[0] == "<"
    assert {"python", "versions", "command"} <= search_run.json("env.json").keys()


def test_a_search_writes_one_row_per_epoch(search_run: Any) -> None:
    rows = search_run.rows
    assert [row["epoch"] for row in rows] == [1, 2]
    assert [row["step"] for row in rows] == [1, 2]  # one batch of 32 images per epoch
    for row in rows:
        for key in ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy"):
            assert math.isfinite(row[key])
        assert row["grad_norm"] > 0
        assert row["arch_grad_norm"] > 0
        Genotype.parse(row["genotype"])
    assert rows[0]["lr"] > rows[1]["lr"] > 0
    assert rows[0]["seconds"] < rows[1]["seconds"]
    assert rows[-1]["valid_accuracy"] == search_run.result["valid_accuracy"]
    assert rows[-1]["genotype"] == search_run.result["genotype"]


def test_the_first_lines_say_what_the_run_will_do(search_run: Any, retrain_run: Any) -> None:
    first, second = search_run.out.splitlines()[:2]
    assert f"searching in {search_run.directory}" in first
    data = "synthetic: 32 samples for the weights, 32 for the alphas; 10 classes; 3x8x8 inputs"
    assert f"{data}; 2 epochs on cpu" in second
    text = "samples for training, "
    (line,) = [line for line in retrain_run.out.splitlines() if text in line]
    assert "for validation; 10 classes; 3x8x8 inputs; 3 epochs on cpu" in line


def test_tensorboard_shows_metrics_alphas_and_genotypes(search_run: Any) -> None:
    board = search_run.board
    tags = board.Tags()
    assert {"alphas/normal", "alphas/reduce", "genotype"} <= set(tags["images"])
    assert len(board.Images("alphas/normal")) == 2
    scalars = set(tags["scalars"])
    expected = {f"{name}/{split}" for name in ("accuracy", "loss") for split in ("train", "valid")}
    expected |= {"lr/weights", "lr/alphas", "norm/grad", "norm/arch_grad"}
    for cell in ("normal", "reduce"):
        expected |= {f"genotype/{cell}/skip_connect", f"entropy/{cell}/mean"}
    assert expected <= scalars
    groups = Counter(tag.partition("/")[0] for tag in scalars if "/" in tag)
    assert max(groups.values()) <= 10
    assert min(groups) == "accuracy"  # TensorBoard opens on it
    layout = board.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0]
    assert b"loss/.*" in layout
    assert b"accuracy/.*" in layout
    texts = [tag for tag in tags["tensors"] if tag.startswith("genotype")]
    shown = board.Tensors(texts[0])[-1].tensor_proto.string_val[0]
    assert search_run.result["genotype"].encode() in shown
    # The HPARAMS page of TensorBoard reads these summaries.
    session = board.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"arch_optimizer.lr" in session
    assert b"tracking" not in session
    assert "hparams" in board.summary_metadata["_hparams_/experiment"].plugin_data.plugin_name


def test_the_printed_commands_retrain_and_evaluate_the_genotype(tmp_path: Path) -> None:
    """The run directories have special characters.

    The search writes no figures, and its genotype file is not needed after the retraining.
    """
    folder = tmp_path / "it's (1) größer=better"
    done = commands.run("search", folder, "space.channels=1", "seed=3", "epochs=1")
    names = {file.name for file in folder.iterdir()}
    assert {"alphas.json", "summary.json"} <= names
    assert not [name for name in names if name.endswith((".svg", ".png"))]
    arguments = commands.printed_arguments(done.out, "retrain")
    expected = {f"genotype={folder}", "dataset=synthetic", "dataset.samples=64", "seed=3"}
    assert expected <= set(arguments)
    retrain_folder = tmp_path / "it's (2) größer=better"
    trained = commands.run("retrain", retrain_folder, *arguments, "epochs=1")
    file = folder / "genotype.json"
    genotype = Genotype.parse(file.read_text(encoding="utf-8"))
    assert (trained.result["genotype"], trained.result["seed"]) == (str(genotype), 3)
    file.unlink()
    arguments = commands.printed_arguments(trained.out, "evaluate")
    assert arguments == [f"checkpoint={retrain_folder}"]
    scored = commands.call("evaluate", [*arguments, f"hydra.run.dir={tmp_path / 'scored'}"])
    assert scored.result["test_accuracy"] == trained.result["test_accuracy"]


@pytest.mark.parametrize(
    "overrides",
    [
        ("precision=bf16",),
        ("space.cells=1",),  # only a reduction cell
        ("space.cells=3", "dataset.size=9", "dataset.channels=1", "dataset.classes=3"),
        ("train_portion=0.8", "dataset.subset=40", "optimizer.clip=0", "metric=loss"),
        pytest.param(("space.candidates=s1", "space.cells=2"), marks=pytest.mark.slow),
        ("space.candidates=s4", "memory=checkpoint"),  # random draws within cells
    ],
)
def test_searches_support_sizes_and_options(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    done = commands.run("search", tmp_path / "run", "epochs=1", *overrides)
    assert math.isfinite(done.result["valid_loss"])
    assert not list(tmp_path.glob("run/events*"))


NO_TENSORBOARD = "tracking.tensorboard=false"
SLOW = (
    *("dataset=synthetic", "dataset.samples=48", "loader.batch_size=8", "seed=7"),
    *("space=nas201", "space.channels=1", "space.cells=1", "collapse.every=0"),
    *("epochs=5", "arch_optimizer.lr=1e-5", "tracking.figures=false"),
)


def test_the_raised_rate_is_used_and_reported(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    done = commands.call("search", [*SLOW, f"hydra.run.dir={folder}"], folder)
    expected = [1e-5, 3e-5, 9e-5, 27e-5, 27e-5]
    assert [row["arch_lr"] for row in done.rows] == pytest.approx(expected)
    assert done.result["arch_lr"] == pytest.approx(27e-5)
    assert done.out.count("no edge prefers an operation") == 3
    assert "raised from 1e-05 to 3e-05 (raise 1 of 3)" in done.out
    saved = done.checkpoint
    assert saved["raises"] == 3
    rates = [group["lr"] for group in saved["searcher"]["arch_optimizer"]["param_groups"]]
    assert rates == pytest.approx([27e-5])
    values = [event.value for event in done.board.Scalars("lr/alphas")]
    assert values == pytest.approx(expected)


@pytest.mark.slow
def test_a_search_with_raises_that_is_killed_ends_like_an_unbroken_one(tmp_path: Path) -> None:
    """The run ends within the third epoch, after two raises; an epoch has three steps."""
    commands.assert_resume_is_exact("search", [*SLOW, NO_TENSORBOARD], tmp_path, steps=7)


def test_searches_on_own_data_may_raise_their_rate_and_published_ones_keep_it() -> None:
    published = [f"dataset={name}" for name in ("cifar10", "cifar100", "svhn", "imagenet")]
    published += [f"experiment={name}" for name in ("cifar10_cpu", "nas201_cpu", "nas_bench_macro")]
    for line in (*published, "task=language_model dataset=ptb"):
        assert compose("search", line.split()).arch_optimizer.raises == 0, line
    for space in ("cnn", "nas201", "macro", "mlp"):
        config = compose("search", ["dataset=imagefolder", "dataset.root=x", f"space={space}"])
        assert config.arch_optimizer.raises == 3, space


DATA = ("dataset.samples=48", "loader.workers=0", "collapse.every=0")
DIVERGING = (
    *(*DATA, "space=mlp", "space.normalization=none", "epochs=3", "loader.batch_size=4"),
    *("optimizer.lr=10", "optimizer.clip=0"),
)
CELLS = (*DATA, "space.channels=4", "space.cells=1", "loader.batch_size=8", "seed=7")


@pytest.fixture(scope="module")
def restarted(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return commands.run("search", tmp_path_factory.mktemp("restarted") / "run", *DIVERGING)


def test_a_search_that_diverges_restarts_at_a_lower_rate(restarted: Any) -> None:
    done = restarted
    count = done.result["restarts"]
    assert count == done.checkpoint["restarts"] > 0
    assert done.out.count("at 0.3 times the learning rate") == count
    assert [row["epoch"] for row in done.rows] == [1, 2, 3]
    assert done.rows[0]["lr"] == pytest.approx(0.3**count * 10)
    assert all(math.isfinite(row["train_loss"]) for row in done.rows)
    assert not (done.directory / "diverged.json").exists()


def test_a_restarted_search_that_is_killed_resumes_exactly(restarted: Any, tmp_path: Path) -> None:
    """It is killed in the first step after a restart: each epoch has six steps."""
    commands.crash(6, lambda: commands.run("search", tmp_path / "run", *DIVERGING))
    done = commands.call("search", [f"resume={tmp_path / 'run'}"], tmp_path / "run")
    commands.assert_same_run(done, restarted)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "epoch"),
    [
        (("epochs=3",), 1),
        # The epoch begins a stage with wider channels and fewer candidates.
        (("method=drnas", "epochs=4", "arch_optimizer.warmup=0"), 2),
        # The epoch begins a stage with a deeper network and new weights.
        (("method=p_darts", "epochs=3", "arch_optimizer.warmup=0", "space.cells=1"), 1),
        # An operation may be frozen within the epoch.
        (("method=oles", "epochs=3", "freezing.window=4"), 1),
    ],
)
def test_a_restart_restores_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: tuple[str, ...], epoch: int
) -> None:
    """Without a lower rate, a search whose weights became NaN ends like one without the failure."""
    whole = commands.run("search", tmp_path / "whole", *CELLS, *overrides)
    original, failed = Search.train_step, False

    def fail(self: Search, batch: Any) -> Any:
        nonlocal failed
        report = original(self, batch)
        last = len(self.state.train_loader) - 1
        if (self.state.epoch, self.state.step) == (epoch, last) and not failed:
            failed = True
            with torch.no_grad():
                for parameter in self.searcher.net.parameters():
                    parameter.fill_(math.nan)
        return report

    monkeypatch.setattr(Search, "train_step", fail)
    monkeypatch.setattr(divergence, "RESTART_FACTOR", 1.0)
    done = commands.run("search", tmp_path / "run", *CELLS, *overrides)
    assert failed
    assert f"the weights became infinite or NaN in epoch {epoch + 1}" in done.out
    saved, expected = done.checkpoint, whole.checkpoint
    assert (saved["restarts"], expected["restarts"]) == (1, 0)
    for key in saved.keys() - NOT_REPRODUCIBLE - {"restarts"}:
        assert identical(saved[key], expected[key]), key
    assert commands.rows_without_costs(done) == commands.rows_without_costs(whole)
