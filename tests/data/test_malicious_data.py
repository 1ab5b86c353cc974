"""Untrusted files of data sets: attacks and random damage, for each kind of file."""

from __future__ import annotations

import gzip
import io
import os
import resource
import struct
import time
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from damage import damage, restore
from PIL import Image
from published_files import MAKE
from warm_python import WarmPython

from darts.data import load, load_split, save_split
from darts.data.audio import read_recording
from darts.data.decode import decode
from darts.data.text_file import LINE_LIMIT, TEXT_LIMIT

Read = Callable[[Path], object]

pytestmark = pytest.mark.filterwarnings("ignore:.* differ from the published:UserWarning")


def read_image(path: Path) -> object:
    return decode(str(path), 8, 1.25)


def read_table(path: Path) -> object:
    return load("csv", root=path)


def read_folder(name: str, **options: bool) -> Read:
    return lambda path: load(name, root=path.parent, **options)


READERS = {name: read_folder(name, download=False, verify=False) for name in MAKE}
read_idx = READERS["fashion_mnist"]
read_text, read_pairs, read_documents = map(read_folder, ("text", "pairs", "documents"))


def read_recordings(path: Path) -> object:
    return load("audiofolder", root=path.parent.parent, rate=1000, mels=8, seconds=0.2, window=50.0)


def png(width: int, height: int) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        checksum = zlib.crc32(name + body)
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)

    rows = zlib.compress(bytes((1 + (width + 7) // 8) * height))
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def wav(rate: int = 8000, channels: int = 1, bits: int = 16, data: bytes = bytes(8)) -> bytes:
    frame = channels * bits // 8 % 65536
    header = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, 0, frame, bits)
    return b"RIFF\0\0\0\0WAVE" + header + struct.pack("<4sI", b"data", len(data)) + data


IDX, BOMB = "train-images-idx3-ubyte.gz", gzip.compress(bytes(100_000_000), 1)
SHAPE = gzip.compress(bytes([0, 0, 8, 3]) + b"\xff" * 12)
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"

ATTACKS: dict[str, tuple[str, bytes, Read, str]] = {
    "PostScript": ("x.png", EPS, read_image, "cannot read the image"),
    "an image bomb": ("x.png", png(10_000, 9_000), read_image, "pixels|bomb"),
    "a narrow image": ("x.png", png(1, 2_000_000), read_image, "too narrow"),
    "a prime rate": ("x.wav", wav(rate=999_983), read_recordings, "large factor in common"),
    "a rate of zero": ("x.wav", wav(rate=0), read_recording, "SF_INFO"),
    "a high rate": ("x.wav", wav(rate=1_600_000_000), read_recording, "1,000,000 samples per"),
    "no channels": ("x.wav", wav(channels=0), read_recording, "zero"),
    "all channels": ("x.wav", wav(channels=65535), read_recording, "."),
    "absurd bits": ("x.wav", wav(bits=65535), read_recording, "."),
    "length": ("x.wav", wav()[:-12] + b"\xfe\xff\xff\x7f" + bytes(8), read_recording, "truncated"),
    "a gzip bomb": (IDX, BOMB, read_idx, "more than 67,108,864 bytes"),
    "a shape": (IDX, SHAPE, read_idx, "it has another header than the published files"),
    "a long header": ("x.csv", b"a" * (LINE_LIMIT + 2), read_table, "16,777,216 char"),
    "a long number": ("x.csv", b"a,b\n" + b"1" * 10**7 + b",x\n2,y\n" * 4, read_table, "finite"),
    "a long field": ("x.csv", b"a,b\n1," + b"c" * 2**26 + b"\n", read_table, "16,777,216 bytes"),
    "many columns": ("x.csv", b"a," * 200_000 + b"b\n", read_table, "131,072 columns"),
    "NUL in a text": ("train.txt", b"a b\nc \0 d\n", read_text, "NUL"),
    "a long word": ("train.txt", b"a" * 1_000_000, read_text, "a word of more than 65,536"),
    "bytes in a text": ("train.txt", b"a" * 20_000 + b"\xff", read_text, "UTF-8 text: byte 20000"),
    "NUL in pairs": ("train.src", b"a\0\n", read_pairs, "NUL"),
    "an open quote": ("train.csv", b'label,text\na,"' + b"b" * 200_000, read_documents, "EOF"),
}


def refused(path: Path, read: Read, message: str = ".") -> None:
    with pytest.raises((ValueError, OSError), match=message) as caught:
        read(path)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 1000
    assert path.name in str(caught.value) or str(path.parent) in str(caught.value)


def place(name: str, content: bytes, folder: Path) -> Path:
    """Write a file of a data set, with valid files for the rest of the data set."""
    for make in KINDS.values():
        valid, _ = make(folder)
        if valid.name == name:
            valid.write_bytes(content)
            return valid
    path = folder / "folder" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def gray(suffix: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, suffix)
    return file.getvalue()


def make_image(folder: Path, suffix: str) -> tuple[Path, Read]:
    path = folder / f"image.{suffix}"
    path.write_bytes(gray(suffix))
    return path, read_image


def make_recordings(folder: Path) -> tuple[Path, Read]:
    rng = np.random.default_rng(0)
    for kind in "ab":
        for number in range(5):
            path = folder / "recordings" / kind / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, rng.integers(-(2**15), 2**15, (200, 2), dtype=np.int16), 4000)
    (folder / "recordings" / "a" / "x.wav").write_bytes(path.read_bytes())
    return folder / "recordings" / "a" / "x.wav", read_recordings


def make_published(folder: Path, name: str, file: str) -> tuple[Path, Read]:
    MAKE[name](folder)
    return next(folder.rglob(file)), READERS[name]


def make_table(folder: Path) -> tuple[Path, Read]:
    rows = [f"{n},{n * 0.37:.3f},{'xyz'[n % 3]}" for n in range(60)]
    path = folder / "table.csv"
    path.write_text("\n".join(["first,second,class", *rows, ""]))
    return path, read_table


def make_documents(folder: Path) -> tuple[Path, Read]:
    for name in ("train.csv", "test.csv"):
        rows = [f'{"ab"[n % 2]},"word {n}, and ""word"""' for n in range(30)]
        (folder / name).write_text("\n".join(["label,text", *rows]))
    return folder / "train.csv", read_documents


def make_text(folder: Path) -> tuple[Path, Read]:
    for split in ("train", "valid", "test"):
        (folder / f"{split}.txt").write_text("the cat sät on\nthe mat\n" * 20)
    return folder / "train.txt", read_text


def make_pairs(folder: Path) -> tuple[Path, Read]:
    for name in ("train", "valid", "test"):
        for side in ("src", "tgt"):
            (folder / f"{name}.{side}").write_text("a sentence\n" * 20)
    return folder / "train.src", read_pairs


def make_split(folder: Path) -> tuple[Path, Read]:
    import torch

    save_split(folder / "split.npz", {"a": torch.arange(30), "b": torch.arange(3)})
    return folder / "split.npz", load_split


KINDS: dict[str, Callable[[Path], tuple[Path, Read]]] = {
    **{kind: partial(make_image, suffix=kind) for kind in ("png", "jpeg", "gif", "webp")},
    "wav": make_recordings,
    "idx": lambda folder: make_published(folder, "fashion_mnist", "train-images*"),
    "pickle": lambda folder: make_published(folder, "cifar100", "train"),
    "mat": lambda folder: make_published(folder, "svhn", "train_32x32.mat"),
    "table": make_table,
    "documents": make_documents,
    "text": make_text,
    "pairs": make_pairs,
    "split": make_split,
}


def test_a_text_larger_than_the_limit_is_refused(tmp_path: Path) -> None:
    path, read = make_text(tmp_path)
    os.truncate(path, TEXT_LIMIT + 1)
    refused(path, read, "train.txt is too large: more than 2,147,483,648 bytes of text")


def test_names_that_are_not_text_are_loaded(tmp_path: Path) -> None:
    """A folder name may be any bytes, and a column any characters."""
    for kind in (b"\xff\x1b[31m", b"b\nc"):
        for number in range(5):
            path = os.path.join(os.fsencode(tmp_path), b"images", kind, b"%d.png" % number)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(gray("png"))
    source = load("imagefolder", root=tmp_path / "images", size=8)
    assert source.classes == ("b\nc", "\udcff\x1b[31m")
    table, _ = make_table(tmp_path)
    table.write_text(table.read_text().replace("first", '"\x1b[31m\nfirst"'))
    assert len(load("csv", root=table).train) > 0


def attack(names: list[str], folder: Path) -> dict[str, int]:
    """Try attacks; return by how many MiB each raised the peak memory of this process."""
    grown: dict[str, int] = {}
    for name in names:
        file, content, read, message = ATTACKS[name]
        here = folder / str(len(grown))
        here.mkdir()
        path = place(file, content, here)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begin = time.perf_counter()
        refused(path, read, message)
        assert time.perf_counter() - begin < 20, name
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        grown[name] = (after - before) // 1024 - len(content) // 2**20
    return grown


def test_attacks_are_refused_without_much_memory(tmp_path: Path, warm_python: WarmPython) -> None:
    """Another process, because the peak memory of this one may already be high."""
    program = (
        "import sys, warnings; warnings.simplefilter('ignore'); from pathlib import Path\n"
        "import test_malicious_data as t; print(t.attack([*t.ATTACKS], Path(sys.argv[1])))"
    )
    here = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": f"{here}{os.pathsep}{here.parent}"}
    done = warm_python.run("-c", program, str(tmp_path), environment=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    grown = eval(done.stdout, {})  # noqa: S307
    assert set(grown) == set(ATTACKS)
    assert max(grown.values()) < 300, grown


@pytest.mark.filterwarnings("ignore:.*it is read as Windows-1252")
@pytest.mark.parametrize("count", [30, pytest.param(500, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_loaded_or_one_line(kind: str, count: int, tmp_path: Path) -> None:
    path, read = KINDS[kind](tmp_path)
    whole = path.read_bytes()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refusals: list[str] = []
    for seed in range(count):
        if path.suffix == ".gz" and seed % 2:  # damage behind the checksum of the compression
            path.write_bytes(gzip.decompress(whole))
            damage(path, seed)
            path.write_bytes(gzip.compress(path.read_bytes(), 1))
        else:
            damage(path, seed)
        begin = time.perf_counter()
        try:
            read(path)
        except (ValueError, OSError) as error:
            refusals.append(str(error))
        assert time.perf_counter() - begin < 60, seed
        restore(path, whole)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (after - before) / 1024 < 1500  # MiB
    assert all(len(message.splitlines()) == 1 for message in refusals)
    # An error that only the whole data set shows names the data set.
    named = (str(tmp_path), "documents:", "pairs:")
    assert [m for m in refusals if not any(name in m for name in named)] == []
