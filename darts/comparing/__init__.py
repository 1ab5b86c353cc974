"""Comparison of a search method with baselines of equal cost."""
