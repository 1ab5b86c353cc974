"""A network of a genotype, without a run: ``darts.create_model("DARTS_V2", classes=10)``."""

from __future__ import annotations

from typing import cast

from torch import nn

from darts.config import ConfigError, RetrainConfig, compose
from darts.config.overrides import quoted
from darts.config.python_call import overrides_of
from darts.spaces import SPACES, AnyGenotype, space_of
from darts.spaces.lookup import find_genotype


def create_model(
    genotype: str | AnyGenotype,
    *,
    classes: int = 10,
    in_channels: int = 3,
    auxiliary: bool = False,
    drop_path: float = 0.0,
    **sizes: object,
) -> nn.Module:
    """Return an untrained network that classifies images or rows.

    Args:
        genotype: A published name such as "DARTS_V2", see ``python -m darts.genotypes``; the text
            of a genotype; or the run directory or file that contains it.
        classes: Number of classes.
        in_channels: Channels of the images, or numbers of a row.
        auxiliary: Whether the network has an auxiliary head for its training.
        drop_path: Probability of dropping an edge of a cell in the training; the attribute
            ``drop_path`` of the network changes it.
        **sizes: Settings of the space, for example ``channels=16, cells=8, stem="imagenet"``. By
            default those of a retraining on CIFAR-10, which for a published cell are those of its
            paper.

    Shape: ``(B, in_channels, H, W)``, or ``(B, in_channels, 1, 1)`` for rows -> logits
    ``(B, classes)``.

    Raises:
        ConfigError: If there is no such genotype, or a wrong setting; the message has one line.
    """
    try:
        parsed = find_genotype(str(genotype))[1]
    except ValueError as error:
        raise ConfigError(str(error)) from None
    name = space_of(parsed).name
    if not {"images", "rows"} & set(SPACES[name].data_kinds) or name == "module":
        raise ConfigError(
            f"genotype={str(genotype)!r} belongs to space={name}; create_model makes networks for "
            "images and rows only"
        )
    keys = [] if name == "mlp" else ["dataset=cifar10"]  # the sizes that papers use
    keys += overrides_of({f"space.{key}": value for key, value in sizes.items()})
    keys += [f"genotype={quoted(str(parsed))}", f"space={name}"]
    config = cast("RetrainConfig", compose("retrain", keys))
    options = {"classes": classes, "in_channels": in_channels}
    for key, value in options.items():
        if value < 1:
            raise ConfigError(f"{key}={value}: must be >= 1")
    try:
        return config.space.network(
            parsed, **options, auxiliary=auxiliary, drop_path=drop_path
        ).plain()
    except ValueError as error:
        raise ConfigError(str(error)) from None
