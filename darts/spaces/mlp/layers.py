"""Layers and candidates that the supernet and the discrete network of the mlp space share.

References:
    Ioffe and Szegedy, "Batch Normalization", arXiv:1502.03167; Ba, Kiros and Hinton, "Layer
    Normalization", arXiv:1607.06450: normalization between the linear map and the activation.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from darts.spaces.mlp.genotype import ACTIVATIONS, MAX_WIDTH

ACTIVATION_MODULES: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "identity": nn.Identity,
}

NORMALIZATIONS = ("batch", "layer", "none")

SKIP = "skip_connect"
"""The candidate that skips a layer."""


def check_choices(activations: Sequence[str], widths: Sequence[int]) -> None:
    """Raise ValueError unless activations and widths are valid, distinct and not empty."""
    for name in activations:
        if name not in ACTIVATIONS:
            raise ValueError(
                f"space.activations: unknown {name!r}; choose from {', '.join(ACTIVATIONS)}"
            )
    for key, values in (("activations", activations), ("widths", widths)):
        if not values or len(set(values)) != len(values):
            raise ValueError(
                f"space.{key}={list(values)}: must contain at least one value and no value twice"
            )
    if min(widths) < 1 or max(widths) > MAX_WIDTH:
        raise ValueError(f"space.widths={list(widths)}: must be between 1 and {MAX_WIDTH}")


def make_linear(inputs: int, width: int, normalization: str) -> nn.Linear:
    """Make a linear map. Before batch norm it has no bias, because batch norm would cancel it."""
    return nn.Linear(inputs, width, bias=normalization != "batch")


def make_norm(name: str, width: int, *, affine: bool) -> nn.Module:
    """Make a normalization of ``(B, width)`` (``ValueError`` for an unknown name).

    Batch norm uses ``nn.BatchNorm2d``, which ``darts.ops.sync_batch_norm`` synchronizes over ranks.
    """
    if name not in NORMALIZATIONS:
        choices = ", ".join(NORMALIZATIONS)
        raise ValueError(f"space.normalization={name!r} is unknown; choose from {choices}")
    if name == "batch":
        norm = nn.BatchNorm2d(width, affine=affine)
        return nn.Sequential(nn.Unflatten(1, (width, 1, 1)), norm, nn.Flatten())
    if name == "layer":
        return nn.LayerNorm(width, elementwise_affine=affine)
    return nn.Identity()


def make_preactivation(inputs: int, width: int, normalization: str) -> nn.Sequential:
    """Make a hidden layer without its activation, ``(B, inputs)`` -> ``(B, width)``."""
    norm = make_norm(normalization, width, affine=True)
    return nn.Sequential(make_linear(inputs, width, normalization), norm)
