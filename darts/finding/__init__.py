"""The search for the best network within a time budget: ``darts find``."""
