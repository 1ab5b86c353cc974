"""``darts export``: files of each format, and int8 weights."""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import command_calls as commands
import numpy as np
import pytest
import torch
from PIL import Image as pillow
from slow_cases import slow_except
from tiny_tasks import CASES
from torch import Tensor

import darts
from darts.config import RetrainConfig, rebuild
from darts.data import load_split
from darts.data_modules import make_data_module
from darts.reading import read_json
from darts.recipes.exporting import formats
from darts.recipes.exporting.formats import FORMATS, GraphFormat
from darts.recipes.exporting.network import ExportableNetwork, Graph
from darts.training.checkpoint import load_checkpoint
from darts.training.distributed import Ranks

BARE = ("tracking.tensorboard=false", "tracking.figures=false", "epochs=1")


@pytest.fixture(scope="module")
def image_run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A retraining on images with an auxiliary head."""
    more = ("genotype=DARTS_V2", "space.cells=3", "space.channels=4", "auxiliary=0.4")
    return commands.run("retrain", tmp_path_factory.mktemp("images") / "run", *more, *BARE)


@pytest.fixture(scope="module")
def retrained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Returns the directory of a retraining; its data is in the folder ``data`` next to it."""

    @functools.cache
    def retrain(name: str) -> Path:
        case, folder = CASES[name], tmp_path_factory.mktemp(name)
        run = Path(folder / "trained")
        own = [*case.retrain, f"genotype={case.genotype}", *BARE, f"hydra.run.dir={run}"]
        commands.call("retrain", [*case.data(folder / "data"), *own], run)
        return run

    return retrain


def test_onnx_runtime_runs_an_exported_network(image_run: Any, tmp_path: Path) -> None:
    import onnxruntime

    folder = tmp_path / "export"
    done = commands.run("export", folder, f"checkpoint={image_run.directory}")
    expected = {"network.onnx", "network.json", "config.yaml", "env.json"}
    expected |= {"summary.json", "overrides.json"}
    assert {file.name for file in folder.iterdir()} == expected
    description = read_json(folder / "network.json")
    summary = read_json(folder / "summary.json")
    assert summary == done.result
    assert summary["difference"] < 1e-4
    assert summary["parameters"] == image_run.result["parameters"]  # no auxiliary head
    assert description["inputs"][0]["shape"] == ["batch", 3, 8, 8]
    assert len(description["inputs"][0]["mean"]) == 3
    assert len(description["names"]) == 10
    session = onnxruntime.InferenceSession(folder / "network.onnx")
    assert session.get_inputs()[0].shape == description["inputs"][0]["shape"]
    assert session.get_outputs()[0].shape == ["batch", 10]
    logits = {n: session.run(["logits"], {"samples": samples(n)})[0] for n in (1, 5)}
    # The output of a sample does not depend on the rest of its batch.
    np.testing.assert_allclose(logits[5][:1], logits[1], atol=1e-5)


def samples(count: int) -> np.ndarray[Any, Any]:
    generator = np.random.default_rng(0)
    return generator.normal(size=(count, 3, 8, 8)).astype("float32")


def test_a_mirrored_network_has_the_same_outputs_in_every_form(tmp_path: Path) -> None:
    """Loaded, exported and in the commands; the skeleton has whitened patches and a grid."""
    import onnxruntime

    trained, folder = tmp_path / "trained", tmp_path / "export"
    blocks = '["conv_3x3","res_3x3","mb_k3_e3","convnext_k7","conv_5x5","attention"]'
    genotype = f'genotype={{"space": "macro", "blocks": {blocks}}}'
    space = ("space=macro", "space.skeleton=fast_grid", "space.channels=2", "auxiliary=0")
    done = commands.run("retrain", trained, genotype, *space, "mirror=true", *BARE)
    commands.run("export", folder, f"checkpoint={trained}")
    model, inputs = darts.load(trained), torch.from_numpy(samples(5))
    logits = model(inputs)
    torch.testing.assert_close(logits, model(inputs.flip(3)))  # only a mirrored network does this
    session = onnxruntime.InferenceSession(folder / "network.onnx")
    (exported,) = session.run(["logits"], {"samples": inputs.numpy()})
    np.testing.assert_allclose(exported, logits.numpy(), atol=1e-5)
    pixels = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = model(torch.stack([model.transform(image) for image in pixels]))
    predicted = darts.predict(model, pixels)
    torch.testing.assert_close(predicted.probabilities, expected.softmax(1))
    evaluation = commands.run("evaluate", tmp_path / "evaluation", f"checkpoint={trained}").result
    for score in ("test_accuracy", "test_loss"):
        assert evaluation[score] == done.result[score]


TEXTS = ("language_model", "text_classification")


@pytest.mark.parametrize("name", slow_except([None, *TEXTS], [None]))
def test_torch_runs_an_exported_program(
    image_run: Any, retrained: Any, tmp_path: Path, name: str | None
) -> None:
    trained = retrained(name) if name else image_run.directory
    folder = tmp_path / "export"
    commands.run("export", folder, f"checkpoint={trained}", "format=torch_export")
    description = read_json(folder / "network.json")
    net = torch.export.load(folder / "network.pt2").module()
    if name is None:
        assert net(torch.from_numpy(samples(7)))[0].shape == (7, 10)
    elif name == "language_model":
        assert [entry["name"] for entry in description["inputs"]] == ["tokens", "hidden"]
        assert description["outputs"] == ["logits", "next_hidden"]
        assert description["inputs"][0]["shape"] == [9, "batch"]  # task.window
        logits, hidden = net(torch.ones(9, 5, dtype=torch.int64), torch.zeros(5, 12))
        assert logits.shape == (9, 5, len(description["names"]))
        assert hidden.shape == (5, 12)
    else:
        assert description["inputs"][0]["shape"] == ["length", "batch"]
        (logits,) = net(torch.ones(11, 3, dtype=torch.int64))
        assert logits.shape == (3, 2)


@pytest.mark.parametrize("name", [None, *TEXTS])
def test_one_file_has_everything_that_an_evaluation_needs(
    image_run: Any, retrained: Any, tmp_path: Path, name: str | None
) -> None:
    trained = retrained(name) if name else image_run.directory
    root = [f"root={trained.parent / 'data'}"] if name else []
    folder = tmp_path / "export"
    done = commands.run("export", folder, f"checkpoint={trained}", "format=safetensors")
    assert done.result["difference"] == 0
    file = tmp_path / "other" / "network.safetensors"
    file.parent.mkdir()
    (folder / "network.safetensors").rename(file)
    scores = []
    for number, checkpoint in enumerate((trained, file)):
        place = tmp_path / f"evaluation{number}"
        result = commands.run("evaluate", place, f"checkpoint={checkpoint}", *root).result
        scores.append({name: value for name, value in result.items() if name.startswith("test_")})
    assert scores[0] == scores[1]
    assert scores[0]


@pytest.mark.slow  # ONNX of a cell that is unrolled over time
@pytest.mark.parametrize("name", TEXTS)
def test_text_networks_run_in_onnx_runtime(retrained: Any, tmp_path: Path, name: str) -> None:
    done = commands.run("export", tmp_path / "export", f"checkpoint={retrained(name)}")
    assert done.result["difference"] < 1e-4


def test_a_graph_with_other_outputs_is_refused_and_deleted(
    image_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = FORMATS["torch_export"]

    def load_wrong_program(path: Path, network: Any) -> Any:
        run = original.load(path, network)
        return lambda tensors: [out + 0.01 for out in run(tensors)]

    wrong = replace(original, load=load_wrong_program)
    monkeypatch.setitem(FORMATS, "torch_export", wrong)  # type: ignore[arg-type]
    arguments = (f"checkpoint={image_run.directory}", "format=torch_export")
    line = commands.error_of("export", *arguments)
    assert "the graph differs from the network by 0.01" in line


def test_a_network_of_tokens_is_not_quantized(retrained: Any) -> None:
    checkpoint = f"checkpoint={retrained('text_classification')}"
    line = commands.error_of("export", checkpoint, "quantize=int8")
    assert "task=text_classification: only networks with one input of numbers" in line
    line = commands.error_of("export", checkpoint, "format=executorch")
    assert "format=executorch: takes networks with one input of numbers" in line


QUIET = ("tracking.tensorboard=false", "tracking.figures=false", "evaluate_test=false")
LAYERS = 'genotype={"space": "mlp", "layers": ["relu_32", "relu_16"]}'


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A small fully connected network, which is fast to export."""
    folder = tmp_path_factory.mktemp("mlp") / "run"
    sizes = ("dataset.samples=200", "validation=0.3", "epochs=3", "loader.batch_size=16")
    return commands.run("retrain", folder, "space=mlp", LAYERS, *sizes, *QUIET)


def validation_data(directory: Path) -> tuple[Tensor, Tensor]:
    saved = load_checkpoint(directory / "checkpoint.safetensors", "retrain")
    module = make_data_module(rebuild(RetrainConfig, saved["config"]), Ranks())
    loader = module.held_out_loader("valid", load_split(directory / "split.npz"))
    samples, classes = zip(*loader.epoch(0), strict=True)
    return torch.cat(samples), torch.cat(classes)


@pytest.mark.slow
def test_the_file_holds_int8_weights_and_the_summary_its_score(run: Any, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    folder = tmp_path / "export"
    arguments = (f"checkpoint={run.directory}", "quantize=int8", "calibration=64", "max_drop=0.2")
    summary = commands.run("export", folder, *arguments).result
    assert summary == read_json(folder / "summary.json")
    own = commands.run("evaluate", tmp_path / "e", arguments[0], "split=valid").result
    assert summary["float_valid_accuracy"] == own["valid_accuracy"]
    file = folder / "network.onnx"
    samples, classes = validation_data(run.directory)
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    logits = session.run(["logits"], {"samples": samples.contiguous().numpy()})[0]
    accuracy = float((logits.argmax(axis=1) == classes.numpy()).mean())
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

    def save_int8(self, network: Any, plain: Path, path: Path, samples: Tensor) -> None:
        self.samples.append(samples)
        path.write_bytes(b"int8")

    def load(self, path: Path, network: ExportableNetwork) -> Graph:
        sign = -1 if self.wrong and path.read_bytes() == b"int8" else 1
        return lambda tensors: [sign * out.detach() for out in network(*tensors)]


def test_calibration_uses_training_samples(run: Any, tmp_path: Path, stand_in: StandIn) -> None:
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
        (
            ("format=torch_export", "quantize=int8"),
            "format=torch_export quantize=int8: its runtime computes in float32; choose "
            "format=onnx, executorch",
        ),
        (("quantize=int8", "validate=false"), "quantize=int8 validate=false: a quantized network"),
    ],
)
def test_wrong_combinations_are_refused(run: Any, arguments: tuple[str, ...], message: str) -> None:
    assert message in commands.error_of("export", f"checkpoint={run.directory}", *arguments)


def test_without_validation_training_samples_are_scored(tmp_path: Path, stand_in: StandIn) -> None:
    own = ("space=mlp", LAYERS, "validation=0", "selection=last", "epochs=1", *QUIET)
    commands.run("retrain", tmp_path / "run", *own)
    checkpoint = f"checkpoint={tmp_path / 'run'}"
    done = commands.run("export", tmp_path / "x", checkpoint).result
    assert done["validated"] is False
    assert not any("accuracy" in name for name in done)
    int8 = commands.run("export", tmp_path / "y", checkpoint, "quantize=int8", "calibration=40")
    assert int8.result["train_accuracy"] == int8.result["float_train_accuracy"] > 0
    assert "valid_accuracy" not in int8.result


def test_missing_extra_is_named(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = ModuleNotFoundError(name="executorch")
    monkeypatch.setattr(formats, "import_module", Mock(side_effect=missing))
    line = commands.error_of("export", f"checkpoint={run.directory}", "format=executorch")
    assert "format=executorch: executorch is not installed; run pip install" in line
    assert "'darts-nas[executorch]'" in line
    line = commands.error_of("find", "dataset=digits", "export=executorch_int8")
    assert line.startswith("darts find: export=executorch_int8: executorch is not installed")


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
