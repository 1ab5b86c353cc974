"""Random damage to files: changed bytes, and changed numbers, texts and lines."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

_NUMBER = re.compile(rb"-?\b\d+(\.\d+)?(e[+-]?\d+)?\b")
_WORD = re.compile(rb"[A-Za-z_]{3,}")
NUMBERS = (b"0", b"1", b"-1", b"7", b"0.5", b"1e999", b"NaN", b"null", b"true", b"9" * 30, b"[]")
TEXTS = (
    *(b"", b"x", b"../../x", b"${oc.env:HOME}", b"\x1b[31m", b"\xff\xfe", b"\0", b"*a", b"&a"),
    *(b"!!python/object/apply:os.getpid []", b"[" * 3000, b"{a: " * 300, b"name", b"_target_"),
)


def flip_bits(data: bytes, random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 3, 20))):
        changed[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(changed)


def cut(data: bytes, random: Random) -> bytes:
    start = random.randrange(len(data))
    end = random.choice((len(data), random.randrange(start, len(data)) + 1))
    return data[:start] + data[end:]


def repeat(data: bytes, random: Random) -> bytes:
    start = random.randrange(len(data))
    end = random.randrange(start, min(len(data), start + 4096)) + 1
    return data[:end] + data[start:]


def insert(data: bytes, random: Random) -> bytes:
    place = random.randrange(len(data) + 1)
    return data[:place] + random.choice((random.randbytes(9), *TEXTS)) + data[place:]


def move_line(data: bytes, random: Random) -> bytes:
    lines = data.splitlines(keepends=True)
    line = lines.pop(random.randrange(len(lines)))
    copies = random.choice((0, 1, 2))
    for _ in range(copies):
        lines.insert(random.randrange(len(lines) + 1), line)
    return b"".join(lines)


def change_number(data: bytes, random: Random) -> bytes:
    return _replace_one(_NUMBER, data, random, NUMBERS)


def change_word(data: bytes, random: Random) -> bytes:
    return _replace_one(_WORD, data, random, TEXTS)


def replace_all(data: bytes, random: Random) -> bytes:
    return random.choice((b"", b"{}", b"[]", b"null", b"PK\5\6" + bytes(18), random.randbytes(99)))


def _replace_one(
    pattern: re.Pattern[bytes], data: bytes, random: Random, choices: tuple[bytes, ...]
) -> bytes:
    found = list(pattern.finditer(data[:100_000]))
    if not found:
        return data
    match = random.choice(found)
    return data[: match.start()] + random.choice(choices) + data[match.end() :]


KINDS: tuple[Callable[[bytes, Random], bytes], ...] = (
    flip_bits,
    cut,
    repeat,
    insert,
    move_line,
    change_number,
    change_word,
    replace_all,
)
_WEIGHTS = (3, 2, 1, 2, 1, 3, 3, 1)


def mutate(data: bytes, seed: int) -> bytes:
    """Return damaged data, which differ from ``data`` and depend only on ``data`` and the seed."""
    random = Random(seed)
    while True:
        changed = random.choices(KINDS, _WEIGHTS)[0](data, random)
        if changed != data:
            return changed
