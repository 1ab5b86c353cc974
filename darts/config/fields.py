"""Fields that know their limits, and the one walk that checks them all."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Collection, Iterable
from typing import Any

from darts.config.store import group_options
from darts.registry import choice, number

__all__ = ["ConfigError", "check_fields", "choice", "closest", "number", "one_of"]


class ConfigError(ValueError):
    """A configuration that cannot run; the message is one line and names the valid choices."""


def one_of(key: str, value: Any, choices: Collection[str]) -> None:
    """Raise ConfigError unless the value is among the choices."""
    if value not in choices:
        raise ConfigError(f"{key}={value!r} is unknown; choose from {', '.join(choices)}")


def closest(word: str, choices: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` for a near miss, else nothing."""
    match = difflib.get_close_matches(word, list(choices), n=1)
    return f" (did you mean {match[0]!r}?)" if match else ""


def check_fields(config: Any, prefix: str = "") -> None:
    """Check every value of a dataclass, those inside it included, against its field's limits.

    Raises:
        ConfigError: for the first value outside them.
    """
    for field in dataclasses.fields(config):
        value, key = getattr(config, field.name), prefix + field.name
        if dataclasses.is_dataclass(value):
            check_fields(value, key + ".")
        elif isinstance(value, list) and value and dataclasses.is_dataclass(value[0]):
            for index, item in enumerate(value):
                check_fields(item, f"{key}[{index}].")
        elif field.name == "name" and prefix and field.default not in ("", "???", value):
            # A part is named by its type: another word here would change nothing.
            group = prefix[:-1]
            known = ", ".join(group_options(group))
            raise ConfigError(f"{key}={value!r} has no effect; write {group}= one of {known}")
        elif "choices" in field.metadata:
            one_of(key, value, field.metadata["choices"])
        elif "limits" in field.metadata and value is not None:
            for item in value if isinstance(value, list) else [value]:
                _check_limits(key, item, field.metadata["limits"])


def _check_limits(key: str, value: float, limits: dict[str, float | None]) -> None:
    low, high, above, below = (limits[name] for name in ("low", "high", "above", "below"))
    sound = (
        math.isfinite(value)
        and (low is None or value >= low)
        and (high is None or value <= high)
        and (above is None or value > above)
        and (below is None or value < below)
    )
    if not sound:
        bounds = [] if math.isfinite(value) else ["finite"]
        bounds += [
            f"{words} {bound:g}"
            for words, bound in (
                ("at least", low),
                ("above", above),
                ("at most", high),
                ("below", below),
            )
            if bound is not None
        ]
        raise ConfigError(f"{key}={value} is out of range; it must be {' and '.join(bounds)}")
