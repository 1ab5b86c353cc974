"""New candidates of the race: the baselines, and variants of the leader."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from operator import itemgetter
from random import Random

from darts.config import FindConfig
from darts.finding.candidates import BASELINE, FOUND, Candidate, Networks, Start
from darts.recipes.rules import DataFacts, Setting, settings


@dataclass(frozen=True)
class Pool:
    """Where candidates come from.

    Attributes:
        config: Configuration of the run.
        networks: The networks of each family by its name.
        facts: Facts of the data.
    """

    config: FindConfig
    networks: dict[str, Networks]
    facts: DataFacts

    def baselines(self) -> list[Candidate]:
        """Return the baselines: the first one of each family, then the second ones, and so on.

        Families that are ``later`` begin after the first baselines of the others.
        """
        found = [
            (
                turn + networks.family.later,
                Candidate(f"{family}-{name}", family, str(genotype), BASELINE),
            )
            for family, networks in self.networks.items()
            for turn, (name, genotype) in enumerate(networks.baselines.items())
        ]
        return [candidate for _, candidate in sorted(found, key=itemgetter(0))]

    def fine_tunes(self, candidate: Candidate) -> bool:
        """Return whether the network of a candidate begins with trained weights."""
        return self.networks[candidate.family].family.fine_tunes

    def variants(
        self, leader: Candidate, start: Start, known: Sequence[Candidate], *, augments: bool = False
    ) -> Iterator[Candidate]:
        """Yield new candidates near the leader, as long as there are any.

        In turn: the leader, which continues its training with another setting; a change of its
        architecture, see ``_moved``; and another baseline with the leader's setting. After an
        augmentation, there is no further setting, because later ones include the augmentation
        unless it harms.

        Args:
            leader: The best candidate.
            start: The training of the leader, for those that continue it.
            known: All candidates so far.
            augments: Whether augmentations come before other settings.
        """
        keys, names, number = {c.key for c in known}, {c.name for c in known}, len(known)
        # At a later stage of the leader, settings that it has tried before come last.
        tried = [c.setting for c in known if c.start.parent == leader.name]
        proposed = self._settings(leader, start) if self.config.plan.settings else ()
        first = sorted(proposed, key=lambda c: augments and not c.setting.augments)  # stable
        changes = iter(sorted(first, key=lambda c: c.setting in tried))
        random = Random(self.config.seed + number)
        changed = self._moved(leader, start, random) if self.config.plan.architectures else iter(())
        sources = [changes, changed, self._others(leader)]
        while sources:
            source = sources.pop(0)
            candidate = next((c for c in source if c.key not in keys), None)
            if candidate is not None:
                keys.add(candidate.key)
                # Not the next number, because earlier candidates may have been left out.
                number = next(n for n in count(number + 1) if f"{candidate.name}-{n}" not in names)
                yield dataclasses.replace(candidate, name=f"{candidate.name}-{number}")
                if source is not changes or not candidate.setting.augments:
                    sources.append(source)

    def _settings(self, leader: Candidate, start: Start) -> Iterator[Candidate]:
        """Yield changes of the leader's setting that do not take back an earlier change."""
        networks = self.networks[leader.family]
        recipe = networks.values | networks.family.values
        for change in settings(self.facts, recipe | leader.setting.values, networks.user.keys()):
            names = [leader.setting.name] if leader.setting.values else []
            values = {
                key: value
                for key, value in {**leader.setting.values, **change.values}.items()
                # A mirrored network has twice the MACs.
                if recipe.get(key) != value and not (key == "mirror" and networks.limits.limits)
            }
            if leader.setting.values.keys() <= values.keys():
                setting = Setting("+".join([*names, change.name]), values)
                name = f"{leader.name.partition('+')[0]}+{setting.name}"
                yield dataclasses.replace(leader, name=name, setting=setting, start=start)

    def _moved(self, leader: Candidate, start: Start, random: Random) -> Iterator[Candidate]:
        """Yield changes of the leader's architecture by one step, in random order.

        If the space has moves, the new network inherits the leader's weights and continues its
        training. Otherwise, it begins with random weights.
        """
        networks = self.networks[leader.family]
        known = {each.function for each in networks.baselines.values()}
        moves = [*networks.space.moves(leader.architecture)]
        random.shuffle(moves)
        for move in moves:
            if networks.fits(move.genotype):
                yield Candidate(
                    f"{leader.family}-found",
                    leader.family,
                    str(move.genotype),
                    FOUND,
                    leader.setting,
                    start,
                    (*leader.moves, move.name),
                )
        if not moves:
            for genotype in filter(networks.fits, networks.neighbors(leader.architecture, random)):
                origin = BASELINE if genotype.function in known else FOUND
                name = f"{leader.family}-{origin}"
                yield Candidate(name, leader.family, str(genotype), origin, leader.setting)

    def _others(self, leader: Candidate) -> Iterator[Candidate]:
        label = f"+{leader.setting.name}" if leader.setting.values else ""
        families = list(self.networks)
        for own in sorted(self.baselines(), key=lambda own: families.index(own.family)):
            yield dataclasses.replace(own, name=f"{own.name}{label}", setting=leader.setting)
