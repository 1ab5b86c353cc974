"""Names, files and sources of trained weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from darts.spaces.pretrained import weights
from darts.spaces.pretrained.weights import Weights, find_weights


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of torchvision, on a machine without packages of weights."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(weights, "NETWORKS", {})
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_a_missing_file_can_be_downloaded_by_hand(cache: Path) -> None:
    message = rf"{cache}/resnet18-f37072fd.pth is missing; download https://.*/resnet18-f37072fd"
    for name in ("resnet18", "resnet18.IMAGENET1K_V1"):
        with pytest.raises(ValueError, match=f"space.weights={name}: {message}"):
            Weights.parse(name).path()
    with pytest.raises(ValueError, match=r"resnet18.V9: choose from IMAGENET1K_V1"):
        Weights.parse("resnet18.V9").path()
    with pytest.raises(ValueError, match=r"x\.pth is missing; name a file"):
        Weights.parse("resnet18:x.pth").path()


def test_auto_is_the_smallest_file_in_the_cache(cache: Path) -> None:
    with pytest.raises(ValueError, match=r"space\.weights=auto: none are installed or cached"):
        find_weights("auto")
    for network, size in (("resnet18", 20), ("mobilenet_v2", 10)):
        name = Weights.parse(network)._published().url.rpartition("/")[2]
        (cache / name).write_bytes(bytes(size))
    assert find_weights("auto").network == "mobilenet_v2"


def test_files_of_both_formats_are_read(tmp_path: Path) -> None:
    state = {"fc.weight": torch.ones(2)}
    torch.save(state, tmp_path / "a.pth")
    save_file(state, tmp_path / "a.safetensors")
    for file in ("a.pth", "a.safetensors"):
        read = Weights.parse(f"resnet18:{tmp_path / file}").read()
        assert read["fc.weight"].equal(state["fc.weight"])


def test_a_relative_file_becomes_absolute() -> None:
    assert find_weights("resnet18:x.pth").name == f"resnet18:{Path.cwd()}/x.pth"
    with pytest.raises(ValueError, match="must be NETWORK"):
        find_weights("x/y.pth")


def test_the_source_names_the_license(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "https://" in Weights.parse("resnet18").source
    assert "x.pth" in Weights.parse("resnet18:a/x.pth").source
    monkeypatch.undo()
    assert "Apache-2.0" in Weights.parse("efficientnet_lite0").source
