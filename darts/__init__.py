"""Find a network instead of designing it: differentiable neural architecture search."""

import os
import signal
import sys

__version__ = "0.1.0"


def _end_silently_while_importing() -> None:
    """Let Ctrl-C end a command without a traceback during its imports, which take seconds.

    The command itself then handles Ctrl-C, see ``darts.config.launch``.
    """
    by_module = sys.argv[:1] == ["-m"] and any(a.startswith("darts.") for a in sys.orig_argv)
    by_script = os.path.basename(sys.argv[0] if sys.argv else "").startswith("darts-")
    if (by_module or by_script) and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


_end_silently_while_importing()
