"""LiteRT files, formerly TensorFlow Lite, run by the LiteRT interpreter.

References:
    LiteRT (https://ai.google.dev/edge/litert); AI Edge Quantizer
    (https://github.com/google-ai-edge/ai-edge-quantizer).
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from darts.recipes.exporting.network import ExportableNetwork, Graph, one_by_one


def save(network: ExportableNetwork, path: Path) -> None:
    """Write the network in float32, for one sample per pass."""
    import litert_torch

    module = network.trace_sample().module()
    litert_torch.convert(module, tuple(network.examples(1))).export(str(path))


def save_int8(network: ExportableNetwork, plain: Path, path: Path, samples: Tensor) -> None:
    """Write the network with weights in int8 per channel and activations in int8 per tensor.

    The input and the output of the file stay float32.
    """
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe
    from ai_edge_quantizer.qtyping import TFLOperationName

    ((signature, names),) = Interpreter(str(plain)).get_signature_list().items()
    (name,) = names["inputs"]
    tool = quantizer.Quantizer(str(plain), recipe.static_wi8_ai8())
    for scope, operation in [
        (".*", TFLOperationName.INPUT),
        (".*", TFLOperationName.OUTPUT),
        *((scope, TFLOperationName.ALL_SUPPORTED) for scope in _inner_scopes(plain)),
    ]:
        tool.update_quantization_recipe(
            regex=scope, operation_name=operation, algorithm_key="no_quantize"
        )
    ranges = tool.calibrate(
        {signature: [{name: sample.numpy()} for sample in torch.split(samples, 1)]}
    )
    tool.quantize(ranges).export_model(str(path))


def _inner_scopes(path: Path) -> list[str]:
    """Return regular expressions of the operations inside operations, which stay in float32.

    The converter writes some poolings as an operation with a function of its own, which the
    quantizer cannot calibrate.
    """
    from ai_edge_quantizer.utils import tfl_flatbuffer_utils as flatbuffer

    _, *functions = flatbuffer.read_model(str(path)).subgraphs
    return [
        re.escape(flatbuffer.get_op_scope(operation, function.tensors))
        for function in functions
        for operation in function.operators
    ]


def load(path: Path, network: ExportableNetwork) -> Graph:
    """Return a function that runs a file in the LiteRT interpreter, on one thread."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(sample: Tensor) -> Tensor:
        interpreter.set_tensor(source["index"], sample.numpy())
        interpreter.invoke()
        return torch.from_numpy(interpreter.get_tensor(target["index"]))

    return one_by_one(run)
