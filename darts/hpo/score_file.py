"""The file of the scores so far, from which an interrupted command continues.

``darts.judge`` and the evolution of ``darts.find`` use it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from darts.config import ConfigError
from darts.reading import MIB, FileError, read_json_object
from darts.typed_values import Misfit, typed
from darts.writing import write_json

FILE = "scores.json"
LIMIT = 256 * MIB  # bytes


class Training(TypedDict):
    """Result of a short training; the score is None if it diverged."""

    score: float | None
    seconds: float


class Row(TypedDict):
    """Scores of one architecture; None stands for a score that is not finite."""

    genotype: str
    seconds: float
    scores: dict[str, float | None]
    training: Training | None  # short training for the calibration of a judge, if there was one


class Content(TypedDict):
    """Content of the file."""

    rows: list[Row]
    plan: str  # digest of what is scored, see ``ScoreFile``


@dataclass
class ScoreFile:
    """Scores of architectures, in memory and in the file.

    Attributes:
        path: The file.
        plan: Digest of what is scored, from the caller; a file of another plan is refused.
        rows: Rows by genotype, in the order in which they were computed.
    """

    path: Path
    plan: str
    rows: dict[str, Row] = field(default_factory=dict)

    def load(self) -> None:
        """Read the rows of an interrupted command, if it wrote any."""
        if not self.path.exists():
            return
        try:
            content = typed(Content, read_json_object(self.path, limit=LIMIT))
        except (FileError, Misfit, OSError) as error:
            raise ConfigError(f"cannot resume: {error}") from None
        if content["plan"] != self.plan:
            raise ConfigError(
                "cannot resume: what is scored (the architectures and their true scores, or space, "
                "data and limits) changed after the run stopped"
            )
        self.rows = {row["genotype"]: row for row in content["rows"]}

    def save(self) -> None:
        """Write all rows atomically."""
        content: Content = {"rows": list(self.rows.values()), "plan": self.plan}
        write_json(self.path, content)

    def add(
        self,
        genotype: str,
        scores: dict[str, float],
        seconds: float,
        training: Training | None = None,
    ) -> None:
        """Add the scores of an architecture and the seconds that they took."""
        plain = {name: value if math.isfinite(value) else None for name, value in scores.items()}
        self.rows[genotype] = {
            "genotype": genotype,
            "seconds": seconds,
            "scores": plain,
            "training": training,
        }

    def score(self, genotype: str, name: str) -> float:
        """Return a score; minus infinity if it was not finite, even if lower scores are better."""
        value = self.rows[genotype]["scores"][name]
        return -math.inf if value is None else value
