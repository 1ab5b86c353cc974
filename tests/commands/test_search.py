"""``python -m darts.search`` from the outside: what it writes, prints and returns."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from darts.config import Invocation, SearchConfig, compose, rebuild
from darts.data import load_split
from darts.recipes.search import retrain_command
from darts.spaces import Genotype
from darts.spaces.cnn import PRIMITIVES

QUIET = "tracking.tensorboard=false"
CONTRACT = (
    *("config.yaml", "genotype.json", "metrics.jsonl", "summary.json", "env.json"),
    *("split.npz", "checkpoint.pt", "genotype.svg", "alphas.json"),
)


def events(directory: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(directory), size_guidance={"tensors": 0, "images": 0})
    accumulator.Reload()
    return accumulator


def test_the_files_of_a_run(searched: Any) -> None:
    present = {file.name for file in searched.directory.iterdir()}
    assert set(CONTRACT) <= present
    assert len([name for name in present if name.startswith("events.out.tfevents.")]) == 1
    assert not [name for name in present if name.endswith(".tmp")]


def test_the_alphas_are_filmed(searched: Any) -> None:
    """A frame an epoch."""
    with Image.open(searched.directory / "alphas.gif") as film:
        assert film.format == "GIF"
        frames: int = getattr(film, "n_frames", 1)
        assert frames == len(searched.rows) == searched.json("summary.json")["epochs"]


def test_a_run_without_pictures(commands: Any, tmp_path: Path) -> None:
    done = commands.run("search", tmp_path / "run", QUIET, "epochs=1", "tracking.figures=false")
    names = {file.name for file in done.directory.iterdir()}
    assert "alphas.json" in names
    assert not [name for name in names if name.endswith((".svg", ".png", ".gif"))]


def test_the_summary_is_flat(searched: Any) -> None:
    summary = searched.json("summary.json")
    assert summary == json.loads(json.dumps(searched.result))
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
    assert not [key for key in summary if key.startswith("test")]  # not a search's to look at


def test_config_and_genotype_are_read_back(searched: Any) -> None:
    text = (searched.directory / "config.yaml").read_text(encoding="utf-8")
    config = rebuild(SearchConfig, yaml.safe_load(text))
    assert (config.seed, config.dataset.name, config.epochs) == (3, "synthetic", 2)
    genotype = Genotype.parse((searched.directory / "genotype.json").read_text(encoding="utf-8"))
    assert str(genotype) == searched.result["genotype"]
    assert str(genotype) in searched.out
    assert "none" not in {name for cell in genotype.cells for _, _, name in genotype.edges(cell)}
    assert (searched.directory / "genotype.svg").read_text(encoding="utf-8").lstrip()[0] == "<"
    assert {"python", "versions", "command"} <= searched.json("env.json").keys()


def test_one_row_an_epoch(searched: Any) -> None:
    rows = searched.rows
    assert [row["epoch"] for row in rows] == [1, 2]
    assert [row["step"] for row in rows] == [1, 2]  # 32 images for the weights, batches of 32
    for row in rows:
        for key in ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy"):
            assert math.isfinite(row[key])
        assert row["grad_norm"] > 0
        assert row["arch_grad_norm"] > 0
        Genotype.parse(row["genotype"])
    assert rows[0]["lr"] > rows[1]["lr"] > 0
    assert rows[0]["seconds"] < rows[1]["seconds"]
    assert rows[-1]["valid_accuracy"] == searched.result["valid_accuracy"]
    assert rows[-1]["genotype"] == searched.result["genotype"]


def test_weights_and_alphas_see_different_images(searched: Any) -> None:
    split = load_split(searched.directory / "split.npz")
    weights, alphas = set(split["weights"].tolist()), set(split["alphas"].tolist())
    assert len(weights) == len(alphas) == 32
    assert weights | alphas == set(range(64))


def test_what_tensorboard_shows(searched: Any) -> None:
    board = events(searched.directory)
    tags = board.Tags()
    assert {"alphas/normal", "alphas/reduce", "genotype"} <= set(tags["images"])
    assert len(board.Images("alphas/normal")) == 2
    scalars = set(tags["scalars"])
    wanted = {"loss/train", "loss/valid", "lr/weights", "lr/alphas", "valid/accuracy"}
    wanted |= {"norm/grad", "norm/arch_grad"}
    for cell in ("normal", "reduce"):
        wanted |= {f"genotype/{cell}/skip_connect", f"entropy/{cell}/mean"}
        wanted |= {f"alpha/{cell}/0→2/{operation}" for operation in PRIMITIVES}
        wanted |= {f"alpha/{cell}/4→5/none", f"entropy/{cell}/1→3"}
    assert wanted <= scalars
    assert len([tag for tag in scalars if tag.startswith("alpha/normal/")]) == 14 * 8
    first = [board.Scalars(f"alpha/reduce/0→2/{operation}")[0].value for operation in PRIMITIVES]
    assert sum(first) == pytest.approx(1, abs=1e-5)
    texts = [tag for tag in tags["tensors"] if tag.startswith("genotype")]
    assert (
        searched.result["genotype"].encode()
        in board.Tensors(texts[0])[-1].tensor_proto.string_val[0]
    )
    # In TensorBoard's own form, read by its HPARAMS page.
    assert "hparams" in board.summary_metadata["_hparams_/experiment"].plugin_data.plugin_name


def test_the_printed_command_runs(searched: Any, commands: Any, tmp_path: Path) -> None:
    arguments = commands.printed(searched.out, "retrain")
    assert f"genotype={searched.directory}" in arguments
    assert {"dataset=synthetic", "dataset.samples=64", "seed=3"} <= set(arguments)
    folder = tmp_path / "run"
    done = commands.exactly("retrain", [*arguments, "epochs=1", f"hydra.run.dir={folder}"], folder)
    assert done.result["genotype"] == searched.result["genotype"]
    assert done.result["seed"] == 3


@pytest.mark.usefixtures("no_pictures")
def test_a_place_that_needs_quotes(commands: Any, tmp_path: Path) -> None:
    folder = tmp_path / "it's (1) größer=better"
    done = commands.run("search", folder, QUIET, "epochs=1", "space.channels=1")
    assert (folder / "summary.json").is_file()
    arguments = commands.printed(done.out, "retrain")
    place = tmp_path / "it's (2) größer=better"
    done = commands.exactly("retrain", [*arguments, "epochs=1", QUIET, f"hydra.run.dir={place}"])
    assert commands.printed(done.out, "evaluate") == [f"checkpoint={place}"]
    found = Genotype.parse((folder / "genotype.json").read_text(encoding="utf-8"))
    assert done.result["genotype"] == str(found)


def test_the_printed_command_names_the_data_set_in_any_case(tmp_path: Path) -> None:
    """Also where no override but an experiment, or the default, chose it."""
    digits, cifar10 = (compose("search", [f"dataset={name}"]) for name in ("digits", "cifar10"))
    assert "dataset=digits" in retrain_command(Invocation(tmp_path, ()), digits).split()
    call = Invocation(tmp_path, ("experiment/search=cifar10_cpu", "seed=1"))
    words = retrain_command(call, cifar10).split()
    assert {"experiment=cifar10_cpu", "seed=1"} <= set(words)
    assert not [word for word in words if word.startswith(("dataset=", "space="))]
    call = Invocation(tmp_path, ("experiment/search=of_search_alone",))
    assert "dataset=cifar10" in retrain_command(call, cifar10).split()


def test_the_printed_command_names_a_space_that_is_not_the_default(tmp_path: Path) -> None:
    config = compose("search", ["experiment=nas201_cpu"])
    words = retrain_command(Invocation(tmp_path, ("experiment/search=nas201_cpu",)), config).split()
    assert {"space=nas201", "experiment=nas201_cpu", f"genotype={tmp_path}"} <= set(words)


@pytest.mark.parametrize(
    ("given", "masks"),
    [
        ("space.stem=imagenet", True),
        ("space.channels=4", False),
        ("task=translation dataset.joint=true space.copy=true", True),
    ],
)
def test_the_printed_command_keeps_what_is_no_size(tmp_path: Path, given: str, kept: bool) -> None:
    overrides = tuple(given.split())
    more = ["dataset=pairs"] if "task=translation" in overrides else []
    config = compose("search", [*overrides, *more])
    words = retrain_command(Invocation(tmp_path, overrides), config).split()
    assert (set(overrides) <= set(words)) == kept


@pytest.mark.usefixtures("no_pictures")
def test_the_seed_decides(commands: Any, tmp_path: Path) -> None:
    a, b, c = (
        commands.run("search", tmp_path / name, QUIET, "epochs=1", "space.cells=1", f"seed={seed}")
        for name, seed in (("a", 5), ("b", 5), ("c", 6))
    )
    for key in ("searcher", "random"):
        assert commands.same(a.checkpoint[key], b.checkpoint[key])
    assert commands.steps(a) == commands.steps(b)
    net = a.checkpoint["searcher"]["net"]
    assert not commands.same(net, c.checkpoint["searcher"]["net"])
    moved = [name for name in net if "alphas" in name]
    assert len(moved) == 2  # in the state dict, and trained
    assert all(net[name].abs().max() > 0 for name in moved)


@pytest.mark.usefixtures("no_pictures")
def test_second_order_with_self_check(commands: Any, tmp_path: Path) -> None:
    exact = ("method=darts_v2", "bilevel.hvp=exact", "loader.batch_size=16", "epochs=1")
    exact = (*exact, "space.channels=1", "space.cells=1", "tracking.figures_every=0")
    done = commands.run("search", tmp_path / "run", *exact, "bilevel.self_check=1")
    checks = [row for row in done.rows if "product_cosine" in row]
    assert [row["step"] for row in checks] == [1, 2]
    for row in checks:
        cosine, difference = row["product_cosine"], row["product_relative_difference"]
        share = row["product_share"]
        assert 0 < share < 0.5
        # A vector is at least as far from another one as from the line through it.
        assert difference >= math.sqrt(max(0.0, 1 - cosine**2)) - 1e-4
        # The two gradients differ by the difference of the products only.
        sine = share * difference / (1 - share)
        assert math.sqrt(1 - sine**2) - 1e-4 <= row["gradient_cosine"] <= 1 + 1e-5
    tags = events(done.directory).Tags()["scalars"]
    assert {"bilevel/product_cosine", "bilevel/gradient_cosine"} <= set(tags)
    plain = commands.run("search", tmp_path / "plain", *exact, QUIET)
    # Looking changes nothing.
    assert commands.same(plain.checkpoint["searcher"], done.checkpoint["searcher"])
    assert "product_cosine" not in plain.rows[0]


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("method", ["darts_v1", "darts_v2"])
def test_less_memory_gives_the_same_run(commands: Any, tmp_path: Path, method: str) -> None:
    small = (QUIET, "epochs=1", "space.cells=2", "space.channels=2", f"method={method}")
    full, less = (
        commands.run("search", tmp_path / memory, *small, f"memory={memory}")
        for memory in ("full", "checkpoint")
    )
    assert commands.same(full.checkpoint["searcher"], less.checkpoint["searcher"])


@pytest.mark.slow  # the compiler takes its time
@pytest.mark.usefixtures("no_pictures")
@pytest.mark.filterwarnings("ignore")  # the compiler warns of its own doings
def test_compiled_regions_give_the_same_run(commands: Any, tmp_path: Path) -> None:
    small = (QUIET, "epochs=1", "space.cells=2", "space.channels=2")
    plain = commands.run("search", tmp_path / "plain", *small)
    compiled = commands.run("search", tmp_path / "compiled", *small, "compile=true")
    weights = compiled.checkpoint["searcher"]["net"]
    for name, value in plain.checkpoint["searcher"]["net"].items():
        torch.testing.assert_close(weights[name], value, rtol=1e-2, atol=1e-3, msg=name)


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    "overrides",
    [
        ("precision=bf16",),
        ("space.cells=1",),  # a reduction cell alone
        ("space.cells=3", "dataset.size=9", "dataset.channels=1", "dataset.classes=3"),
        ("train_portion=0.8", "dataset.subset=40", "optimizer.clip=0", "metric=loss"),
        ("space.candidates=s1", "space.cells=2"),
        ("space.candidates=s4", "memory=checkpoint"),  # random draws within cells
        ("space=nas201", "space.cells=1"),
    ],
)
def test_variations(commands: Any, tmp_path: Path, overrides: tuple[str, ...]) -> None:
    done = commands.run("search", tmp_path / "run", QUIET, "epochs=1", *overrides)
    assert math.isfinite(done.result["valid_loss"])
    assert not list(tmp_path.glob("run/events*"))


def test_a_dry_run_leaves_nothing(
    commands: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = commands.run("search", None, "dry_run=true", "epochs=1000")
    for word in ("parameters", "macs", "peak_memory_mb", "estimated_time"):
        assert word in done.out
        assert word in done.result
    assert list(tmp_path.iterdir()) == []


def test_a_second_run_in_the_same_place_is_refused(
    searched: Any, commands: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(searched.directory, folder)
    before = {file: file.read_bytes() for file in folder.iterdir()}
    for more in ((), ("dry_run=true",)):
        line = commands.refused("search", "dataset=synthetic", f"hydra.run.dir={folder}", *more)
        assert str(folder) in line
        assert "resume=" in line
    assert {file: file.read_bytes() for file in folder.iterdir()} == before


def test_the_checkpoint_holds_plain_values(searched: Any) -> None:
    saved = torch.load(searched.directory / "checkpoint.pt", weights_only=True)
    assert {"searcher", "means", "epoch", "step", "random"} <= saved.keys()
    assert (saved["kind"], saved["epoch"], saved["step"]) == ("search", 2, 0)
    saved = saved["searcher"]
    assert {"net", "optimizer", "arch_optimizer", "stage", "masks", "freezing"} <= saved.keys()
    sizes = {len(g["params"]) for g in saved["optimizer"]["param_groups"]}
    alphas = [name for name in saved["net"] if "alphas" in name]
    weights = [n for n in saved["net"] if n not in alphas and "running" not in n]
    # The weights' optimizer has no alpha in it.
    assert sizes == {len([n for n in weights if "num_batches" not in n])}
