"""``python -m darts.evaluate`` from the outside."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from darts.spaces import Genotype


@pytest.fixture(scope="module")
def evaluated(retrained: Any, commands: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    (arguments,) = [commands.printed(retrained.out, "evaluate")]  # as retrain printed it
    folder = tmp_path_factory.mktemp("evaluate") / "run"
    return commands.exactly("evaluate", [*arguments, f"hydra.run.dir={folder}"], folder)


def test_the_score_of_the_retraining(evaluated: Any, retrained: Any) -> None:
    """Exactly: the same weights, the same images, the same arithmetic."""
    scores = {k: v for k, v in retrained.result.items() if k.startswith("test_")}
    assert scores
    assert {k: evaluated.result[k] for k in scores} == scores
    for key in ("epoch", "genotype", "seed", "metric", "name"):
        assert evaluated.result[key] == retrained.result[key]
    assert evaluated.result["samples"] == 128


def test_the_files_of_a_run(evaluated: Any) -> None:
    present = {file.name for file in evaluated.directory.iterdir()}
    assert {"config.yaml", "genotype.json", "summary.json", "env.json", "confusion.svg"} <= present
    summary = evaluated.json("summary.json")
    assert summary == evaluated.result
    assert not [key for key, value in summary.items() if isinstance(value, (dict, list))]
    assert {"seconds", "joules", "joules_source", "git_revision", "device"} <= summary.keys()
    text = (evaluated.directory / "genotype.json").read_text(encoding="utf-8")
    assert str(Genotype.parse(text)) == summary["genotype"]
    assert f"{100 * summary['test_accuracy']:.2f}" in evaluated.out


def test_the_validation_part(retrained: Any, commands: Any, tmp_path: Path) -> None:
    place = f"hydra.run.dir={tmp_path / 'run'}"
    done = commands.exactly("evaluate", [f"checkpoint={retrained.directory}", "split=valid", place])
    scores = {k: v for k, v in retrained.result.items() if k.startswith("valid_")}
    assert {k: done.result[k] for k in scores} == scores
    assert done.result["samples"] == 10
    assert not [key for key in done.result if key.startswith("test")]


def test_a_file_and_another_batch_size(retrained: Any, commands: Any, tmp_path: Path) -> None:
    file = retrained.directory / "checkpoint.pt"
    for index, more in enumerate((["batch_size=7"], ["precision=bf16"])):
        place = f"hydra.run.dir={tmp_path / str(index)}"
        done = commands.exactly("evaluate", [f"checkpoint={file}", *more, place])
        assert abs(done.result["test_accuracy"] - retrained.result["test_accuracy"]) < 0.1
        assert done.result["samples"] == 128


def test_the_retraining_is_left_alone(retrained: Any, evaluated: Any) -> None:
    summary = retrained.json("summary.json")
    assert summary["command"] == "retrain"
    assert evaluated.json("summary.json")["command"] == "evaluate"


@pytest.mark.parametrize("part", ["test", "valid"])
def test_a_copy_without_its_split(retrained: Any, commands: Any, tmp_path: Path, part: str) -> None:
    """The weights alone are enough for the test split, not for the validation part."""
    file = tmp_path / "weights.pt"
    shutil.copy(retrained.directory / "checkpoint.pt", file)
    given = [f"checkpoint={file}", f"split={part}", f"hydra.run.dir={tmp_path / 'run'}"]
    if part == "test":
        result = commands.exactly("evaluate", given).result
        assert result["test_accuracy"] == retrained.result["test_accuracy"]
    else:
        assert "split.npz" in commands.refused("evaluate", *given)
        assert not (tmp_path / "run").exists()


def test_a_damaged_checkpoint(retrained: Any, commands: Any, tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pt"
    shutil.copy(retrained.directory / "checkpoint.pt", file)
    commands.flip_a_bit(file)
    line = commands.refused("evaluate", f"checkpoint={file}", f"hydra.run.dir={tmp_path / 'x'}")
    assert str(file) in line
    assert "damaged" in line


def test_a_checkpoint_of_a_search(searched: Any, commands: Any, tmp_path: Path) -> None:
    line = commands.refused(
        "evaluate", f"checkpoint={searched.directory}", f"hydra.run.dir={tmp_path / 'x'}"
    )
    assert "search" in line
    assert "retrain" in line


def test_a_run_that_has_not_ended_its_first_epoch(
    retrained: Any, commands: Any, tmp_path: Path
) -> None:
    file = tmp_path / "checkpoint.pt"
    torch.save(retrained.checkpoint | {"best": None}, file)
    line = commands.refused("evaluate", f"checkpoint={file}", f"hydra.run.dir={tmp_path / 'x'}")
    assert "has not completed an epoch" in line


def test_importances_of_edges(retrained: Any, commands: Any, tmp_path: Path) -> None:
    """On validation data, whatever part is scored; scores are those without the question."""
    folder = tmp_path / "run"
    given = [f"checkpoint={retrained.directory}", "split=valid", "importance=true"]
    done = commands.exactly("evaluate", [*given, f"hydra.run.dir={folder}"], folder)
    found = done.json("importance.json")
    assert (found["metric"], found["split"]) == ("accuracy", "valid")
    assert found["score"] == done.result["valid_accuracy"] == retrained.result["valid_accuracy"]
    genotype = Genotype.parse((folder / "genotype.json").read_text())
    for cell in genotype.cells:
        own = [(e["source"], e["target"], e["operation"]) for e in found["edges"][cell]]
        assert own == genotype.edges(cell)
        # A score of ten samples moves by tenths.
        assert all(abs(10 * e["score_drop"] - round(10 * e["score_drop"])) < 1e-5 for e in found["edges"][cell])
    assert (folder / "importance.svg").is_file()
    assert "lost without" in done.out
    assert not [key for key in done.result if key.startswith("test")]


def test_importances_of_a_chain(commands: Any, tmp_path: Path) -> None:
    """Blocks that change the width are left out, and a page says so."""
    blocks = ["mb_k3_e3", "skip_connect", "mb_k3_e3", "mb_k5_e3", "mb_k3_e3", "mb_k3_e3"]
    genotype = json.dumps({"space": "macro", "blocks": blocks})
    given = ["space=macro", "space.channels=4", f"genotype={genotype}", "epochs=1", "cutout=0"]
    made = commands.run("retrain", tmp_path / "made", *given)
    folder = tmp_path / "run"
    given = [f"checkpoint={made.directory}", "split=valid", "importance=true"]
    done = commands.exactly("evaluate", [*given, f"hydra.run.dir={folder}"], folder)
    lost = [edge["score_drop"] for edge in done.json("importance.json")["edges"]["blocks"]]
    assert [number for number, loss in enumerate(lost) if loss is None] == [2, 4]
    assert lost[1] == 0
    assert (folder / "importance.svg").is_file()
    commands.exactly("report", [str(made.directory), str(folder), f"out={tmp_path / 'page.html'}"])
    page = (tmp_path / "page.html").read_text()
    assert "Operations that no other path bypasses cannot be removed and are left out." in page


def test_networks_without_edges_have_no_importances(commands: Any, tmp_path: Path) -> None:
    given = [
        "space=mlp",
        'genotype={"space": "mlp", "layers": ["relu_16"]}',
        "epochs=1",
        "dataset.samples=64",
    ]
    made = commands.run("retrain", tmp_path / "mlp", *given)
    line = commands.refused("evaluate", f"checkpoint={made.directory}", "importance=true")
    assert "space=mlp" in line
