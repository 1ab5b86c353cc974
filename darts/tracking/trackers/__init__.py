"""Experiment trackers besides TensorBoard: MLflow and Weights & Biases.

``tracking.trackers=[mlflow,wandb]`` chooses them. Each module registers one of them.
"""

from darts.tracking.trackers.tracker import TRACKERS, Board, TrackedRun, Tracker

__all__ = ["TRACKERS", "Board", "TrackedRun", "Tracker"]
