"""Decisions of the stages: who is varied, and who enters the final."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from darts.config import FindConfig, compose
from darts.finding import stages
from darts.finding.candidates import Candidate
from darts.finding.decisions import Decisions
from darts.finding.families import Family
from darts.finding.results import Result, ranked
from darts.finding.stages import FINAL_SHARES, Stages
from darts.recipes.facts import DataFacts
from darts.recipes.rules import DEFAULT, Setting, recipe
from darts.tasks.metrics import CLASSIFICATION_METRICS

HIGH = Setting("lr_high", {"optimizer.lr": 0.1})
FACTS = DataFacts("images", 1000, 10, (3, 8, 8))


def candidate(name: str, origin: str = "baseline", setting: Setting = DEFAULT) -> Candidate:
    return Candidate(name, name.partition("-")[0], name, origin, setting)


def result(candidate: Candidate, score: float, seconds: float = 1.0) -> Result:
    return Result(candidate, 3, Path(candidate.name), {"seconds": 3 * seconds}, score)


@dataclass
class FakeTrainer:
    """Records the candidates of each round."""

    decisions: Decisions
    fixed: frozenset[str] = frozenset()
    results: dict[str, Result] = field(default_factory=dict)
    rounds: list[tuple[str, list[Candidate], float]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    metric: Any = ("accuracy", CLASSIFICATION_METRICS["accuracy"])
    stopwatch: Any = field(default_factory=lambda: SimpleNamespace(left=1000.0, total=1000.0))
    workers: int = 1
    folds: int = 1
    max_epochs: int = 100
    directory: Path = Path()
    train: Any = None
    families: dict[str, Family] = field(
        default_factory=lambda: {n: Family(n, f"space of {n}", {}, {}) for n in "ab"}
    )
    seconds: dict[str, float] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)  # of settings, by name
    began: list[str] = field(default_factory=list)

    def add(self, *results: Result) -> list[Result]:
        self.results |= {result.run: result for result in results}
        return list(results)

    @property
    def networks(self) -> dict[str, Any]:
        def can_vary(name: str) -> bool:
            return name not in self.fixed

        data = SimpleNamespace(
            subsets={}, retrain_loaders=lambda: None, held_out_loader=lambda split, subsets: None
        )
        return {
            name: SimpleNamespace(
                can_vary=can_vary, data=data, user_keys=set(), family=family, values=recipe(FACTS)
            )
            for name, family in self.families.items()
        }

    @property
    def times(self) -> Any:
        return SimpleNamespace(begin=self.began.append)

    @property
    def console(self) -> Any:
        return SimpleNamespace(info=self.messages.append)

    def stopping(self) -> bool:
        return False

    def seconds_per_epoch(self, candidate: Candidate) -> float:
        return self.seconds.get(candidate.family, 1.0)

    def round(
        self,
        name: str,
        candidates: Sequence[Candidate],
        seconds: float,
        epochs: int | None,
        min_networks: int = 1,
    ) -> list[Result]:
        self.rounds.append((name, list(candidates), seconds))
        results = [result(c, self.scores.get(c.setting.name, 0.5)) for c in candidates]
        return ranked(results, self.metric[1])


def make(trainer: FakeTrainer, *overrides: str) -> Stages:
    config: Any = compose("find", list(overrides))
    assert isinstance(config, FindConfig)
    return Stages(config, FACTS, trainer)  # type: ignore[arg-type]


@pytest.fixture
def trainer(tmp_path: Path) -> FakeTrainer:
    return FakeTrainer(Decisions(tmp_path / "decisions.json"))


@pytest.fixture
def leaders(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The architectures around which something is proposed."""
    found: list[str] = []

    def proposer(config: Any, networks: Any, leader: str, *rest: Any, **options: Any) -> Any:
        found.append(leader)
        return SimpleNamespace(propose=lambda: [candidate("a-new", "evolution")])

    monkeypatch.setattr(stages, "Proposer", proposer)
    return found


def test_variants_of_the_best_baseline_are_proposed(
    trainer: FakeTrainer, leaders: list[str]
) -> None:
    baselines = trainer.add(result(candidate("a-1"), 0.8), result(candidate("b-1"), 0.7))
    assert [c.name for c in make(trainer).propose(baselines)] == ["a-new"]
    assert leaders == ["a-1"]


@pytest.mark.parametrize(
    ("seconds", "folds", "overrides", "proposes"),
    [
        (2.0, 1, (), True),
        (2.0, 5, (), True),  # 5 trainings of 30 epochs for both finalists: 600 of 1,000 seconds
        (3.0, 1, (), True),
        (3.0, 5, (), False),
        (3.0, 5, ("plan.proposals=2",), True),
        (0.1, 5, ("plan.final_share=0.8",), False),
    ],
)
def test_with_several_trainings_per_network_a_short_time_belongs_to_the_baselines(
    trainer: FakeTrainer,
    leaders: list[str],
    seconds: float,
    folds: int,
    overrides: tuple[str, ...],
    proposes: bool,
) -> None:
    trainer.folds = folds
    baselines = trainer.add(result(candidate("a-1"), 0.8, seconds))
    assert bool(make(trainer, *overrides).propose(baselines)) == bool(leaders) == proposes
    assert bool(trainer.messages) != proposes


@pytest.mark.parametrize(("folds", "seconds"), [(1, 150), (2, 300), (5, 400)])
def test_baselines_that_train_several_times_get_more_time(
    trainer: FakeTrainer, folds: int, seconds: float
) -> None:
    trainer.folds = folds
    trainer.families = {"a": Family("a", "space of a", {}, {"1": "genotype"})}
    make(trainer).train_baselines()
    assert [entry[2] for entry in trainer.rounds] == [pytest.approx(seconds)]


@pytest.mark.parametrize(
    ("seconds", "overrides", "expected"),
    [(0.1, (), ["b-1"]), (100.0, (), []), (100.0, ("plan.proposals=2",), ["b-1"])],
    ids=["enough time", "short", "short, but wanted"],
)
def test_a_baseline_outside_of_the_space_is_varied_by_none(
    trainer: FakeTrainer,
    leaders: list[str],
    seconds: float,
    overrides: tuple[str, ...],
    expected: list[str],
) -> None:
    trainer.fixed = frozenset({"a-1"})
    baselines = trainer.add(
        result(candidate("a-1"), 0.8, seconds), result(candidate("b-1"), 0.7, seconds)
    )
    proposals = make(trainer, *overrides).propose(baselines)
    assert leaders == expected
    assert bool(proposals) == bool(expected)
    assert bool(trainer.messages) != bool(expected)


def test_the_best_baseline_and_two_found_networks_enter_the_final(trainer: FakeTrainer) -> None:
    trainer.add(
        result(candidate("a-1"), 0.6), result(candidate("b-1", setting=HIGH), 0.9),
        result(candidate("a-2", "evolution"), 0.95),
    )  # fmt: skip
    found = [candidate(f"a-{n}", "evolution") for n in (2, 3, 4)]
    make(trainer).train_finalists(found, HIGH)
    name, entrants, seconds = trainer.rounds[0]
    assert (name, seconds) == ("final", 1000)
    assert [(c.name, c.setting) for c in entrants] == [
        ("b-1", HIGH), ("a-2", HIGH), ("a-3", HIGH)
    ]  # fmt: skip


@pytest.mark.parametrize("setting", [HIGH, DEFAULT], ids=["lr_high", "default"])
def test_without_found_networks_settings_and_the_second_baseline_enter(
    trainer: FakeTrainer, setting: Setting
) -> None:
    trainer.add(
        result(candidate("a-1"), 0.8), result(candidate("a-1", setting=HIGH), 0.9),
        result(candidate("b-1"), 0.7), result(candidate("b-2"), 0.6),
    )  # fmt: skip
    make(trainer).train_finalists([], setting)
    _, entrants, _ = trainer.rounds[0]
    default = [("a-1", DEFAULT)] if setting != DEFAULT else []
    assert [(c.name, c.setting) for c in entrants] == [
        ("a-1", setting), *default, ("b-1", setting)
    ]  # fmt: skip


def test_a_bad_setting_of_the_best_baseline_does_not_make_another_one_the_best(
    trainer: FakeTrainer,
) -> None:
    trainer.add(
        result(candidate("a-1"), 0.9), result(candidate("b-1"), 0.7),
        result(candidate("a-1", setting=HIGH), 0.1),
    )  # fmt: skip
    make(trainer).train_finalists([], DEFAULT)
    _, entrants, _ = trainer.rounds[0]
    assert [c.name for c in entrants] == ["a-1", "b-1"]


NETWORK = {"x": "a-1"}
SIZES = {
    name: Family(name, "macro", {"space.channels": 8, "dataset.size": size}, NETWORK)
    for name, size in (("a", 32), ("a_64px", 64), ("a_128px", 128))
} | {"b": Family("b", "macro", {"space.channels": 16, "dataset.size": 256}, NETWORK)}


def test_the_best_setting_is_refined(trainer: FakeTrainer) -> None:
    trainer.scores = {"decay_high": 0.9, "flip": 0.8, "cutout": 0.7, "no_shift": 0.6}
    leader = candidate("a-1", "evolution")
    assert make(trainer).compare_settings(leader).name == "decay_high"
    assert [name for name, _, _ in trainer.rounds] == ["settings", "refinement"]
    entrants = [c.setting.name for c in trainer.rounds[1][1]]
    assert entrants == ["decay_high", "decay_higher", "decay_high-flip", "decay_high-cutout"]
    trainer.scores["decay_high-flip"] = 0.95
    setting = make(trainer).compare_settings(leader)
    assert setting.values.keys() == {"optimizer.weight_decay", "dataset.flip"}


@pytest.mark.parametrize(
    ("seconds", "entrants"),
    [
        (2.0, ["default", "lr_high", "lr_low", "decay_high", "flip", "cutout"]),  # 10 epochs
        (0.5, ["default", "lr_high", "lr_low", "decay_high", "flip", "no_shift", "cutout"]),
        (4.0, []),  # 5 epochs
    ],
)
def test_short_trainings_do_not_judge_augmentation_or_settings(
    trainer: FakeTrainer, seconds: float, entrants: list[str]
) -> None:
    """Seven settings share 150 seconds; the longest useful training has 100 epochs."""
    trainer.scores, trainer.seconds = {"default": 0.9}, {"a": seconds}
    stages_ = make(trainer)
    assert stages_.compare_settings(candidate("a-1", "evolution")) == DEFAULT
    assert [[c.setting.name for c in cs] for _, cs, _ in trainer.rounds] == [entrants] * bool(
        entrants
    )
    assert stages_.skipped == ([] if entrants else ["settings"])


def test_the_user_decides_about_short_trainings(trainer: FakeTrainer) -> None:
    trainer.scores, trainer.seconds = {"no_shift": 0.9}, {"a": 100.0}
    setting = make(trainer, "plan.short_epochs=1").compare_settings(candidate("a-1", "evolution"))
    assert setting.name == "no_shift"


def test_the_second_baseline_replaces_a_network_that_no_training_has_compared(
    trainer: FakeTrainer,
) -> None:
    trainer.add(result(candidate("a-1"), 0.9), result(candidate("b-1"), 0.8))
    found = [candidate(f"a-{n}", "evolution") for n in (2, 3)]
    make(trainer).train_finalists(found, DEFAULT, compared=False)
    make(trainer).train_finalists(found, DEFAULT)
    entrants = [[c.name for c in cs] for _, cs, _ in trainer.rounds]
    assert entrants == [["a-1", "b-1", "a-2"], ["a-1", "a-2", "a-3"]]


def test_a_baseline_that_was_better_in_the_race_enters_the_final(trainer: FakeTrainer) -> None:
    trainer.add(result(candidate("a-1"), 0.9), result(candidate("b-1"), 0.8))
    found = [candidate(f"a-{n}", "evolution") for n in (2, 3)]
    for race in ([candidate("b-1"), *found], [found[0], candidate("b-1")], [candidate("b-1")]):
        make(trainer).train_finalists([*race, candidate("a-1")], DEFAULT)
    # At least one of two finalists is a found network, if there is one.
    make(trainer).train_finalists([candidate("b-1"), candidate("b-2"), *found], DEFAULT)
    make(trainer, "plan.finalists=1").train_finalists([candidate("b-1"), *found], DEFAULT)
    entrants = [[c.name for c in cs] for _, cs, _ in trainer.rounds]
    assert entrants == [
        ["a-1", "b-1", "a-2"],
        ["a-1", "a-2", "b-1"],
        ["a-1", "b-1"],
        ["a-1", "b-1", "a-2"],
        ["a-1", "b-1"],
    ]


def test_the_default_setting_is_not_refined(trainer: FakeTrainer) -> None:
    trainer.scores = {"default": 0.9}
    assert make(trainer).compare_settings(candidate("a-1", "evolution")) == DEFAULT
    assert [name for name, _, _ in trainer.rounds] == ["settings"]


@pytest.mark.parametrize(
    ("workers", "seconds", "expected"),
    [
        (2, 100.0, ["a_128px-x"]),
        (2, 130.0, ["a_64px-x"]),  # 8 epochs on 128 pixels take more than 1,000 seconds
        (1, 100.0, ["a_64px-x"]),
        (1, 300.0, []),
    ],
)
def test_the_best_baseline_enters_the_final_with_larger_images(
    trainer: FakeTrainer, workers: int, seconds: float, expected: list[str]
) -> None:
    trainer.families, trainer.workers = SIZES, workers
    trainer.seconds = {"a_64px": seconds / 4, "a_128px": seconds}
    trainer.add(result(candidate("a-1"), 0.9), result(candidate("b-1"), 0.8))
    search = make(trainer, "plan.final_share=0.5")
    search.train_finalists([candidate("a-2", "evolution")], HIGH)
    _, entrants, _ = trainer.rounds[0]
    assert [c.name for c in entrants] == ["a-1", *expected, "a-2"]
    assert all(c.genotype == "a-1" and c.is_baseline for c in entrants[:-1])


def test_larger_images_need_the_time_of_other_networks_if_it_is_short(trainer: FakeTrainer) -> None:
    trainer.families = SIZES
    trainer.seconds = {"a_64px": 60.0, "a_128px": 240.0}
    trainer.add(result(candidate("a-1"), 0.9, seconds=1.0), result(candidate("b-1"), 0.8))
    search = make(trainer)
    assert search._final_share() == FINAL_SHARES[1]  # though a-1 itself trains fast
    search.train_finalists([candidate("a-2", "evolution")], HIGH)
    _, entrants, _ = trainer.rounds[0]
    assert [c.name for c in entrants] == ["a-1", "a_64px-x"]


def test_a_short_run_tries_larger_images_instead_of_proposals(
    trainer: FakeTrainer, leaders: list[str]
) -> None:
    trainer.families = SIZES
    baselines = trainer.add(result(candidate("a-1"), 0.9, 100.0))
    trainer.seconds = {"a_64px": 60.0, "a_128px": 240.0}
    assert make(trainer).propose(baselines) == []
    assert len(make(trainer, "plan.proposals=1").propose(baselines)) == 1
    make(trainer).train_finalists([], DEFAULT)
    _, entrants, _ = trainer.rounds[0]
    assert [(c.name, c.family) for c in entrants] == [("a-1", "a"), ("a_64px-x", "a_64px")]


def test_nothing_is_proposed_if_time_is_short_and_no_baseline_can_be_varied(
    trainer: FakeTrainer, leaders: list[str]
) -> None:
    trainer.fixed = frozenset({"a-1"})
    assert make(trainer).propose(trainer.add(result(candidate("a-1"), 0.8, 100.0))) == []
    assert leaders == []


def test_the_share_of_the_final_can_be_set(trainer: FakeTrainer) -> None:
    trainer.add(result(candidate("a-1"), 0.8, seconds=100.0))
    assert make(trainer)._final_share() == FINAL_SHARES[1]
    assert make(trainer, "plan.final_share=0.2")._final_share() == 0.2


def test_the_race_gets_the_time_of_the_settings_if_they_are_skipped(trainer: FakeTrainer) -> None:
    assert make(trainer)._seconds("race") == pytest.approx(150)
    assert make(trainer, "plan.settings=false")._seconds("race") == pytest.approx(300)
