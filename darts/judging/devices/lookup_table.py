"""Latency as the sum of the measured latencies of all operations of a network.

A lookup table consists of two files: ``NAME.csv`` has a row for each operation, and ``NAME.yaml``
describes the machine, the networks and how they were measured. The model leaves out what a network
does between its operations, such as sums, so it serves to compare networks.

References:
    Cai et al., "ProxylessNAS", arXiv:1812.00332, section 3.3.2.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated

import torch
import yaml
from msgspec import Meta
from torch import Tensor, nn

from darts.config import rebuild
from darts.judging.devices.pieces import Key, candidates_of, key_of, operations_of
from darts.judging.devices.stopwatch import Timing, TimingSettings
from darts.reading import MIB, FileError, JsonObject, read_text, read_yaml
from darts.searching.expected_cost import ExpectedCost
from darts.spaces import AnyGenotype, Space
from darts.spaces.deriving import Candidates
from darts.typed_values import Misfit, Name, typed
from darts.writing import write_atomically

LIMIT = 16 * MIB  # bytes of the CSV file
COLUMNS = ("operation", "input", "output", "stride", "module", "median_ms", "spread_ms", "count")

Side = Annotated[int, Meta(ge=1, le=10**6)]
Sides = Annotated[list[Side], Meta(max_length=8)]


@dataclass
class MeasuredSpace:
    """Rebuilds a space from the plain values of a file."""

    space: Space


@dataclass(frozen=True)
class TableInfo:
    """What a lookup table measured.

    Attributes:
        name: Name of the processor or GPU.
        date: Date and time of the measurement in UTC.
        torch: Version of PyTorch.
        classes: Number of classes of the networks.
        sample_shape: Shape of a sample ``(C, H, W)``.
        settings: How passes were timed.
        space: The fields of the space, which set the sizes of the networks.
    """

    name: Name
    date: Name
    torch: Name
    classes: Side
    sample_shape: Sides
    settings: TimingSettings
    space: JsonObject


@dataclass(frozen=True)
class Row:
    """The measurement of an operation.

    Attributes:
        operation: Name of the candidate, or ``fixed``.
        key: Module and shape of its input.
        output: Shape of its output for one sample.
        timing: The measured times.
    """

    operation: str
    key: Key
    output: tuple[int, ...]
    timing: Timing

    @property
    def stride(self) -> int:
        """How much larger the side of the input is; 1 for inputs that are no images."""
        inputs = self.key[1]
        return -(-inputs[-1] // self.output[-1]) if len(inputs) == len(self.output) == 3 else 1


@dataclass(frozen=True)
class LookupTable:
    """A latency model of the networks of a space on one machine."""

    info: TableInfo
    rows: tuple[Row, ...]

    @property
    def space_name(self) -> str:
        """Name of the space of the networks."""
        return self.space.name

    @cached_property
    def space(self) -> Space:
        """The space with the sizes of the measured networks."""
        return rebuild(MeasuredSpace, {"space": self.info.space}).space

    @cached_property
    def candidates(self) -> Candidates:
        """Names of the candidates of the space, by group and edge."""
        shape = tuple(self.info.sample_shape)
        return candidates_of(self.space, classes=self.info.classes, sample_shape=shape)

    @cached_property
    def _cost(self) -> ExpectedCost:
        medians = {row.key: row.timing.median_ms for row in self.rows}
        shape = tuple(self.info.sample_shape)
        for operation in operations_of(self.space, classes=self.info.classes, sample_shape=shape):
            if operation.key not in medians:
                module, inputs = operation.key
                raise ValueError(
                    f"the lookup table has no row for {module[:60]} with an input of {inputs}; "
                    "measure the space again"
                )

        def look_up(module: nn.Module, example: Tensor) -> float:
            key = key_of(module, tuple(example.shape[1:]))
            return medians.get(key, 0.0)  # all others are free

        return ExpectedCost.measured(
            self.space,
            self.candidates,
            classes=self.info.classes,
            sample_shape=shape,
            measure=look_up,
            device=torch.device("cpu"),
        )

    def predict(self, genotype: AnyGenotype) -> float:
        """Return the latency in milliseconds of a pass of one batch.

        Raises:
            ValueError: The genotype is not in the space, or an operation was not measured.
        """
        if genotype.space != self.space.name:
            raise ValueError(
                f"the lookup table is for space={self.space.name}, and the genotype is of "
                f"space={genotype.space}"
            )
        masks = self.space.mask(genotype, self.candidates)
        return float(self._cost({group: mask.double() for group, mask in masks.items()}))

    def save(self, path: Path) -> None:
        """Write ``path``, a CSV file, and the YAML file of the same name.

        Raises:
            WriteError: If a file cannot be written.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in self.rows:
            module, shape = row.key
            sizes = ["x".join(map(str, sides)) for sides in (shape, row.output)]
            times = (f"{row.timing.median_ms:.6g}", f"{row.timing.spread_ms:.3g}", row.timing.count)
            writer.writerow([row.operation, *sizes, row.stride, module, *times])
        write_atomically(path, text.getvalue())
        content = dataclasses.asdict(self.info)
        write_atomically(info_file(path), yaml.safe_dump(content, sort_keys=False))

    @classmethod
    def load(cls, path: Path) -> LookupTable:
        """Read the files of ``save``.

        Raises:
            FileError: If a file is damaged or too large; the message is one line.
            OSError: If a file cannot be read.
        """
        try:
            info = typed(TableInfo, read_yaml(info_file(path)))
        except Misfit as error:
            raise FileError(f"{info_file(path)} describes no lookup table: {error}") from None
        reader = csv.DictReader(io.StringIO(read_text(path, limit=LIMIT), newline=""))
        try:
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise ValueError(f"the header must be {','.join(COLUMNS)}")
            return cls(info, tuple(_row(cells, reader.line_num) for cells in reader))
        except (ValueError, csv.Error) as error:
            raise FileError(f"{path} is no lookup table: {error}") from None


def info_file(path: Path) -> Path:
    """Return the YAML file that belongs to the CSV file of a table."""
    return path.with_suffix(".yaml")


def _row(cells: dict[str | None, str | None], line: int) -> Row:
    """Return the row of a line.

    Raises:
        ValueError: If a cell is missing or invalid.
    """
    texts = {name: text for name, text in cells.items() if name and isinstance(text, str)}
    if set(cells) != set(COLUMNS) or len(texts) != len(COLUMNS):
        raise ValueError(f"line {line} must have {len(COLUMNS)} fields")
    try:
        times = {
            "median_ms": float(texts["median_ms"]),
            "spread_ms": float(texts["spread_ms"]),
            "count": int(texts["count"][:20]),
        }
        shape, output = (
            tuple(typed(Sides, [int(side) for side in texts[name][:100].split("x")], name))
            for name in ("input", "output")
        )
        timing = typed(Timing, times)
    except ValueError as error:
        raise ValueError(f"line {line}: {error}") from None
    return Row(texts["operation"], (texts["module"], shape), output, timing)
