"""``darts.find pretrained=...``, and the commands that use its network."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import command_calls as commands
import pytest
from tiny_pretrained import save_weights

from darts.finding import pretrained, setup
from darts.finding.families import FAMILIES

IMAGES = ("dataset=synthetic", "dataset.samples=96", "dataset.size=8", "device=cpu")
PLAN = (
    *("plan.equal=epochs", "plan.slice_epochs=1", "plan.rounds=1", "plan.epochs=2"),
    *("plan.folds=1", "plan.settings=false", "plan.newcomers=0", "executor=inline"),
)


def test_networks_with_trained_weights_take_part_in_the_race(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their weights are in the checkpoint, so the file is needed once only."""
    family = FAMILIES["images"][0]
    one = {"plain_32": family.baselines["plain_32"]}
    monkeypatch.setattr(setup, "FAMILIES", {"images": (replace(family, baselines=one),)})
    monkeypatch.setattr(pretrained, "SIZES", (12, 8))
    weights = save_weights(tmp_path)
    found = commands.run("find", tmp_path / "run", f"pretrained.weights={weights}", *IMAGES, *PLAN)
    summary = found.json("summary.json")
    assert summary["candidates"] == 3
    for kind in ("frozen", "pretrained", "scratch"):
        assert 0 <= summary[f"{kind}_valid_accuracy"] <= 1
    assert summary["pretrained_note"] in found.out
    assert len(list((found.directory / "features").iterdir())) == 2  # sizes
    run = found.directory / "runs" / "tiny_12-all"
    assert "from the file tiny.pth of the user" in (run / "model_card.md").read_text("utf-8")
    scratch = found.directory / "runs" / "convnet-plain_32" / "model_card.md"
    assert "trained from scratch" in scratch.read_text("utf-8")

    (tmp_path / "tiny.pth").unlink()
    evaluated = commands.run("evaluate", tmp_path / "evaluated", f"checkpoint={run}")
    assert evaluated.result["test_accuracy"] >= 0
    exported = commands.run("export", tmp_path / "exported", f"checkpoint={run}")
    assert (exported.directory / "network.onnx").is_file()


def test_a_search_from_trained_weights_is_retrained_from_them(tmp_path: Path) -> None:
    own = ("space=pretrained", f"space.weights={save_weights(tmp_path)}", "epochs=1")
    found = commands.run("search", tmp_path / "search", *own, "optimizer.lr=0.01")
    assert f"space.weights={save_weights(tmp_path)}" in found.out
    words = (f"genotype={found.directory}", *own, "cutout=0")
    trained = commands.run("retrain", tmp_path / "retrain", *words)
    assert trained.result["genotype"] == found.result["genotype"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("dataset=csv", "dataset.root=rows.csv"), "weights=resnet18: needs images"),
        ((*IMAGES, "space=cnn"), "leave out space="),
        (IMAGES, "pretrained.weights=resnet18: .* is missing; download https"),
    ],
)
def test_errors_name_the_key(
    words: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    monkeypatch.chdir(tmp_path)
    Path("rows.csv").write_text("x,y\n" + "1,a\n2,b\n" * 40)
    error = commands.error_of("find", "pretrained=resnet18", *words)
    assert re.search(message, error)
