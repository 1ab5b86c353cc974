"""Export of a trained network as a graph that runs without this package, and its verification.

References:
    ``torch.export`` and ONNX (https://onnx.ai).
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from darts.config import ConfigError
from darts.data import InputSpec
from darts.spaces.language_model_output import LanguageModelOutput

HIDDEN = "hidden"
OPSET = 18

Graph = Callable[[Sequence[Tensor]], list[Tensor]]
"""An exported graph, as a function from its inputs to its outputs."""


class ExportableNetwork(nn.Module):
    """A network whose inputs and outputs are only tensors.

    Args:
        net: Network in evaluation mode, without an auxiliary head.
        inputs: Specifications of its inputs.

    Attributes:
        inputs: Specifications of its inputs, including the hidden state of a language model.
        outputs: Names of the outputs.
    """

    def __init__(self, net: nn.Module, inputs: Sequence[InputSpec]) -> None:
        super().__init__()
        self.net = net
        self.inputs, self.outputs = list(inputs), ["logits"]
        with torch.no_grad():
            out = net(*self.examples(2))
        if isinstance(out, LanguageModelOutput) and out.hidden.shape[1] > 0:
            self.inputs.append(InputSpec(HIDDEN, tuple(out.hidden.shape), {0: "batch"}))
            self.outputs.append(f"next_{HIDDEN}")

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs in the order of their names."""
        out = self.net(*tensors)
        if not isinstance(out, LanguageModelOutput):
            return (out,)
        return (out.logits, out.hidden)[: len(self.outputs)]

    def examples(self, length: int, seed: int = 0) -> list[Tensor]:
        """Return random inputs; the dynamic axes have ``length``, ``length + 1``, ... entries."""
        draw = torch.Generator().manual_seed(seed)
        inputs = []
        for spec in self.inputs:
            names = sorted(set(spec.dynamic_axes.values()))
            shape = [
                length + names.index(spec.dynamic_axes[axis]) if axis in spec.dynamic_axes else size
                for axis, size in enumerate(spec.shape)
            ]
            if spec.num_tokens is None:
                inputs.append(torch.randn(shape, generator=draw))
            else:
                inputs.append(torch.randint(1, spec.num_tokens, shape, generator=draw))
        return inputs

    def trace(self) -> ExportedProgram:
        """Return the network as a program with dynamic axes."""
        axes = {
            name: torch.export.Dim(name)
            for spec in self.inputs
            for name in spec.dynamic_axes.values()
        }
        shapes = [{a: axes[name] for a, name in spec.dynamic_axes.items()} for spec in self.inputs]
        with _quiet():
            return torch.export.export(
                self, tuple(self.examples(4)), dynamic_shapes={"tensors": tuple(shapes)}
            )


def save_program(program: ExportedProgram, path: Path, network: ExportableNetwork) -> Graph:
    """Write a traced network as a PyTorch program; return a function that runs the file."""
    with _quiet():
        torch.export.save(program, path)
        loaded = torch.export.load(path).module()

    def run(tensors: Sequence[Tensor]) -> list[Tensor]:
        with torch.no_grad():
            return list(loaded(*tensors))

    return run


def save_onnx(program: ExportedProgram, path: Path, network: ExportableNetwork) -> Graph:
    """Write a traced network as ONNX; return a function that runs the file in ONNX Runtime.

    Raises:
        ConfigError: If ONNX Runtime or onnxscript is not installed.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  # torch.onnx.export needs it
    except ImportError as error:
        raise ConfigError(
            f"format=onnx: {error.name} is not installed; run pip install 'darts-nas[export]', or "
            "choose format=torch_export"
        ) from None
    names = [spec.name for spec in network.inputs]
    with _quiet():
        onnx_program = torch.onnx.export(
            program,
            input_names=names,
            output_names=network.outputs,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
        assert onnx_program is not None  # without a file name, PyTorch returns the program
        onnx_program.save(path, external_data=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(tensors: Sequence[Tensor]) -> list[Tensor]:
        arrays = {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)}
        return [torch.from_numpy(out) for out in session.run(network.outputs, arrays)]

    return run


FORMATS: Mapping[str, tuple[str, Callable[[ExportedProgram, Path, ExportableNetwork], Graph]]] = {
    "onnx": (".onnx", save_onnx),
    "torch_export": (".pt2", save_program),
}


@torch.no_grad()
def max_error(
    network: ExportableNetwork, graph: Graph, lengths: Sequence[int] = (1, 3, 8)
) -> float:
    """Return the largest error of all outputs, ``|expected - actual| / max(1, |expected|)``.

    It is infinite if an error is not a number.

    Args:
        network: The network.
        graph: The exported graph.
        lengths: Arguments of ``examples``; each gives one comparison on random inputs.
    """
    worst = 0.0
    for seed, length in enumerate(lengths):
        tensors = network.examples(length, seed)
        for expected, actual in zip(network(*tensors), graph(tensors), strict=True):
            error = (expected - actual).abs() / expected.abs().clamp(min=1)
            worst = max(worst, float(error.max().nan_to_num(float("inf"))))
    return worst


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the log messages and warnings of the exporters."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
