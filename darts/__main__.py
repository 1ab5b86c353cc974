"""All commands behind one name: ``darts search``, or ``python -m darts search``."""

from __future__ import annotations

import importlib
import sys

import darts
from darts.key_help import key_help, purpose

COMMANDS = (
    "find", "search", "retrain", "evaluate", "predict", "export", "report", "judge", "tune",
    "compare", "genotypes", "device",
)  # fmt: skip


def usage() -> str:
    """Return the help text."""
    width = max(map(len, COMMANDS))
    return "\n".join(
        [
            "usage: darts COMMAND [key=value ...]",
            "       darts --version",
            "",
            *(f"  {name:<{width}}  {purpose(name)}" for name in COMMANDS),
            "",
            "darts COMMAND --help lists the first keys of a command, --help-all every key.",
        ]
    )


def main() -> None:
    """Run the command that the first argument names."""
    given = sys.argv[1:2]
    if given in (["--version"], ["-V"]):
        print(f"darts-nas {darts.__version__}")
    elif given in ([], ["--help"], ["-h"], ["help"]):
        print(usage())
    elif given[0] in COMMANDS and sys.argv[2:3] in (["--help"], ["-h"], ["help"]):
        print(key_help(given[0]))
    elif given[0] in COMMANDS:
        others = ["--help" if word == "--help-all" else word for word in sys.argv[2:]]
        sys.argv = [f"darts.{given[0]}", *others]
        importlib.import_module(f"darts.{given[0]}").main()
    else:
        names = ", ".join(COMMANDS)
        print(f"darts: unknown command {given[0]!r}; choose from {names}", file=sys.stderr)
        raise SystemExit(2)


if __name__ == "__main__":
    main()
