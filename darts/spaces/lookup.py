"""A genotype from whatever a user names it by."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from darts.spaces.cnn.published import lookup
from darts.spaces.space import SPACES, parse_genotype, space_recognizing


def find_genotype(reference: str) -> tuple[str, Any]:
    """Find a genotype.

    Args:
        reference: a published name, a JSON file, the directory of a search or retrain run, or the
            genotype itself as JSON or in the notation of its space.

    Returns:
        A short name for it, and the genotype.

    Raises:
        ValueError: in one line, when nothing of the kind is there or it is no genotype.
    """
    text = reference.strip()
    if text.startswith("{") or space_recognizing(text):
        return "given", parse_genotype(text)
    if not text:
        raise ValueError("genotype is empty; name a published one, a file or a run directory")
    path = Path(text)
    if _is_there(path):
        file = path / "genotype.json" if path.is_dir() else path
        if not file.is_file():
            raise ValueError(
                f"genotype={reference!r} is a directory without genotype.json; name the directory "
                "of a finished search"
            )
        try:
            return path.stem, parse_genotype(file.read_text(encoding="utf-8"))
        except (ValueError, OSError) as error:
            raise ValueError(f"genotype={reference!r}: {error}") from None
    if not re.fullmatch(r"\w+", text):
        raise ValueError(
            f"genotype={reference!r} is no file or directory, and no published name; "
            "python -m darts.genotypes lists the names"
        )
    published = lookup(text, published_genotypes())
    return published.name, published.genotype


def published_genotypes() -> dict[str, Any]:
    """What others have found in any space, by name."""
    return {name: entry for space in SPACES.values() for name, entry in space.published.items()}


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long a name, a NUL byte
        return False
