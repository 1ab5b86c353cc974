"""Files that a run can do without: figures, model cards, images for TensorBoard."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from darts.reading import StrPath, one_line


@contextmanager
def optional(name: StrPath) -> Iterator[list[str]]:
    """Turn an error in the ``with`` block into one warning, which names the file and the reason.

    The code in the ``with`` block draws or writes something that can be made again from the other
    files of the run, so a run goes on without it. The reason is added to the yielded list.
    """
    failures: list[str] = []
    try:
        yield failures
    except MemoryError:
        raise
    except Exception as error:
        failures.append(reason_of(error))
        warnings.warn(f"{name} was not made: {failures[0]}", stacklevel=1)


def reason_of(error: BaseException) -> str:
    """Return the message of an error in one line, preceded by the type of an unexpected error."""
    if isinstance(error, (ValueError, OSError)):
        return one_line(error)
    return f"{type(error).__name__}: {one_line(error)}"
