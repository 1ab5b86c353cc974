"""The temperature of a classifier: how it is fitted, and that every use of the network has it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import darts
from darts import evaluate
from darts.config import ConfigError, Invocation, compose
from darts.recipes.calibration import calibrate, validation_outputs
from darts.recipes.exporting import export
from darts.recipes.model import CompleteRun
from darts.recipes.temperature import fit_temperature, save_temperature
from darts.recipes.trained import TrainedNetwork
from darts.training.checkpoint import CheckpointError
from darts.training.distributed import Ranks

DATA = ["dataset=synthetic", "dataset.samples=200", "space=mlp", "loader.batch_size=16"]
QUIET = ["tracking.tensorboard=false", "tracking.figures=false"]
NET = '{"space": "mlp", "layers": ["relu_32"]}'


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_the_temperature_of_sampled_classes_is_found(true: float) -> None:
    draw = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(20_000, 4, generator=draw)
    classes = torch.multinomial((logits / true).softmax(1), 1, generator=draw)[:, 0]
    assert fit_temperature(logits, classes) == pytest.approx(true, rel=0.05)


def test_no_other_temperature_has_a_lower_loss() -> None:
    draw = torch.Generator().manual_seed(1)
    logits, classes = torch.randn(30, 3, generator=draw).double(), torch.arange(30) % 3
    logits += torch.nn.functional.one_hot(classes)
    one_more = torch.full((1, 3), 1 / 3).double()  # a sample of unknown class

    def loss(temperature: float) -> float:
        known = -(logits / temperature).log_softmax(1)[torch.arange(30), classes]
        unknown = -((logits / temperature).log_softmax(1) @ one_more.T)[:, 0]
        return float((30 * known + unknown).sum())

    found = fit_temperature(logits, classes)
    assert loss(found) <= min(loss(float(other)) for other in np.geomspace(0.05, 20, 400)) + 1e-6


def test_few_samples_that_are_right_do_not_make_a_network_certain() -> None:
    classes = torch.arange(8) % 2
    logits = 2.0 * torch.nn.functional.one_hot(classes)
    assert (logits / fit_temperature(logits, classes)).softmax(1).max() < 0.96


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with a temperature."""
    folder = tmp_path_factory.mktemp("calibrated")
    words = [*DATA, *QUIET, "task.calibrate=true", "validation=0.3"]
    return darts.retrain(NET, out=folder / "run", overrides=words, epochs=6).directory


def scores(checkpoint: Path, folder: Path, split: str) -> dict[str, float]:
    config = compose("evaluate", [f"checkpoint={checkpoint}", f"split={split}", "workers=0"])
    return evaluate.evaluate(config, Invocation(folder, ()))


def test_a_retraining_scores_and_saves_the_calibrated_network(run: Path, tmp_path: Path) -> None:
    trained = TrainedNetwork.load(str(run))
    assert trained.temperature != 1
    plain = Path(shutil.copytree(run, tmp_path / "plain"))
    save_temperature(plain, 1.0)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(outputs(plain), outputs(run))
    torch.testing.assert_close(outputs(plain) / trained.temperature, outputs(run))
    before, after = (
        scores(path, tmp_path / f"valid-{path.name}", "valid") for path in (plain, run)
    )
    assert after["valid_loss"] < before["valid_loss"]
    assert after["valid_accuracy"] == before["valid_accuracy"]
    summary = CompleteRun(run).summary
    again = scores(run, tmp_path / "test", "test")
    for name in ("loss", "accuracy", "calibration_error"):
        assert summary[f"test_{name}"] == pytest.approx(again[f"test_{name}"], abs=1e-6)
    calibrate(plain, [plain])
    assert TrainedNetwork.load(str(plain)).temperature == pytest.approx(trained.temperature)


def outputs(run: Path) -> torch.Tensor:
    return validation_outputs(run, Ranks("cpu"))[0]


@pytest.mark.parametrize("name", ["safetensors", "torch_export"])
def test_an_exported_file_has_the_temperature(name: str, run: Path, tmp_path: Path) -> None:
    config = compose("export", [f"checkpoint={run}", f"format={name}"])
    export.export(config, Invocation(tmp_path, ()))
    images = torch.rand(3, 3, 8, 8)
    model = darts.load(run)
    expected = model(torch.stack([model.transform(image) for image in images]))
    if name == "safetensors":
        found = darts.predict(tmp_path / "network.safetensors", images).probabilities
        torch.testing.assert_close(found, expected.softmax(1))
    else:
        graph = torch.export.load(tmp_path / "network.pt2").module()
        inputs = torch.stack([model.transform(image) for image in images])
        torch.testing.assert_close(graph(inputs)[0], expected)


@pytest.mark.parametrize("value", [0.0, -1.0, 1e9, float("nan")])
def test_a_damaged_temperature_is_refused(value: float, run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    save_temperature(copy, value)
    with pytest.raises(CheckpointError, match=r"best\.temperature"):
        TrainedNetwork.load(str(copy))


def test_a_temperature_needs_validation_data_and_a_retraining(tmp_path: Path) -> None:
    words = [*DATA, *QUIET, "task.calibrate=true"]
    none = [*words, "validation=0", "selection=last"]
    with pytest.raises(ConfigError, match=r"task\.calibrate=true: needs validation data"):
        darts.retrain(NET, out=tmp_path / "a", overrides=none, epochs=1)
    with pytest.raises(ConfigError, match=r"task\.calibrate=true: only a retraining"):
        darts.search(out=tmp_path / "b", overrides=words, epochs=1)
