"""Find a network instead of designing it: differentiable neural architecture search.

The functions of the Python API are imported when they are first used:

    import darts

    run = darts.search(data="digits", method="drnas", epochs=20)
    trained = darts.retrain(run, epochs=50)
    model = darts.load(trained.directory)
    darts.predict(model, ["a.png", "b.png"]).classes
"""

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from darts.api import (
        Choice,
        InputChoice,
        Repeat,
        create_model,
        find,
        load,
        predict,
        retrain,
        search,
    )

__all__ = [
    "Choice",
    "InputChoice",
    "Repeat",
    "__version__",
    "create_model",
    "find",
    "load",
    "predict",
    "retrain",
    "search",
]
__version__ = "0.1.0"


# The distribution ``darts``, a library for time series, has the same import name and folder.
if os.path.exists(os.path.join(os.path.dirname(__file__), "timeseries.py")):
    raise ImportError(
        "darts-nas and the time series library darts are installed in one environment, and "
        "both are imported as darts; uninstall both, then install darts-nas in an environment "
        "of its own"
    )


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("darts.api"), name)
    raise AttributeError(f"module 'darts' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _is_command() -> bool:
    """Return whether this process runs a command, and not a program that imports the package."""
    by_module = sys.argv[:1] == ["-m"] and any(a.startswith("darts.") for a in sys.orig_argv)
    script = os.path.basename(sys.argv[0] if sys.argv else "")
    # Console scripts, not a program such as darts-train.py.
    by_script = script == "darts" or (script.startswith("darts-") and script[6:].isalpha())
    return by_module or by_script


if _is_command():
    from darts.cpu_sharing import choose_wait_policy
    from darts.process import disable_keyboard_interrupt

    disable_keyboard_interrupt()  # Ctrl-C during the imports, which take seconds
    choose_wait_policy()
