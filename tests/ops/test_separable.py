"""Both implementations of a separable convolution, and the choice between them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from darts.ops.dispatch import CPU, GPU, TENSOR_CORES, UNLIMITED, KernelPlan, plan_kernels
from darts.ops.separable import separable_conv

PLANS = {"plain": KernelPlan(UNLIMITED), "fused": KernelPlan(UNLIMITED, fused=True)}


def tensors(groups: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    return [draw(3, groups * 4, 7, 6), draw(groups * 4, 1, 5, 5), draw(groups * 4, 4, 1, 1)]


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (1, 2), (2, 1)])
def test_all_kernel_plans_agree(plan: str, groups: int, stride: int, dilation: int) -> None:
    x, depthwise, pointwise = inputs = tensors(groups)
    actual = separable_conv(
        *inputs, stride=stride, dilation=dilation, groups=groups, plan=PLANS[plan]
    )
    d = F.conv2d(x, depthwise, None, stride, 2 * dilation, dilation, groups=x.shape[1])
    expected = F.conv2d(d, pointwise, groups=groups)
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)
    out = torch.randn_like(expected)
    for a, b in zip(
        *(torch.autograd.grad(y, inputs, out) for y in (actual, expected)), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_plan_depends_on_device_and_precision() -> None:
    class FakeTensor:
        def __init__(self, device: str, dtype: torch.dtype = torch.float32) -> None:
            self.device, self.dtype = torch.device(device), dtype

    def plan_for(device: str, dtype: torch.dtype = torch.float32) -> KernelPlan:
        x: Any = FakeTensor(device, dtype)
        return plan_kernels(x)

    assert plan_for("cpu") == plan_for("cpu", torch.bfloat16) == CPU
    assert plan_for("cuda") == GPU
    assert plan_for("cuda", torch.float16) == plan_for("cuda", torch.bfloat16) == TENSOR_CORES
    assert GPU.batched
    assert TENSOR_CORES.batched
    assert not CPU.batched


@pytest.mark.parametrize(
    ("max_bytes", "edges"), [(1, 1), (4 * 24, 1), (4 * 48, 2), (UNLIMITED, 2**54)]
)
def test_edges_per_kernel_depend_on_the_size_of_the_input(max_bytes: int, edges: int) -> None:
    actual = KernelPlan(max_bytes).edges_per_kernel(torch.zeros(2, 3, 4, 1))
    assert actual == edges if edges < 3 else actual > 1000
