"""The end of ``darts find``: after the race, the answer trains alone and is scored."""

from __future__ import annotations

import math
from functools import partial

from darts.finding.answer import write_answer
from darts.finding.conclusion import Conclusion
from darts.finding.ensemble import EnsembleResult, make_ensemble, train_finalists
from darts.finding.final_run import anew_seconds, final_run, held_out_share, seconds_left
from darts.finding.race import EXPLORED, Race
from darts.finding.results import Result, is_better, ranked
from darts.finding.winner import DUEL, Duel, duel, duel_seconds, train_winner
from darts.recipes.calibration import calibrate
from darts.recipes.gain import measure_gain
from darts.recipes.timing import seconds_per_batch
from darts.recipes.trees import FILE as TREES
from darts.recipes.trees import fold_runs


def run_to_the_end(race: Race) -> Conclusion:
    """Let candidates compete, train the winner, and score it on the test split, once."""
    plan = race.config.plan
    race.explore(race.share(EXPLORED))
    chosen = duel(race)
    if race.config.ensemble > 1:
        return end_with_ensemble(race, chosen)
    while True:
        reserve = scoring_seconds(race, race.results[chosen.winner])
        refits = plan.refit and held_out_share(race, race.candidates[chosen.winner]) > 0
        winner = train_winner(race, chosen.winner, reserve, refits=refits)
        if plan.equal == "epochs" or not winner.is_exhausted:
            break
        # More training does not help, so the time that is left belongs to further candidates and
        # their duels.
        kept = reserve + (anew_seconds(race, winner) + race.overhead if refits else 0.0)
        before = race.rounds
        for share in (0.5, 1.0):  # all of it only if no round fits into half of it
            if race.rounds == before:
                seconds = race.stopwatch.seconds + share * seconds_left(race, kept)
                race.explore(seconds / race.stopwatch.total)
        has_time = duel_seconds(race) < seconds_left(race, kept)
        again = has_time and is_better(race.metric, race.best(), winner)
        previous, chosen = chosen, duel(race, again=again)
        if chosen == previous and race.rounds == before:
            break
    final = final_run(race, winner, reserve, refits=refits)
    if final is not None and not refits and ranked([winner, final], race.metric[1])[0] is winner:
        final = None
    return conclude(race, chosen, winner, final, None)


def end_with_ensemble(race: Race, chosen: Duel) -> Conclusion:
    """Train the best networks for equally long, and choose those whose predictions are averaged.

    Without such a choice, the winner of the duel is the answer; the ensemble is compared with it.
    """
    winner = race.results[chosen.winner]
    reserve = race.config.ensemble * race.folds * scoring_seconds(race, winner)
    finalists = train_finalists(race, winner, reserve)
    single = next(f for f in finalists if f.candidate.name == chosen.winner)
    trees = race.directory / TREES
    # A run that began with an earlier version has no trees without each part.
    fitted = all(run.exists() for run in fold_runs(race.directory, race.folds))
    takes_part = race.config.result == "any" and trees.exists() and fitted
    ensemble = make_ensemble(race, finalists, single, trees if takes_part else None)
    return conclude(race, chosen, single, None, ensemble)


def conclude(
    race: Race, chosen: Duel, winner: Result, final: Result | None, ensemble: EnsembleResult | None
) -> Conclusion:
    """Write and calibrate the answer and score it on the test split, once.

    A found network is compared with the best baseline.

    Args:
        race: The race.
        chosen: The duel.
        winner: The network that has won it.
        final: Final run of the winner, if there is one.
        ensemble: The ensemble that is the answer, if there is one.
    """
    networks, metric = race.pool.networks[winner.candidate.family], race.metric[0]
    directory = (final or winner).directory if ensemble is None else ensemble.directory
    write_answer(race.directory, directory, winner.candidate.architecture)
    # A final run on all samples has no validation data; then the network before it has some.
    scored = winner if final is None or math.isnan(final.score) else final
    if ensemble is None or not ensemble.averages:  # an average has been calibrated
        calibrate(race.directory, scored.directories)
    baseline = Result(race.candidates[chosen.baseline], (), chosen.baseline_summary, math.nan)
    test = gain = None
    if networks.data.held_out_loader("test", {}) is not None:
        race.console.info("scoring the test split")
        compare = partial(measure_gain, metric=metric, device=networks.config.device)
        test = compare(race.directory, winner.directory if ensemble else race.directory)
        if not winner.candidate.is_baseline:
            gain = compare(race.directory / DUEL / "found", race.directory / DUEL / "baseline")
    varied = any(not race.candidates[name].is_baseline for name in race.standings)
    return Conclusion(
        winner,
        baseline,
        final,
        test,
        gain,
        metric,
        varied,
        chosen.doubtful,
        ensemble,
        chosen.search_gain,
    )


def scoring_seconds(race: Race, result: Result) -> float:
    """Return about how many seconds scores on the test split, or predictions, will take.

    One batch is measured, because a race in bfloat16 is faster than scores in float32.
    """
    networks = race.pool.networks[result.candidate.family]
    data = networks.data
    test, valid = data.held_out_loader("test", {}), data.retrain_loaders()[1]
    scored = 1 if result.candidate.is_baseline else 3
    batches = 0.0 if test is None else scored * len(test)
    if data.unlabeled is not None:
        batches = len(data.unlabeled) / networks.config.loader.eval_batch_size
    if not batches or valid is None:
        return 0.0
    seconds = seconds_per_batch(result.directory, valid, data.objective())
    # The validation samples are scored, too, for the temperature.
    return seconds * (batches + race.folds * len(valid))
