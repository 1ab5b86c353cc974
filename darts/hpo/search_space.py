"""The spaces of the points of a study, and the overrides that a point adds to a trial."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from darts.config import ConfigError, quoted, value_text, values_of
from darts.hpo.parameter_syntax import (
    descriptions,
    parse_architecture,
    parse_parameter,
    sort_by_dependency,
)
from darts.judging.factorial import LEVELS
from darts.spaces import AnyGenotype, Space
from darts.spaces.parameters import Choice, Parameter, Parameters, Point, Value

FACTORS = ARCHITECTURE, HYPERPARAMETERS = "architecture", "hyperparameters"
"""Names of the two groups of parameters."""

_PREFIX = "genotype."


class SearchSpace:
    """The hyperparameters and the architecture that a study varies.

    Args:
        parameters: Nested mapping from keys to descriptions, see ``darts.hpo.parameter_syntax``.
        overrides: Overrides of all trials. They may name a model of the user's own, whose choices
            are the architecture.

    Attributes:
        parameters: All parameters; names of choices of the architecture begin with ``genotype.``.
        architecture: Space of the genotypes; None if the study does not vary the architecture.
    """

    def __init__(self, parameters: Mapping[str, object], overrides: Sequence[str] = ()) -> None:
        self.architecture: Space | None = None
        unsorted: list[Parameter] = []
        for key, description in descriptions(parameters):
            if key == "genotype":
                self.architecture = parse_architecture(_with_target(description, overrides))
                unsorted += map(_prefixed, self.architecture.parameters())
            else:
                unsorted.append(parse_parameter(key, description))
        if not unsorted:
            raise ConfigError(
                "parameters is empty; name the keys to vary, for example "
                "'parameters.optimizer.lr={low: 0.01, high: 0.1, log: true}'"
            )
        try:
            self.parameters = Parameters(sort_by_dependency(unsorted))
        except ValueError as error:
            raise ConfigError(f"parameters: {error}") from None

    def genotype(self, point: Mapping[str, Value]) -> AnyGenotype | None:
        """Return the architecture of a point; None if the point does not set it."""
        if self.architecture is None:
            return None
        prefix = len(_PREFIX)
        choices = {k[prefix:]: value for k, value in point.items() if k.startswith(_PREFIX)}
        genotype: AnyGenotype = self.architecture.decode(choices)
        return genotype

    def overrides(self, point: Mapping[str, Value]) -> list[str]:
        """Return the overrides that a point adds to the command line of a trial."""
        return [*self.architecture_overrides(point), *self.hyperparameter_overrides(point)]

    def architecture_overrides(self, point: Mapping[str, Value]) -> list[str]:
        """Return the overrides that set space and genotype."""
        genotype = self.genotype(point)
        if genotype is None or self.architecture is None:
            return []
        return [f"space={self.architecture.name}", f"genotype={quoted(str(genotype))}"]

    def hyperparameter_overrides(self, point: Mapping[str, Value]) -> list[str]:
        """Return the overrides that set hyperparameters."""
        return [
            # A choice that is a list is stored as text.
            f"{name}={value if str(value)[:1] in ('[', '{') else value_text(name, value)}"
            for name, value in self.settings(point).items()
        ]

    def settings(self, point: Mapping[str, Value]) -> Point:
        """Return the parameters of a point that are not part of the architecture."""
        return {name: value for name, value in point.items() if not name.startswith(_PREFIX)}

    def row(self, point: Mapping[str, Value]) -> Point:
        """Return a point as part of a row of ``trials.csv``: settings, and the genotype as text."""
        genotype = self.genotype(point)
        return self.settings(point) | ({} if genotype is None else {"genotype": str(genotype)})

    def groups(self) -> dict[str, list[str]]:
        """Return the parameter names by group: ``architecture`` and ``hyperparameters``.

        A group without parameters is left out.
        """
        groups: dict[str, list[str]] = {}
        for name in sorted(self.parameters.by_name, key=lambda name: not name.startswith(_PREFIX)):
            group = ARCHITECTURE if name.startswith(_PREFIX) else HYPERPARAMETERS
            groups.setdefault(group, []).append(name)
        return groups

    def extremes(self) -> Iterator[tuple[str, Point]]:
        """Yield a point for each value of a choice and each bound of a range.

        With each point, yield the name of the parameter that has this value. One point suffices for
        the architecture, because all architectures of a space are valid.
        """
        architecture = self.groups().get(ARCHITECTURE, [])
        for parameter in self.parameters:
            values = parameter.domain.grid(2)
            if parameter.name in architecture:
                values = values[:1] if parameter.name == architecture[0] else ()
            for value in values:
                yield parameter.name, self._point_with(parameter, value)

    def _point_with(self, parameter: Parameter, value: Value) -> Point:
        """Return a point in which ``parameter`` has ``value``.

        Its conditions hold. All other parameters have their first value.
        """
        required: Point = {parameter.name: value}
        pending = [parameter]
        while pending:
            for name, values in pending.pop().conditions:
                required.setdefault(name, values[0])
                pending.append(self.parameters.by_name[name])
        point: Point = {}
        for other in self.parameters:
            if other.active(point):
                point[other.name] = required.get(other.name, other.domain.grid(2)[0])
        return point


class FactorialDesign(SearchSpace):
    """The space ``{default, best} x {default, best} x seeds``, trained after a study.

    It separates the gain of the architecture from the gain of the hyperparameters. The seeds are
    new, because the score of the best trial itself does not measure a gain: it is the best of many
    noisy scores and therefore biased.

    Attributes:
        factors: Names of the ``FACTORS`` that the study varies.
    """

    def __init__(self, space: SearchSpace, best: Point, seeds: range) -> None:
        self._space, self._best, self.architecture = space, best, None
        groups = space.groups()
        self.factors = [name for name in FACTORS if name in groups]
        levels = Choice(LEVELS)
        factors = [Parameter(name, levels) for name in self.factors]
        self.parameters = Parameters([Parameter("seed", Choice(tuple(seeds))), *factors])

    def genotype(self, point: Mapping[str, Value]) -> AnyGenotype | None:
        return self._space.genotype(self._best) if point.get(ARCHITECTURE) == "best" else None

    def overrides(self, point: Mapping[str, Value]) -> list[str]:
        overrides: list[str] = []
        if point.get(ARCHITECTURE) == "best":
            overrides += self._space.architecture_overrides(self._best)
        if point.get(HYPERPARAMETERS) == "best":
            overrides += self._space.hyperparameter_overrides(self._best)
        return [*overrides, f"seed={point['seed']}"]


def _with_target(description: object, overrides: Sequence[str]) -> object:
    """Return the description of an architecture; of ``module``, with the class of the overrides."""
    targets = values_of("space.target", overrides)
    if not isinstance(description, Mapping) or description.get("space") != "module" or not targets:
        return description
    return {"target": targets[-1], **{str(key): value for key, value in description.items()}}


def _prefixed(parameter: Parameter) -> Parameter:
    return dataclasses.replace(
        parameter,
        name=_PREFIX + parameter.name,
        conditions=tuple((_PREFIX + name, values) for name, values in parameter.conditions),
    )
