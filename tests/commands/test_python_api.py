"""``darts.search``, ``darts.retrain``, ``darts.load``, ``darts.predict`` and ``darts.find``."""

from __future__ import annotations

import copy
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import command_calls as commands
import pandas
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import darts
from darts.config import ConfigError
from darts.config.python_call import data_settings, without_defaults
from darts.recipes.model import Model, Preprocessing
from darts.tracking import read_metrics

TINY = ["dataset.samples=64", "space.channels=2", "space.cells=2", "loader.batch_size=16"]
QUIET = ["tracking.figures=false", "tracking.tensorboard=false"]


@pytest.fixture
def images() -> tuple[Tensor, Tensor]:
    """Images of three classes, floats from 0 to 1."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(90) % 3
    noise = 0.05 * torch.randn(90, 3, 8, 8, generator=generator)
    patterns = torch.rand(3, 3, 8, 8, generator=generator)
    return (patterns[labels] + noise).clamp(0, 1), labels


def accuracy_of(predictions: Any, labels: Tensor) -> float:
    numbers = torch.tensor([int(name) for name in predictions.classes])
    return float((numbers == labels).float().mean())


def test_a_program_searches_retrains_and_predicts(images: tuple[Tensor, Tensor], cwd: Path) -> None:
    x, y = images
    train, test = TensorDataset(x[:60], y[:60]), TensorDataset(x[60:], y[60:])
    sizes = ["space.channels=4", "space.cells=1", "loader.batch_size=16", *QUIET]
    run = darts.search(data=(train, test), space="nas201", epochs=2, out="runs/a", overrides=sizes)
    assert run.directory == cwd / "runs/a"
    assert [row["epoch"] for row in run.history] == [1, 2]
    net = run.network(channels=8, cells=1)
    assert net(torch.zeros(2, 3, 8, 8)).shape == (2, 3)

    more = ["optimizer.lr=0.02", "dataset.padding=0", "selection=last", *sizes]
    cell = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|none~1|nor_conv_1x1~2|"
    trained = darts.retrain(cell, (train, test), epochs=20, overrides=more)
    assert trained.directory.parent == cwd / "runs/retrain"
    assert len(trained.history) == 20
    model = darts.load(trained)
    assert not model.training
    assert model.classes == ("0", "1", "2")
    assert not any(parameter.requires_grad for parameter in model.parameters())
    predictions = darts.predict(model, x[60:], batch_size=7)
    assert predictions.probabilities.shape == (30, 3)
    torch.testing.assert_close(predictions.probabilities.sum(1), torch.ones(30))
    accuracy = accuracy_of(predictions, y[60:])
    assert accuracy == pytest.approx(trained.summary["test_accuracy"])
    assert accuracy > 0.9


def test_a_run_is_retrained_on_its_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = darts.search(
        data="synthetic", epochs=1, space="nas201", out=tmp_path / "a", overrides=[*TINY, *QUIET]
    )
    small = ["space.channels=2", "space.cells=1", *QUIET]
    trained = darts.retrain(run, epochs=1, out=tmp_path / "b", overrides=small)
    assert trained.summary["genotype"] == str(run.genotype)
    assert trained.summary["epochs"] == 1
    printed = commands.printed_arguments(capsys.readouterr().out, "retrain")
    assert run.retrain_overrides() == [w for w in printed if not w.startswith("genotype=")]
    assert trained.model().transform.shape == (3, 8, 8)
    for result in (run, trained):
        title, text = repr(result).splitlines()
        assert title.startswith(f"{type(result).__name__}('{result.directory}'): ")
        assert text.startswith("The result is worthless: ")
        shown = result._repr_html_()
        assert shown is not None
        assert text.split(".")[0] in shown
        assert shown.count("data:image/svg+xml") == 2
        assert [axes.get_title("left") for axes in result.plot().axes] == ["loss", "accuracy, %"]


def test_command_and_function_give_the_same_run_and_resume_each_other(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"space": "nas201", "method": "gdas", "epochs": 2, "seed": 3}
    keys = [*TINY, *QUIET, "save_minutes=0"]
    command_line = [f"{key}={value}" for key, value in settings.items()]
    by_command = commands.run("search", tmp_path / "command", *command_line, *keys)
    directory = tmp_path / "function"
    darts.search(data="synthetic", out=directory, overrides=keys, **settings)
    commands.assert_same_run(type(by_command)(directory, None, ""), by_command)

    crashed = tmp_path / "crashed"
    start = {"data": "synthetic", "out": crashed, "overrides": keys, **settings}
    commands.crash(3, lambda: darts.search(**start))
    resumed = commands.call("search", [f"resume={crashed}"], crashed)
    commands.assert_same_run(resumed, by_command)

    crashed = tmp_path / "crashed_command"
    commands.crash(3, lambda: commands.run("search", crashed, *command_line, *keys))
    again = darts.search(resume=crashed)
    assert again.directory == crashed
    commands.assert_same_run(type(by_command)(crashed, None, ""), by_command)


def test_the_kind_of_data_decides_settings_that_are_not_given(cwd: Path) -> None:
    frame = pandas.DataFrame({"size": range(60), "price": [n / 7 for n in range(60)]})
    texts = pandas.DataFrame({"text": ["a b", "c"] * 9, "label": ["x", "y"] * 9})
    frame.to_csv("digits.csv", index=False)

    def settings(data: Any, *overrides: str, **given: object) -> dict[str, object]:
        return data_settings(data, given, overrides)

    expected = {"dataset": "csv", "task": "regression", "space": "mlp"}
    for path in ("digits.csv", cwd / "digits.csv"):
        assert settings(path) == {**expected, "dataset.root": str(cwd / "digits.csv")}
    found = settings(frame, "task=classification", space="module")
    assert {*found} == {"dataset", "dataset.root"}
    table = pandas.read_csv(Path(str(found["dataset.root"])) / "train.csv")
    pandas.testing.assert_frame_equal(table, frame)
    assert settings((frame[["size"]], frame["price"])) == settings(frame) == {**expected, **found}
    expected = {"dataset": "documents", "task": "text_classification", "space": "transformer"}
    assert {**settings(texts), **expected} == settings(texts)
    assert "space" not in data_settings(texts, {}, chooses_space=True)
    assert settings("digits") == {"dataset": "digits"}


def test_settings_without_a_value_are_left_out() -> None:
    given = without_defaults(seed=0, epochs=None, device=torch.device("cuda:1"))
    assert given == {"seed": 0, "device": "cuda:1"}


@pytest.mark.slow
def test_find_returns_a_model(images: tuple[Tensor, Tensor], cwd: Path) -> None:
    x, y = images
    found = darts.find(
        TensorDataset(x, y), minutes=0.5, executor="inline", overrides=["plan.folds=1"]
    )
    assert found.directory.parent == cwd / "runs/find"
    assert accuracy_of(darts.predict(found.model(), x), y) > 0.85


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: darts.search(data="digits", epoch=3), "did you mean 'epochs'"),
        (lambda: darts.search(epochs=1), 'data is missing: .* such as data="digits"'),
        (lambda: darts.find(minutes=1), "data is missing"),
        (lambda: darts.search(data="digit"), "did you mean 'digits'"),
        (lambda: darts.find("digits", minute=1), "'minute' .did you mean 'minutes'"),
        (lambda: darts.create_model("DARTS_V2", clases=2), "did you mean 'classes'"),
        (lambda: darts.search(data="my/digits.csv"), "there is no such file or folder"),
        (lambda: darts.search(data="digits", label="a"), "label='a': names a column"),
        (lambda: darts.search(data="digits", dataset="svhn"), "data and dataset are mutually"),
        (
            lambda: darts.search(data="digits", optimizer={"lr": 1}),
            r'overrides=\["optimizer\.<key>=<value>"\]',
        ),
        (
            lambda: darts.search(data="digits", overrides="epochs=3"),
            r"must be a list, such as \['epochs=3'\]",
        ),
        (
            lambda: darts.find("digits", overrides=["epochs"]),
            "overrides: 'epochs' must be a text such as",
        ),
        (
            lambda: darts.retrain(overrides={"epochs": 3}),
            r"overrides: \{'epochs': 3\} must be a text",
        ),
        (lambda: darts.search(data="digits", overrides=[("epochs", 3)]), "must be a text such as"),
        (lambda: darts.find("digits", task="regresion"), "did you mean 'regression'"),
        (lambda: darts.load(3), "cannot load int: must be a run, its directory or"),
        (lambda: darts.predict(nn.ReLU(), []), "cannot load ReLU: must be a run"),
        (lambda: darts.search(data=[1, 2]), "data: cannot use int; must be the name of a data set"),
        (lambda: darts.find({"a": []}), "data: cannot use dict; must be"),
        (lambda: darts.search(data=torch.zeros(3, 4)), "data: cannot use Tensor; must be"),
        (lambda: darts.find((torch.zeros(3, 4), [0])), "there are 3 samples, but 1 targets"),
        (lambda: darts.find((torch.zeros(1, 4), [0]), label="y"), "but data has no columns"),
        (lambda: darts.search(data=([], [], [])), "data has 3 entries; must be"),
        (lambda: darts.search(resume="a", epochs=9), "leave out the other arguments"),
        (lambda: darts.search(resume=3), "resume=3: must be a run or its directory"),
        (lambda: darts.search(data="digits", overrides=["resume=a"]), "use the argument resume"),
        (lambda: darts.search(data="digits", dry_run=True), "dry_run= belong to the command"),
        (
            lambda: darts.search(data="digits", overrides=["dry_run=true"]),
            "dry_run= belong to the command",
        ),
        (lambda: darts.retrain("DARTS_V9", "digits"), "DARTS_V9"),
        (lambda: darts.find("digits", minutes=-1), "minutes=-1"),
    ],
)
def test_errors_are_those_of_the_commands(call: Any, message: str) -> None:
    with pytest.raises((ConfigError, ValueError, TypeError), match=message) as caught:
        call()
    assert len(str(caught.value).splitlines()) == 1


def test_an_interrupt_can_be_handled_and_the_search_resumed(tmp_path: Path) -> None:
    overrides = [*TINY, *QUIET]
    with commands.signal_in_step(3, signal.SIGINT), pytest.raises(KeyboardInterrupt):
        darts.search(data="synthetic", space="nas201", epochs=2, out=tmp_path, overrides=overrides)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    run = darts.search(resume=tmp_path)
    assert [row["epoch"] for row in read_metrics(run.directory / "metrics.jsonl")] == [1, 2]


def test_predictions_are_made_in_evaluation_mode(images: tuple[Tensor, Tensor]) -> None:
    net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(192), nn.Dropout(), nn.Linear(192, 3))
    transform = Preprocessing((3, 8, 8), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    model: Any = Model(net, ("a", "b", "c"), transform).train()  # type: ignore[arg-type]
    before = copy.deepcopy(model.state_dict())
    net[1].eval()  # a frozen norm
    first, second = (darts.predict(model, images[0], batch_size=7) for _ in range(2))
    assert first.probabilities.equal(second.probabilities)
    assert [module.training for module in net] == [True, False, True, True]
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    assert darts.predict(model, []).classes == ()
    with pytest.raises(ValueError, match="batch_size=0: must be >= 1"):
        darts.predict(model, images[0], batch_size=0)
    with pytest.raises(ValueError, match="values from 0 to 1"):
        darts.predict(model, [torch.full((3, 8, 8), float("nan"))])


def test_importing_the_package_is_cheap() -> None:
    code = (
        "import sys, darts\n"
        "assert {'find', 'load', 'predict', 'retrain', 'search'} <= set(dir(darts))\n"
        "assert 'torch' not in sys.modules and 'hydra' not in sys.modules\n"
        "assert callable(darts.search) and callable(darts.load)\n"
        "assert 'Search for an architecture' in darts.search.__doc__\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'serch'"):
        darts.serch  # type: ignore[attr-defined]  # noqa: B018
