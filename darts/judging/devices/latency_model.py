"""What every latency model can do, and how its file is read."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from darts.judging.devices.linear_model import LinearModel
from darts.judging.devices.lookup_table import LookupTable
from darts.reading import FileError
from darts.spaces import AnyGenotype


class LatencyModel(Protocol):
    """Predicts how long the network of a genotype takes on a device."""

    @property
    def space_name(self) -> str:
        """Name of the space of the networks."""

    def predict(self, genotype: AnyGenotype) -> float:
        """Return the latency in milliseconds.

        Raises:
            ValueError: The genotype is of another space.
        """


def load_model(path: str | Path) -> LookupTable | LinearModel:
    """Read a latency model: a lookup table (``.csv``) or a fitted model (``.json``).

    Raises:
        FileError: If the file is damaged, too large, or has another suffix.
        OSError: If the file cannot be read.
    """
    file = Path(path).expanduser()
    if file.suffix.lower() == ".csv":
        return LookupTable.load(file)
    if file.suffix.lower() == ".json":
        return LinearModel.load(file)
    raise FileError(
        f"{str(path)!r} is no latency model: its name must end in .csv (a lookup table) or .json "
        "(a fitted model)"
    )
