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
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from darts.config import ConfigError, check_fields, one_of, quoted, suggestion
from darts.spaces import SPACES, Space
from darts.spaces.parameters import Choice, Domain, Parameter, Range, Value

_RANGE_KEYS = ("low", "high", "step", "log")
_KEYS = (*_RANGE_KEYS, "choices", "when")
_UNQUOTED = re.compile(r"[A-Za-z_][\w./-]*")


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


def parse_parameter(key: str, description: object) -> Parameter:
    """Parse the description of a hyperparameter; raise ``ConfigError`` if it is invalid.

    A description is a list of choices, or a mapping with ``choices`` and optionally ``when``, or a
    mapping with ``low`` and ``high`` and optionally ``step``, ``log`` and ``when``.
    """
    if isinstance(description, Sequence) and not isinstance(description, str):
        description = {"choices": list(description)}
    if not isinstance(description, Mapping):
        domains = "a list of choices or {low: ..., high: ...}"
        raise ConfigError(f"parameters.{key}={description!r}: must be {domains}")
    _refuse_unknown(key, description, _KEYS)
    when = description.get("when")
    try:
        conditions = () if when is None else tuple(_conditions(when))
        return Parameter(key, _domain(description), conditions)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"parameters.{key}: {error}") from None


def parse_architecture(description: object) -> Space:
    """Return the space of ``genotype: {space: NAME, ...}``; other keys are fields of the space.

    An unknown space or field raises ``ConfigError``.
    """
    if not isinstance(description, Mapping) or "space" not in description:
        raise ConfigError(
            "parameters.genotype must name a space, for example {space: nas201}; "
            f"choose from {', '.join(SPACES)}"
        )
    one_of("parameters.genotype.space", description["space"], list(SPACES))
    space_type = SPACES[description["space"]]
    fields = {field.name for field in dataclasses.fields(space_type)} - {"name"}
    options = {name: value for name, value in description.items() if name != "space"}
    _refuse_unknown("genotype", options, sorted(fields))
    try:
        space: Space = space_type(**options)
    except (TypeError, ValueError) as error:  # values that the space itself refuses
        raise ConfigError(f"parameters.genotype: {error}") from None
    check_fields(space, "parameters.genotype.")
    return space


def sort_by_dependency(parameters: Sequence[Parameter]) -> list[Parameter]:
    """Return parameters in the given order, but each after the ones that it depends on.

    A parameter that depends on itself raises ``ConfigError``.
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


def format_override(value: Value) -> str:
    """Format a value in Hydra's override grammar."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    reserved = ("true", "false", "null", "nan", "inf")
    plain = _UNQUOTED.fullmatch(value) and value.lower() not in reserved
    return value if plain or value[:1] in ("[", "{") else quoted(value)


def _refuse_unknown(key: str, names: Iterable[object], choices: Collection[str]) -> None:
    for name in names:
        if name not in choices:
            raise ConfigError(
                f"parameters.{key}: unknown {name!r}{suggestion(str(name), choices)}; "
                f"choose from {', '.join(choices)}"
            )


def _domain(description: Mapping[str, object]) -> Domain:
    if "choices" not in description:
        return _range(description)
    if set(description) & set(_RANGE_KEYS):
        raise ValueError("choices cannot be combined with low, high, step or log")
    values = description["choices"]
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise ValueError(f"choices={values!r}: must be a list")
    return Choice(tuple(map(_scalar, values)))


def _range(description: Mapping[str, object]) -> Range:
    for name in ("low", "high"):
        if name not in description:
            raise ValueError(f"{name} is missing; set choices, or low and high")
    low, high = (_number(name, description[name]) for name in ("low", "high"))
    step = description.get("step")
    step = None if step is None else _number("step", step)
    log = description.get("log", False)
    if not isinstance(log, bool):
        raise ValueError(f"log={log!r}: must be true or false")
    integer = all(isinstance(number, int) for number in (low, high, step or 0))
    return Range(low, high, integer, step, log)


def _number(name: str, value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{name}={value!r}: must be a number")
    return value


def _conditions(when: object, prefix: str = "") -> Iterator[tuple[str, tuple[Value, ...]]]:
    if not isinstance(when, Mapping):
        raise ValueError(f"when={when!r}: must map keys to values, for example {{selection: last}}")
    for name, value in when.items():
        if isinstance(value, Mapping):
            yield from _conditions(value, f"{prefix}{name}.")
        else:
            values = value if isinstance(value, list) else [value]
            yield f"{prefix}{name}", tuple(map(_scalar, values))


def _scalar(value: object) -> Value:
    """Return a scalar unchanged, and a list as text that Hydra parses."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return json.dumps(value)
