"""Every way to compute a separable stage against the plain one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from darts.kernels.choice import ALL, CPU, CPU_REDUCED, GPU, GPU_REDUCED, Choice, choose
from darts.kernels.norm import Running
from darts.kernels.stage import plain_stage, stage

WAYS = {
    "plain": Choice(ALL),
    "folded": Choice(ALL, folded_hidden=64, folded_last=64),
    "composed": Choice(ALL, composed=True),
}


def tensors(groups: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype).requires_grad_()

    return [draw(3, groups * 4, 7, 6), draw(groups * 4, 1, 5, 5), draw(groups * 4, 4, 1, 1)]


def run(
    choice: Choice | None, inputs: list[Tensor], scale: Tensor | None, last: bool, **options: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Output and running statistics after one batch; by the plain way without a choice."""
    channels, dtype = inputs[2].shape[0], inputs[0].dtype
    mean, variance = torch.zeros(channels, dtype=dtype), torch.ones(channels, dtype=dtype)
    running = Running(mean, variance, 0.1)
    if choice is None:
        shape = (options["stride"], options["dilation"], options["groups"])
        output = plain_stage(*inputs, scale, *shape, 1e-5, last, running)
    else:
        same: Any = {"eps": 1e-5, "last": last, "running": running, "choice": choice}
        output = stage(*inputs, scale, process_group=None, **same, **options)
    return output, mean, variance


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (1, 2), (2, 1)])
@pytest.mark.parametrize("last", [False, True])
def test_all_ways_agree(way: str, groups: int, stride: int, dilation: int, last: bool) -> None:
    inputs = tensors(groups)
    scale = torch.rand(groups, dtype=torch.float64).requires_grad_() if last else None
    options = {"stride": stride, "dilation": dilation, "groups": groups}
    found, wanted = (run(c, inputs, scale, last, **options) for c in (WAYS[way], None))
    gradient = torch.randn_like(wanted[0])
    leaves = [*inputs, *([scale] if scale is not None else [])]
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
    for a, b in zip(
        *(torch.autograd.grad(out[0], leaves, gradient) for out in (found, wanted)), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.slow  # the compiler takes its time
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler's own modules
def test_the_compiled_way_agrees() -> None:
    inputs = tensors(2, torch.float32)
    scale = torch.rand(2).requires_grad_()
    options = {"stride": 1, "dilation": 1, "groups": 2}
    found, wanted = (
        run(c, inputs, scale, True, **options) for c in (Choice(ALL, compiled=True), None)
    )
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    gradient = torch.randn_like(wanted[0])
    for a, b in zip(
        *(torch.autograd.grad(o[0], [*inputs, scale], gradient) for o in (found, wanted)),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def test_the_choice_follows_precision_ranks_and_wish() -> None:
    x: Any = torch.zeros(1)
    assert choose(x) == CPU
    with torch.autocast("cpu", torch.bfloat16):
        assert choose(x) == CPU_REDUCED
    assert choose(x.bfloat16()) == CPU_REDUCED
    assert choose(x, compiled=True).compiled
    together = choose(x, synchronised=True)
    assert (together.folded_hidden, together.folded_last) == (0, 0)


def test_a_gpu_takes_all_edges_at_once() -> None:
    class OnGpu:
        device = torch.device("cuda")
        dtype = torch.float32

    x: Any = OnGpu()
    assert choose(x) == GPU
    x.dtype = torch.bfloat16
    assert choose(x) == GPU_REDUCED
