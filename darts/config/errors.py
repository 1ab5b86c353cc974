"""One-line messages for the errors of Hydra and OmegaConf, with the valid choices."""

from __future__ import annotations

import re
from collections.abc import Sequence

from darts.config.fields import closest
from darts.config.hydra_adapter import OverrideParseException

_MAX_CAUSES = 5


def one_line(error: BaseException, keys: Sequence[str]) -> str:
    """Return one line that describes what is wrong with a configuration.

    Args:
        error: raised by Hydra or OmegaConf.
        keys: dotted keys that exist, for suggestions.
    """
    return " ".join(_describe(error, keys).splitlines())


def _describe(error: BaseException, keys: Sequence[str]) -> str:
    text = _messages(error)
    if isinstance(error, OverrideParseException):
        reason = _search(r"(?m)^((?!Error parsing|Lexer|See https|\s*\^).+)$", str(error))
        return (
            f"cannot read the override {error.override!r}: "
            f"{reason or 'unexpected character'}; "
            "write key=value, and a value with special characters as \"key='...'\""
        )
    key = _search(r"full_key: (\S+)", text)
    if "not in struct" in text or "not in '" in text:
        return _unknown_key(key or _search(r"Could not override '([^']+)'", text) or "?", keys)
    option = re.search(
        r"Could not find '([^']+)'\s+Available options in '([^']+)':\s*(.*?)\n\s*(?:Config|$)",
        text,
        re.S,
    )
    if option:
        path, group, names = option.groups()
        name, choices = path.rsplit("/", 1)[-1], names.split()
        return (
            f"{group.split('/')[0]}={name!r} is unknown; choose from "
            f"{', '.join(choices)}{closest(name, choices)}"
        )
    if "missing mandatory value" in text.lower():
        return f"{key or _search(r'value: ([^ ]+)', text)} must be given"
    group_name = _search(r"Could not override '([^']+)'\.\s+No match in the defaults list", text)
    if group_name:
        return _unknown_key(group_name, keys)
    if key:
        return f"{key}: {_first_line(_root_cause(error))}"
    lines = [
        line.strip()
        for line in text.splitlines()
        if line.strip() and not line.startswith(("See https", "Set the environment"))
    ]
    return "; ".join(lines[:3]) or type(error).__name__


def _unknown_key(key: str, keys: Sequence[str]) -> str:
    """Return one line for a key that does not exist, with the keys at the same place."""
    if key in keys:  # a key of the group's default option
        group = key.split(".")[0]
        return f"no such key {key!r} in the {group} chosen; leave it out or choose another {group}"
    prefix = key.rpartition(".")[0]
    while prefix and not any(name.startswith(prefix + ".") for name in keys):
        prefix = prefix.rpartition(".")[0]
    depth = prefix.count(".") + 1 if prefix else 0
    siblings = sorted(
        {
            ".".join(name.split(".")[: depth + 1])
            for name in keys
            if not prefix or name.startswith(prefix + ".")
        }
    )
    choices = f"; keys here: {', '.join(siblings)}" if siblings else ""
    return f"no such key {key!r}{closest(key, keys)}{choices}"


def _messages(error: BaseException) -> str:
    """Return the messages of an error and of its causes."""
    messages: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(messages) < _MAX_CAUSES:
        messages.append(str(cause))
        cause = cause.__cause__
    return "\n".join(messages)


def _root_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


def _search(pattern: str, text: str) -> str | None:
    match = re.search(pattern, text)
    return match.group(1) if match else None
