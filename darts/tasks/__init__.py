"""What is learned: from a batch to a loss, from outputs to scores."""

from darts.tasks.classification import Classification
from darts.tasks.metrics import CLASSIFICATION, ClassificationScores, Metric

TASKS = {"classification": Classification}

__all__ = ["CLASSIFICATION", "TASKS", "Classification", "ClassificationScores", "Metric"]
