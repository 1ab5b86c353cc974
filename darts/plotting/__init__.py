"""Figures of architectures, searches, training runs, studies and comparisons, by matplotlib."""
