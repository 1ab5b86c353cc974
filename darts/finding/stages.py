"""The stages of ``darts.find``: baselines, proposals, race, settings and final.

References:
    Successive halving: Jamieson and Talwalkar, arXiv:1502.07943. Here all trainings of a round get
    equal time, not equal epochs, because the user limits the time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from darts.config import FindConfig
from darts.finding.budget import RUN_OVERHEAD
from darts.finding.candidates import Candidate
from darts.finding.facts import DataFacts
from darts.finding.proposals import Proposer
from darts.finding.results import Result, best_of, ranked
from darts.finding.rounds import MIN_EPOCHS, Stopped, Trainer
from darts.finding.rules import Setting, settings

SHARES = {"baselines": 0.15, "proposals": 0.15, "race": 0.15, "settings": 0.15}
"""Shares of the budget for the stages before the final."""

FINAL_SHARES = (0.35, 0.75)
"""Smallest and largest share of the budget that the other stages leave to the final."""

FINAL_EPOCH_SHARE = 0.3
"""Share of ``rules.max_epochs`` for which a network of the final should train."""

RACED_BASELINES = 2
"""Baselines that take part in the race."""

MAX_PROPOSALS = 12


@dataclass(frozen=True)
class Stages:
    """The stages, one method each.

    Attributes:
        config: Configuration of the run.
        facts: Facts of the data.
        trainer: Trains candidates.
    """

    config: FindConfig
    facts: DataFacts
    trainer: Trainer

    def run(self) -> list[Result]:
        """Run all stages; return the results of the final, the best first.

        Raises:
            ConfigError: If all trainings of a stage failed.
            Stopped: If the user interrupts the run.
        """
        baselines = self.train_baselines()
        proposals = self.propose(baselines)
        kept = [result.candidate for result in baselines[:RACED_BASELINES]]
        raced = self.race([*proposals, *kept]) if proposals else []
        leader = (raced or baselines)[0].candidate
        setting = self.compare_settings(leader)
        found = [r.candidate for r in raced if not r.candidate.is_baseline] or proposals
        return self.train_finalists(found, setting)

    def train_baselines(self) -> list[Result]:
        """Train the baselines for equal times; return their results, the best first."""
        candidates = [
            Candidate(f"{family}-{name}", family, genotype, "baseline")
            for family, networks in self.trainer.networks.items()
            for name, genotype in networks.family.baselines.items()
        ]
        epochs = self.config.plan.short_epochs
        return self.trainer.round("baselines", candidates, self._seconds("baselines"), epochs)

    def propose(self, baselines: Sequence[Result]) -> list[Candidate]:
        """Return new architectures in the family of the best baseline."""
        trainer, leader = self.trainer, baselines[0].candidate
        proposer = Proposer(
            dataclasses.replace(self.config, workers=trainer.workers),
            trainer.networks[leader.family],
            leader.genotype,
            self.facts,
            trainer.directory,
            trainer.decisions,
            seconds=self._seconds("proposals"),
            count=self._proposals(baselines[0]),
            stopping=trainer.stopping,
            train=trainer.train,
            log=trainer.console.info,
        )
        proposals = proposer.propose()
        if trainer.stopping():
            raise Stopped
        trained = {(r.candidate.family, r.candidate.genotype) for r in baselines}
        return [c for c in proposals if (c.family, c.genotype) not in trained]

    def race(self, candidates: Sequence[Candidate]) -> list[Result]:
        """Train the candidates for equal times, then the best third of them for longer.

        Return the results of the last round that took place, the best first; an empty list if no
        round had time for two candidates. The best baseline takes part in all rounds.
        """
        rounds = self.config.plan.rounds or (2 if len(candidates) > 4 else 1)
        results: list[Result] = []
        for number in range(1, rounds + 1):
            entered = self._round(f"race{number}", candidates, self._seconds("race") / rounds)
            results = entered or results
            kept = results[: max(len(results) // 3, self._finalists())]
            baseline = best_of(results, self.trainer.metric[1], baseline=True)
            promoted = [*kept, *([] if baseline is None or baseline in kept else [baseline])]
            candidates = [result.candidate for result in promoted]
            if not entered:
                break
        return results

    def compare_settings(self, leader: Candidate) -> Setting:
        """Train the best candidate so far with other hyperparameters; return the best setting."""
        networks = self.trainer.networks[leader.family]
        options = settings(self.facts, networks.values, networks.user_keys)
        if not self.config.plan.settings or not options:
            return leader.setting
        entrants = [leader, *(dataclasses.replace(leader, setting=option) for option in options)]
        results = self._round("settings", entrants, self._seconds("settings"))
        return results[0].candidate.setting if results else leader.setting

    def train_finalists(self, found: Sequence[Candidate], setting: Setting) -> list[Result]:
        """Train the first of ``found`` and the best baseline; return the results, best first."""
        trained = list(self.trainer.results.values())
        baseline = best_of(trained, self.trainer.metric[1], baseline=True)
        assert baseline is not None  # the first stage trained at least one
        chosen = [baseline.candidate, *found[: self._finalists()]]
        entrants = [dataclasses.replace(candidate, setting=setting) for candidate in chosen]
        epochs, left = self.config.plan.epochs, self.trainer.stopwatch.left
        return self.trainer.round("final", entrants, left, epochs)

    def _round(self, name: str, candidates: Sequence[Candidate], seconds: float) -> list[Result]:
        """Train candidates; return an empty list if there is no time for at least two of them."""
        epochs = self.config.plan.short_epochs
        return self.trainer.round(name, candidates, seconds, epochs, min_networks=2)

    def _seconds(self, stage: str) -> float:
        """Return the wall-clock time of a stage before the final."""
        stopwatch = self.trainer.stopwatch
        left = stopwatch.left - self._final_share() * stopwatch.total
        share = SHARES[stage]
        if stage == "race" and not self.config.plan.settings:
            share += SHARES["settings"]
        return max(min(share * stopwatch.total, left), 0.0)

    def _finalists(self) -> int:
        """Return how many found networks enter the final.

        If time is short, one well trained network is worth more than two poorly trained ones.
        """
        if self.config.plan.finalists is not None:
            return self.config.plan.finalists
        is_short = self.config.plan.epochs is None and self._final_share() == FINAL_SHARES[1]
        return 1 if is_short else 2

    def _final_share(self) -> float:
        """Return the share of the budget that belongs to the final.

        The shorter the budget, the larger the share: a well trained baseline is worth more than a
        choice between poorly trained networks. There should be time for one found network and the
        baseline to train for ``FINAL_EPOCH_SHARE`` of the largest number of epochs.
        """
        trainer = self.trainer
        if self.config.plan.final_share is not None:
            return self.config.plan.final_share
        if not trainer.results:  # the baselines come first
            return FINAL_SHARES[0]

        def choose() -> float:
            leader = ranked(trainer.results.values(), trainer.metric[1])[0]
            needed = 2 * FINAL_EPOCH_SHARE * trainer.max_epochs * leader.seconds_per_epoch
            share = needed / max(trainer.workers, 1) / trainer.stopwatch.total
            return min(max(share, FINAL_SHARES[0]), FINAL_SHARES[1])

        return trainer.decisions.decide("final_share", float, choose)

    def _proposals(self, leader: Result) -> int:
        """Return the number of proposals that can train for ``MIN_EPOCHS`` each in a round."""
        if self.config.plan.proposals is not None:
            return self.config.plan.proposals

        def count() -> int:
            seconds = self._seconds("race") / 2 * max(self.trainer.workers, 1)
            training = MIN_EPOCHS * leader.seconds_per_epoch + RUN_OVERHEAD
            return int(min(max(seconds / training, 2), MAX_PROPOSALS))

        return self.trainer.decisions.decide("proposals", int, count)
