"""From the parameters of a YAML to points, and from a point to the overrides of a trial.

A parameter is described by the key that it sets:

    optimizer: {lr: {low: 0.003, high: 0.3, log: true}}
    loader: {batch_size: [16, 32, 64]}
    averaging: {low: 0.9, high: 0.999, when: {choose: last}}
    genotype: {space: nas201}
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from darts.config import ConfigError, one_of
from darts.config.fields import check_fields, closest
from darts.config.overrides import quoted
from darts.spaces import SPACES
from darts.spaces.parameters import Choice, Domain, Parameter, Parameters, Point, Range, Value

_RANGE = ("low", "high", "step", "log")
_WORDS = (*_RANGE, "choices", "when")
_PREFIX = "genotype."
_PLAIN = re.compile(r"[A-Za-z_][\w./-]*")


class SearchSpace:
    """What is searched for: hyperparameters, an architecture, or both.

    Args:
        described: nested keys down to the description of a parameter, as above.

    Attributes:
        parameters: those of the architecture have names that begin with ``genotype.``.
        architecture: the space of the genotype, if one is searched for.

    Raises:
        ConfigError: in one line, for whatever describes no parameter.
    """

    def __init__(self, described: Mapping[str, Any]) -> None:
        self.architecture: Any = None
        found: list[Parameter] = []
        for key, description in _leaves(described):
            if key == "genotype":
                self.architecture = _architecture(description)
                found += [
                    dataclasses.replace(
                        parameter,
                        name=_PREFIX + parameter.name,
                        when=tuple((_PREFIX + name, values) for name, values in parameter.when),
                    )
                    for parameter in self.architecture.parameters()
                ]
            else:
                found.append(_parameter(key, description))
        if not found:
            raise ConfigError(
                "parameters is empty: name keys to vary, such as "
                "'parameters.optimizer.lr={low: 0.01, high: 0.1, log: true}'"
            )
        try:
            self.parameters = Parameters(_sorted(found))
        except ValueError as error:
            raise ConfigError(f"parameters: {error}") from None

    def genotype(self, point: Mapping[str, Value]) -> Any:
        """The architecture of a point; None where none is searched for."""
        if self.architecture is None:
            return None
        own = {
            name.removeprefix(_PREFIX): value
            for name, value in point.items()
            if name.startswith(_PREFIX)
        }
        return self.architecture.decode(own)

    def overrides(self, point: Mapping[str, Value]) -> list[str]:
        """What a point adds to the command line of a trial."""
        return [*self.of_architecture(point), *self.of_settings(point)]

    def of_architecture(self, point: Mapping[str, Value]) -> list[str]:
        """The part of ``overrides`` that names the genotype."""
        genotype = self.genotype(point)
        if genotype is None:
            return []
        return [f"space={self.architecture.name}", f"genotype={quoted(str(genotype))}"]

    def of_settings(self, point: Mapping[str, Value]) -> list[str]:
        """The part of ``overrides`` that sets hyperparameters."""
        return [f"{name}={_text(value)}" for name, value in self.settings(point).items()]

    def settings(self, point: Mapping[str, Value]) -> Point:
        """The hyperparameters of a point."""
        return {name: value for name, value in point.items() if not name.startswith(_PREFIX)}

    def shown(self, point: Mapping[str, Value]) -> dict[str, Value]:
        """A point for people: the hyperparameters, and the genotype as one text."""
        genotype = self.genotype(point)
        return self.settings(point) | ({} if genotype is None else {"genotype": str(genotype)})

    def groups(self) -> dict[str, list[str]]:
        """Names of the parameters of the architecture and of the others, where there are any."""
        names = [parameter.name for parameter in self.parameters]
        groups = {
            "architecture": [name for name in names if name.startswith(_PREFIX)],
            "hyperparameters": [name for name in names if not name.startswith(_PREFIX)],
        }
        return {group: own for group, own in groups.items() if own}

    def extremes(self) -> Iterator[tuple[str, Point]]:
        """Points that show each value of each choice and each bound, with the parameter's name.

        Of architectures one is enough: any point of theirs is valid.
        """
        shown = False
        for parameter in self.parameters:
            if parameter.name.startswith(_PREFIX):
                if shown:
                    continue
                shown = True
            domain = parameter.domain
            values: Sequence[Value]
            values = domain.values if isinstance(domain, Choice) else domain.grid(2)
            for value in values[:1] if parameter.name.startswith(_PREFIX) else values:
                yield parameter.name, self._around(parameter, value)

    def _around(self, parameter: Parameter, value: Value) -> Point:
        """A point with that value, everything else being the first possible."""
        wanted: Point = {parameter.name: value}
        pending = [parameter]
        while pending:
            for name, values in pending.pop().when:
                wanted.setdefault(name, values[0])
                pending.append(self.parameters.by_name[name])
        point: Point = {}
        for other in self.parameters:
            if other.active(point):
                first = other.domain.grid(2)[0]
                point[other.name] = wanted.get(other.name, first)
        return point


def _leaves(described: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Keys with dots, and what describes their parameters."""
    for name, value in described.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and key != "genotype" and not set(value) & set(_WORDS):
            yield from _leaves(value, f"{key}.")
        else:
            yield key, value


def _parameter(key: str, description: Any) -> Parameter:
    if isinstance(description, Sequence) and not isinstance(description, str):
        description = {"choices": list(description)}
    if not isinstance(description, Mapping):
        raise ConfigError(
            f"parameters.{key}={description!r} describes no parameter; write a list of choices or "
            "{low: ..., high: ...}"
        )
    unknown = [word for word in description if word not in _WORDS]
    if unknown:
        known = ", ".join(_WORDS)
        raise ConfigError(
            f"parameters.{key}: unknown {unknown[0]!r}{closest(str(unknown[0]), _WORDS)}; "
            f"choose from {known}"
        )
    try:
        return Parameter(key, _domain(description), _conditions(description.get("when")))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"parameters.{key}: {error}") from None


def _domain(description: Mapping[str, Any]) -> Domain:
    if "choices" in description:
        if set(description) & set(_RANGE):
            raise ValueError("choices and low/high exclude each other")
        values = description["choices"]
        if not isinstance(values, Sequence) or isinstance(values, str):
            raise ValueError(f"choices={values!r} is no list")
        return Choice(tuple(_scalar(value) for value in values))
    missing = [word for word in ("low", "high") if word not in description]
    if missing:
        raise ValueError(f"{missing[0]} is missing; write choices, or low and high")
    numbers = [description[w] for w in ("low", "high", "step") if description.get(w) is not None]
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise ValueError(f"{number!r} is no number")
    log = description.get("log", False)
    if not isinstance(log, bool):
        raise ValueError(f"log={log!r} is neither true nor false")
    whole = all(isinstance(number, int) for number in numbers)
    return Range(description["low"], description["high"], whole, description.get("step"), log)


def _conditions(when: Any) -> tuple[tuple[str, tuple[Value, ...]], ...]:
    if when is None:
        return ()
    if not isinstance(when, Mapping):
        raise ValueError(f"when={when!r} must name keys and values, as {{choose: last}}")
    return tuple(
        (name, tuple(values) if isinstance(values, list) else (values,))
        for name, values in _flat(when)
    )


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in mapping.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _scalar(value: Any) -> Value:
    """A choice as one value: lists are written as Hydra reads them."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return json.dumps(value)


def _architecture(description: Any) -> Any:
    """The space of ``genotype: {space: NAME, ...}``, with its other fields."""
    if not isinstance(description, Mapping) or "space" not in description:
        raise ConfigError(
            "parameters.genotype must name a space, as {space: nas201}; "
            f"choose from {', '.join(SPACES)}"
        )
    one_of("parameters.genotype.space", description["space"], list(SPACES))
    kind = SPACES[description["space"]]
    fields = {field.name for field in dataclasses.fields(kind)} - {"name"}
    options = {name: value for name, value in description.items() if name != "space"}
    for name in options:
        if name not in fields:
            raise ConfigError(
                f"parameters.genotype: unknown {name!r}{closest(name, fields)}; "
                f"choose from {', '.join(sorted(fields))}"
            )
    space = kind(**options)
    check_fields(space, "parameters.genotype.")
    return space


def _sorted(parameters: Sequence[Parameter]) -> list[Parameter]:
    """In the order given, but what others depend on before them."""
    by_name = {parameter.name: parameter for parameter in parameters}
    found: dict[str, Parameter] = {}

    def add(parameter: Parameter, above: tuple[str, ...]) -> None:
        if parameter.name in above:
            raise ConfigError(f"parameters: {parameter.name} depends on itself")
        for name, _ in parameter.when:
            if name in by_name and name not in found:
                add(by_name[name], (*above, parameter.name))
        found.setdefault(parameter.name, parameter)

    for parameter in parameters:
        add(parameter, ())
    return list(found.values())


def _text(value: Value) -> str:
    """A value as Hydra's grammar reads it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    plain = _PLAIN.fullmatch(value) and value.lower() not in ("true", "false", "null", "nan", "inf")
    return value if plain or value[:1] in ("[", "{") else quoted(value)
