"""ONNX files, run by ONNX Runtime.

References:
    ONNX (https://onnx.ai); quantization of ONNX Runtime
    (https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from darts.recipes.exporting.network import ExportableNetwork, Graph

if TYPE_CHECKING:
    from onnx import GraphProto

OPSET = 18
CALIBRATION_BATCH = 32  # samples per pass; it limits memory, the result does not depend on it
LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")  # operations with weights


def save(network: ExportableNetwork, path: Path) -> None:
    """Write the network in float32, with dynamic axes."""
    onnx_program = torch.onnx.export(
        network.trace(),
        input_names=[spec.name for spec in network.inputs],
        output_names=network.outputs,
        dynamic_shapes={"tensors": tuple(spec.dynamic_axes for spec in network.inputs)},  # names
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    assert onnx_program is not None  # without a file name, PyTorch returns the program
    # The exporter notes the lines of code of each node, with paths of this machine.
    for node in onnx_program.model.graph.all_nodes():
        node.metadata_props.clear()
        for output in node.outputs:
            output.metadata_props.clear()
    onnx_program.save(path, external_data=False)


def save_int8(network: ExportableNetwork, plain: Path, path: Path, samples: Tensor) -> None:
    """Write the network with weights and activations in int8 ("QDQ").

    Weights have a scale per output channel, activations a scale and a zero point per tensor, from
    their smallest and largest value. Batch norms that follow a convolution are folded into it;
    others stay in float32. So does what follows the last layer: numbers in their own units, such as
    a price and an age, have no common scale, and an ensemble averages probabilities.
    """
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    names = [spec.name for spec in network.inputs]
    feeds = (
        {name: own.numpy() for name, own in zip(names, network.of_samples(batch), strict=True)}
        for batch in torch.split(samples, CALIBRATION_BATCH)
    )
    reader = SimpleNamespace(get_next=lambda: next(feeds, None))  # all that ONNX Runtime calls
    prepared = plain.with_suffix(".prepared.onnx")
    quant_pre_process(plain, prepared, skip_symbolic_shape=True)
    quantization.quantize_static(
        prepared,
        path,
        reader,
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QInt8,
        weight_type=quantization.QuantType.QInt8,
        # Processors without VNNI add pairs of products in 16 bits, which may overflow with 8 bits.
        reduce_range=True,
        nodes_to_exclude=_float_nodes(onnx.load(prepared).graph),
    )


def _float_nodes(graph: GraphProto) -> list[str]:
    """Return the names of the nodes that are not quantized."""
    producers = {output: node for node in graph.node for output in node.output}
    names = [node.name for node in graph.node if node.op_type == "BatchNormalization"]
    ends = [output.name for output in graph.output]
    while ends:
        node = producers.pop(ends.pop(), None)  # each node once
        if node is not None and node.op_type not in LAYERS:
            names.append(node.name)
            ends.extend(node.input)
    return names


def load(path: Path, network: ExportableNetwork) -> Graph:
    """Return a function that runs a file in ONNX Runtime, on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [spec.name for spec in network.inputs]

    def run(tensors: Sequence[Tensor]) -> list[Tensor]:
        arrays = {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)}
        return [torch.from_numpy(out) for out in session.run(network.outputs, arrays)]

    return run
