"""The winner of ``darts.find``: its comparison, its training, and its final run."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import pytest
from fake_race import BASELINES, LEADER, SHORT, FakeExecutor, make_race
from fake_race import explored as explored_race

from darts.finding import ending, ensemble
from darts.finding.candidates import Start
from darts.finding.ending import run_to_the_end
from darts.finding.final_run import PLANNED, final_run, final_runs, held_out_share, useful_epochs
from darts.finding.race import EXPLORED
from darts.finding.results import CHOICE_LEVEL, FoldRun, Result
from darts.finding.slices import GROWTH
from darts.finding.winner import FALLING, duel, train_winner
from darts.spaces import SPACES

TIMED = ("plan.newcomers=2", "plan.settings=false")


def led_by_a_baseline(name: str, epochs: int) -> float:
    return 0.9 if name == LEADER else 0.1


def led_by_a_neighbor(name: str, epochs: int) -> float:
    return 0.95 if "found" in name else led_by_a_baseline(name, epochs)


explored = partial(explored_race, scores=led_by_a_baseline)


@pytest.mark.parametrize(
    ("bounds", "found"),
    [((0.01, 0.2), True), ((-0.01, 0.2), False), (None, True)],
    ids=["clearly better", "perhaps better", "too few samples"],
)
def test_a_found_network_must_be_better_than_by_chance_after_equal_training(
    bounds: tuple[float, float] | None, found: bool, tmp_path: Path, interval: Mock
) -> None:
    interval.return_value = bounds
    race, _ = explored(tmp_path, *SHORT, "plan.settings=false", scores=led_by_a_neighbor)
    neighbor = race.best().candidate.name
    assert (race.results[neighbor].epochs, race.results[LEADER].epochs) == (1, 2)
    chosen = duel(race)
    assert race.results[neighbor].epochs == race.results[LEADER].epochs == 2
    pair = [tmp_path / "runs" / neighbor], [tmp_path / "runs" / LEADER]
    levels = [CHOICE_LEVEL, 0.95] if found else [CHOICE_LEVEL]  # the choice, then the gain
    assert [call.args for call in interval.call_args_list] == [pair] * len(levels)
    assert [call.kwargs["level"] for call in interval.call_args_list] == levels
    gain = race.results[neighbor].score - race.results[LEADER].score
    assert chosen.search_gain == ([gain, *(bounds or ())] if found else [])
    for folder, name in (("found", neighbor), ("baseline", LEADER)):
        assert (tmp_path / "duel" / folder / "checkpoint.safetensors").read_text() == f"{name} 2"
    assert chosen.winner == (neighbor if found else LEADER)
    assert chosen.baseline == LEADER
    assert chosen.doubtful == (not found)


@pytest.mark.parametrize("smaller", [True, False])
def test_a_found_network_with_more_epochs_must_be_better_at_95_percent(
    smaller: bool, tmp_path: Path, interval: Mock
) -> None:
    """It is smaller, so the baseline may be ahead after longer training."""
    interval.side_effect = lambda *_, level, **__: (0.8 - level, 0.1 + level)
    words, trained = (*SHORT, "plan.settings=false"), lambda name: 0.05
    race, _ = explored(tmp_path, *words, scores=led_by_a_neighbor, trained=trained)
    neighbor = race.best().candidate.name
    summary = {**race.results[LEADER].summary, "epochs": 1 if smaller else 2}
    race.results[LEADER] = replace(race.results[LEADER], summary=summary)
    chosen = duel(race)
    assert race.results[neighbor].epochs == 2
    assert chosen.winner == (LEADER if smaller else neighbor)
    assert chosen.doubtful == smaller


@pytest.mark.parametrize(
    ("first", "flipped", "name"),
    [
        (0.9, 0.89, LEADER),
        (0.9, 0.9, LEADER),
        (0.9, 0.91, "flip"),
        # The leader has improved by 0.1.
        (0.8, 0.86, "flip"),
        (0.8, 0.84, LEADER),
    ],
    ids=["worse", "level", "better", "keeps half", "not half"],
)
def test_augmentation_is_preferred_unless_it_is_much_worse(
    first: float, flipped: float, name: str, tmp_path: Path
) -> None:
    def scores(name: str, epochs: int) -> float:
        best = first if epochs == 1 else 0.9
        return flipped if "flip" in name else best if name == LEADER else 0.1

    race, _ = explored(tmp_path, *SHORT, scores=scores)
    chosen = duel(race)
    assert name in chosen.winner
    # A leader that memorizes is also compared with the next augmentation.
    assert race.results[chosen.winner].epochs == (4 if flipped > 0.9 else 2)
    assert not chosen.doubtful


@pytest.mark.parametrize(
    ("memorizes", "bounds", "name"),
    [(True, (-0.01, 0.03), "flip"), (True, (0.01, 0.03), LEADER), (False, (-0.01, 0.03), LEADER)],
    ids=["level", "worse", "does not memorize"],
)
def test_a_network_that_memorizes_is_replaced_by_a_level_variant(
    memorizes: bool, bounds: tuple[float, float], name: str, tmp_path: Path, interval: Mock
) -> None:
    interval.return_value = bounds

    def scores(name: str, epochs: int) -> float:
        return 0.89 if "flip" in name else 0.9 if name == LEADER else 0.1

    trained = 1.0 if memorizes else 0.8
    race, _ = explored(tmp_path, *SHORT, scores=scores, trained=lambda name: trained)
    assert name in duel(race).winner


@pytest.mark.parametrize(
    ("words", "now", "tried"),
    [
        (SHORT, 0.0, True),
        (TIMED[::2], 370.0, True),
        (TIMED[::2], 380.0, False),
        (TIMED, 370.0, False),
    ],
    ids=["epochs", "time", "too late", "without settings"],
)
def test_an_augmentation_is_tried_if_the_budget_allows(
    words: tuple[str, ...], now: float, tried: bool, tmp_path: Path
) -> None:
    race, executor = explored(tmp_path, *words, "plan.newcomers=0", "plan.rounds=1")
    executor.now = now
    chosen = duel(race)
    trained = {name: race.results[name].epochs for name in race.standings}
    flipped = trained.pop(f"{LEADER}+flip-5", None)
    assert flipped == (trained[LEADER] if tried else None)
    first = min(trained.values())
    growth = 2 if words is SHORT else GROWTH
    assert trained[LEADER] == (int(growth * first) if tried else first)
    assert chosen.winner == LEADER  # whose score is the better one
    assert race.rounds == 1 + tried


@pytest.mark.parametrize(
    ("memorizes", "bounds", "wins"),
    [(False, (-0.01, 0.03), True), (False, (0.01, 0.03), False), (True, (-0.01, 0.03), False)],
    ids=["level", "worse", "the leader memorizes"],
)
def test_of_level_networks_the_one_with_the_fewest_epochs_wins(
    memorizes: bool, bounds: tuple[float, float], wins: bool, tmp_path: Path, interval: Mock
) -> None:
    interval.return_value = bounds
    words = (*SHORT, "plan.settings=false")
    race, _ = explored(tmp_path, *words, trained=lambda name: 1.0 if memorizes else 0.8)
    name = BASELINES[0]
    assert race.stage(race.results[name]) == race.stage(race.results[LEADER]) == 2
    summary = {**race.results[name].summary, "epochs": 1}
    race.results[name] = replace(race.results[name], summary=summary)
    chosen = duel(race)
    assert chosen.winner == (name if wins else LEADER)
    assert chosen.baseline == chosen.winner  # the verdict names it
    assert not chosen.doubtful


def test_rounds_after_the_duel_keep_the_answer(tmp_path: Path, interval: Mock) -> None:
    """A network that leads, but was not clearly better in the duel, does not replace it."""
    interval.return_value = (-0.1, 0.2)
    race, _ = explored(tmp_path, *TIMED, scores=led_by_a_neighbor)
    winner = train_winner(race, duel(race).winner, 0.0, refits=True)
    answer = (tmp_path / "checkpoint.safetensors").read_text()
    assert answer == f"{winner.candidate.name} {winner.epochs}"
    before = race.rounds
    race.explore(PLANNED)
    assert race.rounds > before
    assert race.best().candidate.name != winner.candidate.name
    assert (tmp_path / "checkpoint.safetensors").read_text() == answer


def test_with_more_time_a_winner_does_not_compete_again_with_less_trained_baselines(
    tmp_path: Path, interval: Mock
) -> None:
    interval.return_value = (0.1, 0.2)
    race, executor = explored(tmp_path, *TIMED, scores=led_by_a_neighbor)
    first = duel(race)
    epochs = race.results[first.winner].epochs
    assert train_winner(race, first.winner, 0.0, refits=True).epochs > epochs
    again = make_race(tmp_path, *TIMED, executor=executor, total=2 * race.stopwatch.total)
    again.restore()
    again.explore(0.6)
    assert again.rounds > race.rounds
    second = duel(again)
    assert again.results[second.winner].epochs > epochs
    assert second == replace(first, budget=again.stopwatch.total)
    copy = (tmp_path / "duel" / "found" / "checkpoint.safetensors").read_text()
    assert copy == f"{first.winner} {epochs}"


def test_a_duel_without_a_clearly_better_winner_changes_nothing(
    tmp_path: Path, interval: Mock
) -> None:
    """A baseline leads; a found network ranks higher later, but this may be chance."""
    scores = {"found": 0.0}

    def score(name: str, epochs: int) -> float:
        return scores["found"] if "found" in name else led_by_a_baseline(name, epochs)

    interval.return_value = (-0.1, 0.1)
    race, _ = explored(tmp_path, *TIMED, scores=score)
    first = duel(race)
    assert (first.winner, first.baseline, first.doubtful) == (LEADER, LEADER, False)
    decided = (tmp_path / "decisions.json").read_text()
    scores["found"] = 0.95
    race.explore(0.7)
    assert not race.best().candidate.is_baseline
    assert duel(race, again=True) == first
    assert not (tmp_path / "duel").exists()
    saved = [json.loads(text) for text in (decided, (tmp_path / "decisions.json").read_text())]
    assert saved[0]["decisions"]["duel"] == saved[1]["decisions"]["duel"]
    interval.return_value = (0.1, 0.2)
    second = duel(race, again=True)
    assert "found" in second.winner
    assert duel(race) == second


def test_without_a_refit_the_winner_trains_for_the_rest_of_the_time(tmp_path: Path) -> None:
    race, _ = explored(tmp_path, *TIMED)
    train_winner(race, duel(race).winner, 0.0, refits=False)
    assert -1 <= race.stopwatch.until(PLANNED) <= 1


def test_the_winner_has_the_epochs_of_the_plan(tmp_path: Path) -> None:
    for folder, words, epochs in (("a", (), 2), ("b", ("plan.epochs=7",), 7)):
        race, _ = explored(tmp_path / folder, *SHORT, "plan.settings=false", *words)
        trained = train_winner(race, duel(race).winner, 0.0, refits=True)
        assert (trained.candidate.name, trained.epochs) == (LEADER, epochs)


@pytest.mark.parametrize("reserve", [0.0, 100.0])
def test_the_length_of_the_winner_grows_until_its_time_is_used(
    reserve: float, tmp_path: Path
) -> None:
    race, executor = explored(tmp_path, *TIMED)
    raced = race.results[duel(race).winner]
    begin, before = race.stopwatch.seconds, len(executor.ended)
    trained = train_winner(race, raced.candidate.name, reserve, refits=True)
    lengths = [raced.epochs, *(epochs for _, epochs in executor.ended[before:])]
    left = PLANNED * race.stopwatch.total - reserve - begin
    end = begin + (left - raced.seconds) / 2  # the final run doubles the training
    assert end - 1 <= race.stopwatch.seconds <= end
    grown = [pytest.approx(GROWTH * length, abs=2) for length in lengths[:-2]]
    assert lengths[1:-1] == grown
    assert executor.jobs[-1].threads == race.execution.executor.threads
    assert (tmp_path / "checkpoint.safetensors").read_text() == f"{LEADER} {trained.epochs}"


def test_the_final_run_of_a_winner_that_does_not_memorize_is_longer(tmp_path: Path) -> None:
    race, _ = explored(tmp_path, *TIMED, trained=lambda name: 0.0)
    chosen = duel(race)
    trained = train_winner(race, chosen.winner, 0.0, refits=True)
    left = PLANNED * race.stopwatch.total - race.stopwatch.seconds
    assert left == pytest.approx(FALLING * trained.seconds, abs=FALLING + 1)


def test_a_winner_that_begins_to_memorize_has_a_shorter_final_run(tmp_path: Path) -> None:
    epochs = {"most": 0}

    def score(name: str, number: int) -> float:
        epochs["most"] = max(epochs["most"], number)
        return led_by_a_baseline(name, number)

    def accuracy(name: str) -> float:
        return 1.0 if epochs["most"] > 40 else 0.0

    race, _ = explored(tmp_path, *TIMED, scores=score, trained=accuracy)
    trained = train_winner(race, duel(race).winner, 0.0, refits=True)
    left = PLANNED * race.stopwatch.total - race.stopwatch.seconds
    assert left == pytest.approx(trained.seconds, abs=2)


def test_a_winner_that_no_longer_improves_stops_early(tmp_path: Path) -> None:
    race, _ = explored(tmp_path, *TIMED, peaks={LEADER: 25})
    trained = train_winner(race, duel(race).winner, 0.0, refits=True)
    assert trained.is_exhausted
    assert 2 * 25 < trained.epochs <= 4 * 25 + 6
    assert race.stopwatch.until(PLANNED) > 0


def test_a_winner_that_fails_keeps_its_result(tmp_path: Path) -> None:
    race, executor = explored(tmp_path, *SHORT, "plan.settings=false", "plan.epochs=7")
    executor.failing = frozenset({LEADER})
    raced = race.results[duel(race).winner]
    assert train_winner(race, raced.candidate.name, 0.0, refits=True) == raced == race.best()


WITH_SETTINGS = ("plan.newcomers=2",)
raced = partial(explored_race, scores=lambda name, _: 0.9 if LEADER in name else 0.1)


@pytest.mark.parametrize(
    ("peak", "left", "length"),
    [
        (None, 100.0, {"start", "max_seconds", "optimizer.warmup_epochs", "optimizer.cooldown"}),
        (None, 0.5, None),
        (4, 100.0, {"epochs"}),  # 4 epochs on a quarter more samples take 5 seconds
        (4, 5.5, {"epochs"}),
        (4, 4.5, None),
    ],
    ids=["improving", "no time", "from scratch", "just enough", "too long"],
)
def test_the_final_run_continues_the_training_or_repeats_it_up_to_the_best_epoch(
    peak: int | None, left: float, length: set[str] | None, tmp_path: Path
) -> None:
    race, executor = raced(tmp_path, *WITH_SETTINGS, peaks={} if peak is None else {LEADER: peak})
    result = race.results[LEADER]
    executor.now = (PLANNED if peak is None else 1.0) * race.stopwatch.total - left
    run = final_run(race, result, 0.0, refits=True)
    if length is None:
        assert run is None
        assert race.console.messages[-1] == f"no final run of {LEADER}: too little time is left"
        return
    job = executor.jobs[-1]
    values = dict(item.split("=", 1) for item in job.overrides)
    assert (values["validation"], values["selection"]) == ("0", "last")
    assert length <= values.keys()
    assert values.get("start") == (None if peak else f"'{result.directory.resolve()}'")
    assert int(run.summary["epochs"]) == (peak or int(left))
    assert run.epochs == (peak or int(left) + result.epochs)
    assert run.directory == job.directory == tmp_path / "runs" / job.name


def test_a_final_run_leaves_the_time_for_test_scores(tmp_path: Path) -> None:
    race, executor = raced(tmp_path, *WITH_SETTINGS)
    executor.now = 0.5 * race.stopwatch.total
    assert final_run(race, race.results[LEADER], 100.0, refits=True) is not None
    assert race.stopwatch.until(PLANNED) == pytest.approx(100.0, abs=1)


def test_a_final_run_that_fails_leaves_the_winner(tmp_path: Path) -> None:
    race, executor = raced(tmp_path, *SHORT)
    executor.failing = frozenset({"final"})
    assert final_run(race, race.best(), 0.0, refits=True) is None


@pytest.mark.parametrize("word", ["", "validation=0.3", "validation_fold=1", "selection=last"])
def test_the_user_decides_about_validation_samples(word: str, tmp_path: Path) -> None:
    race = make_race(tmp_path, *SHORT, *filter(None, [word]))
    assert held_out_share(race, race.pool.baselines()[0]) == (0.0 if word else 0.2)


def test_a_published_validation_split_is_not_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    race = make_race(tmp_path, *SHORT)
    networks = race.pool.networks["mlp"]
    monkeypatch.setattr(networks.data, "held_out_loader", lambda split, subsets: "loader")
    assert held_out_share(race, race.pool.baselines()[0]) == 0.0


def test_without_a_refit_the_samples_of_the_winner_stay_held_out(tmp_path: Path) -> None:
    race, executor = raced(tmp_path, *WITH_SETTINGS)
    run = final_run(race, race.results[LEADER], 0.0, refits=False)
    assert run.score == run.summary["valid_accuracy"] == 0.9
    keys = {item.partition("=")[0] for item in executor.jobs[-1].overrides}
    assert "optimizer.cooldown" in keys
    assert "selection" not in keys
    assert "validation=0" not in executor.jobs[-1].overrides


@pytest.mark.parametrize(
    ("accuracy", "fine_tunes", "cooldown"), [(0.9, False, 1), (0.91, False, 0), (0.91, True, 1)]
)
def test_the_rate_falls_unless_the_winner_knows_its_training_samples(
    accuracy: float,
    fine_tunes: bool,
    cooldown: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The winner has a validation accuracy of 0.9; with trained weights, it falls in any case."""
    race, executor = raced(tmp_path, *WITH_SETTINGS, trained=lambda name: accuracy)
    monkeypatch.setattr(SPACES["mlp"], "fine_tunes", fine_tunes)
    assert final_run(race, race.results[LEADER], 0.0, refits=True) is not None
    overrides = executor.jobs[-1].overrides
    assert f"optimizer.cooldown={cooldown}" in overrides
    assert ("start_epoch=best" in overrides) == fine_tunes


def test_the_networks_of_an_ensemble_share_the_time_that_is_left(tmp_path: Path) -> None:
    """A network keeps its result if its final run has failed, or has only overfitted."""
    race, executor = raced(tmp_path, *WITH_SETTINGS, workers=2)
    finalists = [race.results[name] for name in (LEADER, *BASELINES[:2])]
    worse, failing = (f"final-640-{name}" for name in BASELINES[:2])
    executor.scores = lambda name, epochs: 0.1 if name == worse else 0.95
    executor.failing = frozenset({failing})
    executor.now = PLANNED * race.stopwatch.total - 100
    first, *others = final_runs(race, finalists, 20.0)
    assert first.summary["epochs"] == 40  # two rounds of workers
    assert first.candidate.name == LEADER
    assert others == finalists[1:]


def test_a_final_run_repeats_the_training_that_the_winner_has_continued(tmp_path: Path) -> None:
    """A setting continued the best epoch of the leader, and was best two epochs later."""
    race, executor = explored_race(
        tmp_path,
        *WITH_SETTINGS,
        "plan.rounds=3",
        scores=lambda name, _: 0.9 if "flip" in name else float(name == LEADER) / 2,
        peaks=Peaks(),
    )
    fork = race.best()
    assert fork.candidate.start.epochs == 3
    assert fork.best_epoch == 5
    final = final_run(race, fork, 0.0, refits=True)
    assert final is not None
    first, second = executor.jobs[-2:]
    keys = [dict(item.split("=", 1) for item in job.overrides) for job in (first, second)]
    assert [values["epochs"] for values in keys] == ["3", "2"]
    assert "start" not in keys[0]
    assert keys[1]["start"] == f"'{first.directory.resolve()}'"
    assert [values.get("dataset.flip") for values in keys] == ["false", "true"]
    assert [values["validation"] for values in keys] == ["0", "0"]
    assert final.directory == second.directory
    assert final.epochs == 5


class Peaks(dict[str, int]):
    """The leader has its best epoch after 3 epochs, a setting after 2 more, others after one."""

    def get(self, name: str, default: object = None) -> int:  # type: ignore[override]
        return 3 if name == LEADER else 2 if "flip" in name else 1


def test_a_final_run_is_as_long_as_the_loss_of_the_best_epoch_is_not_exceeded(
    tmp_path: Path,
) -> None:
    """The mean losses of epochs 2 to 4 are 0.5, 0.55 and 0.5."""
    losses = {"fold0": [0.9, 0.5, 0.6, 0.4, 0.7], "fold1": [0.9, 0.5, 0.5, 0.6, 0.7]}
    runs = []
    for fold, values in losses.items():
        (tmp_path / fold).mkdir()
        rows = [{"epoch": epoch, "valid_loss": loss} for epoch, loss in enumerate(values, 1)]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / fold / "metrics.jsonl").write_text(text)
        runs.append(FoldRun(tmp_path / fold, {}))
    race = make_race(tmp_path, *SHORT)
    candidate = race.pool.baselines()[0]
    result = Result(candidate, tuple(runs), {"epoch": 2, "epochs": 5}, 0.9)
    assert useful_epochs(result) == 4
    assert useful_epochs(replace(result, summary={"epoch": 1, "epochs": 5})) == 5
    continued = replace(candidate, start=Start("another", 0, 3.0, 3))
    assert useful_epochs(replace(result, candidate=continued)) == 7


class LatePeaks(dict[str, int]):
    """All candidates have their best score after a few dozen epochs."""

    def get(self, name: str, default: object = None) -> int:  # type: ignore[override]
        return 3 + zlib.crc32(name.encode()) % 40


@pytest.mark.parametrize("seed", [0, 4, 21, 47])
def test_candidates_and_duels_after_an_exhausted_winner_keep_to_the_budget(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "scoring_seconds", lambda *_: 0.0)
    monkeypatch.setattr(ending, "measure_gain", lambda *_, **__: None)
    monkeypatch.setattr(ending, "calibrate", lambda *_: None)

    def score(name: str, epochs: int) -> float:
        return zlib.crc32(f"{name}{seed}".encode()) / 2**32 * (1.0 if epochs > 20 else 0.6)

    executor = FakeExecutor(scores=score, peaks=LatePeaks())
    race = make_race(tmp_path, *WITH_SETTINGS, executor=executor)
    conclusion = run_to_the_end(race)
    assert 0.9 <= race.stopwatch.seconds / race.stopwatch.total <= PLANNED
    finals = [job for job in executor.jobs if job.name.startswith("final")]
    words = [word for job in finals for word in job.overrides]
    # If more training does not help, the final run begins anew and ends at the best epoch.
    is_continued = any(word.startswith("max_seconds") for word in words)
    assert not (race.results[conclusion.winner.candidate.name].is_exhausted and is_continued)


@pytest.mark.parametrize("folds", [1, 2])
@pytest.mark.parametrize("overfits", [False, True])
def test_an_ensemble_uses_the_time(
    folds: int, overfits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If more training of the best network does not help, further candidates train."""
    names = BASELINES[:2]
    monkeypatch.setattr(ensemble, "_finalists", lambda race, winner: names)
    executor = FakeExecutor(peaks=Mock(get=lambda name, epochs: 1 if overfits else epochs))
    race = make_race(tmp_path, *TIMED, "ensemble=2", executor=executor, folds=folds)
    race.explore(EXPLORED)
    rounds = race.rounds
    results = ensemble.train_finalists(race, race.results[names[0]], reserve=20.0)
    assert (race.rounds > rounds) == overfits
    assert 500 < race.stopwatch.seconds < 640
    assert {r.candidate.name for r in results} == set(names)
    assert all(r.is_exhausted == overfits for r in results)
