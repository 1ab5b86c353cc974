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


def _command() -> str | None:
    """Return the module or command of this package that the process runs; "" for ``darts``.

    None if it runs another program, which imports the package.
    """
    if sys.argv[:1] == ["-m"]:
        return next((a[6:] for a in sys.orig_argv if a.startswith("darts.")), None)
    script = os.path.basename(sys.argv[0] if sys.argv else "")
    # Console scripts, not a program such as darts-train.py.
    is_ours = script == "darts" or (script.startswith("darts-") and script[6:].isalpha())
    return script[6:] if is_ours else None


if (_name := _command()) is not None:
    from darts.cpu_sharing import choose_wait_policy
    from darts.key_help import respond
    from darts.process import disable_keyboard_interrupt

    disable_keyboard_interrupt()  # Ctrl-C during the imports, which take seconds
    respond(_name, sys.argv[1:])
    choose_wait_policy()
