"""Decisions are made once, and saved before they are used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from darts.finding.decisions import Decisions
from darts.reading import FileError


def test_a_decision_is_made_once(tmp_path: Path) -> None:
    file, calls = tmp_path / "decisions.json", iter(range(10))
    decisions = Decisions(file)
    assert decisions.decide("a", int, lambda: next(calls)) == 0
    assert json.loads(file.read_text())["decisions"] == {"a": 0}
    assert decisions.decide("a", int, lambda: next(calls)) == 0
    assert Decisions(file).decide("a", int, lambda: next(calls)) == 0
    assert Decisions(file).decide("b", dict[str, int], lambda: {"x": next(calls)}) == {"x": 1}


def test_a_changing_value_replaces_the_earlier_one(tmp_path: Path) -> None:
    decisions = Decisions(tmp_path / "decisions.json")
    decisions.record("seconds", 1.0)
    decisions.record("seconds", 2.5)
    again = Decisions(tmp_path / "decisions.json")
    assert again.decide("seconds", float, lambda: 0.0) == 2.5


@pytest.mark.parametrize("content", ["", "[]", "{"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "decisions.json"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(FileError, match="decisions"):
        Decisions(file)


def test_a_changed_value_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "decisions.json"
    Decisions(file).record("a", 17)
    file.write_text(file.read_text().replace("17", "18"))
    with pytest.raises(FileError, match=r"decisions\.json is damaged"):
        Decisions(file)


@pytest.mark.parametrize("value", ["x", {"b": 1.5}, None])
def test_a_value_of_another_type_is_refused(tmp_path: Path, value: object) -> None:
    file = tmp_path / "decisions.json"
    Decisions(file).record("a", value)
    with pytest.raises(FileError, match="decisions"):
        Decisions(file).decide("a", dict[str, int], dict)
