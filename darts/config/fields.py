"""Field limits, and one function that checks a whole configuration against them."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from darts.config.conf_files import group_options

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MISSING: Any = "???"  # OmegaConf's mark of a value that has no default

_BOUNDS = {"low": ">=", "above": ">", "high": "<=", "below": "<"}


class ConfigError(ValueError):
    """A configuration that cannot run; the message is one line and names the valid choices."""


def one_of(key: str, value: object, choices: Collection[str]) -> None:
    """Raise ConfigError unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ConfigError(f"{key}={value!r} is unknown; choose from {', '.join(choices)}")


def closest(word: str, choices: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` if a choice is similar to the word, else ``""``."""
    match = difflib.get_close_matches(word, list(choices), n=1)
    return f" (did you mean {match[0]!r}?)" if match else ""


def check_fields(config: DataclassInstance, prefix: str = "") -> None:
    """Check every value of a dataclass, including nested ones, against the limits of its field.

    Args:
        config: the dataclass instance.
        prefix: what precedes its keys in messages, for example ``optimizer.``.

    Raises:
        ConfigError: for the first value outside its limits.
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
            group = prefix[:-1]
            raise ConfigError(
                f"{key}={value!r} has no effect; set {group}= to one of "
                f"{', '.join(group_options(group))}"
            )
        elif "choices" in field.metadata:
            one_of(key, value, field.metadata["choices"])
        elif "limits" in field.metadata and value is not None:
            for item in value if isinstance(value, list) else [value]:
                _check_limits(key, item, field.metadata["limits"])


def _check_limits(key: str, value: float, limits: Mapping[str, float | None]) -> None:
    low, high, above, below = (limits[name] for name in ("low", "high", "above", "below"))
    within = (
        math.isfinite(value)
        and (low is None or value >= low)
        and (high is None or value <= high)
        and (above is None or value > above)
        and (below is None or value < below)
    )
    if not within:
        bounds = [] if math.isfinite(value) else ["finite"]
        bounds += [
            f"{sign} {limits[name]:g}" for name, sign in _BOUNDS.items() if limits[name] is not None
        ]
        raise ConfigError(f"{key}={value}: must be {' and '.join(bounds)}")
