"""The recipes of search and retraining; loading and export of trained networks."""
