"""Seeded damage to files, as a failing disk or an attacker might leave them."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

Damage = Callable[[bytes, random.Random], bytes]

ODD_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 10**30, 10**4000, 1e308, -1e308, 5e-324, 2**63, "", "x", "\x1b[31m",
    "\u202e", "$\\frac$", "<script>alert(1)</script>", "a" * 100_000, "\ud800", [], {}, [[]],
    [None], {"": None}, [1, 2, 3], {"epoch": 1},
)  # fmt: skip
TEXTS = (
    b"\xff\xfe", b"\0", b"]", b"\n\n", b'"', b",", b"${oc.env:HOME}", b"*a", b"&a", b"../../x",
    b"!!python/object/apply:os.getpid []", b"{a: " * 300, b"_target_",
)  # fmt: skip
ODD_NUMBERS = (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-0", b"9" * 5000, b"0x7f", b".inf")


def truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def flip_bits(data: bytes, rng: random.Random) -> bytes:
    content = bytearray(data)
    for _ in range(rng.choice((1, 2, 16))):
        if content:
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return bytes(content)


def insert(data: bytes, rng: random.Random) -> bytes:
    """Insert bytes that are not UTF-8, NUL, brackets, newlines, or tags and references of YAML."""
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.choice(TEXTS) + data[place:]


def repeat(data: bytes, rng: random.Random) -> bytes:
    a, b = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:b] + data[a:b] + data[b:]


def remove(data: bytes, rng: random.Random) -> bytes:
    a, b = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:a] + data[b:]


def change_number(data: bytes, rng: random.Random) -> bytes:
    """Replace a number by one that is huge, not finite, or malformed."""
    numbers = list(re.finditer(rb"\d+(\.\d+)?", data))
    if not numbers:
        return data
    match = rng.choice(numbers)
    return data[: match.start()] + rng.choice(ODD_NUMBERS) + data[match.end() :]


def change_json(data: bytes, rng: random.Random) -> bytes:
    """Replace, remove or rename a value of a JSON file, or of one line of JSON lines."""
    lines = data.splitlines()
    number = rng.randrange(len(lines)) if lines else 0
    for text, index in ((data, None), (lines[number] if lines else b"", number)):
        try:
            content = json.loads(text)
        except ValueError:
            continue
        changed = json.dumps(_change_node(content, rng)).encode()
        if index is None:
            return changed
        return b"\n".join([*lines[:index], changed, *lines[index + 1 :]])
    return nest(data, rng)


def _change_node(content: Any, rng: random.Random) -> Any:
    """Return nested values in which one is odd, missing or has another name."""
    if rng.random() < 0.3 or not isinstance(content, (dict, list)) or not content:
        return rng.choice(ODD_VALUES)
    copy: Any = content.copy()
    key = rng.choice(list(copy) if isinstance(copy, dict) else range(len(copy)))
    action = rng.random()
    if action < 0.15:
        del copy[key]
    elif action < 0.25 and isinstance(copy, dict):
        copy[rng.choice(("", "x" * 5000, "\x1b", "$", "<b>"))] = copy.pop(key)
    else:
        copy[key] = _change_node(copy[key], rng)
    return copy


def nest(data: bytes, rng: random.Random) -> bytes:
    depth = rng.choice((50, 5_000, 200_000))
    return rng.choice((b"[" * depth, b'{"a":' * depth, b"[" * depth + b"]" * depth))


CONTENT: tuple[Damage, ...] = (
    truncate, flip_bits, insert, repeat, remove, change_number, change_number,
    change_json, change_json, change_json, change_json, nest,
)  # fmt: skip


def mutate(data: bytes, seed: int) -> bytes:
    """Return damaged data, which differ from ``data`` and depend only on ``data`` and the seed."""
    rng = random.Random(seed)
    while True:
        changed = rng.choice(CONTENT)(data, rng)
        if changed != data:
            return changed


def damage(file: Path, seed: int) -> str:
    """Damage a file and return how, for messages of failed tests.

    Every twelfth seed replaces the file by something that is not a regular file.
    """
    rng = random.Random(seed)
    if seed % 12 == 0:
        return _replace(file, seed // 12 % 5)
    change = rng.choice(CONTENT)
    file.write_bytes(change(file.read_bytes(), rng))
    return f"{change.__name__}, seed {seed}"


def _replace(file: Path, kind: int) -> str:
    file.unlink()
    if kind == 0:
        file.mkdir()
    elif kind == 1:
        os.mkfifo(file)
    elif kind == 2:
        file.symlink_to(file.name)  # a loop
    elif kind == 3:
        file.symlink_to("/dev/zero")
    else:
        file.write_bytes(b"")
    return ("directory", "pipe", "loop", "device", "empty")[kind]


class Call:
    """An object whose unpickling calls ``function(*arguments)``."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def restore(file: Path, original: bytes) -> None:
    """Put the original content in the place of a damaged file."""
    if file.is_dir() and not file.is_symlink():
        shutil.rmtree(file)
    else:
        file.unlink(missing_ok=True)
    file.write_bytes(original)
