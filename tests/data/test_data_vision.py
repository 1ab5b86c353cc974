"""Published image data sets: files, downloads and errors."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import pickle
import tarfile
import urllib.error
import urllib.request
import warnings
from email.message import Message
from pathlib import Path

import pytest
import torch
from published_files import MAKE, make_cifar10, make_cifar100, rows

from darts.data import load
from darts.data.vision import published

NAMES = ("cifar10", "cifar100", "fashion_mnist", "svhn")


EXPECTED = {  # shape, train labels, classes
    "cifar10": ((3, 32, 32), [0, 9, 0, 1, 1, 9, 0, 1, 2, 9, 0, 1, 3, 9, 0, 1, 4, 9, 0, 1], 10),
    "cifar100": ((3, 32, 32), [0, 99, 5], 100),
    "svhn": ((3, 32, 32), [1, 0, 9], 10),
    "fashion_mnist": ((1, 28, 28), [7, 0, 9], 10),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("below", ["", "own"])
def test_other_checksums_cause_one_warning_without_verification(
    name: str, below: str, tmp_path: Path
) -> None:
    MAKE[name](tmp_path / name if below else tmp_path)
    with pytest.warns(UserWarning, match=f"{name}: .* differ from the published") as caught:
        source = load(name, root=tmp_path, download=False, verify=False)
    assert len(caught) == 1
    shape, labels, classes = EXPECTED[name]
    assert source.train.shape == shape
    assert source.train.labels.tolist() == labels
    assert len(source.classes) == classes
    assert source.test is not None
    assert len(source.mean) == len(source.std) == shape[0]
    if name != "fashion_mnist":
        assert torch.equal(source.train.pixels[0].flatten(), torch.from_numpy(rows(3, 0)[0]))
        last = 5 if name == "cifar10" else 1
        assert torch.equal(source.test.pixels[1].flatten(), torch.from_numpy(rows(3, last)[1]))


def test_other_checksums_are_refused_with_verification(tmp_path: Path) -> None:
    make_cifar100(tmp_path)
    with pytest.raises(ValueError, match=r"differ from the published.*dataset\.verify=false") as e:
        load("cifar100", root=tmp_path, download=False)
    assert "\n" not in str(e.value)


def test_published_checksums_cause_no_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_cifar100(tmp_path)
    layout = published("cifar100")
    folder = tmp_path / layout.folder
    files = {name: hashlib.md5((folder / name).read_bytes()).hexdigest() for name in layout.files}
    layout = dataclasses.replace(layout, files=files)
    monkeypatch.setattr("darts.data.vision.published", lambda name: layout)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(load("cifar100", root=tmp_path, download=False).train) == 3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("download", [False, True])
def test_the_error_of_missing_files_says_what_to_do(
    name: str, download: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise urllib.error.URLError("Not\nFound")

    monkeypatch.setattr("torch.hub.urlopen", fail)
    reason = f"cannot download {name}" if download else r"dataset\.download=false"
    with pytest.raises(ValueError, match=reason) as caught:
        load(name, root=tmp_path / "data", download=download)
    message = str(caught.value)
    assert "\n" not in message
    assert all(file in message for file in published(name).files)
    assert str(tmp_path / "data" / published(name).folder) in message
    assert "dataset.root" in message


class Answer(io.BytesIO):
    """What ``urlopen`` returns."""

    def info(self) -> Message:
        return Message()


@pytest.mark.parametrize("name", NAMES)
def test_missing_files_are_downloaded_once(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, fetched = tmp_path / "data", []
    content = publish(name, tmp_path / "store", monkeypatch)

    def download(request: urllib.request.Request) -> Answer:
        fetched.append(request.full_url)
        return Answer(content[request.full_url])

    monkeypatch.setattr("torch.hub.urlopen", download)
    for _ in range(2):
        with pytest.warns(UserWarning, match="differ"):
            load(name, root=root, verify=False)
    assert fetched == [*content]
    assert not list(root.rglob("*.partial"))


def publish(name: str, store: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Make small files of a data set, put their checksums into its layout; return them by URL."""
    MAKE[name](store)
    layout, content = published(name), {}
    for url in layout.downloads:
        if layout.unpack:
            packed = io.BytesIO()
            with tarfile.open(fileobj=packed, mode="w:gz") as tar:
                tar.add(store / layout.folder, layout.folder)
            content[url] = packed.getvalue()
        else:
            content[url] = (store / layout.folder / url.rsplit("/", 1)[1]).read_bytes()
    downloads = {url: hashlib.md5(own).hexdigest() for url, own in content.items()}
    layout = dataclasses.replace(layout, downloads=downloads)
    monkeypatch.setattr("darts.data.vision.published", lambda name: layout)
    return content


@pytest.mark.parametrize("name", ["cifar100", "fashion_mnist"])
def test_nothing_remains_of_a_download_with_another_checksum(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.hub.urlopen", lambda request: Answer(b"other"))
    with pytest.raises(ValueError, match=r"differs from the published file\)"):
        load(name, root=tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_invalid_labels_are_reported_as_damage(tmp_path: Path) -> None:
    make_cifar10(tmp_path)
    path = tmp_path / "cifar-10-batches-py" / "test_batch"
    for labels in ([0, 1, 2, 10], [0, 1, 2], [0, 1, 2, "three"], [-1, 0, 0, 0]):
        path.write_bytes(pickle.dumps({"data": rows(4, 0), "labels": labels}, protocol=2))
        with (
            pytest.warns(UserWarning, match="differ"),
            pytest.raises(ValueError, match="test_batch is damaged"),
        ):
            load("cifar10", root=tmp_path, download=False, verify=False)
