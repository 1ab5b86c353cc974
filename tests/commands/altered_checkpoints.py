"""Random alterations of a checkpoint file, for tests."""

from __future__ import annotations

import copy
import io
import random
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

REPLACEMENTS: tuple[Any, ...] = (
    None,
    True,
    -1,
    10**9,
    2**63 - 1,
    float("nan"),
    float("inf"),
    -0.5,
    "text",
    "",
    [],
    {},
    (1, 2),
    torch.zeros(0),
    torch.full((3,), float("nan")),
)


def members_of(file: Path) -> dict[str, bytes]:
    """Return the members of an archive by name, in their order."""
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_members(file: Path, members: dict[str, bytes]) -> None:
    """Write an uncompressed archive with valid checksums."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def alter(file: Path, draw: random.Random) -> str:
    """Alter a checkpoint in one random way; return a description."""
    kind = draw.choice(["bit", "pickle", "value", "value", "value"])
    if kind == "value":
        return alter_value(file, draw)
    members = members_of(file)
    pickles = [name for name in members if name.endswith("/data.pkl")]
    name = draw.choice(pickles if kind == "pickle" else [n for n in members if members[n]])
    data = bytearray(members[name])
    position = draw.randrange(len(data))
    if kind == "pickle":
        data[position] = draw.randrange(256)
    else:
        data[position] ^= 1 << draw.randrange(8)
    members[name] = bytes(data)
    write_members(file, members)
    return f"{kind} {position} of {name}"


def alter_value(file: Path, draw: random.Random) -> str:
    """Remove, replace, reshape or duplicate a random nested value of a checkpoint."""
    content = torch.load(file, weights_only=True)
    path: list[Any] = []
    parent: Any = content
    while True:
        keys = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
        path.append(draw.choice(keys))
        child = parent[path[-1]]
        if not isinstance(child, (dict, list)) or not child or draw.random() < 0.2:
            break
        parent = child
    action = draw.choice(["remove", "replace", "replace", "reshape"])
    if action == "reshape" and isinstance(child, Tensor):
        parent[path[-1]] = altered_tensor(child, draw)
    elif action == "remove":
        del parent[path[-1]]
    else:
        action, value = "replace", draw.choice(REPLACEMENTS)
        parent[path[-1]] = copy.deepcopy(value)
        action = f"replace by {value!r}"
    buffer = io.BytesIO()
    torch.save(content, buffer)
    file.write_bytes(buffer.getvalue())
    return f"{action}: {'.'.join(map(str, path))}"


def altered_tensor(tensor: Tensor, draw: random.Random) -> Tensor:
    """Return a tensor with another shape, type or value."""
    options = [
        tensor[None],
        torch.cat([tensor.reshape(-1), tensor.reshape(-1)]),
        tensor.to(torch.int64 if tensor.is_floating_point() else torch.float32),
        tensor.double(),
        torch.full_like(tensor, float("nan")) if tensor.is_floating_point() else tensor - 1,
        torch.zeros(1).expand(tensor.shape) if tensor.dtype == torch.float32 else tensor[:0],
    ]
    return draw.choice(options) if tensor.ndim else draw.choice(options[:-1])
