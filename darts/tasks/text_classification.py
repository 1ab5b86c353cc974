"""Text classification: one class for each text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from darts.tasks.classification import Classification
from darts.tasks.task import TASKS


@TASKS.register
@dataclass
class TextClassification(Classification):
    """Assigns one of several classes to a text."""

    name: str = "text_classification"
    data_kinds: ClassVar[tuple[str, ...]] = ("documents",)
