"""The recording of learning curves, policies that are replayed on them, and hypervolumes."""

from __future__ import annotations

import itertools
import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import front_study
import numpy as np
import pytest
import record_curves
import replay
import replay_curves
import replay_policies as policies

from darts.finding.candidates import Candidate
from darts.finding.results import Result
from darts.finding.slices import GROWTH

# A small table is prepared in the same format.
WINE = record_curves.DATA_SETS["wine"]


def row(name: str, scores: list[float], seconds: float = 1.0, **changes: str) -> dict[str, Any]:
    """Return a recorded candidate whose epochs all take the same time."""
    count = len(scores)
    return {
        "name": name,
        "family": "f",
        "origin": "baseline",
        "setting": "default",
        "genotype": "g",
        "seconds": [seconds * epoch for epoch in range(1, count + 1)],
        "epochs": list(range(1, count + 1)),
        "scores": scores,
        "losses": [1 - score for score in scores],
        **changes,
    }


def power_law(limit: float, rate: float, seconds: int = 100) -> list[float]:
    """Return accuracies whose gap to 1 falls as a power of the time."""
    return [1 - (1 - limit) * (seconds / second) ** rate for second in range(1, seconds + 1)]


def write(folder: Path, rows: list[dict[str, Any]]) -> Any:
    table = {
        "data": "made_up",
        "metric": "accuracy",
        "higher_is_better": True,
        "seconds": 100.0,
        "first_epochs": 3,
        "candidates": rows,
    }
    path = folder / "made_up.json"
    record_curves.write_curves(path, table)
    assert json.loads(path.read_text()) == table
    return replay_curves.Recording.read(path)


@pytest.fixture
def recording(tmp_path) -> Any:
    """Eight candidates; the fifth one is the best after 3 seconds and at the end."""
    rows = [row(f"baseline_{k}", power_law(0.5 + 0.02 * k, 0.3)) for k in range(4)]
    rows += [row(f"setting_{k}", power_law(0.9 - 0.3 * k, 0.2), setting="lr") for k in range(2)]
    rows += [row(f"neighbor_{k}", power_law(0.6, 0.2), origin="neighbor") for k in range(2)]
    return write(tmp_path, rows)


def test_a_curve_has_the_best_score_within_a_time(tmp_path):
    rows = [row("a", [0.2, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0]), row("b", [0.1, 0.9])]
    recording = write(tmp_path, rows)
    curve = recording.curves[0]
    scores = [recording.score(curve.value(seconds)) for seconds in (0.5, 1, 2.5, 100)]
    assert scores == pytest.approx([0.1, 0.2, 0.6, 0.6])  # first the worst of all first epochs
    candidate = Candidate("net", "mlp", '{"space": "mlp", "layers": ["relu_8"]}', "baseline")
    for seconds in range(1, 9):
        best = 1 if seconds == 1 else 2
        result = Result(candidate, (), {"epochs": seconds, "epoch": best}, 0.0)
        assert curve.is_exhausted(seconds) == result.is_exhausted
    assert curve.epoch_seconds(3) == 3
    assert curve.rank(3) == pytest.approx((-0.4, -0.4))


def test_the_forecast_of_a_power_law_is_exact(recording):
    for curve in recording.curves:
        assert curve.forecast(20, 90) == pytest.approx(curve.value(90), rel=1e-3)
        assert curve.forecast(1, 90) == curve.value(1)  # too few epochs


def test_policies_choose_as_described(recording):
    order = recording.curves
    best = order[4]
    assert policies.uniform(order, 80) == best.value(10)
    assert policies.first(order, 80) == order[0].value(80)
    assert policies.stages(order, 100) == pytest.approx(best.value(55 / 3))
    # Both recognize the best candidate early and give it most of the time.
    for policy in (policies.halving, policies.freeze_thaw):
        value = policy(order, 100)
        assert best.value(40) < value <= best.value(100)


def test_no_policy_uses_more_than_the_budget(recording, monkeypatch):
    longest: dict[str, float] = {}
    value = replay_curves.Curve.value

    def spy(curve: Any, seconds: float) -> float:
        longest[curve.name] = max(longest.get(curve.name, 0.0), seconds)
        return float(value(curve, seconds))

    monkeypatch.setattr(replay_curves.Curve, "value", spy)
    for (name, policy), budget in itertools.product(policies.POLICIES.items(), (5, 40, 90)):
        for seed in range(10):
            longest.clear()
            policy(replay.draw_order(recording.curves, 0.7, seed), budget)
            if name != "stages":  # it trains each network several times
                assert sum(longest.values()) <= budget * (1 + 1e-6)


def test_the_race_is_that_of_find(recording, monkeypatch):
    """A better candidate stays open, and each stage multiplies the time by the same factor."""
    race = policies.Halving(64, recording.curves[:4], recording.curves[4:])
    race.explore(0.4 * 64)
    slices = {round(seconds / 3, 6) for seconds in race.trained.values()}
    assert slices <= {round(GROWTH**stage, 6) for stage in range(6)}
    assert race.used == pytest.approx(sum(race.trained.values()))
    assert race.best().name == "setting_0"
    before = race.used
    assert race.finish(0.97 * 64).name == "setting_0"
    assert before < race.used == pytest.approx(0.97 * 64)


@pytest.fixture
def table_file(tmp_path) -> Path:
    """A small table with two classes in the layout of ``own_data.py``; return its folder."""
    random = np.random.default_rng(0)
    folder = tmp_path / "table"
    folder.mkdir()
    for split, count in (("train", 400), ("test", 100)):
        values = random.normal(size=(count, 2))
        lines = [f"{x:.3f},{y:.3f},{'ab'[int(x > y)]}" for x, y in values]
        (folder / f"{split}.csv").write_text("\n".join(["x,y,class", *lines]))
    return folder


def test_candidates_are_the_same_in_each_process(table_file):
    names = []
    for _ in range(2):
        pool = record_curves.make_pool(WINE, table_file, 0)
        candidates = record_curves.draw(pool, 20)
        names.append([candidate.name for candidate in candidates])
        assert len({candidate.key for candidate in candidates}) == 20
    assert names[0] == names[1]
    assert names[0][:6] == [candidate.name for candidate in pool.baselines()][:6]
    assert {candidate.origin for candidate in candidates} == {"baseline", "found"}
    assert len({candidate.setting.name for candidate in candidates}) > 2


@pytest.mark.slow
def test_curves_are_recorded_and_resumed(table_file, tmp_path, monkeypatch):
    monkeypatch.setattr(record_curves, "HERE", tmp_path)
    args = Namespace(out=tmp_path / "out", seconds=0.5, count=3, workers=1, seed=0)
    record_curves.record_curves(args, WINE, table_file)
    file = tmp_path / "results" / "curves" / "wine.json"
    first = json.loads(file.read_text())
    assert len(first["candidates"]) == 3
    for candidate in first["candidates"]:
        assert candidate["seconds"] == sorted(candidate["seconds"])
        assert max(candidate["scores"]) > 0.7
    record_curves.record_curves(args, WINE, table_file)
    assert json.loads(file.read_text())["candidates"] == first["candidates"]
    args.seconds = 1.0
    record_curves.record_curves(args, WINE, table_file)
    second = json.loads(file.read_text())
    for candidate, before in zip(second["candidates"], first["candidates"], strict=True):
        assert candidate["seconds"][-1] > before["seconds"][-1]


def test_the_hypervolume_is_the_share_of_dominated_places() -> None:
    """Random places show which part of the area the points dominate."""
    draw = np.random.default_rng(0)
    points = np.column_stack([draw.uniform(2, 22, 12), draw.uniform(75, 95, 12)])
    area = front_study.hypervolume(points.tolist(), 20.0, 80.0)
    places = np.column_stack([draw.uniform(0, 20, 40_000), draw.uniform(80, 100, 40_000)])
    below = points[:, None] <= places[None] + 1e-12
    dominated = (below[..., 0] & (points[:, None, 1] >= places[None, :, 1])).any(axis=0)
    assert area == pytest.approx(400 * dominated.mean(), rel=0.02)
    assert front_study.hypervolume([(30.0, 99.0), (5.0, 79.0)], 20.0, 80.0) == 0
