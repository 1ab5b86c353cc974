"""Measure the operations of a space, or whole networks, on the machine of this process."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from datetime import datetime, timezone

import torch
from torch import Tensor, nn

from darts.judging.devices.lookup_table import LookupTable, Row, TableInfo
from darts.judging.devices.pieces import Operation
from darts.judging.devices.stopwatch import (
    Timing,
    TimingSettings,
    device_name,
    example,
    place,
    time_passes,
    timing,
)
from darts.spaces import AnyGenotype, Space


def measure(
    space: Space,
    operations: Sequence[Operation],
    settings: TimingSettings,
    *,
    classes: int,
    sample_shape: Sequence[int],
    after_round: Callable[[], None] = lambda: None,
) -> LookupTable:
    """Measure each operation of the networks of a space.

    Args:
        space: The space, whose fields set the sizes of the networks.
        operations: Those of ``operations_of``, with the same sizes.
        settings: How to time passes.
        classes: Number of classes.
        sample_shape: Shape ``(C, H, W)`` of a sample.
        after_round: Called after one pass of each operation.

    Raises:
        ValueError: If the networks only take batches of one sample.
    """
    modules = [operation.make() for operation in operations]
    with timing(settings):
        inputs = [example(operation.key[1], settings) for operation in operations]
        outputs = [_output(m, x, settings) for m, x in zip(modules, inputs, strict=True)]
        times = time_passes(modules, inputs, settings, after_round)
    rows = [
        Row(operation.name, operation.key, output, own)
        for operation, output, own in zip(operations, outputs, times, strict=True)
    ]
    info = TableInfo(
        name=device_name(torch.device(settings.device)),
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        torch=str(torch.__version__),
        classes=classes,
        sample_shape=list(sample_shape),
        settings=settings,
        space=dataclasses.asdict(space),
    )
    return LookupTable(info, tuple(rows))


def measure_networks(
    genotypes: Sequence[AnyGenotype],
    table: LookupTable,
    after_round: Callable[[], None] = lambda: None,
) -> list[Timing]:
    """Time networks in the way that the operations of a table were timed."""
    info, shape = table.info, tuple(table.info.sample_shape)
    channels = table.space.in_channels(shape)
    networks = [
        table.space.network(genotype, classes=info.classes, in_channels=channels)
        for genotype in genotypes
    ]
    with timing(info.settings):
        inputs = [example(shape, info.settings)] * len(networks)
        return time_passes(networks, inputs, info.settings, after_round)


def _output(module: nn.Module, inputs: Tensor, settings: TimingSettings) -> tuple[int, ...]:
    """Return the shape of the output of a module for one sample; of its last output, if several.

    Raises:
        ValueError: If the module ignores the size of the batch.
    """
    output = place(module, settings)(inputs)
    last: Tensor = output[-1] if isinstance(output, tuple) else output
    if last.shape[0] != settings.batch_size:  # calls in a model of the user's own
        raise ValueError(
            f"batch_size={settings.batch_size}: operations of models of your own are measured with "
            "batch_size=1"
        )
    return tuple(last.shape[1:])
