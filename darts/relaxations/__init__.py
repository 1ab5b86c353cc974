"""From alphas to mixing weights.

Each entry of ``RELAXATIONS`` is a callable ``{name: alpha (edges, operations)} -> {name: weights}``
of the same shapes.
"""

from darts.relaxations.softmax import softmax

RELAXATIONS = {"softmax": softmax}

__all__ = ["RELAXATIONS", "softmax"]
