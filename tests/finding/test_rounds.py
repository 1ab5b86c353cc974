"""Successive halving, rounds of the race, and their repetition after interruptions."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from fake_race import BASELINES, LEADER, SHORT, Crash, FakeExecutor, explored, make_race
from hypothesis import given
from hypothesis import strategies as st

from darts.config import ConfigError
from darts.finding.candidates import Candidate, Start
from darts.finding.final_run import final_run
from darts.finding.policy import Standing, promoted
from darts.finding.proposals import Pool
from darts.finding.race import EXPLORED, SLICES, Race
from darts.finding.winner import duel, train_winner
from darts.training.interrupt import Interrupted

SCORES = st.lists(st.integers(0, 3).map(float), min_size=1, max_size=4)
STANDINGS = st.lists(st.tuples(SCORES, st.booleans(), st.integers(0, 2)), max_size=12).map(
    lambda rows: [Standing(f"net{n}", *row) for n, row in enumerate(rows)]
)


def slow_promoted(standings: list[Standing]) -> list[str]:
    """Count for each candidate how many rank above it after its last stage."""
    ranks = []
    for place, own in enumerate(standings):
        stage = own.first + len(own.scores) - 1
        reached = [
            (n, dict(enumerate(s.scores, s.first))[stage])
            for n, s in enumerate(standings)
            if stage in dict(enumerate(s.scores, s.first))
        ]
        above = [
            n
            for n, score in reached
            if score > own.scores[-1] or (score == own.scores[-1] and n < place)
        ]
        if own.is_open and len(above) < len(reached) // 2:
            ranks.append((-stage, len(above), own.name))
    return [name for _, _, name in sorted(ranks)]


@given(STANDINGS)
def test_the_better_half_of_each_stage_enters_the_next_one(standings: list[Standing]) -> None:
    assert promoted(standings) == slow_promoted(standings)


@given(STANDINGS, st.floats(0, 5))
def test_a_better_score_never_hurts(standings: list[Standing], gain: float) -> None:
    for name in promoted(standings):
        better = [
            dataclasses.replace(s, scores=[*s.scores[:-1], s.scores[-1] + gain * (s.name == name)])
            for s in standings
        ]
        assert name in promoted(better)


def train_all(standings: list[Standing], score: Callable[[str, int], float]) -> list[int]:
    """Train until nobody is promoted; return the number of stages of each candidate."""
    while names := promoted(standings):
        for standing in standings:
            if standing.name in names:
                standing.scores.append(score(standing.name, len(standing.scores)))
    return [len(standing.scores) for standing in standings]


def entrants(numbers: range) -> list[Standing]:
    return [Standing(str(number), [float(number)]) for number in numbers]


@pytest.mark.parametrize("count", [1, 2, 3, 8, 13])
def test_each_stage_halves_the_candidates_and_the_best_one_trains_longest(count: int) -> None:
    stages = train_all(entrants(range(count)), lambda name, stage: int(name) + stage)
    for stage in range(max(stages)):
        assert sum(own > stage for own in stages) == count // 2**stage
    assert stages == sorted(stages)  # candidate n is better than candidate n - 1


def test_a_race_continues_with_new_candidates() -> None:
    standings = entrants(range(4))
    assert train_all(standings, lambda name, stage: int(name)) == [1, 1, 2, 3]
    standings += entrants(range(4, 8))
    assert train_all(standings, lambda name, stage: int(name)) == [1, 1, 2, 3, 2, 3, 4, 5]


def test_the_better_half_continues_and_new_candidates_enter(tmp_path: Path) -> None:
    scores = dict(zip(BASELINES, (0.1, 0.9, 0.8, 0.3), strict=True))
    race, executor = explored(tmp_path, *SHORT, scores=lambda name, _: scores.get(name, 0.5))
    first, second = executor.ended[:4], executor.ended[4:]
    assert first == [(name, 1) for name in BASELINES]
    assert second[:2] == [("mlp-linear", 2), ("mlp-mlp_256x2", 2)]
    assert [epochs for _, epochs in second[2:]] == [1, 1]
    # The leader has no neighbor, and its other settings wait for the first one.
    assert [n.rpartition("-")[0] for n, _ in second[2:]] == [
        "mlp-linear+flip",
        "mlp-mlp_256x2+flip",
    ]
    assert (race.rounds, len(race.standings), len(race.results)) == (2, 6, 6)
    assert race.best().candidate.name == race.best(baseline=True).candidate.name == "mlp-linear"
    assert {job.threads for job in executor.jobs} == {1}


@pytest.mark.parametrize(("mirrored", "name"), [(0.85, "flip+lr_low"), (0.75, "lr_low")])
def test_later_settings_include_an_augmentation_with_half_of_the_improvement(
    mirrored: float, name: str, tmp_path: Path
) -> None:
    """The leader ranks higher than its variant with the augmentation."""

    def scores(name: str, epochs: int) -> float:
        if "+flip" in name:
            return mirrored
        return 0.1 if name != LEADER else 0.7 if epochs == 1 else 0.9

    words = (*SHORT[:2], "plan.rounds=3", SHORT[3])
    race, _ = explored(tmp_path, *words, scores=scores)
    new = [candidate.setting.name for candidate in race.candidates.values()][len(BASELINES) :]
    assert [new[0], new[2]] == ["flip", name]  # the first one of each round
    stages = [race.standings[candidate].stage for candidate in (LEADER, f"{LEADER}+flip-5")]
    assert stages == [3, 3]  # they stay comparable


def test_a_level_larger_network_trains_as_long_as_the_leader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is among the worse half."""
    large = BASELINES[1]
    monkeypatch.setattr(Race, "larger", lambda race, _: race.results[large])
    scores = dict(zip(BASELINES, (0.7, 0.6, 0.8, 0.9), strict=True))
    race, _ = explored(tmp_path, *SHORT, scores=lambda name, _: scores.get(name, 0.5))
    stages = [race.standings[name].stage for name in BASELINES]
    assert stages == [1, 2, 2, 2]


def test_the_next_best_networks_have_variants_too(tmp_path: Path) -> None:
    """The leader may be a small network that others overtake with the same setting."""
    scores = dict(zip(BASELINES, (0.7, 0.6, 0.8, 0.9), strict=True))
    words = (*SHORT[:3], "plan.newcomers=4")
    race, _ = explored(tmp_path, *words, scores=lambda name, _: scores.get(name, 0.5))
    new = [name.rpartition("-")[0] for name in race.candidates if name not in BASELINES]
    assert new[0] == f"{LEADER}+flip"
    assert new[2:] == [f"{name}+flip" for name in (BASELINES[2], BASELINES[0])]


def test_each_round_saves_the_best_network(tmp_path: Path) -> None:
    race, _ = explored(tmp_path, *SHORT)
    best = race.best()
    saved = (tmp_path / "checkpoint.safetensors").read_text()
    assert saved == f"{best.candidate.name} {best.epochs}"
    assert (tmp_path / "genotype.json").read_text() == best.candidate.architecture.to_json()
    rows = [json.loads(line) for line in (tmp_path / "race.jsonl").read_text().splitlines()]
    assert [row["candidate"] for row in rows[:4]] == BASELINES
    assert rows[-1]["leader"] == best.candidate.name


def test_slices_share_the_time_of_the_race(tmp_path: Path) -> None:
    race, executor = explored(tmp_path, "plan.newcomers=4")
    first = race.stopwatch.total / SLICES
    assert executor.ended[0] == (BASELINES[0], 3)  # two epochs in which the rate rises, and one
    assert {name for name, epochs in executor.ended if epochs == first} > set(BASELINES)
    assert max(epochs for _, epochs in executor.ended) >= 2 * first
    end = EXPLORED * race.stopwatch.total
    assert end - 2 * first <= race.stopwatch.seconds <= end + first


@pytest.mark.parametrize(("total", "workers", "count"), [(10, 1, 1), (10, 2, 2), (48, 1, 3)])
def test_a_short_budget_trims_the_first_round(
    total: int, workers: int, count: int, tmp_path: Path
) -> None:
    """The first slice has a tenth of the budget or at most three epochs."""
    executor = FakeExecutor(workers=workers)
    race = make_race(tmp_path, "plan.rounds=1", executor=executor, total=total)
    race.explore(EXPLORED)
    entries = race.decisions.decide("round.0", list[dict[str, Any]], list)
    assert [entry["name"] for entry in entries] == BASELINES[:count]
    assert set(race.candidates) == set(race.standings)  # trimmed ones may enter later


def test_a_setting_continues_the_leader_and_both_are_compared_after_equal_training(
    tmp_path: Path,
) -> None:
    words = (*SHORT, "plan.slice_epochs=2", "plan.rounds=3")
    race, executor = explored(tmp_path, *words, scores=lambda name, epochs: epochs + ("+" in name))
    first = BASELINES[0]
    name, fork = next((n, c) for n, c in race.candidates.items() if c.setting.name == "flip")
    assert fork.start == Start(first, stage=1, seconds=2.0, epochs=2)
    assert {(first, 2), (first, 4), (name, 2)} <= set(executor.ended)
    (job, *later) = [job for job in executor.jobs if job.name == name]
    file = tmp_path / "starts" / f"{first}-2.safetensors"
    assert {f"start='{file}'", "optimizer.warmup_epochs=0", "dataset.flip=true"} <= {*job.overrides}
    assert file.read_text() == f"{first} 2"  # the other one has trained on since then
    assert (race.standings[name].first, race.standings[name].scores[0]) == (1, 3)
    assert race.standings[first].scores[1] == 4
    result = race.results[name]
    own = result.summary["epochs"]
    assert (result.epochs, result.seconds) == (own + 2, own + 2)
    assert later or race.standings[name].stage == 2


def test_a_setting_continues_the_best_epoch_of_a_leader_that_gets_worse(tmp_path: Path) -> None:
    words = ("plan.newcomers=2", "plan.rounds=4")
    leader = BASELINES[0]
    race, executor = explored(
        tmp_path, *words, scores=lambda name, _: float(name == leader), peaks={leader: 2}
    )
    first = race.stopwatch.total / SLICES
    assert race.results[leader].is_exhausted
    assert not race.standings[leader].is_open
    fork = next(c for c in race.candidates.values() if c.setting.name == "flip")
    assert fork.start == Start(leader, stage=0, seconds=2.0, epochs=2, best=True)
    job = next(job for job in executor.jobs if job.name == fork.name)
    file = tmp_path / "starts" / f"{leader}-2.safetensors"
    assert {f"start='{file}'", "start_epoch=best"} <= {*job.overrides}
    assert (fork.name, first - 2) in executor.ended  # as long as the first slice of the leader
    assert (leader, 2 * first) not in executor.ended


def test_without_variants_of_the_leader_the_next_candidate_has_newcomers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variants = Pool.variants
    leaders: list[str] = []

    def none_of_the_best(pool: Pool, leader: Candidate, *rest: Any) -> Iterator[Candidate]:
        leaders.append(leader.name)
        return iter(()) if leader.name == "mlp-linear" else variants(pool, leader, *rest)

    monkeypatch.setattr(Pool, "variants", none_of_the_best)
    scores = dict(zip(BASELINES, (0.1, 0.9, 0.8, 0.3), strict=True))
    race, _ = explored(tmp_path, *SHORT, scores=lambda name, _: scores.get(name, 0.0))
    assert leaders[:2] == ["mlp-linear", "mlp-mlp_256x2"]
    assert len(race.standings) == 6
    assert len(set(race.standings)) == 6


def test_a_candidate_has_a_run_for_each_part_and_fails_with_one_of_them(tmp_path: Path) -> None:
    parts = {"fold0": 0.4, "fold1": 0.8}
    executor = FakeExecutor(
        scores=lambda name, _: parts[name.rpartition(".")[2]],
        failing=frozenset({f"{BASELINES[1]}.fold1"}),
    )
    race = make_race(tmp_path, *SHORT, "plan.rounds=1", executor=executor, folds=2)
    race.explore(EXPLORED)
    assert [job.name for job in executor.jobs[:4]] == [
        f"{name}.fold{part}" for name in BASELINES[:2] for part in range(2)
    ]
    assert "validation_fold=1" in executor.jobs[1].overrides
    assert BASELINES[1] not in race.results
    assert race.best().score == pytest.approx(0.6)


def test_a_failed_run_drops_its_candidate(tmp_path: Path) -> None:
    failing = frozenset({BASELINES[0], BASELINES[2]})
    race, executor = explored(tmp_path, *SHORT, failing=failing)
    assert not failing & set(race.results)
    assert [job.name for job in executor.jobs if job.name in failing] == [*BASELINES[0:4:2]]
    assert f"{BASELINES[0]}: optimizer.lr=9: too high" in race.console.messages  # type: ignore[attr-defined]


@pytest.mark.parametrize("attempt", range(2))
def test_if_all_runs_fail_one_line_says_why(attempt: int, tmp_path: Path) -> None:
    for _ in range(attempt + 1):  # a resumed run fails in the same way
        race = make_race(tmp_path, *SHORT, executor=FakeExecutor(failing=frozenset(BASELINES)))
        race.restore()
        with pytest.raises(ConfigError, match=r"failed: optimizer\.lr=9: too high$"):
            race.explore(EXPLORED)


def test_a_signal_stops_before_the_next_run(tmp_path: Path) -> None:
    executor = FakeExecutor(signal_at=3)
    with pytest.raises(Interrupted):
        make_race(tmp_path, *SHORT, executor=executor).explore(EXPLORED)
    assert len(executor.jobs) == 3


def run_all(folder: Path, words: tuple[str, ...], **options: Any) -> list[Any]:
    """Start or continue a race; return the answer, and what a resumed run must end with."""
    executor = FakeExecutor(**options)
    race = make_race(folder, *words, executor=executor)
    race.restore()
    race.explore(EXPLORED)
    chosen = duel(race)
    trained = train_winner(race, chosen.winner, 0.0, refits=True)
    final = final_run(race, trained, 0.0, refits=True)
    copies = [(p.parent.name, p.read_text()) for p in sorted(folder.glob("duel/*/*.safetensors"))]
    decisions = json.loads((folder / "decisions.json").read_text())["decisions"]
    return [
        {key: value for key, value in decisions.items() if key != "seconds"},
        (race.candidates[chosen.baseline], chosen.baseline_summary, chosen.doubtful),
        (trained.candidate, trained.summary, final.summary),
        copies,
        [(race.candidates[name], standing) for name, standing in race.standings.items()],
        (folder / "checkpoint.safetensors").read_text(),
    ]


@pytest.mark.parametrize(
    ("bounds", "option", "copies"),
    [
        ((0.1, 0.2), "plan.settings=false", ["baseline", "found"]),
        ((-0.1, 0.2), "plan.settings=false", ["baseline", "found"]),
        ((-0.1, 0.2), "plan.newcomers=0", []),
    ],
    ids=["clear", "by chance", "with an augmentation"],
)
def test_a_run_that_is_killed_anywhere_ends_in_the_same_way(
    bounds: tuple[float, float], option: str, copies: list[str], tmp_path: Path, interval: Mock
) -> None:
    interval.return_value = bounds

    def scores(name: str, epochs: int) -> float:
        return (0.7 if "found" in name else len(name) / 100) + 0.05 * epochs

    words = (*SHORT, "plan.epochs=5", option)
    expected = run_all(tmp_path / "whole", words, scores=scores)
    assert [name for name, _ in expected[3]] == copies
    assert ("flip" in expected[2][0].name) == (not copies)
    for crash_after in itertools.count():
        folder = tmp_path / str(crash_after)
        try:
            run_all(folder, words, scores=scores, crash_after=crash_after)
            break
        except Crash:
            again = run_all(folder, words, scores=scores)
        assert again == expected, crash_after
    assert crash_after > 40


def test_a_slow_start_leaves_the_race_its_share(tmp_path: Path) -> None:
    executor = FakeExecutor()
    race = make_race(tmp_path, executor=executor)
    executor.now = 320.0
    assert race.share(EXPLORED) == pytest.approx(0.5 + EXPLORED / 2)
    race.explore(race.share(EXPLORED))
    assert race.candidates.keys() >= {*BASELINES}
