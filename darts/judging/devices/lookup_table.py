"""Latency as the sum of the measured latencies of all operations of a network.

A lookup table consists of two files: ``NAME.csv`` has a row for each operation, and ``NAME.yaml``
describes the machine, the networks and how they were measured. The model leaves out what a network
does between its operations, such as sums, so it serves to compare networks.

References:
    Cai et al., "ProxylessNAS", arXiv:1812.00332, section 3.3.2.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import torch
import yaml
from msgspec import Meta
from torch import Tensor, nn

from darts.config import DeviceConfig, rebuild
from darts.data.table_file import read_table
from darts.judging.devices.pieces import Key, candidates_of, key_of, operations_of
from darts.judging.devices.stopwatch import (
    Timing,
    TimingSettings,
    device_name,
    example,
    place,
    time_passes,
    timing,
)
from darts.reading import JsonObject, damage, read_yaml
from darts.searching.expected_cost import ExpectedCost
from darts.spaces import AnyGenotype, Space
from darts.tracking.metrics import write_table
from darts.typed_values import Name, typed
from darts.writing import write_atomically

COLUMNS = ("operation", "input", "output", "stride", "module", "median_ms", "spread_ms", "count")

Side = Annotated[int, Meta(ge=1, le=10**6)]
Sides = Annotated[list[Side], Meta(max_length=8)]


@dataclass(frozen=True)
class TableInfo:
    """What a lookup table measured."""

    name: Name  # of the processor or GPU
    date: Name  # and time of the measurement in UTC
    torch: Name  # version of PyTorch
    classes: Side
    sample_shape: Sides  # (C, H, W)
    settings: TimingSettings
    space: JsonObject  # fields of the space, which set the sizes of the networks


@dataclass(frozen=True)
class Row:
    """The measurement of an operation: a candidate, or ``fixed``."""

    operation: str
    key: Key
    output: tuple[int, ...]  # shape for one sample
    timing: Timing


@dataclass(frozen=True)
class LookupTable:
    """A latency model of the networks of a space on one machine."""

    info: TableInfo
    rows: tuple[Row, ...]

    @property
    def space_name(self) -> str:
        return self.space.name

    @cached_property
    def space(self) -> Space:
        """The space with the sizes of the measured networks."""
        return rebuild(DeviceConfig, {"space": self.info.space}).space

    @cached_property
    def _cost(self) -> ExpectedCost:
        medians = {row.key: row.timing.median_ms for row in self.rows}
        classes, shape = self.info.classes, tuple(self.info.sample_shape)
        for operation in operations_of(self.space, classes=classes, sample_shape=shape):
            if operation.key not in medians:
                module, inputs = operation.key
                raise ValueError(
                    f"the lookup table has no row for {module[:60]} with an input of {inputs}; "
                    "measure the space again"
                )

        def look_up(module: nn.Module, example: Tensor) -> float:
            key = key_of(module, tuple(example.shape[1:]))
            return medians.get(key, 0.0)  # all others are free

        candidates = candidates_of(
            self.space, classes=classes, in_channels=self.space.in_channels(shape)
        )
        return ExpectedCost.measured(
            self.space, candidates, classes=classes, sample_shape=shape, measure=look_up
        )

    def predict(self, genotype: AnyGenotype) -> float:
        """Return the latency in milliseconds of a pass of one batch."""
        require_space_of(genotype, self.space.name, "lookup table")
        return self._cost.of_genotype(genotype)

    def save(self, path: Path) -> None:
        """Write ``path``, a CSV file, and the YAML file of the same name."""
        rows = []
        for row in self.rows:
            module, shape = row.key
            sizes = ["x".join(map(str, sides)) for sides in (shape, row.output)]
            # How much larger the side of the input is; 1 for inputs other than images.
            are_images = len(shape) == len(row.output) == 3
            stride = -(-shape[-1] // row.output[-1]) if are_images else 1
            times = (f"{row.timing.median_ms:.6g}", f"{row.timing.spread_ms:.3g}", row.timing.count)
            cells = (row.operation, *sizes, stride, module, *times)
            rows.append(dict(zip(COLUMNS, cells, strict=True)))
        write_table(path, rows)
        content = dataclasses.asdict(self.info)
        write_atomically(info_file(path), yaml.safe_dump(content, sort_keys=False))

    @classmethod
    def load(cls, path: Path) -> LookupTable:
        """Read the files of ``save``."""
        with damage(f"{info_file(path)} is not a description"):
            info = typed(TableInfo, read_yaml(info_file(path)))
        with damage(f"{path} is not a lookup table"):
            table = read_table(path)
            table.check_columns(COLUMNS)
            return cls(info, tuple(map(_row, table.cells.to_dict("records"))))


def require_space_of(genotype: AnyGenotype, space: str, model: str) -> None:
    """Raise ValueError unless a genotype is of the space that a latency model is for."""
    if genotype.space != space:
        raise ValueError(
            f"the {model} is for space={space}, and the genotype is of space={genotype.space}"
        )


def info_file(path: Path) -> Path:
    """Return the YAML file that belongs to the CSV file of a table."""
    return path.with_suffix(".yaml")


def _row(cells: Mapping[Any, str]) -> Row:
    shape, output = (tuple(map(int, cells[name].split("x"))) for name in ("input", "output"))
    times = {name: float(cells[name]) for name in ("median_ms", "spread_ms")}
    timing = typed(Timing, {**times, "count": int(cells["count"])})
    return Row(cells["operation"], (cells["module"], shape), output, timing)


def measure(
    space: Space,
    settings: TimingSettings,
    *,
    classes: int,
    sample_shape: Sequence[int],
    after_round: Callable[[], None] = lambda: None,
) -> LookupTable:
    """Measure each operation of the networks of a space on the machine of this process.

    ``after_round`` is called after one pass of each operation.
    """
    operations = operations_of(space, classes=classes, sample_shape=tuple(sample_shape))
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


def _output(module: nn.Module, inputs: Tensor, settings: TimingSettings) -> tuple[int, ...]:
    """Return the shape of the output of a module for one sample; of its last output, if several."""
    output = place(module, settings)(inputs)
    last: Tensor = output[-1] if isinstance(output, tuple) else output
    if last.shape[0] != settings.batch_size:  # calls in a model of the user's own
        raise ValueError(
            f"batch_size={settings.batch_size}: operations of models of your own are measured with "
            "batch_size=1"
        )
    return tuple(last.shape[1:])


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
