"""Scores of architectures without a full training, and statistics of scores."""
