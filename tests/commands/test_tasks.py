"""Every kind of data except images, and numbers and labels as targets, in every command."""

from __future__ import annotations

from pathlib import Path

import command_calls as commands
import numpy as np
import pandas as pd
import pytest
import torch
from slow_cases import slow_except
from tiny_tasks import CASES
from torch.utils.data import TensorDataset

import darts
from darts.data import load
from darts.data.targets import NUMBERS
from darts.reading import read_json
from darts.spaces import SPACES
from darts.training.checkpoint import load_checkpoint, save_checkpoint


@pytest.fixture(scope="module")
def overrides(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The overrides of a tiny run of each case, whose folder has a space in its name."""
    folders = {name: tmp_path_factory.mktemp(f"some {name}") for name in CASES}
    return {name: case.data(folders[name]) for name, case in CASES.items()}


@pytest.mark.parametrize("name", CASES)
def test_a_searched_network_learns_and_is_evaluated_with_equal_scores(
    name: str, overrides: dict[str, list[str]], tmp_path: Path
) -> None:
    case, own = CASES[name], overrides[name]
    folder = tmp_path / "search"
    found = commands.call("search", [*own, *case.search, f"hydra.run.dir={folder}"], folder)
    printed = commands.printed_arguments(found.out, "retrain")
    assert {word for word in own if word.startswith(("task=", "dataset="))} <= {*printed}
    assert own[-2] in printed  # dataset.root

    folder = tmp_path / "retrain"
    more = [*case.retrain, f"genotype={found.directory}", f"hydra.run.dir={folder}"]
    trained = commands.call("retrain", [*own, *more], folder)
    assert trained.result["genotype"] == found.result["genotype"]
    assert case.learned(trained.result)
    evaluation = commands.run("evaluate", tmp_path / "evaluate", f"checkpoint={folder}")
    scores = {key: value for key, value in trained.result.items() if key.startswith("test_")}
    assert {key: evaluation.result[key] for key in scores} == scores
    assert evaluation.result["samples"] == case.samples
    if name == "translation":
        table = (folder / "samples_test.md").read_text()
        assert table.startswith("| reference | generated |")
        assert any(line.split("|")[1] == line.split("|")[2] for line in table.splitlines()[2:])
        error = commands.error_of("export", f"checkpoint={folder}")
        assert "task=translation: its networks generate text word by word" in error
    assert (folder / "vocabulary.json").exists() == (name not in ("speech", "table"))
    if name == "speech":  # each label is one word
        accuracy = evaluation.result["test_accuracy"]
        assert evaluation.result["test_word_error_rate"] == pytest.approx(1 - accuracy)
        place = own[-2].removeprefix("dataset.root=") + "/test"
        commands.run("predict", tmp_path / "p", f"checkpoint={folder}", f"input={place}")
        rows = commands.read_table(tmp_path / "p" / "predictions.csv")
        right = [row["class"] == Path(row["file"]).parent.name for row in rows]
        assert (len(right), np.mean(right)) == (20, pytest.approx(accuracy))
        with pytest.raises(ValueError, match="a recording must be a file name, not ndarray"):
            darts.predict(darts.load(folder), [np.zeros(4000)])


@pytest.mark.slow
@pytest.mark.parametrize("command", ["search", "retrain"])
@pytest.mark.parametrize("name", CASES)
def test_a_resumed_run_ends_like_an_unbroken_one(
    name: str, command: str, overrides: dict[str, list[str]], tmp_path: Path
) -> None:
    case = CASES[name]
    retrain = (*case.retrain, f"genotype={case.genotype}", "evaluate_test=false")
    own = case.search if command == "search" else retrain
    commands.assert_resume_is_exact(command, [*overrides[name], *own, "epochs=2"], tmp_path)


METHODS: dict[str, list[str]] = {
    "darts_v2": [],
    "gdas": [],
    "drnas": ["stages=[]", "relaxation.partial=1", "arch_optimizer.warmup=0"],
    "random_sharing": ["discretize.samples=3"],
    "darts_pt": ["discretize.tune=0", "discretize.batches=1"],
}


@pytest.mark.parametrize("method", slow_except(METHODS, ("darts_v2", "random_sharing")))
def test_each_method_searches_language_models(
    method: str, overrides: dict[str, list[str]], tmp_path: Path
) -> None:
    small = [*overrides["language_model"], f"method={method}", "space.nodes=2", "epochs=1"]
    own = [*METHODS[method], f"hydra.run.dir={tmp_path}"]
    done = commands.call("search", [*small, *own], tmp_path)
    assert done.result["valid_perplexity"] > 1
    assert len(done.json("genotype.json")["recurrent"]) == 2


def test_summaries_are_scored_with_rouge(tmp_path: Path) -> None:
    rows = [f'"{n % 4 + 1}","one {n % 5} two","a text of {n % 5} words"' for n in range(80)]
    (tmp_path / "test.csv").write_text("\n".join(rows) + "\n")
    start = ["task=summarization", f"dataset.root={tmp_path}", "epochs=1"]
    start += ["tracking.tensorboard=false", "tracking.figures=false"]
    small = ["space.embedding=8", "space.hidden=8", "space.nodes=2", "dataset.subset=null"]
    size = ["loader.batch_size=8", "task.max_length=5", f"hydra.run.dir={tmp_path / 'run'}"]
    done = commands.call("search", [*start, *small, *size], tmp_path / "run")
    assert {"valid_rouge1", "valid_rouge2", "valid_rougeL"} <= set(done.result)
    words = read_json(tmp_path / "run" / "vocabulary.json")
    assert words["source"] == words["target"]
    assert not any("bleu" in name for name in done.result)


ERRORS: list[tuple[str, str, list[str], str]] = [
    ("language_model", "search", ["space=cnn"], "takes images or audio, but dataset=text contains"),
    ("language_model", "search", ["dataset=digits"], "learns from text, but dataset=digits"),
    ("language_model", "search", ["task=classification"], "dataset=text contains text; choose"),
    ("language_model", "search", ["metric=accuracy"], "choose from perplexity"),
    ("language_model", "search", ["dataset.subset=999999"], "more than the 840 training tokens"),
    (
        "language_model",
        "search",
        ["method=pc_darts"],
        "space=recurrent does not support relaxation.partial=4",
    ),
    ("language_model", "search", ["discretize.skip_limit=2"], "has no skip connections"),
    ("language_model", "search", ["stages=[{skip_dropout: 0.1}]"], "set skip_dropout=0"),
    ("language_model", "retrain", ["genotype=DARTS_RNN_V2", "auxiliary=0.4"], "no auxiliary head"),
    ("language_model", "retrain", ["genotype=DARTS_RNN_V2", "drop_path=0.1"], "set drop_path=0"),
    ("text_classification", "search", ["space.hidden=12"], "multiple of 8"),
    ("text_classification", "search", ["dataset.subset=500"], "more than the 240 training"),
    ("translation", "search", ["train_portion=0.001"], "leaves a subset empty; use more pairs"),
    ("translation", "search", ["bilevel=unrolled"], "needs optimizer.algorithm=sgd, not adam"),
    ("translation", "search", ["penalty.parameters=100"], "leave penalty out"),
    ("translation", "search", ["space.copy=true"], "set dataset.joint=true"),
    ("speech", "search", ["dataset.flip=true"], "dataset.flip"),
    *(
        ("table", "search", [f"space={name}"], "dataset=csv contains rows; choose space=mlp")
        for name in SPACES
        if "images" in SPACES[name].data_kinds and "rows" not in SPACES[name].data_kinds
    ),
]


@pytest.mark.parametrize(("name", "command", "changes", "message"), ERRORS)
def test_invalid_combinations_are_refused_in_one_line(
    name: str, command: str, changes: list[str], message: str, overrides: dict[str, list[str]]
) -> None:
    keys = {change.partition("=")[0] for change in changes}
    # A key of another data set, space or task would be an error of its own.
    owners = tuple(f"{key}." for key in keys & {"dataset", "space", "task"})
    owners += ("space.",) if "task" in keys else ()
    others = [
        word
        for word in overrides[name]
        if word.partition("=")[0] not in keys and not (owners and word.startswith(owners))
    ]
    assert message in commands.error_of(command, *others, *changes)


QUIET = ["tracking.figures=false", "tracking.tensorboard=false"]


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 200 rows whose price and size are nearly linear in three other columns."""
    rng = np.random.default_rng(0)
    columns = rng.normal(size=(200, 3))
    price = 300_000 + 50_000 * (columns @ [1.0, 0.5, -0.5]) + rng.normal(size=200) * 5_000
    size = 90 + 20 * columns[:, 0]
    path: Path = tmp_path_factory.mktemp("houses") / "houses.csv"
    table = np.column_stack([price, columns, size])
    pd.DataFrame(table, columns=["price", *"abc", "size"]).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def trained(houses: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that was searched and retrained for two numbers."""
    folder: Path = tmp_path_factory.mktemp("trained")
    table = ["dataset=csv", f"dataset.root={houses}", "dataset.labels=[price,size]", "space=mlp"]
    words = ["task=regression", *table, "epochs=2", *QUIET, f"hydra.run.dir={folder / 'search'}"]
    search = commands.call("search", words)
    printed = commands.printed_arguments(search.out, "retrain")
    commands.call("retrain", [*printed, "epochs=15", *QUIET, f"hydra.run.dir={folder / 'retrain'}"])
    return folder / "retrain"


def test_scores_are_in_the_units_of_the_table(trained: Path, houses: Path, tmp_path: Path) -> None:
    summary = read_json(trained / "summary.json")
    assert summary["test_r2"] > 0.8
    source = load("csv", root=houses, targets=NUMBERS, labels=["price", "size"])
    model = darts.load(trained)
    with torch.no_grad():
        found = model(source.test.pixels).double()
    true = source.scale.restore(source.test.labels.double())
    rmse = (found - true).square().mean(0).sqrt().mean()
    assert summary["test_rmse"] == pytest.approx(float(rmse), rel=1e-4)
    assert rmse > 1000  # the price counts
    evaluation = commands.run("evaluate", tmp_path / "evaluate", f"checkpoint={trained}")
    assert evaluation.result["test_mae"] == summary["test_mae"]


def test_predictions_are_numbers_of_the_table(trained: Path, houses: Path, tmp_path: Path) -> None:
    commands.run("predict", tmp_path / "p", f"checkpoint={trained}", f"input={houses}")
    rows, true = map(commands.read_table, (tmp_path / "p" / "predictions.csv", houses))
    assert [*rows[0]] == ["line", "price", "size"]
    found = np.array([[*row.values()] for row in rows], dtype=float)
    assert np.corrcoef(found[:, 1], [float(row["price"]) for row in true])[0, 1] > 0.9
    row = {name: float(true[0][name]) for name in "abc"}
    predictions = darts.predict(trained, [row])
    assert predictions.names == ("price", "size")
    assert predictions.values[0].tolist() == pytest.approx(found[0, 1:].tolist(), rel=1e-5)
    commands.run("export", tmp_path / "x", f"checkpoint={trained}", "format=safetensors")
    for network in (trained, tmp_path / "x" / "network.safetensors"):
        assert darts.predict(network, pd.DataFrame([row])).values.equal(predictions.values)
    with pytest.raises(ValueError, match="predicts numbers, not classes"):
        _ = predictions.classes


@pytest.mark.slow
def test_numbers_of_different_units_are_exact_in_int8(trained: Path, tmp_path: Path) -> None:
    """The drop of a metric that is not a fraction is relative."""
    onnxruntime = pytest.importorskip("onnxruntime")
    arguments = [f"checkpoint={trained}", "quantize=int8", "max_drop=0.05"]
    summary = commands.run("export", tmp_path / "x", *arguments).result
    own = commands.run("evaluate", tmp_path / "e", f"checkpoint={trained}", "split=valid").result
    before, after = summary["float_valid_r2"], summary["valid_r2"]
    assert before == pytest.approx(own["valid_r2"], rel=1e-5)
    assert summary["drop"] == pytest.approx((before - after) / before)
    file = tmp_path / "x" / "network.onnx"
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    rows, model = torch.randn(64, 3), darts.load(trained)
    found = torch.from_numpy(session.run(["predictions"], {"numbers": rows.numpy()})[0])
    with torch.no_grad():
        expected = model(torch.stack([model.transform(row) for row in rows]))
    errors = (found - expected).abs().mean(0) / expected.std(0)  # of the price and of the size
    assert (errors < 0.05).all()
    assert (errors > 0).all()


def test_a_changed_table_is_refused(trained: Path, houses: Path, tmp_path: Path) -> None:
    """Its numbers would be standardized in another way."""
    header, *rows = houses.read_text().splitlines()
    changed = [f"{float(row.partition(',')[0]) + 1000},{row.partition(',')[2]}" for row in rows]
    other = tmp_path / "other.csv"
    other.write_text("\n".join([header, *changed]))
    error = commands.error_of("evaluate", f"checkpoint={trained}", f"root={other}")
    assert "targets would be encoded in another way" in error


def test_a_checkpoint_with_a_wrong_scale_is_refused(trained: Path, tmp_path: Path) -> None:
    state = load_checkpoint(trained / "checkpoint.safetensors")
    scale = {"mean": (1.0, 2.0), "deviation": (0.0, 1.0)}
    file = tmp_path / "checkpoint.safetensors"
    save_checkpoint(file, "retrain", {**state, "target_scale": scale})
    line = commands.error_of("predict", f"checkpoint={file}", f"input={file}")
    assert "every deviation also positive" in line


@pytest.mark.slow
@pytest.mark.usefixtures("cwd")
def test_images_get_several_labels() -> None:
    """The left half of an image, the right half, both or none are bright."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (120, 2), generator=rng)
    halves = labels.float().repeat_interleave(4, 1)[:, None, None, :]
    images = 0.2 + 0.6 * halves + 0.1 * torch.randn(120, 1, 8, 8, generator=rng)
    images = images.clamp(0, 1)
    train, test = TensorDataset(images[:90], labels[:90]), TensorDataset(images[90:], labels[90:])
    train.classes = ["left", "right"]  # type: ignore[attr-defined]
    sizes = ["space.channels=4", "space.cells=1", "loader.batch_size=16", *QUIET]
    run = darts.search(
        data=(train, test), task="multi_label", space="nas201", epochs=1, overrides=sizes
    )
    assert run.history[-1]["valid_average_precision"] > 0
    trained = darts.retrain(
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|none~1|nor_conv_1x1~2|",
        (train, test),
        task="multi_label",
        epochs=12,
        overrides=["dataset.padding=0", "optimizer.lr=0.02", "selection=last", *sizes],
    )
    assert trained.summary["test_average_precision"] > 0.9
    predictions = darts.predict(trained, images[90:])
    assert predictions.probabilities.shape == (30, 2)
    expected = [
        tuple(name for name, has in zip(("left", "right"), row, strict=True) if has)
        for row in labels[90:].tolist()
    ]
    right = sum(own == true for own, true in zip(predictions.labels, expected, strict=True))
    assert right / 30 == pytest.approx(trained.summary["test_exact_match"])
    assert right > 20


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["task=regression"], "task=regression predicts numbers, but dataset=digits has classes"),
        (
            ["task=multi_label", "dataset=fsdd"],
            "dataset=fsdd contains audio; choose dataset=npz or challenge or csv, or task=",
        ),
        (["task=regression", "dataset=csv"], "space=cnn takes images or audio"),
        (["task=regression", "metric=accuracy"], "metric='accuracy' is unknown; choose from r2"),
    ],
)
def test_other_data_is_refused(overrides: list[str], message: str, tmp_path: Path) -> None:
    if "metric=accuracy" in overrides:
        overrides = [*overrides, "dataset=npz", f"dataset.root={tmp_path}"]
    assert message in commands.error_of("search", *overrides)
