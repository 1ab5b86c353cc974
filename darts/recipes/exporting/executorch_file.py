"""ExecuTorch files for processors, run by ExecuTorch with XNNPACK.

References:
    ExecuTorch, XNNPACK backend (https://docs.pytorch.org/executorch/stable/backends-xnnpack.html).
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.export import ExportedProgram

from darts.recipes.exporting.network import ExportableNetwork, Graph, one_by_one, quiet


def save(network: ExportableNetwork, path: Path) -> None:
    """Write the network in float32, for one sample per pass."""
    with quiet():
        _lower(network.trace_sample(), path)


def save_int8(network: ExportableNetwork, path: Path, samples: Tensor) -> None:
    """Write the network with weights in int8 per channel and activations in int8 per tensor.

    Args:
        network: Network with one float input.
        path: File to write.
        samples: Inputs for calibration ``(N, C, H, W)`` float32.
    """
    with quiet(), torch.no_grad():
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


def load(path: Path, network: ExportableNetwork) -> Graph:
    """Return a function that runs a file in the Python runtime of ExecuTorch, on one thread."""
    with quiet():
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
