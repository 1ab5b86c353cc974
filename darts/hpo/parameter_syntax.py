"""The YAML syntax of ``parameters``, which maps keys of a trial to the values they may have.

For example::

    optimizer: {lr: {low: 0.003, high: 0.3, log: true}}
    loader: {batch_size: [16, 32, 64]}
    ema_decay: {low: 0.9, high: 0.999, when: {selection: last}}
    genotype: {space: nas201}
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypedDict

from darts.config.fields import ConfigError, check_fields, flatten, one_of, suggestion
from darts.spaces import SPACES, Space
from darts.spaces.parameters import Choice, Domain, Parameter, Range, Value
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
        domains = "a list of choices or {low: ..., high: ...}"
        raise ConfigError(f"parameters.{key}={description!r}: must be {domains}")
    _require_known(key, description, _KEYS)
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
    _require_known("genotype", options, sorted(fields))
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
    by_name = {parameter.name: parameter for parameter in parameters}
    ordered: dict[str, Parameter] = {}

    def add(parameter: Parameter, dependents: tuple[str, ...]) -> None:
        if parameter.name in dependents:
            raise ConfigError(f"parameters: {parameter.name} depends on itself")
        for name, _ in parameter.conditions:
            if name in by_name and name not in ordered:
                add(by_name[name], (*dependents, parameter.name))
        ordered.setdefault(parameter.name, parameter)

    for parameter in parameters:
        add(parameter, ())
    return list(ordered.values())


def _require_known(key: str, names: Iterable[object], choices: Collection[str]) -> None:
    for name in names:
        if name not in choices:
            raise ConfigError(
                f"parameters.{key}: unknown {name!r}{suggestion(str(name), choices)}; "
                f"choose from {', '.join(choices)}"
            )


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
