"""Tensor functions and layers below the spaces: what several of them compute with."""
