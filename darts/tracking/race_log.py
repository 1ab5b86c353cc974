"""The slices of a race of ``darts find``: ``race.jsonl``, and TensorBoard's curves."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, TypeAlias, TypedDict

from msgspec import Meta

from darts.reading import MIB, StrPath, parse_json, read_bytes
from darts.tracking.optional import optional
from darts.tracking.tensorboard import EVENT_FILE, TensorBoard, event_offset
from darts.tracking.trackers import TrackedRun
from darts.typed_values import Name, Number, typed
from darts.writing import to_jsonable

FILE = "race.jsonl"
_LIMIT = MIB  # bytes, about 6,000 slices
_Seconds: TypeAlias = Annotated[float, Meta(ge=0, le=1e9)]


class Slice(TypedDict):
    """A finished slice of training, a row of ``race.jsonl``."""

    time: _Seconds  # of the run so far
    candidate: Name
    score: Number | None  # of the candidate so far, on validation data; None if it is not finite
    seconds: _Seconds  # that the candidate has trained so far
    epochs: Annotated[int, Meta(ge=0, le=10**9)]  # of the candidate so far
    leader: Name  # the best candidate at this time


def read_race(path: StrPath) -> list[Slice]:
    """Return the slices in a file ``race.jsonl``; damaged lines are skipped."""
    slices = []
    for line in read_bytes(path, limit=_LIMIT).split(b"\n"):
        with contextlib.suppress(ValueError):
            slices.append(typed(Slice, parse_json(line.decode("utf-8"))))
    return slices


def log_slice(run: Path, row: Slice, metric: str, scores: Mapping[Path, float]) -> None:
    """Add a slice to ``race.jsonl``, and scores to TensorBoard's event files.

    Args:
        run: Directory of the race.
        row: The slice. Its time is TensorBoard's step.
        metric: Name of the score.
        scores: Validation scores by run directory.
    """
    with (run / FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(to_jsonable(row)) + "\n")
    for directory, score in scores.items():
        with optional(directory / EVENT_FILE):
            tracked = TrackedRun(directory, directory.name, {}, None)
            board = TensorBoard(tracked, event_offset(directory))
            board.log_scalars(round(row["time"]), {f"race/valid_{metric}": score})
            board.close()
