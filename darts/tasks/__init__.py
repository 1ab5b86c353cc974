"""Tasks: what networks learn. An objective computes losses, predictions and metrics of a task."""

from darts.tasks.task import TASKS, BaseObjective, Forward, Objective, Task

__all__ = ["TASKS", "BaseObjective", "Forward", "Objective", "Task"]
