"""All candidates of a recurrent cell over a sequence, as one autograd function.

The function computes the same as the loop of ``MixedCell``, with less than half of the kernels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from darts.ops.autograd import Context, SeveralOutputs
from darts.spaces.recurrent.mixed_gradient import SequenceBackward
from darts.spaces.recurrent.mixed_steps import (
    SequenceArguments,
    SequenceRecord,
    StepRecord,
    run_steps,
)


class MixedSequence(SeveralOutputs):
    """The states of all steps in training, normalized with the statistics of their batches.

    ``apply(plain, eps, *arguments)`` takes a function that computes the outputs from
    ``SequenceArguments`` by differentiable operations, for second derivatives, and the ``eps`` of
    the batch norm. It returns the outputs ``(T, B, H)``, and the means and the inverse standard
    deviations of the states before their norms, ``(T, N + 1, H)`` each, without gradients.
    """

    @staticmethod
    def forward(
        ctx: Context,
        plain: Callable[[SequenceArguments], Tensor],
        eps: float,
        *inputs: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        arguments = SequenceArguments(*inputs)  # type: ignore[arg-type]
        record = run_steps(arguments, eps, keep=any(ctx.needs_input_grad))
        results = record.outputs, record.means, record.inverses
        ctx.plain, ctx.eps = plain, eps
        ctx.mark_non_differentiable(record.means, record.inverses)
        ctx.save_for_backward(*inputs, *results, *(x for step in record.steps for x in step))
        return results

    @staticmethod
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        saved = iter(ctx.saved_tensors)
        arguments = SequenceArguments(*(next(saved) for _ in SequenceArguments._fields))
        needed = ctx.needs_input_grad[2:]
        results: tuple[Tensor | None, ...]
        if torch.is_grad_enabled():  # the caller will differentiate this gradient
            wanted = [
                x for x, need in zip(arguments, needed, strict=True) if need and x is not None
            ]
            outputs = ctx.plain(arguments)
            found = iter(torch.autograd.grad(outputs, wanted, gradients[0], create_graph=True))
            results = tuple(next(found) if need else None for need in needed)
            return None, None, *results
        outputs, means, inverses = (next(saved) for _ in range(3))
        steps = [
            StepRecord(first, *(next(saved) for _ in StepRecord._fields[1:])) for first in saved
        ]
        *_, hidden_weight, node_weights, mixing, _ = needed
        backward = SequenceBackward(
            arguments,
            SequenceRecord(outputs, means, inverses, steps),
            ctx.eps,
            need_weights=hidden_weight or node_weights,
            need_mixing=mixing,
        )
        results = (*backward.run(gradients[0]), None)  # the mask has no gradient
        return None, None, *(x if need else None for x, need in zip(results, needed, strict=True))
