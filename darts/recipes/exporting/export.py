"""Write a trained network as a graph for a runtime, or its weights as safetensors."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from darts.config import INT8_GRAPHS, ConfigError, ExportConfig, Invocation
from darts.data import InputSpec
from darts.reading import JsonObject
from darts.recipes.exporting.formats import FORMATS, require_packages
from darts.recipes.exporting.network import ExportableNetwork, Graph, max_error, quiet
from darts.recipes.exporting.rows import raw_columns
from darts.recipes.exporting.validation import Validation, median_milliseconds, takes_numbers
from darts.recipes.trained import TrainedNetwork
from darts.spaces import NetworkBase
from darts.tracking import print_summary
from darts.training.checkpoint import NETWORK, checkpoint_errors, find_checkpoint, save_checkpoint
from darts.training.cost import count_parameters
from darts.training.run_directory import RunDirectory
from darts.writing import write_atomically, write_errors

DEFAULT_ROOT = "data"


def check(config: ExportConfig) -> None:
    """Raise ConfigError for invalid values."""
    find_checkpoint(config.checkpoint)
    if config.format == "safetensors" and (config.quantize != "none" or config.validate):
        key = "validate=true" if config.quantize == "none" else f"quantize={config.quantize}"
        raise ConfigError(
            f"format=safetensors {key}: the file has the trained weights and no graph; "
            f"choose format={', '.join(FORMATS)}"
        )
    if config.quantize != "none" and config.format not in INT8_GRAPHS:
        raise ConfigError(
            f"format={config.format} quantize={config.quantize}: its runtime computes in float32; "
            f"choose format={', '.join(INT8_GRAPHS)}"
        )
    if config.quantize != "none" and config.validate is False:
        raise ConfigError(
            f"quantize={config.quantize} validate=false: a quantized network is always validated; "
            "leave validate out"
        )


def export(config: ExportConfig, invocation: Invocation) -> JsonObject:
    """Write the network, ``network.json`` that describes it, and last the summary.

    A graph is run by its runtime on random inputs and, if the run has validation data, on these. No
    file is written if its outputs or its score do not agree with the network.
    """
    with RunDirectory(invocation.directory, "export") as files:
        files.claim_unused(numbered=invocation.numbered, repeatable=True)
        trained = TrainedNetwork.load(config.checkpoint)
        net = trained.build().eval()
        net.auxiliary = None  # used in training only
        inputs, outputs, rows = trained.input_specs, list[str](), None
        report: JsonObject = {"difference": 0.0}
        if config.format == "safetensors":
            file = files.path / "network.safetensors"
            save_network(trained, file)
        else:
            graph = GraphFile(config, trained, net)
            file, report = graph.write(files.path)
            inputs, outputs, rows = graph.network.inputs, graph.network.outputs, graph.network.rows
        one_sample = config.format in FORMATS and FORMATS[config.format].one_sample
        described = [describe_input(spec, one_sample) for spec in inputs]
        if rows is not None:
            described = [own | more for own, more in zip(described, rows.columns, strict=True)]
        description = {
            "task": trained.config.task.name,
            "inputs": described,
            "outputs": outputs,
            "names": trained.target_names,
            "encoding": None if trained.encoding is None else asdict(trained.encoding),
            **trained.architecture,
        }
        files.write_json("network.json", description)
        files.begin(config, invocation.overrides)
        shown: JsonObject = {
            "file": str(file),
            "bytes": file.stat().st_size,
            **report,
            "parameters": count_parameters(net.parameters()),
        }
        summary = files.finish(
            {
                "name": trained.config.name,
                "checkpoint": str(trained.file),
                "format": config.format,
                "quantize": config.quantize,
                **shown,
                "epoch": trained.epoch,
                "seed": trained.config.seed,
                **trained.architecture,
            }
        )
    print_summary("export", {key: value for key, value in shown.items() if value is not False})
    return summary


def save_network(trained: TrainedNetwork, path: Path) -> None:
    """Write a network to a file, to share it without the state of its training.

    The file is a checkpoint without the paths of this machine. Its weights have the names of the
    state dict of the network.
    """
    entries = trained.entries()
    for owner in (entries, *entries["members"]):
        config = owner["config"]
        config["dataset"]["root"], config["resume"], config["start"] = DEFAULT_ROOT, None, None
    # Copies of tied weights are stored separately, so that a state dict is complete.
    weights = {name: weight.clone() for name, weight in trained.weights.items()}
    best = {"epoch": trained.epoch, "scores": {}, "net": weights}
    best["temperature"] = trained.temperature
    save_checkpoint(path, NETWORK, {**entries, "best": best}, prefix="best.net.")


def describe_input(spec: InputSpec, one_sample: bool) -> dict[str, object]:
    """Describe an input for network.json; an axis with a name as its size has any length."""
    shape = [spec.dynamic_axes.get(axis, size) for axis, size in enumerate(spec.shape)]
    description: dict[str, object] = {
        "name": spec.name,
        "type": "float32" if spec.num_tokens is None else "int64",
        "shape": [1, *shape[1:]] if one_sample else shape,
    }
    if spec.mean is not None and spec.std is not None:
        description |= {"mean": list(spec.mean), "std": list(spec.std)}
        description["full_scale"] = spec.full_scale
    return description


class GraphFile:
    """The graph of a network in one of ``FORMATS``, which gets its name if it agrees with the net.

    Attributes:
        network: The network as a graph of tensors.
        validation: Data for scores; None if the export reads no data.
    """

    def __init__(self, config: ExportConfig, trained: TrainedNetwork, net: NetworkBase) -> None:
        self.config, self.format = config, FORMATS[config.format]
        if not trained.input_specs:
            raise ConfigError(
                f"task={trained.config.task.name}: its networks generate text word by word, which "
                "a graph of tensors cannot express; choose format=safetensors"
            )
        if self.format.one_sample and not takes_numbers(trained):
            raise ConfigError(
                f"format={config.format}: takes networks with one input of numbers (images, rows, "
                "spectrograms), not texts; choose onnx, torch_export or safetensors"
            )
        require_packages(config.format, int8=config.quantize == "int8")
        with checkpoint_errors(trained.file):
            encoding = None if self.format.one_sample else raw_columns(trained.encoding)
            specs, scale = trained.input_specs, trained.target_scale
            self.network = ExportableNetwork(net, specs, scale, encoding).eval()
        self.validation = Validation.open(config, trained, self.network)

    def write(self, directory: Path) -> tuple[Path, JsonObject]:
        """Return the file and what was measured, or leave no file."""
        suffix, validation = self.format.suffix, self.validation
        directory.mkdir(parents=True, exist_ok=True)
        target = directory / f"network{suffix}"
        with TemporaryDirectory(dir=directory) as folder:
            file = Path(folder, f"float{suffix}")
            with quiet():
                with write_errors(file):
                    self.format.save(self.network, file)
                graphs = [self.format.load(file, self.network)]
            report: JsonObject = {
                "difference": self._difference(graphs[0]),
                "validated": validation is not None,
            }
            if validation is not None:
                inputs = self.network.of_samples(samples := validation.calibration_samples())
                if self.config.quantize == "int8" and self.format.save_int8 is not None:
                    plain, file = file, Path(folder, f"int8{suffix}")
                    with quiet():
                        with write_errors(file):
                            self.format.save_int8(self.network, plain, file, samples)
                        graphs.append(self.format.load(file, self.network))
                    report["difference"] = max_error(self.network, graphs[1], inputs)
                    report["float_bytes"] = plain.stat().st_size
                    report["calibration_samples"] = len(samples)
                report |= validation.compare(self.config, graphs[-1])
                times = median_milliseconds(graphs, [tensor[:1] for tensor in inputs])
                report |= zip(("milliseconds", "float_milliseconds"), reversed(times), strict=False)
            write_atomically(target, file.read_bytes())
        return target, report

    def _difference(self, graph: Graph) -> float:
        """Return how much the graph in float32 differs from the network, if it may."""
        error = max_error(self.network, graph)
        if not error <= self.config.tolerance:
            raise ConfigError(
                f"the graph differs from the network by {error:.2g}, more than "
                f"tolerance={self.config.tolerance:g}; nothing was written"
            )
        return error
