"""What is learned: from a batch to a loss, from outputs to scores. ``TASKS`` lists them."""

from darts.tasks.metrics import Metric
from darts.tasks.task import TASKS, Objective, Scores, Task

__all__ = ["TASKS", "Metric", "Objective", "Scores", "Task"]
