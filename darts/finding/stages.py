"""The stages of ``darts.find``: baselines, proposals, race, settings and final.

References:
    Successive halving: Jamieson and Talwalkar, arXiv:1502.07943. Here all trainings of a round get
    equal time, not equal epochs, because the user limits the time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

from darts.config import FindConfig
from darts.finding.budget import RUN_OVERHEAD
from darts.finding.candidates import Candidate
from darts.finding.image_sizes import larger_families
from darts.finding.proposals import Proposer
from darts.finding.refit import refit_reserve
from darts.finding.results import Result, best_of, ranked
from darts.finding.rounds import MIN_EPOCHS, Stopped, Trainer
from darts.recipes.facts import DataFacts
from darts.recipes.rules import DEFAULT, Setting, refinements, settings

SHARES = {"baselines": 0.15, "proposals": 0.15, "race": 0.15, "settings": 0.15}
"""Shares of the budget for the stages before the final."""

MOST_BASELINES = 0.4
"""Largest share of the budget for the baselines, if each of them trains several times."""

FINAL_SHARES = (0.35, 0.75)
"""Smallest and largest share of the budget that the other stages leave to the final."""

FINAL_EPOCH_SHARE = 0.3
"""Share of ``rules.max_epochs`` for which a network of the final should train."""

RACED_BASELINES = 2
"""Baselines that take part in the race."""

MAX_PROPOSALS = 12

SETTING_EPOCHS = 8
"""Smallest number of epochs after which settings are compared."""

LARGE_EPOCHS = 8
"""Smallest number of epochs in the final that makes larger images worth a try."""


@dataclass(frozen=True)
class Stages:
    """The stages, one method each.

    Attributes:
        config: Configuration of the run.
        facts: Facts of the data.
        trainer: Trains candidates.
        skipped: Names of the stages that were skipped for lack of time so far.
    """

    config: FindConfig
    facts: DataFacts
    trainer: Trainer
    skipped: list[str] = field(default_factory=list)

    def run(self) -> list[Result]:
        """Run all stages; return the results of the final, the best first.

        Raises:
            ConfigError: If all trainings of a stage failed.
            Stopped: If the user interrupts the run.
        """
        begin = self.trainer.times.begin
        begin("baselines")
        baselines = self.train_baselines()
        begin("proposals")
        proposals = self.propose(baselines)
        begin("race")
        kept = [result.candidate for result in baselines[:RACED_BASELINES]]
        raced = self.race([*proposals, *kept]) if proposals else []
        leader = (raced or baselines)[0].candidate
        begin("settings")
        setting = self.compare_settings(leader)
        begin("final")
        ranking = [result.candidate for result in raced]
        return self.train_finalists(ranking or proposals, setting, compared=bool(ranking))

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
        """Return new architectures in the family of the best baseline that its space can vary.

        A space can vary a baseline if it contains neighbors of its architecture. If time is short
        and the user has not set ``plan.proposals``, the list is empty in three cases:

        * The space of the best of all baselines cannot vary it. An LSTM or a bag of words that
          beats all transformers will probably also beat the transformers that a search proposes.
        * The final has time for the best baseline on larger images. They are worth more than
          proposals that there is no time to compare.
        * Each network trains several times because few samples are held out. The time is better
          spent on a reliable choice among the baselines.
        """
        trainer, best = self.trainer, baselines[0].candidate
        leader = next((r.candidate for r in baselines if self._can_vary(r.candidate)), best)
        varied = self._can_vary(best)
        if self.config.plan.proposals is None and not varied and self._is_short():
            trainer.console.info(f"no proposals: time is short, and no space varies {best.name}")
            self.skipped.append("proposals")
            return []
        if self.config.plan.proposals is None and self._is_short() and self._larger_images(best):
            trainer.console.info("no proposals: time is short; larger images are tried instead")
            self.skipped.append("proposals")
            return []
        if self.config.plan.proposals is None and trainer.folds > 1 and self._is_short():
            trainer.console.info(
                f"no proposals: time is short, and each network trains {trainer.folds} times"
            )
            self.skipped.append("proposals")
            return []
        proposer = Proposer(
            dataclasses.replace(self.config, workers=trainer.workers),
            trainer.networks[leader.family],
            leader.genotype,
            trainer.seconds_per_epoch(leader),
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
        if not results:
            self.skipped.append("race")
        return results

    def compare_settings(self, leader: Candidate) -> Setting:
        """Train the best candidate so far with other hyperparameters; return the best setting."""
        networks = self.trainer.networks[leader.family]
        facts = self.facts.resized(networks.family.sizes.get("dataset.size"))
        options = settings(facts, networks.values, networks.user_keys)
        if not self.config.plan.settings or not options:
            return leader.setting
        results: list[Result] = []
        epochs = self._epochs_of_settings(leader, 1 + len(options))
        # Without augmentation or dropout, a network learns faster, but overfits in a long training.
        if epochs < FINAL_EPOCH_SHARE * self.trainer.max_epochs:
            options = [option for option in options if not option.weakens]
        if epochs >= SETTING_EPOCHS:
            entrants = [leader, *(dataclasses.replace(leader, setting=o) for o in options)]
            results = self._round("settings", entrants, self._seconds("settings"))
        if not results:
            self.skipped.append("settings")
            return leader.setting
        best = results[0].candidate
        return best.setting if best.setting == leader.setting else self._refine(results, leader)

    def _epochs_of_settings(self, leader: Candidate, count: int) -> int:
        """Return for how many epochs each of ``count`` settings can train.

        If the user has chosen the number of epochs, no setting is left out.
        """
        if self.config.plan.short_epochs is not None:
            return self.trainer.max_epochs

        def choose() -> int:
            trainings = count * self.trainer.folds
            seconds = self._seconds("settings") * max(self.trainer.workers, 1) / trainings
            return int(seconds / self.trainer.seconds_per_epoch(leader))

        return self.trainer.decisions.decide("setting_epochs", int, choose)

    def _refine(self, results: Sequence[Result], leader: Candidate) -> Setting:
        """Compare the best setting with changes of it, if there is time; return the best one."""
        ranking = [result.candidate.setting for result in results]
        better = ranking[1 : ranking.index(leader.setting)] if leader.setting in ranking else []
        values = self.trainer.networks[leader.family].values
        best = dataclasses.replace(leader, setting=ranking[0])
        options = refinements(ranking[0], better, values)
        entrants = [best, *(dataclasses.replace(leader, setting=option) for option in options)]
        refined = self._round("refinement", entrants, self._seconds("settings"))
        return refined[0].candidate.setting if refined else ranking[0]

    def train_finalists(
        self, candidates: Sequence[Candidate], setting: Setting, *, compared: bool = True
    ) -> list[Result]:
        """Train the best baseline and the best of ``candidates``; return the results, best first.

        If there was a race (``compared`` is true), the candidates are those of its last round, the
        best first. Another baseline among them takes part if it is one of the best. If there was no
        race, the candidates are the proposals, and the second-best baseline precedes them: without
        a race, the order of the baselines is uncertain, too, and baselines differ more from each
        other than proposals. If two or more candidates join the best baseline and there are found
        networks, at least one of the candidates is a found network.

        The best baseline also takes part with larger images if there is time for it. The
        second-best baseline then does not precede the proposals, and if time is short, no other
        network takes part: on larger images, each epoch counts.

        Without found networks, the best baseline also trains with the default setting, because the
        best setting of short trainings may not be the best of long ones. The second-best baseline
        takes part, too, unless larger images do.
        """
        results = [r for r in self.trainer.results.values() if r.candidate.is_baseline]
        by_name: dict[str, Candidate] = {}
        for result in ranked(results, self.trainer.metric[1]):
            by_name.setdefault(result.candidate.name, result.candidate)
        baselines = list(by_name.values())
        larger = self._larger_images(baselines[0])
        found = [candidate for candidate in candidates if not candidate.is_baseline]
        ranking = candidates
        if found and not compared and not larger:
            ranking = [*baselines[1:2], *candidates]
        others = [] if larger and self._is_short() else self._others(ranking, baselines[0])
        if not others and not larger:
            others = baselines[1:2]
        chosen = [baselines[0], *larger, *others]
        entrants = [dataclasses.replace(candidate, setting=setting) for candidate in chosen]
        if not found and setting != DEFAULT:
            entrants.insert(1, dataclasses.replace(baselines[0], setting=DEFAULT))
        seconds = self.trainer.stopwatch.left
        if self.config.plan.refit:
            # With larger images, a training takes longest, and it is the one that may be repeated.
            names = [entrant.name for entrant in entrants]
            slowest = entrants[names.index(larger[0].name)] if larger else entrants[0]
            seconds -= refit_reserve(self.trainer, slowest, len(entrants))
        return self.trainer.round("final", entrants, seconds, self.config.plan.epochs)

    def _others(self, ranking: Sequence[Candidate], best: Candidate) -> list[Candidate]:
        """Return the candidates of a ranking that join the best baseline in the final."""
        count = self._finalists()
        ranking = [candidate for candidate in ranking if candidate.name != best.name]
        chosen = ranking[:count]
        found = [candidate for candidate in ranking if not candidate.is_baseline]
        if count > 1 and found and all(candidate.is_baseline for candidate in chosen):
            chosen = [*chosen[: count - 1], found[0]]
        return chosen

    def _larger_images(self, baseline: Candidate) -> list[Candidate]:
        """Return a baseline on the largest images on which it can train for ``LARGE_EPOCHS``.

        The list is empty if the final has no time for such a training. In the short trainings of
        equal time before the final, networks on larger images have too few epochs to win.
        """
        trainer = self.trainer
        families = [networks.family for networks in trainer.networks.values()]
        larger = {
            family.name: dataclasses.replace(
                baseline, name=f"{family.name}-{key}", family=family.name
            )
            for family in larger_families(families, baseline.family)
            for key, genotype in family.baselines.items()
            if genotype == baseline.genotype
        }

        def choose() -> str:
            trainings = 2 * trainer.folds  # of two networks
            seconds = trainer.stopwatch.left * min(max(trainer.workers, 1) / trainings, 1)
            for name, candidate in larger.items():
                if LARGE_EPOCHS * trainer.seconds_per_epoch(candidate) <= seconds:
                    return name
            return ""

        chosen = trainer.decisions.decide("larger_images", str, choose) if larger else ""
        return [larger[chosen]] if chosen in larger else []

    def _round(self, name: str, candidates: Sequence[Candidate], seconds: float) -> list[Result]:
        """Train candidates; return an empty list if there is no time for at least two of them."""
        epochs = self.config.plan.short_epochs
        return self.trainer.round(name, candidates, seconds, epochs, min_networks=2)

    def _seconds(self, stage: str) -> float:
        """Return the wall-clock time of a stage before the final."""
        stopwatch = self.trainer.stopwatch
        left = stopwatch.left - self._final_share() * stopwatch.total
        share = SHARES[stage]
        if stage == "baselines":
            share = min(share * self.trainer.folds, MOST_BASELINES)
        if stage == "race" and not self.config.plan.settings:
            share += SHARES["settings"]
        return max(min(share * stopwatch.total, left), 0.0)

    def _finalists(self) -> int:
        """Return how many candidates join the best baseline in the final.

        If time is short, one well trained network is worth more than two poorly trained ones.
        """
        if self.config.plan.finalists is not None:
            return self.config.plan.finalists
        return 1 if self.config.plan.epochs is None and self._is_short() else 2

    def _is_short(self) -> bool:
        """Return whether time is short: the final gets at least 75 % of the budget."""
        return self._final_share() >= FINAL_SHARES[1]

    def _can_vary(self, candidate: Candidate) -> bool:
        return self.trainer.networks[candidate.family].can_vary(candidate.genotype)

    def _final_share(self) -> float:
        """Return the share of the budget that belongs to the final.

        The shorter the budget, the larger the share: a well trained baseline is worth more than a
        choice between poorly trained networks. There should be time for one found network and the
        baseline to train for ``FINAL_EPOCH_SHARE`` of the largest number of epochs, on larger
        images if the best baseline can train on them.
        """
        trainer = self.trainer
        if self.config.plan.final_share is not None:
            return self.config.plan.final_share
        if not trainer.results:  # the baselines come first
            return FINAL_SHARES[0]

        def choose() -> float:
            leader = ranked(trainer.results.values(), trainer.metric[1])[0]
            per_epoch = leader.seconds_per_epoch
            for larger in self._larger_images(leader.candidate):
                per_epoch = max(per_epoch, trainer.seconds_per_epoch(larger))
            training = FINAL_EPOCH_SHARE * trainer.max_epochs * per_epoch
            needed = 2 * trainer.folds * training
            share = needed / max(trainer.workers, 1) / trainer.stopwatch.total
            return min(max(share, FINAL_SHARES[0]), FINAL_SHARES[1])

        return trainer.decisions.decide("final_share", float, choose)

    def _proposals(self, leader: Result) -> int:
        """Return how many architectures to propose.

        By default, as many as can train for ``MIN_EPOCHS`` each in half of the time of the race,
        from 2 to ``MAX_PROPOSALS``.
        """
        if self.config.plan.proposals is not None:
            return self.config.plan.proposals

        def count() -> int:
            seconds = self._seconds("race") / 2 * max(self.trainer.workers, 1)
            training = MIN_EPOCHS * leader.seconds_per_epoch + RUN_OVERHEAD
            count = seconds / training / self.trainer.folds
            return int(min(max(count, 2), MAX_PROPOSALS))

        return self.trainer.decisions.decide("proposals", int, count)
