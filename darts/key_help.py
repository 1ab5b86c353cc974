"""What a command answers without being imported: help, its version and errors in its arguments.

``darts COMMAND --help`` prints the keys that people use first, ``--help-all`` all keys. The
docstring of a command's module begins with its purpose and ends with the former.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import darts
from darts.escaping import for_terminal
from darts.key_checks import similar, with_checkpoint, wrong_argument
from darts.keys import COMMANDS, COMMON, OWN_MODEL, Key, all_keys, keys_of, known_keys
from darts.process import rank_and_size

VERSION = f"darts-nas {darts.__version__}"
FLAGS = (
    "--help", "--help-all", "--version", "--hydra-help", "--multirun", "--cfg", "--resolve",
    "--package", "--info", "--run", "--config-dir", "--config-name", "--config-path", "-h", "-m",
    "-c", "-p", "-i", "-r", "-cd", "-cn", "-cp",
)  # fmt: skip


def respond(command: str, words: Sequence[str]) -> None:
    """Exit with the answer of a command if its arguments suffice for it; else do nothing."""
    if command not in COMMANDS:
        return
    flags = [word.partition("=")[0] for word in words if word.startswith("-") and word != "-"]
    if "--help-all" in flags:
        answer(help_of_all_keys(command, words))
    if {"--help", "-h"} & {*flags} or words[:1] == ["help"]:
        answer(key_help(command))
    if "--version" in flags:
        answer(VERSION)
    words = with_checkpoint(command, words)
    if wrong := [flag for flag in flags if flag not in FLAGS]:
        names = {key: f"{key}=VALUE" for key in all_keys(command, words)}
        hint = unknown("flag", wrong[0], names | {flag.strip("-"): flag for flag in FLAGS})
        fail(f"darts {command}", f"{hint}darts {command} --help lists the keys")
    with suppress(Exception):  # the composition says what is wrong with files of plug-ins
        # A flag may have a word as its value.
        rest = [] if flags or command in ("predict", "report") else words[command == "find" :]
        names = {key: f"{key}=VALUE" for key in known_keys(command, words)}
        actions = keys_of(command)["action"].choices if command == "device" else ()
        names |= dict(zip(actions, actions, strict=True))
        if single := [w for w in rest if "=" not in w and w[:1] != "~" and w not in actions]:
            rule = "write one path, then key=value" if command == "find" else "write key=value"
            fail(f"darts {command}", f"{unknown('word', single[0], names)}{rule}")
        if rank_and_size()[1] == 1 and (message := wrong_argument(command, words)):
            fail(f"darts {command}", message)


def answer(text: str) -> NoReturn:
    """Print a text and exit."""
    try:
        print(text, flush=True)
    except BrokenPipeError:  # the reader, for example `head`, has exited
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(0)


def unknown(kind: str, word: str, names: Mapping[str, str]) -> str:
    """Return the message for a wrong word; the values of ``names`` are the suggestions."""
    found = similar(word.strip("-"), names)
    return f"unknown {kind} {word!r}; " + (f"did you mean {names[found]}? " if found else "")


def fail(name: str, message: str, *, code: int = 2) -> NoReturn:
    """Exit with one line on standard error."""
    with suppress(OSError):  # the disk of a redirected output may be full
        text = for_terminal(" ".join(message.splitlines()))
        print(f"{name}: {text}", file=sys.stderr, flush=True)
    raise SystemExit(code)


def purpose(command: str) -> str:
    """Return what a command does: the first line of its module, without the example."""
    return _docstring(command).partition(": ``darts")[0]


def _docstring(command: str) -> str:
    module = ast.parse((Path(__file__).parent / f"{command}.py").read_text("utf-8"))
    return ast.get_docstring(module) or ""


def describe(keys: Mapping[str, Key], word: str) -> str:
    """Return the text of the key that a word sets, or of the mapping that holds it."""
    name = re.split("[=/]", word)[0]
    return _text(keys.get(name) or keys[name.partition(".")[0]])


def _text(key: Key) -> str:
    """Return the text of a key and its choices."""
    text = re.sub(r"^[A-Z][a-z]*\b", lambda word: word[0].lower(), key.text)
    return ": ".join(filter(None, [text, ", ".join(key.choices)]))


def sections(command: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the titles of the sections of a command, and their keys with example values."""
    text = _docstring(command).partition("Keys that people use first::")[2].strip()
    for line in text.replace("\n        ", " ").splitlines():
        title, _, keys = line.strip().partition(": ")
        yield title, keys.split()


def key_help(command: str) -> str:
    """Return the help of a command, wrapped to 80 columns."""
    # Tables have keys that the default data set does not have.
    lines, keys = _first_lines(command), all_keys(command, ["dataset=csv"]) | all_keys(command)
    for title, words in sections(command):
        lines += ["", f"{title}:", *(_entry(word, describe(keys, word)) for word in words)]
    lines += ["", f"darts {command} --help-all lists every key."]
    return "\n".join(lines)


def help_of_all_keys(command: str, words: Sequence[str]) -> str:
    """Return all keys of a command with their types and defaults, wrapped to 80 columns.

    The arguments choose the options of groups, for example the data set.
    """
    lines, own = _first_lines(command), {*keys_of(command, words), *COMMON, *OWN_MODEL}
    lines += ["", "Keys with their types and defaults:"]
    for key, item in all_keys(command, words).items():
        if key not in own and own:
            lines += ["", "Keys that are set in all runs:"]
            own.clear()
        if not key.endswith(".name"):  # the option of the group sets it
            value = item.default if isinstance(item.default, str) else json.dumps(item.default)
            value = "VALUE" if value == "???" else value.replace('"', "").replace(", ", ",")
            lines.append(_entry(f"{key}={value}", f"({item.kind}) {_text(item)}"))
    lines += ["", f"darts {command} ... --cfg job prints the values without running it."]
    return "\n".join(lines)


def _first_lines(command: str) -> list[str]:
    path = " [PATH]" if command == "find" else ""
    usage = f"usage: darts {command}{path} [key=value ...]"
    return [f"darts {command}: {purpose(command)}", "", usage]


def _entry(word: str, text: str) -> str:
    """Return a word as a shell accepts it, and its text in the column next to it."""
    word, indent = shlex.quote(word), " " * 24
    start = f"  {word:<20}  " if len(word) <= 20 else f"  {word}\n{indent}"
    wrapped = textwrap.wrap(text, 80, initial_indent=indent, subsequent_indent=indent)
    return start + "\n".join(wrapped)[len(indent) :]
