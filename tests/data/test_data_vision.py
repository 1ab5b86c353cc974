"""Published image data sets: files, downloads, pickled arrays and errors."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import pickle
import struct
import tarfile
import urllib.error
import urllib.request
import warnings
from email.message import Message
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from damage import Call
from load_errors import load_error
from published_files import MAKE, make_cifar10, make_cifar100, rows

from darts.data import load
from darts.data.vision import load_pickled_arrays, published

EXPECTED = {  # shape, train labels, classes
    "cifar10": ((3, 32, 32), [0, 9, 0, 1, 1, 9, 0, 1, 2, 9, 0, 1, 3, 9, 0, 1, 4, 9, 0, 1], 10),
    "cifar100": ((3, 32, 32), [0, 99, 5], 100),
    "svhn": ((3, 32, 32), [1, 0, 9], 10),
    "fashion_mnist": ((1, 28, 28), [7, 0, 9], 10),
}


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("below", ["", "own"])
def test_other_checksums_cause_one_warning(name: str, below: str, tmp_path: Path) -> None:
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
    message = r"differ from the published.*dataset\.verify=false"
    load_error(message, "cifar100", root=tmp_path, download=False)


def test_published_checksums_are_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_cifar100(tmp_path)
    layout = published("cifar100")
    folder = tmp_path / layout.folder
    files = {name: hashlib.md5((folder / name).read_bytes()).hexdigest() for name in layout.files}
    layout = dataclasses.replace(layout, files=files)
    monkeypatch.setattr("darts.data.vision.published", lambda name: layout)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(load("cifar100", root=tmp_path, download=False).train) == 3


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("download", [False, True])
def test_the_error_of_missing_files_says_what_to_do(
    name: str, download: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = urllib.error.URLError("Not\nFound")
    monkeypatch.setattr("torch.hub.urlopen", Mock(side_effect=error))
    reason = f"cannot download {name}" if download else r"dataset\.download=false"
    message = load_error(reason, name, root=tmp_path / "data", download=download)
    assert all(file in message for file in published(name).files)
    assert str(tmp_path / "data" / published(name).folder) in message
    assert "dataset.root" in message


class Answer(io.BytesIO):
    """What ``urlopen`` returns."""

    def info(self) -> Message:
        return Message()


@pytest.mark.parametrize("name", EXPECTED)
def test_downloads_happen_once(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "data"
    content = publish(name, tmp_path / "store", monkeypatch)
    download = Mock(side_effect=lambda request: Answer(content[request.full_url]))
    monkeypatch.setattr("torch.hub.urlopen", download)
    for _ in range(2):
        with pytest.warns(UserWarning, match="differ"):
            load(name, root=root, verify=False)
    assert [call.args[0].full_url for call in download.call_args_list] == [*content]
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
    load_error(r"differs from the published file\)", name, root=tmp_path)
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


def python2_pickle(rows: np.ndarray) -> bytes:
    """Return Python 2's pickle of {'data': rows, 'labels': [1, 2]}, opcode by opcode."""

    def text(value: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(value)) + value

    shape = b"(" + b"".join(b"M" + struct.pack("<H", n) for n in rows.shape) + b"t"
    dtype = b"cnumpy\ndtype\n(" + text(b"u1") + b"K\x00K\x01tR"
    dtype += b"(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t" + text(b"b") + b"tR"
    array += b"(K\x01" + shape + dtype + b"I00\n" + text(rows.tobytes()) + b"tb"
    labels = text(b"labels") + b"](K\x01K\x02e"
    return b"\x80\x02}(" + text(b"data") + array + labels + b"u."


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("dtype", ["u1", "<i8", ">i4", "<f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_all_protocols_are_read(tmp_path: Path, protocol: int, dtype: str, order: str) -> None:
    rows = np.asarray(np.arange(12).reshape(3, 4) * 17 % 251, dtype=dtype, order=order)  # type: ignore[call-overload]
    content = {"data": rows, "labels": [1, 2, 3], "names": ["a", "b"], "count": 3}
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    read = load_pickled_arrays(path)
    assert (read["data"] == rows).all()
    assert read["data"].dtype == rows.dtype
    assert read["labels"] == [1, 2, 3]
    assert read["names"] == ["a", "b"]
    assert read["count"] == 3


def test_a_file_of_python_2_is_read(tmp_path: Path) -> None:
    rows = np.arange(250, 256, dtype=np.uint8).reshape(2, 3)
    path = tmp_path / "batch"
    path.write_bytes(python2_pickle(rows))
    read = load_pickled_arrays(path)
    assert (read["data"] == rows).all()
    assert read["labels"] == [1, 2]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_malicious_file_is_refused_without_executing_it(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "trace"
    attack = Call(Path.touch, trace)
    content = {"data": attack, "labels": []}
    (tmp_path / "batch").write_bytes(pickle.dumps(content, protocol=protocol))
    with pytest.raises(ValueError, match="not allowed") as caught:
        load_pickled_arrays(tmp_path / "batch")
    assert "\n" not in str(caught.value)
    assert not trace.exists()
    pickle.loads((tmp_path / "batch").read_bytes())  # noqa: S301
    assert trace.exists()  # the attack works with pickle


@pytest.mark.parametrize(
    "body",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cbuiltins\ngetattr\n.",
        b"cnumpy\nfromfile\n.",
        b"cnumpy.core.multiarray\nscalar\n.",
        b"\x80\x04\x8c\x05numpy\x8c\x0cndarray.dump\x93.",
        b"cnumpy\ndtype\n(S'O'\ntR.",  # objects
        # State for a function of the reader.
        b"cnumpy.core.multiarray\n_reconstruct\n}S'__call__'\nI1\nsb.",
        b"cnumpy\nndarray\n}S'x'\nI1\nsb.",
        b"Ppersistent\n.",
        b"\x80\x04K\x01.",  # a number
    ],
)
def test_other_pickles_are_refused_in_one_line(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "batch"
    path.write_bytes(body)
    with pytest.raises(ValueError, match=r"batch is damaged or not a data file") as caught:
        load_pickled_arrays(path)
    assert "\n" not in str(caught.value)


def test_an_array_cannot_hold_addresses(tmp_path: Path) -> None:
    """NumPy's own unpickling would take the bytes for objects."""
    raw = python2_pickle(np.zeros((2, 3), np.uint8))
    path = tmp_path / "batch"
    for code in (b"O8", b"u1,O"):
        path.write_bytes(raw.replace(b"T\x02\0\0\0u1", b"T%c\0\0\0%s" % (len(code), code)))
        with pytest.raises(ValueError, match="OBJECT array"):
            load_pickled_arrays(path)
