"""Completion of command lines in a shell: ``darts completion bash``.

The scripts in ``shell`` call ``darts _complete WORD ...``, which prints what may replace the last
word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from darts.key_help import FLAGS
from darts.keys import COMMANDS, all_keys

SHELLS = ("bash", "zsh", "fish")


def script(shell: str) -> str:
    """Return the script that makes a shell complete the arguments of ``darts``."""
    return (Path(__file__).parent / "shell" / f"darts.{shell}").read_text("utf-8").rstrip()


def candidates(words: Sequence[str]) -> list[str]:
    """Return what may replace the last of the words that follow ``darts``.

    Bash divides ``key=value`` into three words, and replaces the last one.
    """
    *before, word = "\0".join(words).replace("\0=\0", "=").replace("\0=", "=").split("\0")
    found: Sequence[str] = ()
    name, equals, _ = word.partition("=")
    if not before:
        found = (*COMMANDS, "completion", "--help", "--version")
    elif before[0] not in COMMANDS:
        found = SHELLS if before == ["completion"] else ()
    elif word.startswith("-"):
        found = FLAGS
    else:
        keys = all_keys(before[0], before[1:])
        if equals:
            found = [f"{name}={choice}" for choice in keys[name].choices] if name in keys else ()
        else:  # up to the next dot
            start, text = word.rfind(".") + 1, "\n".join(f"{key}=" for key in keys)
            found = list(dict.fromkeys(re.findall(rf"^.{{{start}}}\w+[.=]", text, re.M)))
    given = f"{name}=" if equals and words[-1] != word else ""
    return [item.removeprefix(given) for item in found if item.startswith(word)]
