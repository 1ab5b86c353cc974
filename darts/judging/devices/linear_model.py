"""Latency as a weighted sum of the features of a genotype: a model that is a small JSON file."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from darts.judging.devices.cell_features import Encoding, encode
from darts.reading import FileError, StrPath, read_json_object
from darts.spaces import AnyGenotype
from darts.typed_values import Misfit, Name, Number, typed
from darts.writing import write_json

Kind: TypeAlias = Literal["additive", "ridge"]


@dataclass(frozen=True)
class LinearModel:
    """A latency model of one space on one device.

    Attributes:
        space: Name of the space.
        device: Name of the device; the column of its measurements.
        kind: ``additive`` for non-negative weights of operations on edges, ``ridge`` for a ridge
            regression.
        encoding: Which features of a genotype it reads, see ``cell_features.encode``.
        intercept: Latency without any feature, in milliseconds.
        weights: Milliseconds per unit of each feature.
        trained_on: The genotypes whose measurements it was fitted to, as text.
    """

    space: Name
    device: Name
    kind: Kind
    encoding: Encoding
    intercept: Number
    weights: Annotated[dict[Name, Number], Meta(max_length=100_000)]
    trained_on: Annotated[list[str], Meta(max_length=100_000)]

    @property
    def space_name(self) -> str:
        """Name of the space of the networks."""
        return self.space

    def predict(self, genotype: AnyGenotype) -> float:
        """Return the latency in milliseconds, at least 0.

        Raises:
            ValueError: The genotype is of another space.
        """
        if genotype.space != self.space:
            raise ValueError(
                f"the latency model is for space={self.space}, and the genotype is of "
                f"space={genotype.space}"
            )
        features = encode(genotype, self.encoding)
        terms = (self.weights.get(name, 0.0) * value for name, value in features.items())
        return max(0.0, self.intercept + sum(terms))

    def save(self, path: StrPath) -> None:
        """Write the model as JSON.

        Raises:
            WriteError: If the file cannot be written.
        """
        write_json(path, dataclasses.asdict(self))

    @classmethod
    def load(cls, path: StrPath) -> LinearModel:
        """Read a file of ``save``.

        Raises:
            FileError: If the file is no such model; the message is one line.
            OSError: If the file cannot be read.
        """
        content = read_json_object(path)
        try:
            return typed(cls, content)
        except Misfit as error:
            raise FileError(f"{path} is not a latency model: {error}") from None
