"""The end of ``darts.find``: after the race, the answer trains alone and is scored."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from darts.data.targets import CLASSES
from darts.finding.candidates import Networks
from darts.finding.conclusion import Conclusion
from darts.finding.ensemble import FOLDER, EnsembleResult, make_ensemble, train_finalists
from darts.finding.final_run import anew_seconds, final_run, held_out_share, seconds_left
from darts.finding.race import EXPLORED, Race
from darts.finding.results import Result, is_better, ranked
from darts.finding.winner import DUEL, Duel, duel, duel_again, duel_seconds, train_winner
from darts.reading import JsonObject, read_json_object
from darts.recipes.gain import Gain, measure_gain
from darts.recipes.model import load, predict
from darts.recipes.timing import compare_costs
from darts.training.device import resolve_device
from darts.writing import open_atomically

PREDICTIONS = "predictions.npy"


def run_to_the_end(race: Race) -> Conclusion:
    """Let candidates compete, train the winner, and score it on the test split, once."""
    plan = race.config.plan
    race.explore(EXPLORED)
    chosen = duel(race)
    if race.config.ensemble > 1:
        return end_with_ensemble(race, chosen)
    while True:
        networks = race.pool.networks[chosen.winner.candidate.family]
        reserve = scoring_seconds(networks, chosen)
        refits = plan.refit and held_out_share(race, chosen.winner.candidate) > 0
        winner = train_winner(race, chosen, reserve, refits=refits)
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
        again, has_time = chosen, duel_seconds(race) < seconds_left(race, kept)
        if has_time and is_better(race.metric, race.best(), winner):
            again = duel_again(race, chosen, winner)
        if again == chosen and race.rounds == before:
            break
        chosen = again
    final = final_run(race, winner, reserve, refits=refits)
    if final is not None and not refits and ranked([winner, final], race.metric[1])[0] is winner:
        final = None
    directory = winner.directory if final is None else final.directory
    scores, gain = score_answer(race, winner, directory)
    return Conclusion(
        winner, chosen.baseline, directory, final, scores, gain, race.metric, chosen.doubtful
    )


def end_with_ensemble(race: Race, chosen: Duel) -> Conclusion:
    """Train the best networks for equally long, and choose those whose predictions are averaged.

    Without such a choice, the winner of the duel is the answer; the ensemble is compared with it.
    """
    networks = race.pool.networks[chosen.winner.candidate.family]
    reserve = race.config.ensemble * scoring_seconds(networks, chosen)
    finalists = train_finalists(race, chosen.winner, reserve)
    single = next(f for f in finalists if f.candidate.name == chosen.winner.candidate.name)
    counts = make_ensemble(race, finalists)
    directory = race.directory / FOLDER if len(counts) > 1 else single.directory
    scores, gain = score_answer(race, single, directory)
    directories = {"ensemble": directory, "single": single.directory}
    ensemble_gain = None
    if scores and len(counts) > 1:
        metric, device = race.metric[0], networks.config.device
        ensemble_gain = measure_gain(directory, single.directory, metric=metric, device=device)
    costs = compare_costs(directories, race.execution.executor.threads)
    return Conclusion(
        single, chosen.baseline, directory, None, scores, gain, race.metric, chosen.doubtful,
        EnsembleResult(counts, ensemble_gain, costs),
    )  # fmt: skip


def score_answer(
    race: Race, winner: Result, directory: Path
) -> tuple[Mapping[str, float], Gain | None]:
    """Score the answer on the test split, once; compare a found network with the best baseline.

    Args:
        race: The race.
        winner: The winner.
        directory: Folder with the checkpoint of the answer.

    Returns:
        All scores of the answer, empty without a test split; and what the search contributed, if
        the winner is a found network.
    """
    networks = race.pool.networks[winner.candidate.family]
    if networks.data.held_out_loader("test", {}) is None:
        return {}, None
    race.console.info("scoring the test split")
    metric, device, folder = race.metric[0], networks.config.device, race.directory / DUEL
    scores = measure_gain(directory, directory, metric=metric, device=device).found
    if winner.candidate.is_baseline:
        return scores, None
    return scores, measure_gain(folder / "found", folder / "baseline", metric=metric, device=device)


def write_predictions(directory: Path, networks: Networks) -> JsonObject:
    """Predict the targets of test samples without labels; return how many for the summary.

    ``predictions.npy`` has the index of the class of each sample, ``(N,)`` int64; or the
    probabilities of its labels or its numbers, ``(N, K)``.

    Args:
        directory: Run directory with the checkpoint of the answer.
        networks: The networks of a family; all families have the same test samples.
    """
    if (samples := networks.data.unlabeled) is None:
        return {}
    config = networks.config
    model = load(directory, resolve_device(config.device))
    found = predict(model, samples, batch_size=config.loader.eval_batch_size)
    values = found.values.argmax(1) if found.targets == CLASSES else found.values
    with open_atomically(directory / PREDICTIONS) as file:
        np.save(file, values.numpy())
    return {"predicted_samples": len(values)}


def scoring_seconds(networks: Networks, chosen: Duel) -> float:
    """Return about how many seconds scores on the test split, or predictions, will take."""
    data, result = networks.data, chosen.winner
    test, valid = data.held_out_loader("test", {}), data.retrain_loaders()[1]
    scored = 1 if result.candidate.is_baseline else 3
    batches = 0.0 if test is None else scored * len(test)
    if data.unlabeled is not None:
        batches = len(data.unlabeled) / networks.config.loader.eval_batch_size
    if not batches or valid is None:
        return 0.0
    spent = read_json_object(result.directory / "energy.json")["phases"]
    validation = sum(phase["seconds"] for phase in spent if phase["phase"] == "validation")
    return float(validation / max(result.summary["epochs"], 1) * batches / len(valid))
