"""Hydra's and OmegaConf's errors in one line that names the valid choices."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from hydra.errors import OverrideParseException

from darts.config.fields import closest


def one_line(error: BaseException, known: Iterable[str]) -> str:
    """Say in one line what was wrong with a configuration.

    Args:
        error: what Hydra or OmegaConf raised.
        known: dotted keys that exist, to choose from when a key does not.
    """
    return " ".join(_described(error, known).splitlines())


def _described(error: BaseException, known: Iterable[str]) -> str:
    text = _text(error)
    if isinstance(error, OverrideParseException):
        reason = _match(r"(?m)^((?!Error parsing|Lexer|See https|\s*\^).+)$", str(error))
        return (
            f"cannot read the override {error.override!r}: "
            f"{reason or 'a character is out of place'}; "
            "write key=value, and a value with special characters as \"key='...'\""
        )
    key = _match(r"full_key: (\S+)", text)
    if "not in struct" in text or "not in '" in text:
        return unknown_key(key or _match(r"Could not override '([^']+)'", text) or "?", list(known))
    option = re.search(
        r"Could not find '([^']+)'\s+Available options in '([^']+)':\s*(.*?)\n\s*(?:Config|$)",
        text,
        re.S,
    )
    if option:
        path, group, names = option.groups()
        choices = [name for name in names.split() if name]
        name = path.rsplit("/", 1)[-1]
        shown = group.split("/")[0]
        return (
            f"{shown}={name!r} is unknown; choose from {', '.join(choices)}{closest(name, choices)}"
        )
    if "missing mandatory value" in text.lower():
        return f"{key or _match(r'value: ([^ ]+)', text)} must be given"
    group_name = _match(r"Could not override '([^']+)'\.\s+No match in the defaults list", text)
    if group_name:
        return unknown_key(group_name, list(known))
    if key:
        return f"{key}: {_first_line(_root(error))}"
    lines = [
        line.strip()
        for line in text.splitlines()
        if line.strip() and not line.startswith(("See https", "Set the environment"))
    ]
    return "; ".join(lines[:3]) or type(error).__name__


def unknown_key(key: str, known: list[str]) -> str:
    """One line for a key that does not exist, with the keys beside where it was looked for."""
    if key in known:  # of the group's default option
        group = key.split(".")[0]
        return f"no such key {key!r} in the {group} chosen; leave it out or choose another {group}"
    prefix = key.rpartition(".")[0]
    while prefix and not any(name.startswith(prefix + ".") for name in known):
        prefix = prefix.rpartition(".")[0]
    depth = prefix.count(".") + 1 if prefix else 0
    beside = sorted(
        {
            ".".join(name.split(".")[: depth + 1])
            for name in known
            if not prefix or name.startswith(prefix + ".")
        }
    )
    choices = f"; keys here: {', '.join(beside)}" if beside else ""
    return f"no such key {key!r}{closest(key, known)}{choices}"


def dotted_keys(config: Mapping[str, Any], prefix: str = "") -> list[str]:
    """All keys of a nested mapping, inner ones with dots, groups themselves included."""
    keys = []
    for name, value in config.items():
        keys.append(prefix + str(name))
        if isinstance(value, Mapping):
            keys += dotted_keys(value, f"{prefix}{name}.")
    return keys


def _text(error: BaseException) -> str:
    """The messages of an error and of what caused it."""
    parts: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(parts) < 5:
        parts.append(str(seen))
        seen = seen.__cause__
    return "\n".join(parts)


def _root(error: BaseException) -> BaseException:
    """What an error was raised from in the first place."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


def _match(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text)
    return found.group(1) if found else None
