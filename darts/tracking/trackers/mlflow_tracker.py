"""MLflow: the server or database that ``MLFLOW_TRACKING_URI`` names.

The environment variables of MLflow choose the destination, and ``MLFLOW_EXPERIMENT_NAME`` the
experiment. They are not settings of a run, so no run directory can redirect the records.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from darts.tracking.trackers.tracker import TRACKERS, TrackedRun, Tracker

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXPERIMENT = "darts-nas"
TAG = "darts.key"  # contains ``TrackedRun.key``
_DEFAULTS = {
    # A server that does not answer must not stop a run for long.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    # The output of a command may be JSON.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_BATCH = 1000  # metrics of one request
_CHARACTERS = re.compile(r"[^\w./ -]")


@TRACKERS.register
class MLflow(Tracker):
    """A run of MLflow with params, metrics, texts and figures."""

    name: ClassVar[str] = "mlflow"
    package: ClassVar[str] = "mlflow"

    def __init__(self, run: TrackedRun) -> None:
        for variable, value in _DEFAULTS.items():
            os.environ.setdefault(variable, value)
        logging.getLogger("mlflow").setLevel(logging.WARNING)  # it logs how it makes its tables
        from mlflow.tracking import MlflowClient

        client = self._client = MlflowClient()
        self._complete = False
        # The last step of each metric that MLflow knows, so that none is recorded twice.
        self._known: dict[str, int] = {}
        name, key = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT), run.key()
        found = client.get_experiment_by_name(name)
        experiment = client.create_experiment(name) if found is None else found.experiment_id
        known = client.search_runs([experiment], f"tags.`{TAG}` = '{key}'", max_results=1)
        if known:
            self._run = str(known[0].info.run_id)
            for metric in client.get_run(self._run).data.metrics:
                history = client.get_metric_history(self._run, metric)
                self._known[metric] = max(entry.step for entry in history)
        else:
            created = client.create_run(experiment, run_name=run.name, tags={TAG: key})
            self._run = str(created.info.run_id)
        self._client.update_run(self._run, status="RUNNING")
        for key, setting in run.params.items():
            self._client.log_param(self._run, key, setting)

    def log_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        self._log({_name(tag): value for tag, value in scalars.items()}, step)

    def _log(self, scalars: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [
            Metric(name, value, now, step)
            for name, value in scalars.items()
            if step > self._known.get(name, -1)
        ]
        for start in range(0, len(metrics), _BATCH):
            self._client.log_batch(self._run, metrics=metrics[start : start + _BATCH])

    def log_text(self, tag: str, text: str, step: int) -> None:
        self._client.log_text(self._run, text, f"{_name(tag)}/{step}.md")

    def log_figure(self, tag: str, figure: Figure, step: int) -> None:
        self._client.log_figure(self._run, figure, f"{_name(tag)}/{step}.png")

    def log_results(self, metrics: Mapping[str, float]) -> None:
        self._log({f"result/{_name(name)}": value for name, value in metrics.items()}, 0)
        self._complete = True

    def close(self) -> None:
        self._client.set_terminated(self._run, "FINISHED" if self._complete else "KILLED")


def _name(tag: str) -> str:
    """Return a tag with the characters that MLflow accepts."""
    return _CHARACTERS.sub("_", tag)
