"""Quantized networks keep their score on validation data, or are not written."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import command_calls as commands
import numpy as np
import pytest
import torch
from PIL import Image as pillow
from torch import Tensor

from darts.config import RetrainConfig, rebuild
from darts.data import load_split
from darts.data_modules import make_data_module
from darts.reading import read_json
from darts.recipes.exporting import formats
from darts.recipes.exporting.formats import FORMATS, GraphFormat
from darts.recipes.exporting.network import ExportableNetwork, Graph
from darts.training.checkpoint import load_checkpoint
from darts.training.distributed import Ranks

QUIET = ("tracking.tensorboard=false", "tracking.figures=false", "evaluate_test=false")
LAYERS = 'genotype={"space": "mlp", "layers": ["relu_32", "relu_16"]}'


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A small fully connected network, which is fast to export."""
    folder = tmp_path_factory.mktemp("mlp") / "run"
    sizes = ("dataset.samples=200", "validation=0.3", "epochs=3", "loader.batch_size=16")
    return commands.run("retrain", folder, "space=mlp", LAYERS, *sizes, *QUIET)


def validation_data(directory: Path) -> tuple[Tensor, Tensor]:
    config = rebuild(
        RetrainConfig, load_checkpoint(directory / "checkpoint.safetensors", "retrain")["config"]
    )
    loader = make_data_module(config, Ranks()).held_out_loader(
        "valid", load_split(directory / "split.npz")
    )
    samples, classes = zip(*loader.epoch(0), strict=True)
    return torch.cat(samples), torch.cat(classes)


def onnx_accuracy(file: Path, samples: Tensor, classes: Tensor) -> float:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    logits = session.run(["logits"], {"samples": samples.contiguous().numpy()})[0]
    return float((logits.argmax(axis=1) == classes.numpy()).mean())


@pytest.mark.slow
def test_the_file_holds_int8_weights_and_the_summary_its_own_score(
    run: Any, tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx")
    folder = tmp_path / "export"
    arguments = (f"checkpoint={run.directory}", "quantize=int8", "calibration=64", "max_drop=0.2")
    summary = commands.run("export", folder, *arguments).result
    assert summary == read_json(folder / "summary.json")
    own = commands.run("evaluate", tmp_path / "e", arguments[0], "split=valid").result
    assert summary["float_valid_accuracy"] == own["valid_accuracy"]
    file = folder / "network.onnx"
    accuracy = onnx_accuracy(file, *validation_data(run.directory))
    assert summary["valid_accuracy"] == pytest.approx(accuracy)
    assert summary["drop"] == pytest.approx(own["valid_accuracy"] - accuracy, abs=1e-6)
    assert summary["calibration_samples"] == 64
    assert summary["bytes"] == file.stat().st_size < summary["float_bytes"]
    assert min(summary["milliseconds"], summary["float_milliseconds"]) > 0
    model = onnx.load(file)
    matrices = [t for t in model.graph.initializer if len(t.dims) == 2]
    assert len(matrices) == 3
    assert {t.data_type for t in matrices} == {onnx.TensorProto.INT8}
    assert str(Path(formats.__file__).parent).encode() not in file.read_bytes()
    assert not [file for file in folder.iterdir() if file.is_dir()]


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Replace ONNX by a format that is fast to write and whose int8 files can be wrong."""
    own = StandIn()
    replacement = GraphFormat(".onnx", own.save, own.save_int8, own.load)
    monkeypatch.setitem(FORMATS, "onnx", replacement)  # type: ignore[arg-type]
    return own


class StandIn:
    """A format whose files run the network itself; those of ``wrong`` int8 have the wrong sign."""

    def __init__(self) -> None:
        self.samples: list[Tensor] = []
        self.wrong = False

    def save(self, network: ExportableNetwork, path: Path) -> None:
        path.write_bytes(b"float")

    def save_int8(
        self, network: ExportableNetwork, plain: Path, path: Path, samples: Tensor
    ) -> None:
        self.samples.append(samples)
        path.write_bytes(b"int8")

    def load(self, path: Path, network: ExportableNetwork) -> Graph:
        sign = -1 if self.wrong and path.read_bytes() == b"int8" else 1
        return lambda tensors: [sign * out.detach() for out in network(*tensors)]


def test_calibration_uses_training_samples_only(
    run: Any, tmp_path: Path, stand_in: StandIn
) -> None:
    arguments = (f"checkpoint={run.directory}", "quantize=int8")
    summary = commands.run("export", tmp_path / "x", *arguments, "calibration=1000").result
    subsets = load_split(run.directory / "split.npz")
    assert summary["calibration_samples"] == len(subsets["train"])  # there are no more
    commands.run("export", tmp_path / "y", *arguments, "calibration=20")
    assert [len(samples) for samples in stand_in.samples] == [len(subsets["train"]), 20]
    held_out = {tuple(row) for row in validation_data(run.directory)[0].flatten(1).tolist()}
    assert not held_out & {tuple(row) for row in stand_in.samples[0].flatten(1).tolist()}


def test_a_file_whose_score_drops_is_refused_and_deleted(run: Any, stand_in: StandIn) -> None:
    stand_in.wrong = True
    line = commands.error_of("export", f"checkpoint={run.directory}", "quantize=int8")
    assert "max_drop=0.01: valid_accuracy goes from " in line
    assert "nothing was written; calibrate with more samples" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("format=safetensors", "quantize=int8"), "format=safetensors quantize=int8: the file has"),
        (("format=safetensors", "validate=true"), "format=safetensors validate=true: the file has"),
        (("quantize=int8", "validate=false"), "quantize=int8 validate=false: a quantized network"),
    ],
)
def test_combinations_that_do_not_exist_are_refused(
    run: Any, arguments: tuple[str, ...], message: str
) -> None:
    assert message in commands.error_of("export", f"checkpoint={run.directory}", *arguments)


def test_without_validation_data_other_training_samples_are_scored(
    tmp_path: Path, stand_in: StandIn
) -> None:
    own = ("space=mlp", LAYERS, "validation=0", "selection=last", "epochs=1", *QUIET)
    commands.run("retrain", tmp_path / "run", *own)
    checkpoint = f"checkpoint={tmp_path / 'run'}"
    done = commands.run("export", tmp_path / "x", checkpoint).result
    assert done["validated"] is False
    assert not any("accuracy" in name for name in done)
    int8 = commands.run("export", tmp_path / "y", checkpoint, "quantize=int8", "calibration=40")
    assert int8.result["train_accuracy"] == int8.result["float_train_accuracy"] > 0
    assert "valid_accuracy" not in int8.result


def test_a_missing_extra_is_named(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(package: str) -> None:
        raise ModuleNotFoundError(name=package)

    monkeypatch.setattr(formats, "import_module", fail)
    line = commands.error_of("export", f"checkpoint={run.directory}", "format=executorch")
    assert "format=executorch: executorch is not installed; run pip install" in line
    assert "'darts-nas[executorch]'" in line
    line = commands.error_of("find", "dataset=digits", "export=executorch_int8")
    assert line.startswith("darts.find: export=executorch_int8: executorch is not installed")


@pytest.mark.slow
def test_the_program_for_a_device_predicts_the_class_of_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program in docs/devices.md, on pictures that are neither square nor of the size."""
    pytest.importorskip("onnxruntime")
    page = (Path(__file__).parents[2] / "docs" / "devices.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```\n(import json\n.*?)```", page, re.DOTALL)
    draw = np.random.default_rng(0)
    for number in range(120):
        shade = number % 2
        pixels = draw.integers(0, 120, (20, 27, 3)) + 130 * shade
        folder = tmp_path / "pictures" / ("bright" if shade else "dark")
        folder.mkdir(parents=True, exist_ok=True)
        pillow.fromarray(pixels.astype("uint8")).save(folder / f"{number}.png")
    data = ("dataset=imagefolder", f"dataset.root={tmp_path / 'pictures'}", "dataset.size=8")
    own = ("space=mlp", LAYERS, "epochs=5", "loader.batch_size=16", "loader.workers=0", "cutout=0")
    commands.call("retrain", [*data, *own, *QUIET, f"hydra.run.dir={tmp_path / 'run'}"])
    arguments = (f"checkpoint={tmp_path / 'run'}", "quantize=int8", "workers=0")
    summary = commands.run("export", tmp_path / "x", *arguments).result
    assert summary["valid_accuracy"] > 0.9
    monkeypatch.chdir(tmp_path / "x")
    for shade, name in ((10, "dark"), (240, "bright")):
        pillow.new("RGB", (31, 24), (shade,) * 3).save("picture.png")
        out = io.StringIO()
        with redirect_stdout(out):
            exec(program, {})
        assert out.getvalue() == f"{name}\n"


def test_a_float_file_needs_no_data(tmp_path: Path, stand_in: StandIn) -> None:
    """Without the data at hand, a line says that the file is not scored; int8 is refused."""
    data = tmp_path / "table.csv"
    data.write_text("a,b,kind\n" + "".join(f"{i % 7},{i % 5},{'xy'[i % 2]}\n" for i in range(80)))
    words = ("dataset=csv", f"dataset.root={data}", "dataset.label=kind", "epochs=1", *QUIET)
    layers = 'genotype={"space": "mlp", "layers": ["relu_4"]}'
    run = tmp_path / "run"
    commands.call("retrain", ["space=mlp", layers, *words, f"hydra.run.dir={run}"])
    data.unlink()
    done = commands.run("export", tmp_path / "a", f"checkpoint={run}")
    assert "the file is not scored on validation data: " in done.out
    assert str(data) in done.out
    for key in ("validate=true", "quantize=int8"):
        assert str(data) in commands.error_of("export", f"checkpoint={run}", key)
