"""Find a network instead of designing it: differentiable neural architecture search."""

__version__ = "0.1.0"
