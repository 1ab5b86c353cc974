"""The search space of a study: points, and the overrides that a point adds to a trial."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from darts.config import ConfigError, quoted
from darts.hpo.parameter_syntax import (
    descriptions,
    format_override,
    parse_architecture,
    parse_parameter,
    sort_by_dependency,
)
from darts.spaces import AnyGenotype, Space
from darts.spaces.parameters import Choice, Parameter, Parameters, Point, Value

ARCHITECTURE, HYPERPARAMETERS = "architecture", "hyperparameters"
"""Names of the two groups of parameters."""

_PREFIX = "genotype."


class TrialSpace(Protocol):
    """What a study needs of its search space."""

    parameters: Parameters

    def genotype(self, point: Mapping[str, Value]) -> AnyGenotype | None:
        """Return the architecture of a point; None if the trial's command names it."""
        ...

    def overrides(self, point: Mapping[str, Value]) -> list[str]:
        """Return the overrides that a point adds to the command line of a trial."""
        ...

    def settings(self, point: Mapping[str, Value]) -> Point:
        """Return the hyperparameters of a point."""
        ...

    def row(self, point: Mapping[str, Value]) -> Point:
        """Return a point as a table row: hyperparameters, and the genotype as one text."""
        ...


class SearchSpace:
    """The hyperparameters and the architecture that a study varies.

    Args:
        parameters: nested mapping from keys to descriptions, see
            ``darts.hpo.parameter_syntax``.

    Attributes:
        parameters: names of the architecture's parameters begin with ``genotype.``.
        architecture: space of the genotype; None if the architecture is fixed.

    Raises:
        ConfigError: in one line, for an invalid description.
    """

    def __init__(self, parameters: Mapping[str, object]) -> None:
        self.architecture: Space | None = None
        unsorted: list[Parameter] = []
        for key, description in descriptions(parameters):
            if key == "genotype":
                self.architecture = parse_architecture(description)
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
        """Return the architecture of a point; None if the study does not vary it."""
        if self.architecture is None:
            return None
        choices = {
            name.removeprefix(_PREFIX): value
            for name, value in point.items()
            if name.startswith(_PREFIX)
        }
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
        return [f"{name}={format_override(value)}" for name, value in self.settings(point).items()]

    def settings(self, point: Mapping[str, Value]) -> Point:
        """Return the hyperparameters of a point."""
        return {name: value for name, value in point.items() if not name.startswith(_PREFIX)}

    def row(self, point: Mapping[str, Value]) -> Point:
        """Return a point as a table row: hyperparameters, and the genotype as one text."""
        genotype = self.genotype(point)
        return self.settings(point) | ({} if genotype is None else {"genotype": str(genotype)})

    def groups(self) -> dict[str, list[str]]:
        """Return the parameter names of ``architecture`` and ``hyperparameters``, if any."""
        names = [parameter.name for parameter in self.parameters]
        groups = {
            ARCHITECTURE: [name for name in names if name.startswith(_PREFIX)],
            HYPERPARAMETERS: [name for name in names if not name.startswith(_PREFIX)],
        }
        return {group: members for group, members in groups.items() if members}

    def extremes(self) -> Iterator[tuple[str, Point]]:
        """Yield points that cover each choice and each bound, with the name of the parameter.

        One point covers the architecture, because all points of an architecture are valid.
        """
        architecture_covered = False
        for parameter in self.parameters:
            domain = parameter.domain
            values: Sequence[Value]
            values = domain.values if isinstance(domain, Choice) else domain.grid(2)
            if parameter.name.startswith(_PREFIX):
                if architecture_covered:
                    continue
                architecture_covered = True
                values = values[:1]
            for value in values:
                yield parameter.name, self._point_with(parameter, value)

    def _point_with(self, parameter: Parameter, value: Value) -> Point:
        """Return a point with the value; all other parameters have their first possible value."""
        required: Point = {parameter.name: value}
        pending = [parameter]
        while pending:
            for name, values in pending.pop().conditions:
                required.setdefault(name, values[0])
                pending.append(self.parameters.by_name[name])
        point: Point = {}
        for other in self.parameters:
            if other.active(point):
                first = other.domain.grid(2)[0]
                point[other.name] = required.get(other.name, first)
        return point


def _prefixed(parameter: Parameter) -> Parameter:
    """Add the prefix of genotypes to a parameter of an architecture and to its conditions."""
    return dataclasses.replace(
        parameter,
        name=_PREFIX + parameter.name,
        conditions=tuple((_PREFIX + name, values) for name, values in parameter.conditions),
    )
