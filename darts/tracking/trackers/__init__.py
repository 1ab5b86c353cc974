"""Experiment trackers besides TensorBoard: MLflow, Weights & Biases, and a table.

``tracking.trackers=[mlflow,wandb,csv]`` chooses them. Each module registers one of them.
"""

from darts.tracking.trackers.tracker import (
    TRACKERS,
    Board,
    TrackedRun,
    Tracker,
    check_trackers,
    open_trackers,
)

__all__ = ["TRACKERS", "Board", "TrackedRun", "Tracker", "check_trackers", "open_trackers"]
