"""The file of a checkpoint is read within limits of memory and time."""

from __future__ import annotations

import struct
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from darts.training.checkpoint import CheckpointError, load_checkpoint
from darts.training.checkpoint_file import DamagedFile, read_values

END = b"."
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"
DICTIONARY = b"ccollections\nOrderedDict\n"


def number(value: int) -> bytes:
    """Return the opcode that pushes a whole number of any size."""
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def tuple_of(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def storage(count: int, *, kind: str = "Float", key: str = "0") -> bytes:
    """Return the opcodes that push the numbers of a tensor."""
    name = f"ctorch\n{kind}Storage\n".encode()
    return tuple_of(text("storage"), name, text(key), text("cpu"), number(count)) + b"Q"


def tensor(
    *,
    count: int = 4,
    offset: int = 0,
    size: tuple[int, ...] = (4,),
    stride: tuple[int, ...] = (1,),
    hooks: bytes = DICTIONARY + b")R",
    **options: Any,
) -> bytes:
    """Return the opcodes that push a tensor."""
    shapes = (tuple_of(*map(number, numbers)) for numbers in (size, stride))
    arguments = (storage(count, **options), number(offset), *shapes, b"\x89", hooks)
    return TENSOR + tuple_of(*arguments) + b"R"


def doubling(levels: int) -> bytes:
    """Return the opcodes of nested lists, each of which holds the previous one twice."""
    inner = (b"](h%ch%ceq%c" % (n, n, n + 1) for n in range(levels))
    return b"(]q\x00" + b"".join(inner) + b"t"


def write(path: Path, pickle: bytes, *, data: bytes = bytes(16), **options: Any) -> Path:
    """Write an archive with a pickle of protocol 2 and the numbers of one tensor."""
    with zipfile.ZipFile(path, "w", **options) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + pickle)
        archive.writestr("archive/byteorder", sys.byteorder)
        archive.writestr("archive/data/0", data)
    return path


def test_the_opcodes_of_torch_save_are_understood(tmp_path: Path) -> None:
    shared = torch.arange(6.0)
    channels_last = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    values = {
        "net": torch.nn.BatchNorm2d(2).state_dict(),
        "views": [shared[1:3], shared[4:]],
        "channels_last": channels_last,
        "types": [torch.zeros(3, dtype=kind) for kind in (torch.bool, torch.bfloat16, torch.half)],
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(2.5),
        "numbers": [0, -1, 255, 65536, 2**40, -(2**63), 2**63, 0.1, float("-inf")],
        "plain": (None, True, False, "ü", (), [], {}, (1,), (1, 2), {3: (1, 2, 3, 4)}),
        "long": list(range(3000)),
    }
    torch.save(values, tmp_path / "file")
    loaded: Any = read_values(tmp_path / "file")
    expected = torch.load(tmp_path / "file", weights_only=True)

    def assert_identical(left: Any, right: Any) -> None:
        if isinstance(right, torch.Tensor):
            assert (left.dtype, left.stride()) == (right.dtype, right.stride())
            assert left.equal(right)
        elif isinstance(right, dict):
            assert list(left) == list(right)
            for key in right:
                assert_identical(left[key], right[key])
        elif isinstance(right, (list, tuple)):
            assert type(left) is type(right)
            for pair in zip(left, right, strict=True):
                assert_identical(*pair)
        else:
            assert type(left) is type(right)
            assert left == right

    assert_identical(loaded, expected)
    first, second = loaded["views"]
    assert first.untyped_storage().data_ptr() == second.untyped_storage().data_ptr()


@pytest.mark.parametrize(
    ("pickle", "message"),
    [
        (b"cbuiltins\nbytearray\n" + number(10**9) + b"\x85R", "an object of builtins.bytearray"),
        (b"ctorch\nzeros\n" + number(10**9) + b"\x85R", "an object of torch.zeros"),
        (b"ctorch\nFloatTensor\n" + number(10**9) + b"\x85R", "an object of torch.FloatTensor"),
        (DICTIONARY + tuple_of(b"]") + b"R", "an object of collections.OrderedDict"),
        (b"cos\nsystem\n", "its pickle is damaged"),
        (tensor() + b"}b", "its pickle is damaged"),
        (b"\x8e" + struct.pack("<Q", 2**40), "opcode BINBYTES8|bytes"),
        (b"\x95" + struct.pack("<Q", 2**40), "opcode FRAME"),
        (b"I12\n", "opcode INT"),
        (number(2**64), "a number of more than 64 bits"),
        (number(-(2**63) - 1), "a number of more than 64 bits"),
        (b"}" + tuple_of(number(1)) + b"Ns", "a key is of type tuple"),
        (b"}" + text("a") + b"Ns" + text("a") + b"Ns", "the key 'a' occurs twice"),
        (b"}" * 2, "its pickle is damaged"),
        (b"]" + b"]" * 101 + b"a" * 101, "nested more than 100 levels"),
        (b"]q\x00h\x00a", "more than 1,000,000 values|nested more than 100"),
        (doubling(20), "more than 1,000,000 values"),
        (tensor(count=10**9, size=(10**9,)), "the size of tensor 0 is wrong"),
        (tensor(count=-4), "the size of tensor 0 is wrong"),
        (tensor(key="../../0"), "its member data/../../0 is missing"),
        (tensor(kind="Quint8"), "a tensor of an unknown type"),
        (tensor(size=(5,)), "a tensor is larger than its data"),
        (tensor(offset=1), "a tensor is larger than its data"),
        (tensor(offset=-1), "the shape of a tensor is damaged"),
        (tensor(size=(10**9,), stride=(0,)), "the numbers of a tensor overlap"),
        (tensor(size=(2, 3), stride=(1, 1)), "the numbers of a tensor overlap"),
        (tensor(size=(4,), stride=(-1,)), "the shape of a tensor is damaged"),
        (tensor(size=(4,), stride=()), "the shape of a tensor is damaged"),
        (tensor(size=(0, 2**47), stride=(1, 1)), "the shape of a tensor is damaged"),
        (tensor(hooks=b"K\x01"), "_rebuild_tensor_v2, which is not a plain value"),
        (tensor(kind="Double"), "the size of tensor 0 is wrong"),
        (b"0", "opcode POP"),
        (b"", "damaged"),
    ],
)  # fmt: skip
def test_a_pickle_with_other_objects_or_absurd_sizes_is_refused(
    tmp_path: Path, pickle: bytes, message: str
) -> None:
    path = write(tmp_path / "file", pickle + END)
    with pytest.raises(ValueError, match=message) as caught:
        read_values(path)
    assert "\n" not in str(caught.value)


def test_a_bool_tensor_holds_only_zeros_and_ones(tmp_path: Path) -> None:
    path = write(tmp_path / "file", tensor(kind="Bool") + END, data=b"\0\1\1\0")
    assert torch.equal(read_values(path), torch.tensor([False, True, True, False]))  # type: ignore[arg-type]
    write(path, tensor(kind="Bool") + END, data=b"\0\1\2\0")
    with pytest.raises(ValueError, match="other values than True and False"):
        read_values(path)


def test_compressed_members_are_refused(tmp_path: Path) -> None:
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA):
        path = write(tmp_path / "file", b"N" + END, data=bytes(10**6), compression=method)
        with pytest.raises(ValueError, match="is compressed or encrypted"):
            read_values(path)


def alter_directory(path: Path, alter: Callable[[bytearray, int], None]) -> None:
    """Alter each entry in the list of members of an archive."""
    data = bytearray(path.read_bytes())
    position = data.find(b"PK\1\2")
    while position >= 0:
        alter(data, position)
        position = data.find(b"PK\1\2", position + 46)
    path.write_bytes(data)


def test_encrypted_members_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "file", b"N" + END)
    alter_directory(path, lambda data, at: data.__setitem__(at + 8, 1))
    with pytest.raises(ValueError, match="is compressed or encrypted"):
        read_values(path)


def test_overlapping_and_repeated_members_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "file", b"N" + END, data=bytes(1000))

    def enlarge(data: bytearray, at: int) -> None:
        data[at + 20 : at + 28] = struct.pack("<II", 900, 900)

    alter_directory(path, enlarge)
    with pytest.raises(ValueError, match="its members overlap"):
        read_values(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"N.")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("archive/data.pkl", b"N.")
    with pytest.raises(ValueError, match="two of its members have the same name"):
        read_values(path)


def test_a_long_list_of_members_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    entry = b"PK\1\2" + bytes(42)
    directory = entry * 400_000
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 65535, 65535, len(directory), 0, 0)
    path.write_bytes(directory + end)
    with pytest.raises(ValueError, match="its list of members has more than"):
        read_values(path)


def test_a_long_pickle_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "file", b"]" * (16 * 2**20 + 1))
    with pytest.raises(ValueError, match="its pickle has more than 16,777,216 bytes"):
        read_values(path)


def test_numbers_of_another_byte_order_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"N.")
        archive.writestr("archive/byteorder", "middle")
    with pytest.raises(ValueError, match="another byte order"):
        read_values(path)


def test_a_changed_byte_of_any_used_member_is_damage(tmp_path: Path) -> None:
    path = write(tmp_path / "file", tensor() + END, data=b"\x11" * 16)
    content = path.read_bytes()
    for pattern in (b"storage", b"\x11" * 16):
        data = bytearray(content)
        data[content.index(pattern) + 3] ^= 1
        path.write_bytes(data)
        with pytest.raises(DamagedFile, match="Bad CRC-32"):
            read_values(path)


BOMBS = {
    "dictionaries": b"(" + b"}" * (16 * 2**20 - 8),
    "strings": b"](" + text("x" * 1000) + b"q\x00" + b"h\x00" * (8 * 2**20 - 2000) + b"e",
    "doubling": b"]" + b"q\x00](h\x00h\x00e" * 10**6,
    "numbers": b"](" + b"G" + bytes(8) + b"K\x01" * (8 * 2**20 - 100) + b"e",
    "colliding keys": b"}(" + b"".join(
        number(k * (2**61 - 1)) + b"N" for k in range(500_000)
    ) + b"u",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_memory_and_time_are_bounded(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "file", BOMBS[name] + END)
    script = """
        import resource, sys
        from pathlib import Path
        from darts.training.checkpoint import CheckpointError, load_checkpoint
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            load_checkpoint(Path(sys.argv[1]))
        except CheckpointError as error:
            assert "\\n" not in str(error)
        else:
            sys.exit("the file was accepted")
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 2000  # MiB


def test_a_checkpoint_error_names_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "file", tensor(offset=1) + END)
    with pytest.raises(CheckpointError, match="cannot be used: a tensor is larger") as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value)
