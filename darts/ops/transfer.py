"""Copies between the CPU and a device that make the CPU wait as little as possible."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

# By tensor on the CPU: its version, and its copy on a device.
_constants: WeakIdKeyDictionary = WeakIdKeyDictionary()


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """Return ``x`` on a device.

    A copy from ordinary memory to a CUDA device would wait until the device has finished all its
    work; one from page-locked memory does not.
    """
    if x.device.type == "cpu" and device.type == "cuda":
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device)


def constant_on(x: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """Return ``x`` on a device; repeated calls return the same copy until ``x`` changes."""
    dtype = dtype or x.dtype
    if x.device.type == device.type:
        return x.to(dtype)
    found: tuple[int, Tensor] | None = _constants.get(x)  # type: ignore[no-untyped-call]
    if found is not None:
        version, copy = found
        if (version, copy.device.type, copy.dtype) == (x._version, device.type, dtype):
            return copy
    with torch.inference_mode(False):  # so that later calls may train with the copy
        copy = to_device(x.to(dtype), device)  # dtype first, because some devices have no float64
    _constants[x] = x._version, copy
    return copy


def on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors of one dtype on the CPU, with one copy for all of them."""
    away = [x for x in tensors.values() if x.device.type != "cpu"]
    if not away:
        return dict(tensors)
    flat = torch.cat([x.flatten() for x in away]).cpu()
    parts = iter(torch.split(flat, [x.numel() for x in away]))
    return {
        name: x if x.device.type == "cpu" else next(parts).view(x.shape)
        for name, x in tensors.items()
    }
