"""Memory that a network needs on a device: its weights, and the activations of one sample.

A device that computes one operation after the other holds an activation from the operation that
computes it to the last operation that reads it. The peak over all operations is the memory for
activations. Operations that change each element on its own, such as a norm or a ReLU, overwrite
their input if no later operation reads it; so do the sums of branches. Memory that an operation
needs while it runs, such as the columns of a convolution, depends on its implementation and is not
part of the numbers.

References:
    Lin et al., "MCUNet", arXiv:2007.10319, section 2: flash and SRAM limit networks on
    microcontrollers.
    Liberis and Lane, "Neural Networks on Microcontrollers: Saving Memory at Inference via Operator
    Reordering", arXiv:1910.05110, section 3: the working set of an operation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from darts.training.scoring import evaluating

# Operations that may overwrite an input of the size of their output, besides the pointwise ones.
OVERWRITING = ("hardswish", "native_batch_norm", "_native_batch_norm_legit_no_training")

# Operations whose result has the shape and type of the first argument.
SAME = ("add", "mul", "relu", "hardtanh", "gelu", "silu", *OVERWRITING)

# Names of operations that change the layout or the type only; a device would not run them.
LAYOUT = frozenset({"clone", "contiguous", "_to_copy"})


@dataclass(frozen=True)
class Memory:
    """Memory of a network for one sample."""

    flash_bytes: int  # of the weights, and of the statistics of norms
    ram_bytes: int  # most bytes of activations at the same time, with the input


@dataclass(frozen=True)
class Step:
    """An operation of a schedule."""

    name: str
    inputs: tuple[int, ...]  # numbers of the activations that it reads
    outputs: Mapping[int, int]  # elements of the activations that it writes, by number
    overwrites: bool = False  # whether it may overwrite an input of the size of its output


def memory(
    network: nn.Module, shape: Sequence[int], *, dtype: torch.dtype = torch.float32
) -> Memory:
    """Return the memory of a network in evaluation mode, without its auxiliary head.

    The network is not changed, and nothing is computed. ``shape`` is of a sample, for example
    ``(C, H, W)``; ``dtype`` is the type of weights and activations, for example ``torch.int8``.
    """
    elements, steps = trace(network, shape)
    weights = count_weights(network)
    return Memory(weights * dtype.itemsize, peak(elements, steps) * dtype.itemsize)


def count_weights(network: nn.Module, *, statistics: bool = True) -> int:
    """Return the number of weights of a network without its auxiliary head.

    ``statistics`` says whether the statistics of norms count.
    """
    head = getattr(network, "auxiliary", None)
    omitted = {id(t) for t in _tensors(head)} if isinstance(head, nn.Module) else set()
    tensors = _tensors(network) if statistics else network.parameters()
    return sum(t.numel() for t in tensors if id(t) not in omitted)


def trace(network: nn.Module, shape: Sequence[int]) -> tuple[int, list[Step]]:
    """Return the elements of the input, which is activation 0, and the operations in order.

    The last step, ``output``, reads what the network returns.

    The network runs on PyTorch's device ``meta``, which knows shapes but no values.
    """
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    weights = {name: torch.empty_like(t, device="meta") for name, t in tensors.items()}
    inputs = torch.empty(1, *shape, device="meta")
    recorder = _Recorder(inputs, list(weights.values()))
    with evaluating(network), torch.no_grad(), recorder:
        recorder.finish(functional_call(network, weights, (inputs,)))
    return inputs.numel(), recorder.steps


def peak(elements: int, steps: Sequence[Step]) -> int:
    """Return the largest number of elements that a schedule holds at the same time.

    The input, activation 0, has ``elements`` elements. Outputs that no later operation reads, such
    as the indices of a max pooling, need no memory.
    """
    last_use = {number: index for index, step in enumerate(steps) for number in step.inputs}
    live = {0: elements}
    largest = elements
    for index, step in enumerate(steps):
        new = {n: size for n, size in step.outputs.items() if last_use.get(n, -1) > index}
        dying = {number for number in live if last_use.get(number, -1) <= index}
        reusable = {live[number] for number in dying.intersection(step.inputs)}
        overwrites = step.overwrites and sum(new.values()) in reusable
        largest = max(largest, sum(live.values()) + (0 if overwrites else sum(new.values())))
        live = {number: size for number, size in live.items() if number not in dying} | new
    return largest


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records the operations of a block. Activations that share storage have one number."""

    def __init__(self, inputs: Tensor, weights: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.steps: list[Step] = []
        self._kept: list[Tensor] = [inputs, *weights]  # so that no storage is used twice
        self._numbers, self._next = {_storage(inputs): 0}, 1
        self._weights = {_storage(weight) for weight in weights}

    def finish(self, result: object) -> None:
        """Add the step that reads the result of the network."""
        returned = [_storage(t) for t in tree_leaves(result) if isinstance(t, Tensor)]
        numbers = tuple(self._numbers[s] for s in returned if s in self._numbers)
        self.steps.append(Step("output", numbers, {}))

    def __torch_dispatch__(
        self,
        function: torch._ops.OpOverload,
        types: Sequence[type],
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        name = function._schema.name.split("::")[-1].rstrip("_")
        result = _elementwise_result(name, function, args)
        if result is None:
            result = function(*args, **(kwargs or {}))
        read = [_storage(t) for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        inputs = [self._numbers[storage] for storage in read if storage in self._numbers]
        outputs = [t for t in tree_leaves(result) if isinstance(t, Tensor) and t.numel()]
        self._kept += outputs
        new: dict[int, int] = {}
        for tensor in outputs:
            storage = _storage(tensor)
            if storage in self._numbers or storage in self._weights:
                continue  # a view, or the input of an operation in place
            if read and not inputs:
                self._weights.add(storage)  # computed from weights alone, so known in advance
            elif name in LAYOUT and inputs:
                self._numbers[storage] = inputs[0]
            else:
                number = self._next
                self._next += 1
                self._numbers[storage], new[number] = number, tensor.numel()
        if (inputs and name not in LAYOUT) or new:
            overwrites = torch.Tag.pointwise in function.tags or name in OVERWRITING
            self.steps.append(Step(name, tuple(inputs), new, overwrites))
        return result


def _elementwise_result(
    name: str, function: torch._ops.OpOverload, args: Sequence[object]
) -> object | None:
    """Return a result of the shape of the first argument; None for other operations.

    PyTorch derives the shapes of these operations in Python, which takes most of the time.
    """
    first = args[0] if args else None
    if name not in SAME or not isinstance(first, Tensor):
        return None
    if "batch_norm" in name:
        return torch.empty_like(first), first.new_empty(0), first.new_empty(0)
    if any(isinstance(other, Tensor) and other.shape != first.shape for other in args[1:]):
        return None
    in_place = function._schema.name.endswith("_")
    return first if in_place else torch.empty_like(first)


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from (buffer for buffer in module.buffers() if buffer.is_floating_point())
