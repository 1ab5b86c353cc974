"""Figures of architectures, searches, trainings, studies and comparisons, drawn with matplotlib."""
