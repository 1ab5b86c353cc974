"""Argument checks shared by the supernets and networks of all spaces."""

from __future__ import annotations


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


def reject_auxiliary_head(space: str, auxiliary: bool) -> None:
    """Raise ValueError if an auxiliary head is requested from a space that has none."""
    if auxiliary:
        raise ValueError(f"networks of the {space} space have no auxiliary head; set auxiliary=0")
