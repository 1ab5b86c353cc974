"""Operations that stop learning while the search goes on; see ``darts.freezing.freezing``."""

from darts.freezing.freezing import FREEZING, Freezing

__all__ = ["FREEZING", "Freezing"]
