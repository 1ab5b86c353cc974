"""Which of several classes a text is of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from darts.tasks.classification import Classification
from darts.tasks.task import TASKS


@TASKS.register
@dataclass
class TextClassification(Classification):
    """Texts in, one of several classes out."""

    name: str = "text_classification"
    data_kinds: ClassVar[tuple[str, ...]] = ("documents",)
