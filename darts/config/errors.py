"""One-line messages for the errors of Hydra and OmegaConf, with the valid choices."""

from __future__ import annotations

import re
from collections.abc import Sequence

from darts.config.hydra_adapter import OverrideParseException
from darts.key_checks import KINDS, unknown_key, unknown_option

_WRONG_TYPE = re.compile(
    r"Value '(.*)' (?:of type '\w+' could not be converted to|is not a valid) (Int|Float|bool)"
)


def describe_error(error: BaseException, keys: Sequence[str]) -> str:
    """Return one line for an error of Hydra or OmegaConf.

    ``keys`` are all keys of the command's default configuration, such as ``optimizer.lr``.
    """
    causes = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    text = "\n".join(map(str, causes))
    # OmegaConf wraps a ``ConfigError`` that a resolver of ``darts.config`` raised.
    if own := _first_match(r"ConfigError raised while resolving interpolation: (.+)", text):
        return own
    if isinstance(error, OverrideParseException):
        # The line that gives the reason, without introduction, caret and link.
        reason = _first_match(r"(?m)^((?!Error parsing|Lexer|See https|\s*\^).+)$", str(error))
        return (
            f"cannot read the override {error.override!r}: {reason or 'unexpected character'}; "
            "write key=value, and a value with special characters as \"key='...'\""
        )
    key = _first_match(r"full_key: (\S+)", text)
    if "not in struct" in text or "not in '" in text:
        return unknown_key(key or _first_match(r"Could not override '([^']+)'", text) or "?", keys)
    available = (
        r"Could not find '([^']+)'\s+Available options in '([^']+)':\s*(.*?)\n\s*(?:Config|$)"
    )
    if option := re.search(available, text, re.S):
        path, group, names = option.groups()
        return unknown_option(group.split("/")[0], path.rsplit("/", 1)[-1], names.split())
    if "missing mandatory value" in text.lower():
        return f"{key or _first_match(r'value: ([^ ]+)', text)} must be given"
    if group := _first_match(
        r"Could not override '([^']+)'\.\s+No match in the defaults list", text
    ):
        return unknown_key(group, keys)
    if key:
        if "is not a ListConfig" in text:
            return f"{key}: must be a list, as in {key}=[A,B]"
        if wrong := _WRONG_TYPE.search(str(causes[-1])):
            return f"{key}={wrong[1]}: must be {KINDS[wrong[2].lower()]}"
        if "is not Optional" in text:
            return f"{key}=null: must have a value"
        reason, *_ = str(causes[-1]).strip().splitlines() or [type(causes[-1]).__name__]
        return f"{key}: {reason}"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(("See https", "Set the environment"))]
    return "; ".join(lines[:3]) or type(error).__name__


def _first_match(pattern: str, text: str) -> str | None:
    match = re.search(pattern, text)
    return match.group(1) if match else None
