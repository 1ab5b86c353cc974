"""The recipes of a search and a retraining; loading and export of the trained network."""
