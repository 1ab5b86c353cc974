"""The two trainings of darts-nas: the search of an architecture, and its retraining."""
