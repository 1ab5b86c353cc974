"""Latency models: what all of them can do, and the fitted one, which is a small JSON file."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from darts.judging.devices.cell_features import Encoding, encode
from darts.judging.devices.lookup_table import LookupTable, require_space_of
from darts.reading import FileError, StrPath, damage, read_json_object
from darts.spaces import AnyGenotype
from darts.typed_values import Name, Number, typed
from darts.writing import write_json

Kind: TypeAlias = Literal["additive", "ridge"]


@dataclass(frozen=True)
class LinearModel:
    """Latency as a weighted sum of the features of a genotype, for one space and one device.

    ``additive`` models have non-negative weights of operations on edges.
    """

    space: Name
    device: Name  # the column of its measurements
    kind: Kind
    encoding: Encoding  # which features it reads, see ``cell_features.encode``
    intercept: Number  # milliseconds
    weights: Annotated[dict[Name, Number], Meta(max_length=100_000)]  # milliseconds by feature
    trained_on: Annotated[list[str], Meta(max_length=100_000)]  # genotypes

    @property
    def space_name(self) -> str:
        return self.space

    def predict(self, genotype: AnyGenotype) -> float:
        require_space_of(genotype, self.space, "latency model")
        features = encode(genotype, self.encoding)
        terms = (self.weights.get(name, 0.0) * value for name, value in features.items())
        return max(0.0, self.intercept + sum(terms))

    def save(self, path: StrPath) -> None:
        """Write the model as JSON."""
        write_json(path, dataclasses.asdict(self))

    @classmethod
    def load(cls, path: StrPath) -> LinearModel:
        """Read a file of ``save``."""
        content = read_json_object(path)
        with damage(f"{path} is not a latency model"):
            return typed(cls, content)


# Predicts how long the network of a genotype takes on a device: `predict(genotype)` returns
# milliseconds, or raises ValueError for a genotype of a space other than `space_name`.
LatencyModel: TypeAlias = LookupTable | LinearModel


def load_model(path: str | Path) -> LatencyModel:
    """Read a latency model: a lookup table (``.csv``) or a fitted model (``.json``).

    Raise FileError if the file is damaged, too large, or has another suffix.
    """
    file = Path(path).expanduser()
    if file.suffix.lower() == ".csv":
        return LookupTable.load(file)
    if file.suffix.lower() == ".json":
        return LinearModel.load(file)
    raise FileError(
        f"{str(path)!r} is not a latency model: its name must end in .csv (a lookup table) or "
        ".json (a fitted model)"
    )
