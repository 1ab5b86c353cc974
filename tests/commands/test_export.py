"""Exported graphs compute the outputs of the network for batches of any size."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import command_calls as commands
import numpy as np
import pytest
import torch
from tiny_tasks import CASES

import darts
from darts.reading import read_json
from darts.recipes.exporting.formats import FORMATS

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
    assert {file.name for file in folder.iterdir()} == {
        "network.onnx",
        "network.json",
        "config.yaml",
        "env.json",
        "summary.json",
        "overrides.json",
    }
    description = read_json(folder / "network.json")
    summary = read_json(folder / "summary.json")
    assert summary == done.result
    assert summary["difference"] < 1e-4
    assert summary["parameters"] == image_run.result["parameters"]  # no auxiliary head
    assert description["inputs"][0]["shape"] == ["batch", 3, 8, 8]
    assert len(description["inputs"][0]["mean"]) == 3
    assert len(description["names"]) == 10
    session = onnxruntime.InferenceSession(folder / "network.onnx")
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
    blocks = '["conv_3x3","res_3x3","mb_k3_e3","convnext_k7","conv_5x5","skip_connect"]'
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


@pytest.mark.parametrize(
    "name", [None, *(pytest.param(name, marks=pytest.mark.slow) for name in TEXTS)]
)
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
def test_exported_text_networks_run_in_onnx_runtime(
    retrained: Any, tmp_path: Path, name: str
) -> None:
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
    line = commands.error_of("export", checkpoint, "format=litert")
    assert "format=litert: takes networks with one input of numbers" in line
