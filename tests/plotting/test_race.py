"""The picture of the race of ``darts.find``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.colors import to_hex

from darts.plotting.race import Slice, draw_race, read_race, save_race
from darts.plotting.style import HIGHLIGHT, MUTED, NOTE, PRIMARY

Scores = dict[str, list[float | None]]


def race(scores: Scores, *, higher: bool = True) -> list[Slice]:
    """Return a race in which each candidate trains for a slice in each round."""
    slices: list[Slice] = []
    newest: dict[str, float] = {}
    for number in range(max(map(len, scores.values()))):
        for name, own in scores.items():
            if number >= len(own):
                continue
            score = own[number]
            newest[name] = -math.inf if score is None else score if higher else -score
            slices.append(
                Slice(
                    time=(number + 1) * 60.0,
                    candidate=name,
                    score=score,
                    seconds=(number + 1) * 30.0,
                    epochs=number + 1,
                    leader=max(newest, key=newest.__getitem__),
                )
            )
    return slices


def lines(figure: Any) -> dict[str, list[list[float]]]:
    """Return the points of the line of each candidate."""
    found = figure.axes[0].get_lines()
    return {line.get_label(): np.asarray(line.get_xydata()).round(6).tolist() for line in found}


def highlighted(figure: Any) -> list[str]:
    found = figure.axes[0].get_lines()
    return [x.get_label() for x in found if to_hex(x.get_color()) == HIGHLIGHT.lower()]


def color(figure: Any, name: str) -> str:
    (line,) = (x for x in figure.axes[0].get_lines() if x.get_label() == name)
    return str(line.get_color())


def labels(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


RACE: Scores = {"small": [0.6, 0.61], "found": [0.5, 0.7, 0.8], "large": [0.4]}


def test_winner_best_other_and_best_baseline_have_colors_and_labels() -> None:
    scores: Scores = {"found": [0.9], "other": [0.8], "plain": [0.7], "linear": [0.2]}
    figure = draw_race(race(scores), "accuracy", winner="found", baselines=["linear", "plain"])
    assert highlighted(figure) == ["found"]
    assert [color(figure, name) for name in ("other", "plain", "linear")] == [PRIMARY, NOTE, MUTED]
    roles = ["winner: 90.00 %", "best other: 80.00 %", "best baseline: 70.00 %"]
    names = ["found", "other", "plain"]
    assert labels(figure) == [f"{role}\n{name}" for role, name in zip(roles, names, strict=True)]


def test_a_winner_that_does_not_lead_is_highlighted() -> None:
    figure = draw_race(race(RACE), "accuracy", winner="small", baselines=["small"])
    assert highlighted(figure) == ["small"]
    assert labels(figure) == ["best other: 80.00 %\nfound", "winner: 61.00 %\nsmall"]


@pytest.mark.parametrize(("winner", "role"), [(None, "leader"), ("unknown", "winner")])
def test_without_a_known_winner_the_leader_is_highlighted(winner: str | None, role: str) -> None:
    figure = draw_race(race(RACE), "accuracy", winner=winner)
    assert highlighted(figure) == ["found"]
    assert labels(figure)[0].startswith(role)


def test_of_a_perplexity_the_lowest_is_best() -> None:
    scores: Scores = {"lstm": [900.0, 150.0, 120.0], "transformer": [1500.0], "linear": [800.0]}
    figure = draw_race(race(scores, higher=False), "perplexity", winner="lstm")
    assert labels(figure) == ["winner: 120\nlstm", "best other: 800\nlinear"]


@pytest.mark.parametrize("higher", [True, False])
def test_outliers_are_not_drawn_but_counted(higher: bool) -> None:
    sign = 1 if higher else -1
    good: Scores = {f"n{i}": [sign * (0.5 + 0.01 * i)] for i in range(12)}
    scores: Scores = {**good, "diverged": [-sign * 1e6], "failed": [None]}
    figure = draw_race(race(scores, higher=higher), "r2", winner="n11")
    assert all(abs(end) < 1 for end in figure.axes[0].get_ylim())
    assert figure.get_supxlabel() == "not drawn: 1 of 13 scores (outliers)"


def test_a_bad_start_of_the_winner_is_not_an_outlier() -> None:
    scores: Scores = {"a": [0.7], "b": [0.71], "c": [-3.0, 0.9], "d": [0.7]}
    figure = draw_race(race(scores), "r2", winner="c")
    assert lines(figure)["c"] == [[1, -3], [2, 0.9]]
    assert figure.axes[0].get_ylim()[0] < -3


@pytest.mark.parametrize("score", [None, 0.0, 5e-324, 1e100])
def test_a_single_slice_can_be_drawn(score: float | None) -> None:
    figure = draw_race(race({"a": [score]}), "accuracy")
    assert list(lines(figure)) == ["a"]


def test_a_slice_that_a_resumed_run_repeats_is_drawn_once() -> None:
    slices = race({"a": [0.5], "b": [0.6]})
    again = [Slice(**{**row, "time": row["time"] + 5}) for row in slices]
    assert lines(draw_race([*slices, *again], "accuracy"))["a"] == [[1, 0.5]]


def test_the_picture_is_written_and_damaged_lines_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "race.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in race({**RACE, "a<b$": [0.3]})))
    intact = read_race(path)
    more = b'[1]\n{"time": -1}\n\xff\xfe\n{"time": NaN}\n\n{"time": 1, "candidate": "x", "sco'
    path.write_bytes(more + b"\n" + path.read_bytes() + more)
    assert read_race(path) == intact
    save_race(tmp_path, "accuracy", winner="found", baselines={"small"})
    text = "".join(ElementTree.parse(tmp_path / "race.svg").getroot().itertext())
    assert "winner: 80.00 %" in text
    assert "4 candidates" in text


@pytest.mark.parametrize("content", [None, "", "x\n"])
def test_without_slices_no_picture_is_written(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "race.jsonl").write_text(content)
    save_race(tmp_path, "accuracy")
    assert not (tmp_path / "race.svg").exists()
