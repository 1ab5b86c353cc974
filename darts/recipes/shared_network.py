"""A trained network as one safetensors file, to share it without the state of its training.

The file has the weights, and as metadata a JSON text with everything else that builds the network
and prepares its inputs, but without the path of the training data. A SHA-256 of both reveals
changes: the format itself has no checksum.

Reference: https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from darts.config import ConfigError
from darts.reading import FileError, one_line, parse_json, read_bytes
from darts.training.checkpoint import FORMATS, CheckpointError, StateDict
from darts.writing import write_atomically

if TYPE_CHECKING:
    from darts.recipes.trained import TrainedNetwork

SUFFIX = ".safetensors"
DEFAULT_ROOT = "data"
LIMIT = 2**34  # bytes
HEADER_LIMIT = 64 * 2**20  # bytes

_TEXT, _DIGEST = "darts", "darts_sha256"


def require_safetensors(setting: str) -> None:
    """Raise ``ConfigError`` if safetensors is not installed; ``setting`` asks for it."""
    try:
        import safetensors.torch  # noqa: F401
    except ImportError:
        raise ConfigError(
            f"{setting}: safetensors is not installed; run pip install 'darts-nas[export]'"
        ) from None


def save_network(trained: TrainedNetwork, path: Path) -> None:
    """Write a network to a file.

    Raises:
        ConfigError: If safetensors is not installed.
        WriteError: If the disk is full or fails.
    """
    require_safetensors("format=safetensors")
    from safetensors.torch import save

    entries = trained.entries()
    for owner in (entries, *entries["members"]):  # no paths of this machine
        config = owner["config"]
        config["dataset"]["root"], config["resume"], config["start"] = DEFAULT_ROOT, None, None
    text = json.dumps({"format": FORMATS["retrain"], **entries}, allow_nan=False)
    # Copies, because tied weights share their memory, which the format does not allow.
    weights = {name: w.detach().clone().contiguous() for name, w in trained.weights.items()}
    digest = _digest(text, save(weights))
    write_atomically(path, save(weights, {_TEXT: text, _DIGEST: digest}))


def load_network(path: Path) -> StateDict:
    """Read a file; return the entries that the checkpoint of a retraining has for its result.

    Raises:
        CheckpointError: If the file is missing, damaged, was changed, or is of another version.
        ConfigError: If safetensors is not installed.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load
    except ImportError:
        raise ConfigError(
            f"checkpoint={path}: safetensors is not installed; run pip install 'darts-nas[export]'"
        ) from None
    try:
        data = read_bytes(path, limit=LIMIT)
        metadata = _metadata(data)
        weights = load(data)
    except (FileError, OSError, SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} cannot be read: {one_line(error)}") from None
    text = metadata[_TEXT]
    if metadata[_DIGEST] != _digest(text, data):
        raise CheckpointError(f"{path} is damaged or was changed")
    try:
        content = parse_json(text)
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged: {one_line(error)}") from None
    if not isinstance(content, dict) or content.get("format") != FORMATS["retrain"]:
        raise CheckpointError(f"{path} is a network of another version of darts-nas")
    return _as_checkpoint(content, weights)


def _as_checkpoint(content: StateDict, weights: Mapping[str, Tensor]) -> StateDict:
    epoch = content.get("epoch")
    specs = content.get("input_specs")
    if isinstance(specs, list):
        # The keys of a JSON object are strings.
        for spec in specs:
            axes = spec.get("dynamic_axes") if isinstance(spec, dict) else None
            if isinstance(axes, dict) and all(axis.isdecimal() and len(axis) < 4 for axis in axes):
                spec["dynamic_axes"] = {int(axis): name for axis, name in axes.items()}
    return {**content, "best": {"epoch": epoch, "scores": {}, "net": dict(weights)}}


def _metadata(data: bytes) -> dict[str, str]:
    """Return the metadata of a file: eight bytes with the length of a JSON text, and the text.

    Raises:
        ValueError: If the entries of this package are missing.
    """
    length = int.from_bytes(data[:8], "little")
    if length > min(HEADER_LIMIT, len(data)):
        raise ValueError("its header is too long")
    header = parse_json(data[8 : 8 + length].decode("utf-8"))
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or not {_TEXT, _DIGEST} <= metadata.keys():
        raise ValueError("it is not a network of darts-nas")
    return {name: str(metadata[name]) for name in (_TEXT, _DIGEST)}


def _digest(text: str, data: bytes) -> str:
    """Return the hash of the JSON text and of names, shapes and values of all tensors."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    result = hashlib.sha256(json.dumps([text, header], sort_keys=True).encode())
    result.update(memoryview(data)[8 + length :])
    return result.hexdigest()
