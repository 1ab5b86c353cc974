"""Argument checks shared by the supernets and networks of all spaces."""

from __future__ import annotations

from collections.abc import Collection


def check_positive(**values: int) -> None:
    """Raise ValueError with the argument's name unless each value is an integer of at least 1."""
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name}={value!r}: must be an integer >= 1")


def check_drop_probability(**values: float) -> None:
    """Raise ValueError with the argument's name unless each value is within [0, 1)."""
    for name, value in values.items():
        if not 0.0 <= value < 1.0:
            raise ValueError(f"{name}={value!r}: must be >= 0 and < 1")


def check_candidates(candidates: object, known: Collection[str]) -> tuple[str, ...]:
    """Return the value of ``space.candidates``, a list of operations, as a tuple.

    Raises:
        ValueError: The value is not a list of distinct known operations, is empty, or contains
            only ``none``.
    """
    key = "space.candidates"
    if not isinstance(candidates, list | tuple) or not candidates:
        raise ValueError(f"{key}={candidates!r}: must be a list of operations")
    for name in candidates:
        if name not in known:
            raise ValueError(f"{key}: {name!r} is unknown; choose from {', '.join(known)}")
        if candidates.count(name) > 1:
            raise ValueError(f"{key}: {name!r} occurs more than once")
    if set(candidates) == {"none"}:
        raise ValueError(f"{key}: 'none' alone is no network; add another operation")
    return tuple(candidates)


def reject_auxiliary_head(space: str, auxiliary: bool) -> None:
    """Raise ValueError if an auxiliary head is requested from a space that has none."""
    if auxiliary:
        raise ValueError(f"networks of the {space} space have no auxiliary head; set auxiliary=0")
