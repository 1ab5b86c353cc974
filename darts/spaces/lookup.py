"""Genotypes from the references that users give: names, files, run directories or text."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path

from darts.spaces.any_genotype import AnyGenotype, PublishedGenotype
from darts.spaces.genotype_text import short_repr
from darts.spaces.space import SPACES, parse_genotype, space_recognizing


def find_genotype(reference: str) -> tuple[str, AnyGenotype]:
    """Return a short name and the genotype that a reference denotes; text gets the name "given".

    A reference is a published name in any case, a JSON file, the run directory of a search or a
    retraining, or the genotype as JSON or in the notation of its space.
    """
    text = reference.strip()
    # Paths are not compared with the notations, because this would import all spaces.
    if text.startswith("{") or (not os.path.exists(text) and space_recognizing(text)):
        return "given", parse_genotype(text)
    if not text:
        raise ValueError("genotype is empty; name a published genotype, a file or a run directory")
    path = Path(text)
    if os.path.exists(text):  # False for a name that is too long or contains NUL
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
            f"genotype={reference!r} is neither a file, a directory nor a published name; "
            "darts genotypes lists the names"
        )
    name, entries = text.upper(), published_genotypes()
    if name not in entries:
        near = difflib.get_close_matches(name[:60], entries, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ValueError(
            f"no published genotype is called {short_repr(text)}; {hint}choose from "
            f"{', '.join(entries)}"
        )
    return name, entries[name].genotype


def published_genotypes() -> dict[str, PublishedGenotype[AnyGenotype]]:
    """Return the published genotypes of all spaces by name."""
    return {name: entry for space in SPACES.values() for name, entry in space.published.items()}
