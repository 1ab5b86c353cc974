"""Starts, watches and resumes runs of ``search`` and ``retrain``."""
