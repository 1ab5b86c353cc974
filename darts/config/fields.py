"""Checks of configuration values against the limits of their fields."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any, ClassVar, Protocol

from darts.key_checks import outside, unknown_option
from darts.keys import flatten as flatten
from darts.plugins import group_options

MISSING: Any = "???"  # OmegaConf's marker for a value that must be given


class Dataclass(Protocol):
    """An instance of any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


class ConfigError(ValueError):
    """A configuration that cannot run; the message is one line and names the valid choices."""


def one_of(key: str, value: object, choices: Collection[str]) -> None:
    """Raise ConfigError unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ConfigError(unknown_option(key, value, choices))


def check_fields(config: Dataclass, prefix: str = "") -> None:
    """Raise ConfigError for the first value that violates the limits of its field.

    Dataclasses in fields, and in lists, are checked as well.
    """
    for field in dataclasses.fields(config):
        value, key = getattr(config, field.name), prefix + field.name
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            check_fields(value, key + ".")
        elif isinstance(value, list) and value and dataclasses.is_dataclass(value[0]):
            for index, item in enumerate(value):
                check_fields(item, f"{key}[{index}].")
        elif field.name == "name" and prefix and field.default not in ("", MISSING, value):
            # The class of a component fixes its name: another value here would change nothing.
            group, names = prefix[:-1], ", ".join(group_options(prefix[:-1]))
            raise ConfigError(f"{key}={value!r} has no effect; set {group}= to one of {names}")
        elif "choices" in field.metadata:
            one_of(key, value, field.metadata["choices"])
        elif "limits" in field.metadata and value is not None:
            for item in value if isinstance(value, list) else [value]:
                if message := outside(key, item, field.metadata["limits"]):
                    raise ConfigError(message)
