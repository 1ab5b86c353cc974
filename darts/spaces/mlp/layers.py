"""What the supernet and the discrete network of the mlp space are made of.

References:
    Ioffe and Szegedy, "Batch Normalization", arXiv:1502.03167; Ba, Kiros and Hinton, "Layer
    Normalization", arXiv:1607.06450: both between the linear map and the activation.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from darts.spaces.mlp.genotype import ACTIVATIONS, MAX_WIDTH

ACTIVATION_MODULES: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}

NORMALIZATIONS = ("batch", "layer", "none")

SKIP = "skip_connect"


def candidates_of(
    activations: Sequence[str], widths: Sequence[int], cells: int
) -> dict[str, tuple[tuple[str, ...], ...]]:
    """By group of alphas and layer, the names of the columns.

    Args:
        activations: of each layer, column by column the slower of the two.
        widths: of each layer.
        cells: number of layers, of which the first makes the group ``"first"``; all others may be
            skipped and make the group ``"rest"``.
    """
    layers = tuple(f"{activation}_{width}" for activation in activations for width in widths)
    groups: dict[str, tuple[tuple[str, ...], ...]] = {"first": (layers,)}
    return groups if cells == 1 else {**groups, "rest": ((*layers, SKIP),) * (cells - 1)}


def check_choices(activations: Sequence[str], widths: Sequence[int]) -> None:
    """Raise ValueError, in one line, unless these are distinct and known."""
    for name in activations:
        if name not in ACTIVATIONS:
            raise ValueError(
                f"space.activations: unknown {name!r}; choose from {', '.join(ACTIVATIONS)}"
            )
    for key, values in (("activations", activations), ("widths", widths)):
        if not values or len(set(values)) != len(values):
            raise ValueError(f"space.{key}={list(values)} must be distinct, and at least one")
    if min(widths) < 1 or max(widths) > MAX_WIDTH:
        raise ValueError(f"space.widths={list(widths)} must lie between 1 and {MAX_WIDTH}")


def check_normalization(name: str) -> None:
    """Raise ValueError for an unknown normalization."""
    if name not in NORMALIZATIONS:
        raise ValueError(f"unknown normalization {name!r}; choose from {', '.join(NORMALIZATIONS)}")


def make_linear(inputs: int, width: int, normalization: str) -> nn.Linear:
    """A linear map; batch norm would take a bias out again."""
    return nn.Linear(inputs, width, bias=normalization != "batch")


def make_norm(name: str, width: int, *, affine: bool) -> nn.Module:
    """One normalization of ``(B, width)``.

    Batch norm goes through ``nn.BatchNorm2d``, the kind that several ranks know how to share.
    """
    if name == "batch":
        norm = nn.BatchNorm2d(width, affine=affine)
        return nn.Sequential(nn.Unflatten(1, (width, 1, 1)), norm, nn.Flatten())
    if name == "layer":
        return nn.LayerNorm(width, elementwise_affine=affine)
    return nn.Identity()


def make_preactivation(inputs: int, width: int, normalization: str) -> nn.Sequential:
    """A hidden layer of the discrete network without its activation."""
    norm = make_norm(normalization, width, affine=True)
    return nn.Sequential(make_linear(inputs, width, normalization), norm)


def drop_units(x: Tensor, probability: float, rows: tuple[int, int] | None = None) -> Tensor:
    """Dropout whose draws do not depend on how many ranks share a batch.

    Args:
        x: ``(B, width)``.
        probability: of zero, in [0, 1).
        rows: the place of the first of these samples in a larger batch, and the size of that
            batch. The draws are made for all of it, as by a process that holds all of it.

    Shape: ``(B, width)`` -> the same.
    """
    keep = 1.0 - probability
    first, count = rows or (0, x.shape[0])
    mask = x.new_empty(count, x.shape[1]).bernoulli_(keep)
    return x * (mask[first : first + x.shape[0]] / keep)
