"""Experiment trackers besides TensorBoard; ``tracking.trackers=[wandb]`` chooses them."""

from darts.tracking.trackers.tracker import TRACKERS, Board, TrackedRun, Tracker

__all__ = ["TRACKERS", "Board", "TrackedRun", "Tracker"]
