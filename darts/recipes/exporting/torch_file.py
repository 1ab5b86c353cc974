"""Programs of ``torch.export``, run by PyTorch.

References:
    torchao, PyTorch 2 export quantization (https://docs.pytorch.org/ao/stable/pt2e_quantization).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.export import ExportedProgram

from darts.recipes.exporting.network import ExportableNetwork, Graph, quiet, without_layouts


def save(network: ExportableNetwork, path: Path) -> None:
    """Write the network in float32, with dynamic axes."""
    with quiet():
        _save(network.trace(), path)


def save_int8(network: ExportableNetwork, path: Path, samples: Tensor) -> None:
    """Write the network with weights in int8 per channel and activations in uint8 per tensor.

    The program contains the quantization as operations of its own. PyTorch computes them in
    float32, unless it is compiled by TorchInductor.

    Args:
        network: Network with one float input.
        path: File to write.
        samples: Inputs for calibration ``(N, C, H, W)`` float32.
    """
    with quiet(), torch.no_grad():
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
        from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
            X86InductorQuantizer,
            get_default_x86_inductor_quantization_config,
        )

        quantizer = X86InductorQuantizer()
        quantizer.set_global(get_default_x86_inductor_quantization_config())
        module = prepare_pt2e(without_layouts(network.trace().module()), quantizer)
        for batch in torch.split(samples, 32):
            module(batch)
        program = torch.export.export(
            convert_pt2e(module),
            tuple(network.examples(4)),
            dynamic_shapes=network.dynamic_shapes(),
        )
        _save(program, path)


def _save(program: ExportedProgram, path: Path) -> None:
    """Write a program without the lines of code of each node, which contain local paths."""
    for node in program.graph.nodes:
        for key in ("stack_trace", "from_node", "torch_fn"):
            node.meta.pop(key, None)
    torch.export.save(program, path)


def load(path: Path, network: ExportableNetwork) -> Graph:
    """Return a function that runs a file in PyTorch."""
    with quiet():
        module = torch.export.load(path).module()

    def run(tensors: Sequence[Tensor]) -> list[Tensor]:
        with torch.no_grad():
            return list(module(*tensors))

    return run
