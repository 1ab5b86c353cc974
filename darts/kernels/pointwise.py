"""A pointwise convolution and the batch norm behind it, without ever storing what is between them.

With d the input of the convolution, W its weight and y = W d, the batch norm needs the mean and the
variance of y over all pixels, and both follow from the sum s and the Gram matrix G of d:

    mean(y) = W m,   var(y) = diag(W K W^T),   m = s / n,   K = G / n - m m^T.

So the statistics cost one matrix product over d, which is as cheap as the convolution, and the norm
(with a mixing weight a in front of it) folds into the convolution:

    a * norm(W d) = W' d + b,   W' = diag(a r) W,   b = - a r * (W m),   r = 1 / sqrt(var + eps).

Neither y nor its normalised form is written to memory or kept for the backward pass, and the
reductions of batch norm's own backward pass come out of the weight gradient of the convolution:
with P = sum of g d^T and q = sum of g over the pixels, g the gradient of the output,

    d(a r) = rowsum(P * W) - q * (W m)
    dv     = - a r^3 / 2 * d(a r)                       of the variance
    dK     = W^T diag(dv) W
    dm     = - W^T (a r * q) - 2 dK m
    dW     = diag(a r) P - (a r * q) m^T + 2 diag(dv) W K
    dd     = W'^T g + (2 dK / n) d + dm / n             one more convolution of d

Convolutions of several edges run as the groups of one. The outputs of the edges may be summed, in
which case the sum is part of the same convolution.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from darts.kernels.norm import Normalised, more_than_one

_NHWC = torch.channels_last


def pointwise_norm(
    d: Tensor,
    weight: Tensor,
    scale: Tensor | None,
    *,
    groups: int,
    eps: float,
    rectify: bool = False,
    summed: bool = False,
) -> Normalised:
    """``norm(conv2d(d, weight, groups=groups))`` with statistics of this batch.

    Args:
        d: ``(B, groups * C, H, W)``.
        weight: ``(groups * C, C, 1, 1)``.
        scale: mixing weight of each group, ``(groups,)``, or None.
        groups: number k of convolutions side by side.
        eps: added to the variance.
        rectify: apply ReLU.
        summed: add the groups up, giving ``(B, C, H, W)`` instead of ``(B, k * C, H, W)``.

    Raises:
        ValueError: for a single value a channel, which has no variance.
    """
    return Normalised(*_PointwiseNorm.apply(d, weight, scale, groups, eps, rectify, summed))


def plain_pointwise_norm(
    d: Tensor,
    weight: Tensor,
    scale: Tensor | None,
    *,
    groups: int,
    eps: float,
    rectify: bool = False,
    summed: bool = False,
) -> Tensor:
    """The output of ``pointwise_norm`` by PyTorch's own calls."""
    y = F.conv2d(d, weight, groups=groups)
    factor = None if scale is None else scale.repeat_interleave(y.shape[1] // groups)
    y = F.batch_norm(y, None, None, factor, None, True, 0.0, eps)
    if rectify:
        y = F.relu(y)
    return y.unflatten(1, (groups, -1)).sum(1) if summed else y


class _PointwiseNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        d: Tensor,
        weight: Tensor,
        scale: Tensor | None,
        groups: int,
        eps: float,
        rectify: bool,
        summed: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        count = more_than_one(d)
        w = weight.view(groups, -1, weight.shape[1])  # (k, C, C)
        m = (d.sum((0, 2, 3)) / count).view(groups, -1, 1)  # (k, C, 1)
        gram = _weight_gradient(d, d, groups).view_as(w)
        k = torch.baddbmm(gram, m, m.mT, beta=1 / count, alpha=-1)  # (k, C, C)
        wk, wm = w @ k, w @ m
        variance = (wk * w).sum(2, keepdim=True).clamp_(min=0)  # (k, C, 1)
        r = (variance + eps).rsqrt_()
        ar = r if scale is None else r * scale.view(-1, 1, 1)
        folded, bias = ar * w, (ar * wm).neg_()
        if summed:
            folded, bias = folded.transpose(0, 1).reshape(w.shape[1], -1, 1, 1), bias.sum(0)
            output = F.conv2d(d, folded, bias.view(-1))
        else:
            folded = folded.view_as(weight)
            output = F.conv2d(d, folded, bias.view(-1), groups=groups)
        if rectify:
            output = F.relu_(output)
        ctx.save_for_backward(
            d, weight, scale, output if rectify else None, folded, m, wk, wm, r, ar
        )
        ctx.groups, ctx.eps, ctx.summed = groups, eps, summed
        mean, variance = wm.view(-1), variance.view(-1) * (count / (count - 1))
        ctx.mark_non_differentiable(mean, variance)
        ctx.set_materialize_grads(False)
        return output, mean, variance

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        d, weight, scale, output, folded, m, wk, wm, r, ar = ctx.saved_tensors
        g, groups = gradients[0], ctx.groups
        if g is None:  # nobody asked for the output
            return (None,) * 7
        if torch.is_grad_enabled():  # to be differentiated again
            return *_differentiable(ctx, g, d, weight, scale, output is not None), *[None] * 4
        count = d.numel() // d.shape[1]
        g = g.contiguous(memory_format=_NHWC)
        if output is not None:
            g = torch.ops.aten.threshold_backward(g, output, 0)
        w = weight.view(groups, -1, weight.shape[1])
        q = g.sum((0, 2, 3))
        if ctx.summed:
            p = _weight_gradient(g, d, 1).view(w.shape[1], groups, -1).transpose(0, 1)
            q = q.view(1, -1, 1)
        else:
            p = _weight_gradient(g, d, groups).view_as(w)
            q = q.view(groups, -1, 1)
        d_ar = torch.addcmul((p * w).sum(2, keepdim=True), q, wm, value=-1)  # (k, C, 1)
        dv = ar * r * r * d_ar * -0.5
        arq = ar * q
        dvw = dv * w
        grad_d = grad_weight = grad_scale = None
        if ctx.needs_input_grad[0]:
            dk = w.mT @ dvw  # (k, C, C)
            dm = torch.baddbmm(w.mT @ arq, dk, m, beta=-1 / count, alpha=-2 / count)
            grad_d = _input_gradient(g, d, folded, 1 if ctx.summed else groups)
            mixed = dk.mul_(2 / count).view_as(weight)
            grad_d.add_(F.conv2d(d, mixed, dm.view(-1), groups=groups))
        if ctx.needs_input_grad[1]:
            grad_weight = torch.addcmul(ar * p, arq, m.mT, value=-1)
            grad_weight = grad_weight.addcmul_(dv, wk, value=2).view_as(weight)
        if scale is not None and ctx.needs_input_grad[2]:
            grad_scale = (d_ar * r).sum((1, 2))
        return grad_d, grad_weight, grad_scale, None, None, None, None


def _differentiable(
    ctx: Any, g: Tensor, d: Tensor, weight: Tensor, scale: Tensor | None, rectify: bool
) -> tuple[Tensor | None, ...]:
    """The gradients with a graph, from the plain computation."""
    # Aliases: should one input have been computed from another, each still counts by itself.
    inputs = [None if x is None else x.view_as(x) for x in (d, weight, scale)]
    y = plain_pointwise_norm(
        *(inputs[0], inputs[1], inputs[2]),  # type: ignore[arg-type]
        groups=ctx.groups,
        eps=ctx.eps,
        rectify=rectify,
        summed=ctx.summed,
    )
    pairs = zip(inputs, ctx.needs_input_grad, strict=False)
    wanted = [x for x, need in pairs if need and x is not None]
    found = iter(torch.autograd.grad(y, wanted, g, create_graph=True))
    return tuple(next(found) if need else None for need in ctx.needs_input_grad[:3])


def _weight_gradient(g: Tensor, d: Tensor, groups: int) -> Tensor:
    """Sum over all pixels of ``g d^T`` within each group, as a convolution's weight gradient."""
    shape = d.new_empty((g.shape[1], d.shape[1] // groups, 1, 1))  # only its shape is looked at
    result: Tensor = torch.ops.aten.convolution_backward(
        *(g, d, shape, None, [1, 1], [0, 0], [1, 1], False, [0, 0], groups, [False, True, False])
    )[1]
    return result


def _input_gradient(g: Tensor, d: Tensor, weight: Tensor, groups: int) -> Tensor:
    result: Tensor = torch.ops.aten.convolution_backward(
        *(g, d, weight, None, [1, 1], [0, 0], [1, 1], False, [0, 0], groups, [True, False, False])
    )[0]
    return result
