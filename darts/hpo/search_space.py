"""The spaces of the points of a study, and the overrides that a point adds to a trial.

In YAML, ``parameters`` maps keys of a trial to the values they may have. For example::

    optimizer: {lr: {low: 0.003, high: 0.3, log: true}}
    loader: {batch_size: [16, 32, 64]}
    average_power: {low: 1.5, high: 8.5, when: {selection: last}}
    genotype: {space: nas201}
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypedDict

from darts.config import quoted, value_text, values_of
from darts.config.fields import ConfigError, check_fields, flatten, one_of
from darts.spaces import SPACES, AnyGenotype, Space
from darts.spaces.parameters import Choice, Domain, Parameter, Parameters, Point, Range, Value
from darts.typed_values import typed

_RANGE_KEYS = ("low", "high", "step", "log")
_KEYS = (*_RANGE_KEYS, "choices", "when")


def descriptions(
    parameters: Mapping[str, object], prefix: str = ""
) -> Iterator[tuple[str, object]]:
    """Yield the dotted key and the description of each parameter of a nested mapping."""
    for name, value in parameters.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and key != "genotype" and not set(value) & set(_KEYS):
            yield from descriptions(value, f"{key}.")
        else:
            yield key, value


class _Description(TypedDict, total=False):
    low: int | float
    high: int | float
    step: int | float | None
    log: bool
    choices: list[Any]
    when: dict[str, Any] | None


def parse_parameter(key: str, description: object) -> Parameter:
    """Parse the description of a hyperparameter; raise ConfigError if it is invalid.

    A description is a list of choices, or a mapping with ``choices`` and optionally ``when``, or a
    mapping with ``low`` and ``high`` and optionally ``step``, ``log`` and ``when``.
    """
    if isinstance(description, Sequence) and not isinstance(description, str):
        description = {"choices": list(description)}
    if not isinstance(description, Mapping):
        domains = "a list of choices or {low: ..., high: ...}, which a shell needs in quotes"
        raise ConfigError(f"parameters.{key}={description!r}: must be {domains}")
    for name in description:
        one_of(f"parameters.{key}: key", name, _KEYS)
    try:
        values = typed(_Description, description)
        conditions = tuple(_conditions(values.get("when") or {}))
        return Parameter(key, _domain(values), conditions)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"parameters.{key}: {error}") from None


def parse_architecture(description: object) -> Space:
    """Return the space of ``genotype: {space: NAME, ...}``; other keys are fields of the space."""
    if not isinstance(description, Mapping) or "space" not in description:
        raise ConfigError(
            "parameters.genotype must name a space, for example {space: nas201}; "
            f"choose from {', '.join(SPACES)}"
        )
    one_of("parameters.genotype.space", description["space"], list(SPACES))
    space_type = SPACES[description["space"]]
    fields = {field.name for field in dataclasses.fields(space_type)} - {"name"}
    options = {name: value for name, value in description.items() if name != "space"}
    for name in options:
        one_of("parameters.genotype: key", name, sorted(fields))
    try:
        space: Space = space_type(**options)
    except (TypeError, ValueError) as error:  # values that the space itself rejects
        raise ConfigError(f"parameters.genotype: {error}") from None
    check_fields(space, "parameters.genotype.")
    return space


def sort_by_dependency(parameters: Sequence[Parameter]) -> list[Parameter]:
    """Return parameters in the given order, but each after the ones that it depends on.

    A parameter that depends on itself raises ConfigError.
    """
    left = {parameter.name: parameter for parameter in parameters}
    ordered: list[Parameter] = []
    while left:
        ready = [p for p in left.values() if not any(name in left for name, _ in p.conditions)]
        if not ready:
            raise ConfigError(f"parameters: {next(iter(left))} depends on itself")
        ordered.append(left.pop(ready[0].name))
    return ordered


def _domain(values: _Description) -> Domain:
    if "choices" in values:
        if set(values) & set(_RANGE_KEYS):
            raise ValueError("choices cannot be combined with low, high, step or log")
        return Choice(tuple(map(_scalar, values["choices"])))
    for name in ("low", "high"):
        if name not in values:
            raise ValueError(f"{name} is missing; set choices, or low and high")
    low, high, step = values["low"], values["high"], values.get("step")
    integer = all(isinstance(number, int) for number in (low, high, step or 0))
    return Range(low, high, integer, step, values.get("log", False))


def _conditions(when: Mapping[str, object]) -> Iterator[tuple[str, tuple[Value, ...]]]:
    for name, value in flatten(when):
        yield name, tuple(map(_scalar, value if isinstance(value, list) else [value]))


def _scalar(value: object) -> Value:
    """Return a scalar unchanged, and a list as text that Hydra parses."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return json.dumps(value)


# Names of the two groups of parameters.
ARCHITECTURE, HYPERPARAMETERS = "architecture", "hyperparameters"

_PREFIX = "genotype."


class SearchSpace:
    """The hyperparameters and the architecture that a study varies.

    Args:
        parameters: Nested mapping from keys to descriptions, see the docstring of this module.
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
        """Return the architecture of a point.

        It is None if the study does not vary it, or if a failure left the point incomplete.
        """
        if self.architecture is None or not self.parameters.contains(point):
            return None
        prefix = len(_PREFIX)
        choices = {k[prefix:]: value for k, value in point.items() if k.startswith(_PREFIX)}
        genotype: AnyGenotype = self.architecture.decode(choices)
        return genotype

    def overrides(self, point: Mapping[str, Value]) -> list[str]:
        """Return the overrides that a point adds to the command line of a trial."""
        genotype, overrides = self.genotype(point), []
        if genotype is not None and self.architecture is not None:
            overrides += [f"space={self.architecture.name}", f"genotype={quoted(str(genotype))}"]
        for name, value in self.settings(point).items():
            # A choice that is a list is stored as text.
            text = value if str(value)[:1] in ("[", "{") else value_text(name, value)
            overrides.append(f"{name}={text}")
        return overrides

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
        names = [parameter.name for parameter in self.parameters]
        architecture = [name for name in names if name.startswith(_PREFIX)]
        others = [name for name in names if name not in architecture]
        groups = {ARCHITECTURE: architecture, HYPERPARAMETERS: others}
        return {group: own for group, own in groups.items() if own}

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
        for other in reversed([*self.parameters]):  # each before the ones that it depends on
            if other.name in required:
                required = {name: values[0] for name, values in other.conditions} | required
        point: Point = {}
        for other in self.parameters:
            if other.active(point):
                point[other.name] = required.get(other.name, other.domain.grid(2)[0])
        return point


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
