"""Exports say what the network says, for batches of any size, and nothing else is left behind."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from darts.recipes import graph_export
from darts.tracking import read_json

BARE = ("tracking.tensorboard=false", "tracking.figures=false", "epochs=1")


@pytest.fixture(scope="module")
def images(commands: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    more = ("genotype=DARTS_V2", "space.cells=3", "space.channels=4", "auxiliary=0.4")
    return commands.run("retrain", tmp_path_factory.mktemp("images") / "run", *more, *BARE)


def words(folder: Path) -> list[str]:
    draw = random.Random(0)
    for part in ("train", "valid", "test"):
        lines = [" ".join(draw.choices(["a", "b", "c", "d", "e"], k=6)) for _ in range(60)]
        (folder / f"{part}.txt").write_text("\n".join(lines) + "\n")
    small = ("space.hidden=8", "space.embedding=8", "task.window=3", "loader.batch_size=4")
    nodes = "[('tanh', 0), ('relu', 0), ('identity', 1)]"
    cell = f"genotype=Genotype(recurrent={nodes}, concat=range(1, 4))"
    return ["task=language_model", "dataset=text", f"dataset.root={folder}", cell, *small]


def topics(folder: Path) -> list[str]:
    rows = [f"{'odd' if i % 2 else 'even'},{'w ' * (i % 5 + 1)}v{i % 3}" for i in range(60)]
    for part in ("train", "test"):
        (folder / f"{part}.csv").write_text("label,text\n" + "\n".join(rows) + "\n")
    blocks = '[["attention_2","gelu_1"],["conv_3","relu_2"]]'
    genotype = f'genotype={{"space": "transformer", "blocks": {blocks}}}'
    own = ["space.hidden=8", "loader.batch_size=8", genotype]
    return ["task=text_classification", "dataset=documents", f"dataset.root={folder}", *own]


def test_a_file_for_onnx_runtime(commands: Any, images: Any, tmp_path: Path) -> None:
    """Read without this package: the file, and what network.json says of it."""
    import onnxruntime

    folder = tmp_path / "export"
    done = commands.run("export", folder, f"checkpoint={images.directory}")
    assert {file.name for file in folder.iterdir()} == {
        *("network.onnx", "network.json", "config.yaml", "env.json", "summary.json"),
        "overrides.json",
    }
    told, summary = read_json(folder / "network.json"), read_json(folder / "summary.json")
    assert summary == done.result
    assert summary["difference"] < 1e-4
    assert summary["parameters"] == images.result["parameters"]  # no auxiliary head
    assert told["inputs"][0]["shape"] == ["batch", 3, 8, 8]
    assert len(told["inputs"][0]["mean"]) == 3
    assert len(told["names"]) == 10
    session = onnxruntime.InferenceSession(folder / "network.onnx")
    found = {n: session.run(["logits"], {"samples": sample(n)})[0] for n in (1, 5)}
    np.testing.assert_allclose(found[5][:1], found[1], atol=1e-5)  # one does not see the others


def sample(count: int) -> np.ndarray[Any, Any]:
    generator = np.random.default_rng(0)
    return generator.normal(size=(count, 3, 8, 8)).astype("float32")


@pytest.mark.parametrize("given", [None, words, topics])
def test_a_program_of_torch(commands: Any, images: Any, tmp_path: Path, given: Any) -> None:
    trained = images.directory
    if given is not None:
        trained = tmp_path / "trained"
        commands.exactly("retrain", [*given(tmp_path), *BARE, f"hydra.run.dir={trained}"], trained)
    folder = tmp_path / "export"
    commands.run("export", folder, f"checkpoint={trained}", "format=torch_export")
    told = read_json(folder / "network.json")
    net = torch.export.load(folder / "network.pt2").module()
    if given is None:
        assert net(torch.from_numpy(sample(7)))[0].shape == (7, 10)
    elif given is words:
        assert [entry["name"] for entry in told["inputs"]] == ["tokens", "hidden"]
        assert told["outputs"] == ["logits", "next_hidden"]
        logits, hidden = net(torch.ones(3, 5, dtype=torch.int64), torch.zeros(5, 8))
        assert logits.shape == (3, 5, len(told["names"]))
        assert hidden.shape == (5, 8)
    else:
        assert told["inputs"][0]["shape"] == ["length", "batch"]
        (logits,) = net(torch.ones(11, 3, dtype=torch.int64))
        assert logits.shape == (3, 2)


@pytest.mark.slow  # ONNX of a cell that is unrolled over time
@pytest.mark.parametrize("given", [words, topics])
def test_texts_for_onnx_runtime(commands: Any, tmp_path: Path, given: Any) -> None:
    trained = tmp_path / "trained"
    commands.exactly("retrain", [*given(tmp_path), *BARE, f"hydra.run.dir={trained}"], trained)
    done = commands.run("export", tmp_path / "export", f"checkpoint={trained}")
    assert done.result["difference"] < 1e-4


def test_a_graph_that_says_something_else_is_not_kept(
    images: Any, commands: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = graph_export.save_program

    def wrong(program: Any, path: Path, plain: Any) -> Any:
        run = real(program, path, plain)
        return lambda tensors: [out + 0.01 for out in run(tensors)]

    monkeypatch.setitem(graph_export.FORMATS, "torch_export", (".pt2", wrong))  # type: ignore[arg-type]
    given = [f"checkpoint={images.directory}", "format=torch_export"]
    line = commands.refused("export", *given, f"hydra.run.dir={tmp_path / 'run'}")
    assert "the graph differs from the network by 0.01" in line
    assert not (tmp_path / "run").exists()


def test_without_the_libraries_it_is_said_which(
    images: Any, commands: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    line = commands.refused(
        "export", f"checkpoint={images.directory}", f"hydra.run.dir={tmp_path / 'run'}"
    )
    assert "format=onnx: onnxruntime is not installed; run pip install 'darts-nas[export]'" in line


def test_translations_are_a_search(commands: Any, tmp_path: Path) -> None:
    for part in ("train", "valid", "test"):
        for language in ("a", "b"):
            (tmp_path / f"{part}.{language}").write_text("one two\nthree\n" * 10)
    trained = tmp_path / "trained"
    own = ["task=translation", "dataset=pairs", f"dataset.root={tmp_path}", "genotype=DARTS_RNN_V1"]
    small = ["dataset.source=a", "dataset.target=b", "space.hidden=8", "space.embedding=8"]
    commands.exactly("retrain", [*own, *small, *BARE, f"hydra.run.dir={trained}"], trained)
    line = commands.refused("export", f"checkpoint={trained}", f"hydra.run.dir={tmp_path / 'run'}")
    assert "task=translation: its networks generate text word by word" in line
