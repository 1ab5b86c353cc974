"""Every implementation of a separable convolution, compared with the plain one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from darts.ops.batch_norm import RunningStats
from darts.ops.dispatch import CPU, GPU, TENSOR_CORES, UNLIMITED, KernelPlan, plan_kernels
from darts.ops.separable import plain_separable_conv, separable_conv

PLANS = {"plain": KernelPlan(UNLIMITED), "fused": KernelPlan(UNLIMITED, fused=True)}


def tensors(groups: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype).requires_grad_()

    return [draw(3, groups * 4, 7, 6), draw(groups * 4, 1, 5, 5), draw(groups * 4, 4, 1, 1)]


def run(
    plan: KernelPlan | None,
    inputs: list[Tensor],
    scale: Tensor | None,
    ends_operation: bool,
    **options: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return output and running statistics after one batch; None selects the plain calls."""
    channels, dtype = inputs[2].shape[0], inputs[0].dtype
    mean, variance = torch.zeros(channels, dtype=dtype), torch.ones(channels, dtype=dtype)
    running = RunningStats(mean, variance, 0.1)
    if plan is None:
        shape = (options["stride"], options["dilation"], options["groups"])
        output = plain_separable_conv(*inputs, scale, *shape, 1e-5, ends_operation, running)
    else:
        same: Any = {
            "eps": 1e-5,
            "ends_operation": ends_operation,
            "running": running,
            "plan": plan,
        }
        output = separable_conv(*inputs, scale, process_group=None, **same, **options)
    return output, mean, variance


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (1, 2), (2, 1)])
@pytest.mark.parametrize("ends_operation", [False, True])
def test_all_kernel_plans_agree(
    plan: str, groups: int, stride: int, dilation: int, ends_operation: bool
) -> None:
    inputs = tensors(groups)
    scale = torch.rand(groups, dtype=torch.float64).requires_grad_() if ends_operation else None
    options = {"stride": stride, "dilation": dilation, "groups": groups}
    actual, wanted = (run(c, inputs, scale, ends_operation, **options) for c in (PLANS[plan], None))
    gradient = torch.randn_like(wanted[0])
    leaves = [*inputs, *([scale] if scale is not None else [])]
    for a, b in zip(actual, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
    for a, b in zip(
        *(torch.autograd.grad(out[0], leaves, gradient) for out in (actual, wanted)), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.slow  # compilation takes about 20 seconds
@pytest.mark.filterwarnings("ignore")  # the compiler emits warnings
def test_compiled_plan_agrees() -> None:
    inputs = tensors(2, torch.float32)
    scale = torch.rand(2).requires_grad_()
    options = {"stride": 1, "dilation": 1, "groups": 2}
    actual, wanted = (
        run(c, inputs, scale, True, **options) for c in (KernelPlan(UNLIMITED, compiled=True), None)
    )
    for a, b in zip(actual, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    gradient = torch.randn_like(wanted[0])
    for a, b in zip(
        *(torch.autograd.grad(o[0], [*inputs, scale], gradient) for o in (actual, wanted)),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def test_plan_depends_on_device_precision_and_compilation() -> None:
    class FakeTensor:
        def __init__(self, device: str, dtype: torch.dtype = torch.float32) -> None:
            self.device, self.dtype = torch.device(device), dtype

    def plan_for(device: str, dtype: torch.dtype = torch.float32, **options: bool) -> KernelPlan:
        x: Any = FakeTensor(device, dtype)
        return plan_kernels(x, **options)

    assert plan_for("cpu") == plan_for("cpu", torch.bfloat16) == CPU
    assert plan_for("cuda") == GPU
    assert plan_for("cuda", torch.float16) == plan_for("cuda", torch.bfloat16) == TENSOR_CORES
    assert plan_for("cpu", compiled=True).compiled
    assert plan_for("cuda", compiled=True).compiled


@pytest.mark.parametrize(
    ("max_bytes", "edges"), [(1, 1), (4 * 24, 1), (4 * 48, 2), (UNLIMITED, 2**54)]
)
def test_edges_per_kernel_depend_on_the_size_of_the_input(max_bytes: int, edges: int) -> None:
    actual = KernelPlan(max_bytes).edges_per_kernel(torch.zeros(2, 3, 4, 1))
    assert actual == edges if edges < 3 else actual > 1000
