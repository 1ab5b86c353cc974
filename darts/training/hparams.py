"""The settings by which runs are compared in TensorBoard's page HPARAMS."""

from __future__ import annotations

from darts.config import RunConfig

KEYS = (
    "method", "genotype", "dataset.name", "space.name", "space.channels", "space.cells", "epochs",
    "loader.batch_size", "optimizer.lr", "optimizer.weight_decay", "arch_optimizer.lr",
    "drop_path", "cutout", "seed",
)  # fmt: skip


def hparams(config: RunConfig) -> dict[str, object]:
    """Return the values of those ``KEYS`` that a configuration has."""
    values: dict[str, object] = {}
    for key in KEYS:
        value: object = config
        for name in key.split("."):
            value = getattr(value, name, None)
        if value is not None:
            values[key] = value
    return values
