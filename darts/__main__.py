"""All commands behind one name: ``darts search``, or ``python -m darts search``."""

from __future__ import annotations

import importlib
import sys

from darts.completion import SHELLS, candidates, script
from darts.key_help import VERSION, answer, fail, purpose, respond, unknown
from darts.keys import COMMANDS


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
            "darts completion bash|zsh|fish prints a script that completes commands and keys.",
        ]
    )


def main() -> None:
    """Run the command that the first argument names."""
    command, *words = sys.argv[1:] or ["--help"]
    if command in ("--version", "-V"):
        answer(VERSION)
    elif command in ("--help", "-h", "help"):
        answer(usage())
    elif command == "completion":
        if len(words) != 1 or words[0] not in SHELLS:
            fail("darts completion", f"choose a shell: {', '.join(SHELLS)}")
        answer(script(words[0]))
    elif command == "_complete":
        found = candidates(words)
        answer("\n".join(found)) if found else sys.exit(1)
    elif command not in COMMANDS:
        names = {name: name for name in (*COMMANDS, "completion")}
        hint = unknown("command", command, names | {"help": "--help", "version": "--version"})
        fail("darts", f"{hint}darts --help lists the commands")
    respond(command, words)
    sys.argv = [f"darts.{command}", *words]
    try:
        module = importlib.import_module(f"darts.{command}")
    except KeyboardInterrupt:  # the import of PyTorch takes seconds
        fail(f"darts {command}", "aborted by Ctrl-C", code=130)
    module.main()


if __name__ == "__main__":
    main()
