"""Write a retrained network for use elsewhere: ``python -m darts.export checkpoint=...``."""

from __future__ import annotations

import json
import os
from typing import Any

from darts.config import (
    ConfigError,
    ExportConfig,
    Invocation,
    RetrainConfig,
    as_yaml,
    launch,
    rebuild,
)
from darts.data_modules.data_module import Input
from darts.evaluate import checkpoint_file
from darts.retrain import build_network
from darts.spaces import parse_genotype
from darts.tracking import closing_table, environment
from darts.tracking.files import write_atomically, write_json
from darts.training.checkpoint import CheckpointError, load_checkpoint
from darts.training.cost import count_parameters
from darts.training.tracing import FORMATS, Plain, difference


def check(config: ExportConfig) -> None:
    """Refuse what no type rules out."""
    checkpoint_file(config.checkpoint)


def export(config: ExportConfig, call: Invocation) -> dict[str, Any]:
    """Write ``network.onnx`` or ``network.pt2``, and ``network.json`` that describes it.

    No data is read. Nothing is left if the graph does not say what the network says.

    Raises:
        CheckpointError: for a run that has no weights yet.
        ConfigError: if a network of this task cannot be exported, or the graph says something else.
    """
    if (call.directory / "config.yaml").exists():
        raise CheckpointError(f"{call.directory} already holds a run; choose another hydra.run.dir")
    file = checkpoint_file(config.checkpoint)
    saved = load_checkpoint(file, "retrain")
    if saved["chosen"] is None:
        raise CheckpointError(f"{file} is of a run that has not ended its first epoch")
    trained = rebuild(RetrainConfig, saved["config"])
    if not saved["inputs"]:
        raise ConfigError(
            f"networks of task={trained.task.name} search for their answer word by word, which is "
            "more than a graph of tensors can hold"
        )
    genotype = parse_genotype(trained.genotype)
    net = build_network(genotype, trained, saved["sizes"])
    net.load_state_dict(saved["chosen"]["net"])
    net.auxiliary = None  # of use in training only
    plain = Plain(net.eval(), [Input(**given) for given in saved["inputs"]]).eval()

    ending, write = FORMATS[config.format]
    call.directory.mkdir(parents=True, exist_ok=True)
    target = call.directory / f"network{ending}"
    unchecked = call.directory / f"unchecked{ending}"
    try:
        found = difference(plain, write(plain.trace(), unchecked, plain))
        if not found <= config.tolerance:
            raise ConfigError(
                f"the graph differs by {found:.2g} from the network, which is more than "
                f"tolerance={config.tolerance:g}; nothing was written"
            )
        os.replace(unchecked, target)
    finally:
        unchecked.unlink(missing_ok=True)

    described = {
        "task": trained.task.name,
        "inputs": [described_input(given) for given in plain.inputs],
        "outputs": plain.outputs,
        "names": saved["names"],
        "genotype": str(genotype),
    }
    env = environment()
    summary = {
        "command": "export",
        "name": trained.name,
        "checkpoint": str(file),
        "format": config.format,
        "file": str(target),
        "bytes": target.stat().st_size,
        "difference": found,
        "parameters": count_parameters(net.parameters()),
        "epoch": saved["chosen"]["epoch"],
        "seed": trained.seed,
        "genotype": str(genotype),
        "git_revision": env.get("git_revision"),
    }
    text = json.dumps(described, indent=2, ensure_ascii=False) + "\n"
    write_atomically(call.directory / "network.json", text)
    write_atomically(call.directory / "config.yaml", as_yaml(config))
    write_json(call.directory / "env.json", env)
    write_json(call.directory / "summary.json", summary)
    closing_table("export", {k: summary[k] for k in ("file", "bytes", "parameters", "difference")})
    return summary


def described_input(given: Input) -> dict[str, Any]:
    """What a user has to know of one input; free axes by name in place of a length."""
    shape = [given.free.get(axis, size) for axis, size in enumerate(given.shape)]
    described: dict[str, Any] = {
        "name": given.name,
        "type": "float32" if given.below is None else "int64",
        "shape": shape,
    }
    if given.mean is not None and given.std is not None:
        described |= {"mean": list(given.mean), "std": list(given.std)}
    return described


def main() -> None:
    """Entry point of ``darts-export``."""
    launch("export", check, export)


if __name__ == "__main__":
    main()
