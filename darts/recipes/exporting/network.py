"""A trained network as a graph of tensors, and the comparison of a file with it."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import GraphModule

from darts.data import InputSpec
from darts.data.encodings import RowEncoding
from darts.data.targets import TargetScale
from darts.log_mode import redirected
from darts.recipes.exporting.rows import RowEncoder
from darts.spaces.network import LanguageModelOutput

HIDDEN = "hidden"

# An exported graph, as a function from its inputs to its outputs.
Graph = Callable[[Sequence[Tensor]], list[Tensor]]


def one_by_one(run: Callable[[Tensor], Tensor]) -> Graph:
    """Return a graph that takes batches of any size from a function of one sample."""

    def run_batch(tensors: Sequence[Tensor]) -> list[Tensor]:
        (samples,) = tensors
        return [torch.cat([run(sample) for sample in torch.split(samples, 1)])]

    return run_batch


class ExportableNetwork(nn.Module):
    """A network whose inputs and outputs are only tensors.

    The inputs of a language model include its hidden state. ``scale`` says how the numbers that
    the network predicts were standardized; the graph returns them in their own units.
    With ``encoding``, the graph takes the raw columns of a table instead of encoded rows.
    """

    def __init__(
        self,
        net: nn.Module,
        inputs: Sequence[InputSpec],
        scale: TargetScale | None = None,
        encoding: RowEncoding | None = None,
    ) -> None:
        super().__init__()
        self.net, self.scale = net, scale
        self.rows = None if encoding is None else RowEncoder(encoding)
        self.inputs = list(inputs if self.rows is None else self.rows.inputs)
        self.outputs = ["logits" if scale is None else "predictions"]
        with torch.no_grad():
            out = net(*self._encoded(self.examples(2)))
        if isinstance(out, LanguageModelOutput) and out.hidden.shape[1] > 0:
            self.inputs.append(InputSpec(HIDDEN, tuple(out.hidden.shape), {0: "batch"}))
            self.outputs.append(f"next_{HIDDEN}")

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs in the order of their names."""
        out = self.net(*self._encoded(tensors))
        if not isinstance(out, LanguageModelOutput):
            return (out if self.scale is None else self.scale.restore(out),)
        return (out.logits, out.hidden)[: len(self.outputs)]

    def _encoded(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        return tensors if self.rows is None else [self.rows(*tensors)]

    def of_samples(self, samples: Tensor) -> list[Tensor]:
        """Return the inputs of the graph for samples of a loader."""
        return [samples.contiguous()] if self.rows is None else self.rows.raw(samples)

    def examples(self, length: int, seed: int = 0) -> list[Tensor]:
        """Return random inputs; the dynamic axes have ``length``, ``length + 1``, ... entries."""
        draw = torch.Generator().manual_seed(seed)
        if self.rows is not None:
            return self.rows.raw(torch.randn(length, self.rows.width, generator=draw))
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
        return torch.export.export(
            self, tuple(self.examples(4)), dynamic_shapes={"tensors": self.dynamic_shapes()}
        )

    def trace_sample(self) -> ExportedProgram:
        """Return the network as a program for a batch of one sample.

        Operations that change nothing but the layout in memory are left out. Runtimes of devices
        choose their own layout, and XNNPACK cannot run some of them on quantized tensors.
        """
        inputs = tuple(self.examples(1))
        program = torch.export.export(self, inputs)
        return torch.export.export(without_layouts(program.module()), inputs)

    def dynamic_shapes(self) -> tuple[dict[int, object], ...]:
        """Return the dynamic axes of each input, as ``torch.export`` takes them."""
        axes: dict[str, object] = {
            name: torch.export.Dim(name)
            for spec in self.inputs
            for name in spec.dynamic_axes.values()
        }
        return tuple(
            {axis: axes[name] for axis, name in spec.dynamic_axes.items()} for spec in self.inputs
        )


@torch.no_grad()
def max_error(
    network: ExportableNetwork, graph: Graph, samples: Sequence[Tensor] | None = None
) -> float:
    """Return the largest ``|expected - actual| / max(1, |expected|)`` of all outputs.

    ``samples`` are inputs; None for random ones of several lengths. Numbers in their own units are
    compared after they were standardized again. The error is infinite if it is not a number.
    """
    random = (network.examples(length, seed) for seed, length in enumerate((1, 3, 8)))
    worst = 0.0
    for tensors in random if samples is None else [samples]:
        for expected, actual in zip(network(*tensors), graph(tensors), strict=True):
            if network.scale is not None:
                expected, actual = map(network.scale.standardize, (expected, actual))
            error = (expected - actual).abs() / expected.abs().clamp(min=1)
            worst = max(worst, float(error.max().nan_to_num(float("inf"))))
    return worst


def without_layouts(module: GraphModule) -> GraphModule:
    """Remove the operations of a traced graph that only change the layout in memory, in place."""
    aten = torch.ops.aten
    for node in list(module.graph.nodes):
        # ``view_as`` marks the outputs of autograd functions; it has the shape of its input there.
        if node.target in (aten.contiguous.default, aten.view_as.default):
            source = node.args[0]
            if source.meta["val"].shape == node.meta["val"].shape:
                node.replace_all_uses_with(source)
                module.graph.erase_node(node)
    module.recompile()
    return module


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress what exporters print, log and warn."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), open(os.devnull, "w") as sink, redirected(sink):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
