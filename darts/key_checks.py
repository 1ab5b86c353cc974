"""Check the arguments of a command line before PyTorch is imported, and suggest what was meant."""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from os.path import exists, isfile

from darts.keys import PASSED_ON, Key, all_keys, assignments, chosen_options, keys_of, known_keys
from darts.plugins import group_options

_PLAIN_VALUE = re.compile(r"(?!null$)[-\w.]+", re.A)
_PLAIN_KEY = re.compile(r"(?!hydra\.|log$)[a-z_]+(\.\w+)*")
_BOUNDS = {
    "low": (">=", operator.ge),
    "above": (">", operator.gt),
    "high": ("<=", operator.le),
    "below": ("<", operator.lt),
}
# Types of values, and what a value must be, for messages.
KINDS = {"int": "an integer", "float": "a number", "bool": "true or false"}
_BOOLEANS = ("true", "false", "yes", "no", "on", "off", "y", "n", "t", "f")  # or an integer
_PARSERS: Mapping[str, Callable[[str], float]] = {
    "int": int,
    "float": float,
    "bool": lambda word: word in _BOOLEANS or int(word),
}

CHECKPOINT_FIRST = ("evaluate", "export", "predict")

NO_DATA = (
    "there is no such file or folder; data that is not in files of your own has a name, for "
    "example dataset=digits"
)
# Names of other projects for the last part of a key or for an option, and ours.
OTHER_NAMES = {
    "learning_rate": "lr",
    "wd": "weight_decay",
    "batch": "batch_size",
    "num_epochs": "epochs",
    "max_epochs": "epochs",
    "gpu": "device",
    "depth": "cells",
    "layers": "cells",
    "width": "channels",
    "second_order": "unrolled",
}


def similar(word: str, choices: Collection[str]) -> str | None:
    """Return the choice that is most similar to a word, if there is one."""
    prefix, _, last = word.rpartition(".")
    ours, lasts = OTHER_NAMES.get(last, last), [choice.rpartition(".")[2] for choice in choices]
    ours = next(iter(difflib.get_close_matches(ours, lasts, n=1, cutoff=0.85)), ours)
    named = [choice for choice in choices if choice.rpartition(".")[2] == ours]
    # Of several keys with this name, the one in the same group, else the shortest.
    named.sort(key=lambda choice: (choice.rpartition(".")[0] != prefix, len(choice)))
    return next(iter(named or difflib.get_close_matches(word, choices, n=1)), None)


def suggestion(word: str, choices: Collection[str]) -> str:
    """Return `` (did you mean 'x'?)`` if a choice is similar to the word, else ``""``."""
    found = similar(word, choices)
    return f" (did you mean {found!r}?)" if found else ""


def outside(key: str, value: float, limits: Mapping[str, float | None]) -> str | None:
    """Return one line for a number that is outside of its limits; None if it is not."""
    holds = {} if math.isfinite(value) else {"finite": False}
    for name, (sign, is_met) in _BOUNDS.items():
        if (bound := limits.get(name)) is not None:
            holds[f"{sign} {bound:g}"] = is_met(value, bound)
    return None if all(holds.values()) else f"{key}={value}: must be {' and '.join(holds)}"


def wrong_value(key: str, item: Key, value: str) -> str | None:
    """Return one line for a plain value that the key does not accept; other values are not checked.

    A plain value is a word or a number; the composition knows more forms.
    """
    kind = item.kind.removesuffix(" | None")
    if kind in _PARSERS and _PLAIN_VALUE.fullmatch(value):
        try:
            return outside(key, _PARSERS[kind](value.lower()), item.limits)
        except ValueError:
            return f"{key}={value}: must be {KINDS[kind]}"
    is_name = value.isidentifier() and value not in ("null", "true", "false", *item.choices)
    return unknown_option(key, value, item.choices) if is_name and item.choices else None


def unknown_option(key: str, value: object, choices: Collection[str]) -> str:
    """Return one line for a value that is not among the choices of a key or group."""
    hint = suggestion(str(value), choices)
    return f"{key}={value!r} is unknown; choose from {', '.join(choices)}{hint}"


def unknown_key(key: str, keys: Sequence[str]) -> str:
    """Return one line for a key that does not exist, with the keys next to it in the hierarchy."""
    if key in keys:  # it exists with the default option of its group, but not with the chosen one
        group = key.split(".")[0]
        return f"the chosen {group} has no key {key!r}; leave it out or choose another {group}"
    prefix, nearby = key, list[str]()
    while prefix and not nearby:
        prefix = prefix.rpartition(".")[0]
        nearby = sorted(name for name in keys if name.rpartition(".")[0] == prefix)
    choices = f"; keys here: {', '.join(nearby)}" if nearby else ""
    return f"no such key {key!r}{suggestion(key, keys)}{choices}"


def _key_of_one_kind(key: str) -> str | None:
    """Return one line for a key that, in a comparison, only searches or only retrainings have."""
    in_search, in_retrain = (key in known_keys(name) for name in ("search", "retrain"))
    # The comparison itself sets the genotypes.
    if in_search == in_retrain or key in (*known_keys("compare"), "genotype"):
        return None
    if in_retrain:
        return f"no such key {key!r}; set retrain.{key} for all retraining runs"
    return (
        f"no such key {key!r}; set search.{key} for all searches, or settings.NAME.{key} for the "
        "searches of the method NAME"
    )


def with_checkpoint(command: str, words: Sequence[str]) -> list[str]:
    """Write a run that comes first as ``checkpoint=RUN``, for example in ``darts export RUN``."""
    plain = command in CHECKPOINT_FIRST and words and "=" not in words[0] and words[0][:1] != "-"
    if plain and not any(word.startswith("checkpoint=") for word in words):
        return [f"checkpoint={words[0]}", *words[1:]]
    return list(words)


def wrong_argument(command: str, words: Sequence[str]) -> str | None:
    """Return the message for the first option, key or value that is wrong.

    Return None if all are right, or if only the composition of the configuration can show it.
    """
    elsewhere = ("resume=", "--c", "-c", "hydra.searchpath=")  # where the keys are defined
    if command == "report" or any(word.startswith(elsewhere) for word in words):
        return None  # a run directory of a report may be named key=value
    keys, known, wrong = keys_of(command, words), known_keys(command, words), list[str]()
    given, accepted = dict(assignments(words)), all_keys(command, words)
    for key, value in given.items():
        top = key.partition(".")[0]
        owner = command if top in known else PASSED_ON.get(command, command)
        group = f"experiment/{owner}" if key == "experiment" else key
        if group in chosen_options(owner):
            if value.isidentifier() and value not in ("null", *group_options(group)):
                return unknown_option(key, value, group_options(group))
            continue
        if command == "compare" and (foreign := _key_of_one_kind(key)):
            wrong.append(foreign)
            continue
        passed = owner != command and (command == "tune" or top in known_keys(owner))
        # A mapping may accept any key.
        is_open = any(key.startswith(f"{k}.") and v.kind != "name" for k, v in keys.items())
        if key in accepted:
            wrong += filter(None, [wrong_value(key, accepted[key], value)])
        elif below := [name for name in accepted if name.startswith(f"{key}.")]:
            if _PLAIN_VALUE.fullmatch(value) and key != "pretrained":  # for pretrained.weights
                wrong.append(f"{key}={value}: set one of its keys: {', '.join(below)}")
        elif _PLAIN_KEY.fullmatch(key) and not (key in known or passed or is_open):
            wrong.append(unknown_key(group, sorted({*known, *known_keys(owner)})))
        if key == "hydra.run.dir" and isfile(value):
            wrong.append(f"{key}={value}: is a file; name a folder")
    if not any(word.startswith(("-", "+")) for word in words):
        path = words[0] if command == "find" and words and "=" not in words[0] else "."
        wrong += [] if exists(path) else [f"{path}: {NO_DATA}"]
        positional = {"input"} if any("=" not in word for word in words) else set[str]()
        for key, item in keys.items():
            if item.default == "???" and "." not in key and key not in {*given, *positional}:
                wrong.append(f"{key} must be given: {item.text}")
    return wrong[0] if wrong else None
