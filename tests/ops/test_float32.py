"""Blocks in true float32 undo what surrounds them, on devices with and without autocast."""

from __future__ import annotations

import torch

from darts.ops.float32 import exact_float32, float32_products


def test_products_are_exact_within_an_outer_autocast() -> None:
    x = torch.randn(8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (x @ x).dtype == torch.bfloat16
        with exact_float32(torch.device("cpu")):
            assert (x @ x).dtype == torch.float32
        assert (x @ x).dtype == torch.bfloat16


def test_tf32_is_forbidden_and_then_as_before() -> None:
    with float32_products(tf32=True):
        with exact_float32(torch.device("cpu")):
            assert not torch.backends.cudnn.allow_tf32
            assert not torch.backends.cuda.matmul.allow_tf32
        assert torch.backends.cudnn.allow_tf32
        assert torch.backends.cuda.matmul.allow_tf32


def test_shapes_can_be_computed_without_values() -> None:
    x = torch.empty(4, 8, device="meta")
    with exact_float32(x.device):
        assert (x @ x.T).shape == (4, 4)
