"""TensorBoard logging. A writer puts all its records into one event file."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, SupportsFloat

import numpy as np

from darts.reading import one_line
from darts.writing import open_in_place, to_jsonable

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def preload_tensorboard() -> None:
    """Import TensorBoard and matplotlib, so that a dry run measures their memory too."""
    import torch.utils.tensorboard  # noqa: F401


EVENT_FILE = "events.out.tfevents.0"  # TensorBoard reads files whose name contains "tfevents"
_FLUSH_SECONDS = 10.0


class TensorBoard:
    """Writer of scalars, texts, figures and hyperparameters.

    A run does not need these records: if the file cannot be written, there is one warning, and the
    run goes on.
    The writers of PyTorch and TensorBoard are not used, because they write in a thread, which
    reports a full disk by a traceback, and start another file when a run is resumed.

    Args:
        directory: Folder of the event file, usually the run directory.
        enabled: Whether to write anything. Disabled on all ranks but rank 0 and in dry runs.
        resume_at: The ``offset`` in the checkpoint from which the run resumes. Records after it
            are removed, so that no step appears twice. None empties the file if it exists.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        enabled: bool = True,
        resume_at: int | None = None,
    ) -> None:
        self._path = Path(directory) / EVENT_FILE
        self._step = 0
        self._file: BinaryIO | None = None
        self._flushed = time.monotonic()
        if enabled:
            with self._optional():
                self._open(resume_at or 0)

    def _open(self, offset: int) -> None:
        # This import takes a second, which commands without TensorBoard should not spend.
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = open_in_place(self._path)
        size = os.fstat(file.fileno()).st_size
        if size < offset:
            problem = "is damaged: the records of earlier steps are missing"
            warnings.warn(f"{self._path} {problem}", stacklevel=4)
            offset = 0
        file.truncate(offset)
        self._file, self._records = file, RecordWriter(file)
        if offset == 0:
            self._write(file_version="brain.Event:2")

    @contextmanager
    def _optional(self) -> Iterator[None]:
        """Turn an error in the ``with`` block into a warning; later calls then write nothing."""
        try:
            yield
        except Exception as error:
            file, self._file = self._file, None
            if file is not None:
                with suppress(OSError):
                    file.close()
            reason = one_line(error)
            warnings.warn(f"no more TensorBoard records in {self._path}: {reason}", stacklevel=4)

    def _write(self, step: int = 0, **content: object) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        event = Event(wall_time=time.time(), step=step, **content)
        self._records.write(event.SerializeToString())
        self._step = max(self._step, step)
        if time.monotonic() - self._flushed >= _FLUSH_SECONDS:
            self.flush()

    @property
    def enabled(self) -> bool:
        """Whether records are written. If False, callers need not draw figures."""
        return self._file is not None

    @property
    def offset(self) -> int:
        """Length of the event file in bytes. Call ``flush`` before storing it in a checkpoint."""
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    def _log(self, step: int, make: Callable[[], Iterable[object]]) -> None:
        """Write the records that a function makes, unless the writer is disabled."""
        if self._file is not None:
            with self._optional():
                for record in make():
                    self._write(step, summary=record)

    def log_scalars(self, step: int, scalars: Mapping[str, SupportsFloat | None]) -> None:
        """Write one number per tag. A value of None was not measured and is skipped."""

        def make() -> Iterator[object]:
            from torch.utils.tensorboard.summary import scalar

            for tag, value in scalars.items():
                if value is not None:
                    yield scalar(tag, float(value))  # type: ignore[no-untyped-call]

        self._log(step, make)

    def log_text(self, tag: str, text: str, step: int) -> None:
        """Write a text, which TensorBoard renders as Markdown."""

        def make() -> Iterator[object]:
            from torch.utils.tensorboard.summary import text as text_summary

            yield text_summary(tag, _encodable(text))  # type: ignore[no-untyped-call]

        self._log(step, make)

    def log_figure(self, tag: str, figure: Figure, step: int) -> None:
        """Write a matplotlib figure as an image. Always clear the figure, to free its memory."""

        def make() -> Iterator[object]:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from torch.utils.tensorboard.summary import image

            canvas = FigureCanvasAgg(figure)
            canvas.draw()  # type: ignore[no-untyped-call]
            rgba = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
            yield image(tag, rgba[..., :3], dataformats="HWC")  # type: ignore[no-untyped-call]

        self._log(step, make)
        figure.clear()

    def log_hparams(
        self, params: Mapping[str, object], metrics: Mapping[str, object], step: int | None = None
    ) -> None:
        """Write the row of this run in the HPARAMS page of TensorBoard to the same event file.

        Metrics that are not numbers are skipped. The others are also written as scalars at
        ``step``, by default the last step logged so far.
        """
        values = {tag: to_jsonable(metric) for tag, metric in metrics.items()}
        numbers = {tag: float(v) for tag, v in values.items() if isinstance(v, (int, float))}

        def make() -> Iterable[object]:
            from torch.utils.tensorboard.summary import hparams

            plain = {name: _plain(value) for name, value in params.items()}
            # SummaryWriter.add_hparams would write these records to a subfolder, and TensorBoard
            # would show the subfolder as a second run.
            records: Iterable[object] = hparams(plain, numbers)  # type: ignore[no-untyped-call]
            return records

        self._log(0, make)
        self.log_scalars(self._step if step is None else step, numbers)

    def log_layout(self, metric: str) -> None:
        """Write the charts of TensorBoard's page Custom Scalars: several curves in each."""
        tags = {
            "loss": "loss/.*",
            metric: f"{metric}/.*",
            "learning rates": "lr/.*",
            "entropy of the edges (mean)": "entropy/.*/mean",
            "lead of the best operation (mean)": "margin/.*/mean",
            "operations without weights in the genotype": "genotype/.*",
        }
        charts = {title: ["Multiline", [pattern]] for title, pattern in tags.items()}

        def make() -> Iterator[object]:
            from torch.utils.tensorboard.summary import custom_scalars

            yield custom_scalars({"overview": charts})  # type: ignore[no-untyped-call]

        self._log(0, make)

    def flush(self) -> None:
        """Write buffered records to the file."""
        if self._file is not None:
            with self._optional():
                self._file.flush()
            self._flushed = time.monotonic()

    def close(self) -> None:
        """Flush and close the event file. Later calls of any method write nothing."""
        file, self._file = self._file, None
        if file is not None:
            with self._optional():
                file.close()

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _plain(value: object) -> int | float | str:
    """Return a hyperparameter as a number or text."""
    if isinstance(value, bool) or value is None:  # the HPARAMS page would show a bool as 1 or 0
        return "none" if value is None else str(value).lower()
    value = to_jsonable(value)
    return value if isinstance(value, (int, float)) else _encodable(str(value))


def _encodable(text: str) -> str:
    """Return text that UTF-8 can encode; a file name may have bytes that are not UTF-8."""
    return text.encode("utf-8", errors="backslashreplace").decode()
