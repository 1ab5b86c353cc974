"""Find the best network for a data set within a time budget: ``darts find``.

``darts find PATH`` recognizes what data of your own is at a path.
Keys that people use first::

    Data: dataset=NAME dataset.root=DIR dataset.size=32 dataset.label=COLUMN task=NAME
    Budget: budget.minutes=10 budget.hours=1
    Trained weights: pretrained.weights=auto
    Result: limit.parameters=1e6 limit.macs=1e8 export=onnx result=any ensemble=8 metric=NAME
    Run: workers=2 seed=0 hydra.run.dir=DIR resume=DIR
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from darts.config import ConfigError, launch
from darts.find_command import check, find
from darts.key_help import key_help
from darts.tracking import print_lines


def main() -> None:
    """Entry point of ``darts-find``."""
    begin = time.monotonic() - time.process_time()  # imports belong to the budget
    command = partial(find, begin=begin)
    launch(
        *("find", check, command),
        worthless=lambda summary: summary.get("worthless"),
        prepare=with_data,
    )


def with_data(arguments: Sequence[str]) -> list[str]:
    """Replace a path, as the first argument, by settings; print how the data was recognized.

    Settings among the arguments take precedence. Without arguments, print the help and exit.
    """
    if not arguments:
        print_lines(key_help("find"))
        raise SystemExit(0)
    if "=" in arguments[0] or arguments[0].startswith("-"):
        return list(arguments)
    from darts.data.guess import guess_data

    path, *others = arguments
    given = dict(word.split("=", 1) for word in others if "=" in word)
    if "dataset" in given:
        return [f"dataset.root={path}", *others]
    try:
        guess = guess_data(Path(path), given.get("dataset.label"))
    except ValueError as error:
        raise ConfigError(str(error)) from None
    words = [f"{key}={value}" for key, value in guess.settings.items() if key not in given]
    print_lines(f"{path}: {guess.reason}; {' '.join(words[:-1])}")
    return [*words, *others]


if __name__ == "__main__":
    main()
