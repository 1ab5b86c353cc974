"""Decisions of a run of ``darts find`` that depend on measured time, saved when they are made.

A resumed run uses the saved decisions. All other decisions follow from the scores of complete runs.
The result of a resumed run therefore differs from that of an uninterrupted one only if the timing
changes a decision that was not saved yet.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from darts.reading import FileError, JsonObject, read_json_object
from darts.typed_values import Misfit, typed
from darts.writing import to_jsonable, write_json

T = TypeVar("T")

FILE = "decisions.json"


class Decisions:
    """The decisions by name, in a JSON file.

    Args:
        file: The file; it need not exist.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        saved = read_json_object(file) if file.exists() else _sealed({})
        self._values: JsonObject = saved.get("decisions", {})
        if saved != _sealed(self._values):
            raise FileError(f"{file} is damaged")

    def decide(self, name: str, kind: type[T], make: Callable[[], T]) -> T:
        """Return the decision of this name; make and save it first if it is still open.

        Args:
            name: Name of the decision.
            kind: Type of the decision, see ``typed_values.typed``; plain values and dataclasses.
            make: Makes the decision.
        """
        if name not in self._values:
            self.record(name, value := make())
            return value
        try:
            return typed(kind, self._values[name], name)
        except Misfit as error:
            raise FileError(f"{self._file} is damaged: {error}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def record(self, name: str, value: object) -> None:
        """Save a value that changes, for example the elapsed time."""
        self._values[name] = to_jsonable(value)
        write_json(self._file, _sealed(self._values))


def _sealed(values: JsonObject) -> JsonObject:
    """Return the content of the file, with a checksum that reveals damage."""
    return {"decisions": values, "crc32": zlib.crc32(json.dumps(values).encode())}
