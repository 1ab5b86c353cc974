"""A trained network as a graph that runs without this package, and whether it says the same.

References:
    ``torch.export`` and ONNX (https://onnx.ai).
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from darts.data import InputSpec
from darts.spaces.language_model_output import LanguageModelOutput

HIDDEN = "hidden"
OPSET = 18

Run = Callable[[Sequence[Tensor]], list[Tensor]]


class Plain(nn.Module):
    """A network whose inputs and outputs are tensors and nothing else.

    Args:
        net: in evaluation mode, without an auxiliary head.
        inputs: what it takes.

    Attributes:
        inputs: the same and, of a language model that carries a state, the state.
        outputs: names of what comes out.
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
        """The outputs, in the order of their names."""
        out = self.net(*tensors)
        if not isinstance(out, LanguageModelOutput):
            return (out,)
        return (out.logits, out.hidden)[: len(self.outputs)]

    def examples(self, length: int, seed: int = 0) -> list[Tensor]:
        """Random inputs; free axes are so long, and a little more for each further one."""
        draw = torch.Generator().manual_seed(seed)
        made = []
        for given in self.inputs:
            names = sorted(set(given.dynamic_axes.values()))
            shape = [
                length + names.index(given.dynamic_axes[axis])
                if axis in given.dynamic_axes
                else size
                for axis, size in enumerate(given.shape)
            ]
            if given.num_tokens is None:
                made.append(torch.randn(shape, generator=draw))
            else:
                made.append(torch.randint(1, given.num_tokens, shape, generator=draw))
        return made

    def trace(self) -> Any:
        """The network as a ``torch.export.ExportedProgram`` with free axes."""
        axes = {
            name: torch.export.Dim(name)
            for given in self.inputs
            for name in given.dynamic_axes.values()
        }
        shapes = [
            {a: axes[name] for a, name in given.dynamic_axes.items()} for given in self.inputs
        ]
        with _quiet():
            return torch.export.export(
                self, tuple(self.examples(4)), dynamic_shapes={"tensors": tuple(shapes)}
            )


def save_program(program: Any, path: Path, plain: Plain) -> Run:
    """Write a traced network in PyTorch's format; what is read back runs it."""
    with _quiet():
        torch.export.save(program, path)
        found = torch.export.load(path).module()

    def run(tensors: Sequence[Tensor]) -> list[Tensor]:
        with torch.no_grad():
            return list(found(*tensors))

    return run


def save_onnx(program: Any, path: Path, plain: Plain) -> Run:
    """Write a traced network as ONNX; ONNX Runtime runs the file.

    Raises:
        ValueError: in one line, where the libraries for it are missing.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  # PyTorch needs it
    except ImportError as error:
        raise ValueError(
            f"format=onnx needs {error.name}: install darts-nas[export], or choose "
            "format=torch_export"
        ) from None
    names = [given.name for given in plain.inputs]
    with _quiet():
        made: Any = torch.onnx.export(
            program,
            input_names=names,
            output_names=plain.outputs,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
        made.save(path, external_data=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(tensors: Sequence[Tensor]) -> list[Tensor]:
        given = {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)}
        return [torch.from_numpy(out) for out in session.run(plain.outputs, given)]

    return run


FORMATS: Mapping[str, tuple[str, Callable[[Any, Path, Plain], Run]]] = {
    "onnx": (".onnx", save_onnx),
    "torch_export": (".pt2", save_program),
}


@torch.no_grad()
def difference(plain: Plain, run: Run, lengths: Sequence[int] = (1, 3, 8)) -> float:
    """The largest difference of an output, or its share of the output where that is above 1.

    Args:
        plain: the network.
        run: what should say the same.
        lengths: of free axes, each of which is tried with random inputs.
    """
    worst = 0.0
    for seed, length in enumerate(lengths):
        tensors = plain.examples(length, seed)
        for own, other in zip(plain(*tensors), run(tensors), strict=True):
            apart = (own - other).abs() / own.abs().clamp(min=1)
            worst = max(worst, float(apart.max().nan_to_num(float("inf"))))
    return worst


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the notes of exporters on what they do."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
