"""Predict the time of a search step on a GPU from launches, bytes and arithmetic.

``python experiments/gpu_step_model.py``

The step runs on PyTorch's meta device: shapes without values. Every operation that would start a
kernel is counted, with the bytes of its inputs and outputs. *replay ms* is the time of the same
kernels in a CUDA graph, where the CPU starts none of them. Nothing is measured on a GPU.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from darts import bilevel
from darts.spaces import cnn

# One H100 SXM: data sheet, times the share that large kernels of these kinds reach in practice.
BYTES_PER_SECOND = 3.35e12 * 0.7
FLOPS_PER_SECOND = {torch.float32: 67e12 * 0.5, torch.bfloat16: 989e12 * 0.3}
SECONDS_PER_LAUNCH = 5e-6  # PyTorch's CPU time for a call of one kernel, with autograd
SHORTEST_KERNEL = 2e-6  # seconds from the start of an empty kernel of a CUDA graph to the next one

VIEWS = {"_unsafe_view", "alias", "detach", "empty", "empty_like", "empty_strided", "new_empty"}


class Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts launches, bytes, and the operations of convolutions (a product and a sum are two).

    Attributes:
        seconds: Time of the kernels one after the other, none shorter than ``SHORTEST_KERNEL``.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._flops_per_second = FLOPS_PER_SECOND[dtype]
        self.launches, self.bytes, self.flops, self.seconds = 0, 0, 0, 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func._schema.name.split("::")[1]
        flops = 0
        if name == "convolution":  # x, weight
            flops = convolution_flops(result, args[1])
        elif name == "convolution_backward":  # gradient, x, weight, ..., which gradients to compute
            flops = sum(args[-1][:2]) * convolution_flops(args[0], args[2])
        returns = func._schema.returns
        is_view = bool(returns) and all(r.alias_info and not r.alias_info.is_write for r in returns)
        if not is_view and name not in VIEWS:
            self.launches += 1
            tensors = {id(x): x for x in tree_iter((args, kwargs, result)) if isinstance(x, Tensor)}
            moved = sum(x.numel() * x.element_size() for x in tensors.values())
            seconds = moved / BYTES_PER_SECOND + flops / self._flops_per_second
            self.bytes, self.flops = self.bytes + moved, self.flops + flops
            self.seconds += max(seconds, SHORTEST_KERNEL)
        return result


def convolution_flops(output: Tensor, weight: Tensor) -> int:
    """Return the operations of a convolution; each of its two gradients needs as many."""
    return 2 * output.numel() * weight[0].numel()


def take_step(
    net: cnn.EdgewiseSupernet,
    batch: tuple[Tensor, Tensor],
    weights: Sequence[nn.Parameter],
    product: str,
) -> None:
    """Compute the gradients of an architecture step and of a weight step."""

    def loss(net: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(net(batch[0]).float(), batch[1])

    optimizer = torch.optim.SGD(weights, lr=0.025, momentum=0.9)
    if product == "none":
        bilevel.first_order(net, loss, batch, batch, optimizer)
    else:
        bilevel.unrolled(net, loss, batch, batch, optimizer, hvp=product)
    mixture = {name: alpha.detach().softmax(-1) for name, alpha in net.alphas.items()}
    value = F.cross_entropy(net(batch[0], mixture).float(), batch[1])
    torch.autograd.grad(value, weights)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--cells", type=int, default=8)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument(
        "--product",
        choices=("none", "finite_difference", "exact"),
        default="none",
        help="the product of the second-order gradient",
    )
    options = parser.parse_args()
    print(
        "supernet   type      launches   GB   TFLOP   launch ms   memory ms   arithmetic ms"
        "   replay ms"
    )
    for kind in (cnn.EdgewiseSupernet, cnn.Supernet):
        for dtype in (torch.float32, torch.bfloat16):
            net = kind(channels=options.channels, cells=options.cells).to(dtype).to("meta")
            x = torch.empty(options.batch, 3, 32, 32, dtype=dtype, device="meta")
            x = x.contiguous(memory_format=torch.channels_last)
            batch = (x, torch.empty(options.batch, dtype=torch.int64, device="meta"))
            with Traffic(dtype) as traffic:
                take_step(net, batch, net.weight_parameters(), options.product)
            milliseconds = [
                1000 * traffic.launches * SECONDS_PER_LAUNCH,
                1000 * traffic.bytes / BYTES_PER_SECOND,
                1000 * traffic.flops / FLOPS_PER_SECOND[dtype],
                1000 * traffic.seconds,
            ]
            print(
                f"{kind.__name__.removesuffix('Supernet') or 'fast':10} {str(dtype)[6:]:9}"
                f"{traffic.launches:8,} {traffic.bytes / 1e9:7.1f} {traffic.flops / 1e12:6.2f}"
                + "".join(f"{value:12.1f}" for value in milliseconds)
            )


if __name__ == "__main__":
    main()
