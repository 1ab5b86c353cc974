"""Export a retrained network: ``python -m darts.export checkpoint=...``.

The formats are graphs of ONNX and of PyTorch, and the weights as safetensors.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from darts.config import ConfigError, ExportConfig, Invocation, launch
from darts.data import InputSpec
from darts.reading import JsonObject
from darts.recipes.graph_export import FORMATS, ExportableNetwork, max_error
from darts.recipes.shared_network import SUFFIX, save_network
from darts.recipes.trained import TrainedNetwork, find_checkpoint
from darts.spaces import NetworkBase
from darts.tracking import print_summary
from darts.training.checkpoint import CheckpointError, checkpoint_errors
from darts.training.cost import count_parameters
from darts.training.run_directory import RunDirectory
from darts.writing import write_errors


def check(config: ExportConfig) -> None:
    """Refuse invalid values."""
    find_checkpoint(config.checkpoint)


def export(config: ExportConfig, invocation: Invocation) -> JsonObject:
    """Write the network, and ``network.json`` that describes it.

    No data is read. No file is written if the outputs of a graph and of the network differ.

    Raises:
        CheckpointError: If the checkpoint is unusable, or its inputs do not fit its network.
        ConfigError: If networks of the task have no graph, or outputs differ.
    """
    with RunDirectory(invocation.directory, "export") as files:
        files.claim_unused(numbered=invocation.numbered, repeatable=True)
        summary = write_files(config, invocation, files)
    keys = ("file", "bytes", "parameters", "difference")
    print_summary("export", {key: summary[key] for key in keys})
    return summary


@dataclass(frozen=True)
class Exported:
    """An exported network.

    Attributes:
        file: The file.
        inputs: Its inputs.
        outputs: Names of its outputs.
        difference: Largest error of its outputs.
    """

    file: Path
    inputs: Sequence[InputSpec]
    outputs: Sequence[str]
    difference: float


def write_files(config: ExportConfig, invocation: Invocation, files: RunDirectory) -> JsonObject:
    """Write all files of an export, the summary last; return the summary.

    Raises:
        CheckpointError: If the checkpoint is unusable, or its inputs do not fit its network.
        ConfigError: If networks of the task have no graph, or outputs differ.
    """
    trained = TrainedNetwork.load(config.checkpoint)
    net = trained.build().eval()
    net.auxiliary = None  # used in training only
    exported = WRITERS[config.format](config, files.path, trained, net)
    files.write_json(
        "network.json",
        {
            "task": trained.config.task.name,
            "inputs": [describe_input(spec) for spec in exported.inputs],
            "outputs": exported.outputs,
            "names": trained.target_names,
            "genotype": str(trained.genotype),
        },
    )
    files.begin(config, invocation.overrides)
    return files.finish(
        {
            "name": trained.config.name,
            "checkpoint": str(trained.file),
            "format": config.format,
            "file": str(exported.file),
            "bytes": exported.file.stat().st_size,
            "difference": exported.difference,
            "parameters": count_parameters(net.parameters()),
            "epoch": trained.epoch,
            "seed": trained.config.seed,
            "genotype": str(trained.genotype),
        }
    )


def write_weights(
    config: ExportConfig, directory: Path, trained: TrainedNetwork, net: NetworkBase
) -> Exported:
    """Write ``network.safetensors``, which ``darts.load`` reads; compare its weights.

    Raises:
        ConfigError: If safetensors is not installed.
        CheckpointError: If the file cannot be read again, or differs.
        WriteError: If the disk is full or fails.
    """
    file, unchecked = directory / f"network{SUFFIX}", directory / f"unchecked{SUFFIX}"
    directory.mkdir(parents=True, exist_ok=True)
    try:
        save_network(trained, unchecked)
        again = TrainedNetwork.load(str(unchecked)).weights
        if not all(torch.equal(again[name], weight) for name, weight in trained.weights.items()):
            raise CheckpointError(f"{unchecked} differs from the network")
        os.replace(unchecked, file)
    finally:
        unchecked.unlink(missing_ok=True)
    return Exported(file, trained.input_specs, [], difference=0.0)


def write_graph(
    config: ExportConfig, directory: Path, trained: TrainedNetwork, net: NetworkBase
) -> Exported:
    """Write ``network.onnx`` or ``network.pt2``; the file gets its name if the outputs agree.

    Raises:
        CheckpointError: If the inputs do not fit the network.
        ConfigError: If networks of the task have no graph, or the error exceeds ``tolerance``.
        WriteError: If the disk is full or fails.
    """
    if not trained.input_specs:
        raise ConfigError(
            f"task={trained.config.task.name}: its networks generate text word by word, which a "
            "graph of tensors cannot express; choose format=safetensors"
        )
    with checkpoint_errors(trained.file):
        network = ExportableNetwork(net, trained.input_specs).eval()
    suffix, save = FORMATS[config.format]
    directory.mkdir(parents=True, exist_ok=True)
    target, unchecked = directory / f"network{suffix}", directory / f"unchecked{suffix}"
    try:
        with write_errors(target):
            graph = save(network.trace(), unchecked, network)
        error = max_error(network, graph)
        if not error <= config.tolerance:
            raise ConfigError(
                f"the graph differs from the network by {error:.2g}, more than "
                f"tolerance={config.tolerance:g}; nothing was written"
            )
        with write_errors(target):
            with open(unchecked, "rb") as file:
                os.fsync(file.fileno())
            os.replace(unchecked, target)
    finally:
        unchecked.unlink(missing_ok=True)
    return Exported(target, network.inputs, network.outputs, error)


WRITERS = {**dict.fromkeys(FORMATS, write_graph), "safetensors": write_weights}
"""The function that writes each format."""


def describe_input(spec: InputSpec) -> dict[str, object]:
    """Describe an input for network.json; an axis with a name as its size has any length."""
    description: dict[str, object] = {
        "name": spec.name,
        "type": "float32" if spec.num_tokens is None else "int64",
        "shape": [spec.dynamic_axes.get(axis, size) for axis, size in enumerate(spec.shape)],
    }
    if spec.mean is not None and spec.std is not None:
        description |= {"mean": list(spec.mean), "std": list(spec.std)}
    return description


def main() -> None:
    """Entry point of ``darts-export``."""
    launch("export", check, export)


if __name__ == "__main__":
    main()
