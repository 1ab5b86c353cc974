"""What is added to the losses of a search; see ``darts.regularizers.regularizer``."""

from darts.regularizers.regularizer import REGULARIZERS, Regularizer

__all__ = ["REGULARIZERS", "Regularizer"]
