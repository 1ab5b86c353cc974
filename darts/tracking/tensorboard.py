"""TensorBoard: the tracker that writes the event file of the run directory."""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from darts.tracking.trackers import TrackedRun, Tracker
from darts.writing import open_in_place, to_jsonable, write_errors

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EVENT_FILE = "events.out.tfevents.0"  # TensorBoard reads files whose name contains "tfevents"
_FLUSH_SECONDS = 10.0


def event_offset(directory: Path) -> int:
    """Return the length of the event file in bytes; 0 without one. Flush the tracker before."""
    with suppress(OSError):
        return (directory / EVENT_FILE).stat().st_size
    return 0


class TensorBoard(Tracker):
    """Writer of scalars, texts, figures and hyperparameters to one event file.

    The writers of PyTorch and TensorBoard are not used, because they write in a thread, which
    reports a full disk by a traceback, and start another file when a run is resumed.

    Args:
        run: The run; its directory gets the event file.
        offset: Length of the file in the checkpoint from which the run resumes. Records after it
            are removed, so that no step appears twice.
        metric: The page Custom Scalars of a new file shows curves of this metric; none if empty.
    """

    name: ClassVar[str] = "TensorBoard"

    def __init__(self, run: TrackedRun, offset: int = 0, metric: str = "") -> None:
        # This import takes a second, which commands without TensorBoard should not spend.
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._params, self._step = run.params, run.resumed_at or 0
        self._flushed = time.monotonic()
        self._path = run.directory / EVENT_FILE
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open_in_place(self._path)
        if os.fstat(self._file.fileno()).st_size < offset:
            problem = "is damaged: the records of earlier steps are missing"
            warnings.warn(f"{self._path} {problem}", stacklevel=2)
            offset = 0
        self._file.truncate(offset)
        self._records = RecordWriter(self._file)
        if offset == 0:
            self._write(file_version="brain.Event:2")
            if metric:
                self._write_layout(metric)

    def _write(self, step: int = 0, **content: object) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        event = Event(wall_time=time.time(), step=step, **content)
        with write_errors(self._path):
            self._records.write(event.SerializeToString())
        self._step = max(self._step, step)
        if time.monotonic() - self._flushed >= _FLUSH_SECONDS:
            self.flush()

    def _write_layout(self, metric: str) -> None:
        """Write the charts of the page Custom Scalars: several curves in each."""
        from torch.utils.tensorboard.summary import custom_scalars

        tags = {
            "loss": "loss/.*",
            metric: f"{metric}/.*",
            "learning rates": "lr/.*",
            "entropy of the edges (mean)": "entropy/.*/mean",
            "lead of the best operation (mean)": "margin/.*/mean",
            "operations without weights in the genotype": "genotype/.*",
        }
        charts = {title: ["Multiline", [pattern]] for title, pattern in tags.items()}
        self._write(summary=custom_scalars({"overview": charts}))  # type: ignore[no-untyped-call]

    def log_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        from torch.utils.tensorboard.summary import scalar

        for tag, value in scalars.items():
            self._write(step, summary=scalar(tag, value))  # type: ignore[no-untyped-call]

    def log_text(self, tag: str, text: str, step: int) -> None:
        from torch.utils.tensorboard.summary import text as text_summary

        summary = text_summary(tag, _encodable(text))  # type: ignore[no-untyped-call]
        self._write(step, summary=summary)

    def log_figure(self, tag: str, figure: Figure, step: int) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from torch.utils.tensorboard.summary import image

        canvas = FigureCanvasAgg(figure)
        canvas.draw()  # type: ignore[no-untyped-call]
        rgba = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
        summary = image(tag, rgba[..., :3], dataformats="HWC")  # type: ignore[no-untyped-call]
        self._write(step, summary=summary)

    def log_results(self, metrics: Mapping[str, float]) -> None:
        """Write the row of this run in TensorBoard's page HPARAMS to the same event file.

        The metrics that are finite are also written as scalars at the last step so far, which that
        page reads. One group, ``summary``, has all of them.
        """
        from torch.utils.tensorboard.summary import hparams

        finite = {f"summary/{name}": own for name, own in metrics.items() if math.isfinite(own)}
        plain = {name: _plain(value) for name, value in self._params.items()}
        # SummaryWriter.add_hparams would write these records to a subfolder, and TensorBoard
        # would show the subfolder as a second run.
        for record in hparams(plain, finite):  # type: ignore[no-untyped-call]
            self._write(summary=record)
        self.log_scalars(self._step, finite)

    def flush(self) -> None:
        with write_errors(self._path):
            self._file.flush()
        self._flushed = time.monotonic()

    def close(self) -> None:
        with write_errors(self._path):
            self._file.close()

    def abandon(self) -> None:
        with suppress(OSError):
            self._file.close()


def _plain(value: object) -> int | float | str:
    """Return a hyperparameter as a number or text."""
    if isinstance(value, bool) or value is None:  # the HPARAMS page would show a bool as 1 or 0
        return "none" if value is None else str(value).lower()
    value = to_jsonable(value)
    return value if isinstance(value, (int, float)) else _encodable(str(value))


def _encodable(text: str) -> str:
    """Return text that UTF-8 can encode; a file name may have bytes that are not UTF-8."""
    return text.encode("utf-8", errors="backslashreplace").decode()
