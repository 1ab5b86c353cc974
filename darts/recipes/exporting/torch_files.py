"""Programs of ``torch.export``: files that PyTorch runs, and files for ExecuTorch with XNNPACK.

References:
    torchao, PyTorch 2 export quantization (https://docs.pytorch.org/ao/stable/pt2e_quantization).
    ExecuTorch, XNNPACK backend (https://docs.pytorch.org/executorch/stable/backends-xnnpack.html).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.export import ExportedProgram

from darts.recipes.exporting.network import ExportableNetwork, Graph, one_by_one


def save_torch(network: ExportableNetwork, path: Path) -> None:
    """Write the network in float32, with dynamic axes."""
    _save(network.trace(), path)


def _save(program: ExportedProgram, path: Path) -> None:
    """Write a program without the lines of code of each node, which contain local paths."""
    for node in program.graph.nodes:
        for key in ("stack_trace", "from_node", "torch_fn"):
            node.meta.pop(key, None)
    torch.export.save(program, path)


def load_torch(path: Path, network: ExportableNetwork) -> Graph:
    """Return a function that runs a file in PyTorch."""
    module = torch.export.load(path).module()

    def run(tensors: Sequence[Tensor]) -> list[Tensor]:
        with torch.no_grad():
            return list(module(*tensors))

    return run


def save_executorch(network: ExportableNetwork, path: Path) -> None:
    """Write the network in float32, for one sample per pass."""
    _lower(network.trace_sample(), path)


def save_executorch_int8(
    network: ExportableNetwork, plain: Path, path: Path, samples: Tensor
) -> None:
    """Write the network with weights in int8 per channel and activations in int8 per tensor."""
    with torch.no_grad():
        from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
            XNNPACKQuantizer,
            get_symmetric_quantization_config,
        )
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

        quantizer = XNNPACKQuantizer()
        quantizer.set_global(get_symmetric_quantization_config(is_per_channel=True))
        module = prepare_pt2e(network.trace_sample().module(), quantizer)
        for sample in torch.split(samples, 1):
            module(sample)
        _lower(torch.export.export(convert_pt2e(module), tuple(network.examples(1))), path)


def _lower(program: ExportedProgram, path: Path) -> None:
    """Compile a program for XNNPACK; what it cannot run stays with the kernels of ExecuTorch."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    path.write_bytes(lowered.to_executorch().buffer)


def load_executorch(path: Path, network: ExportableNetwork) -> Graph:
    """Return a function that runs a file in the Python runtime of ExecuTorch, on one thread."""
    from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool
    from executorch.runtime import Runtime

    _unsafe_reset_threadpool(1)
    # The program must outlive its method.
    program = Runtime.get().load_program(path)
    method = program.load_method("forward")
    assert method is not None  # the exporter gives every program this method

    def run(sample: Tensor) -> Tensor:
        # The runtime reuses the memory of its outputs.
        output: Tensor = method.execute([sample.contiguous()])[0]
        return output.clone()

    return one_by_one(run)
