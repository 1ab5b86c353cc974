"""What ``decisions.json`` holds of a race: candidates, rounds and scores."""

from __future__ import annotations

import dataclasses
from typing import TypedDict, cast

from darts.finding.candidates import Candidate, Start
from darts.recipes.rules import Setting
from darts.spaces.lookup import find_genotype
from darts.typed_values import PlainDict


class Entry(TypedDict):
    """A candidate and a stage of its training, in ``decisions.json``."""

    name: str
    stage: int


class SavedStanding(TypedDict):
    """A ``Standing`` in ``decisions.json``; None stands for a failed run."""

    first: int
    scores: list[float | None]
    is_open: bool


class SavedStart(TypedDict):
    """A ``Start`` in ``decisions.json``."""

    parent: str
    stage: int
    seconds: float
    epochs: int


class SavedCandidate(TypedDict):
    """A candidate in ``decisions.json``."""

    name: str
    family: str
    genotype: str
    origin: str
    setting: str
    values: PlainDict
    start: SavedStart


def saved_candidate(candidate: Candidate) -> SavedCandidate:
    """Return what ``decisions.json`` holds of a candidate."""
    return SavedCandidate(
        name=candidate.name,
        family=candidate.family,
        genotype=str(candidate.genotype),
        origin=candidate.origin,
        setting=candidate.setting.name,
        values=dict(candidate.setting.values),
        start=cast("SavedStart", dataclasses.asdict(candidate.start)),
    )


def restored_candidate(saved: SavedCandidate) -> Candidate:
    """Return a candidate from ``decisions.json``."""
    setting = Setting(saved["setting"], saved["values"])
    genotype = find_genotype(saved["genotype"])[1]
    start = Start(**saved["start"])
    return Candidate(saved["name"], saved["family"], genotype, saved["origin"], setting, start)
