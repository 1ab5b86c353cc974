"""TensorBoard logging. A writer puts all its records into one event file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, SupportsFloat

import numpy as np
import torch

from darts.writing import to_jsonable

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch.utils.tensorboard.writer import SummaryWriter


def preload_tensorboard() -> None:
    """Import TensorBoard and matplotlib, so that a dry run measures their memory too."""
    import torch.utils.tensorboard  # noqa: F401


class TensorBoard:
    """Writer of scalars, texts, figures and hyperparameters.

    Args:
        directory: Folder of the event file, usually the run directory.
        enabled: Whether to write anything. Disabled on all ranks but rank 0 and in dry runs.
        purge_step: First step of a resumed run. TensorBoard hides the records that the
            interrupted run wrote from this step on, so that no step appears twice.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        enabled: bool = True,
        purge_step: int | None = None,
    ) -> None:
        self._step = purge_step or 0
        self._writer: SummaryWriter | None = None
        if enabled:
            # This import takes a second, which commands without TensorBoard should not spend.
            from torch.utils.tensorboard.writer import SummaryWriter

            self._writer = SummaryWriter(log_dir=os.fspath(Path(directory)), purge_step=purge_step)

    @property
    def enabled(self) -> bool:
        """Whether records are written. If False, callers need not draw figures."""
        return self._writer is not None

    def log_scalars(self, step: int, scalars: Mapping[str, SupportsFloat | None]) -> None:
        """Write one number per tag. A value of None was not measured and is skipped."""
        if self._writer is None:
            return
        self._step = max(self._step, step)
        for tag, value in scalars.items():
            if value is not None:
                self._writer.add_scalar(tag, float(value), step)

    def log_text(self, tag: str, text: str, step: int) -> None:
        """Write a text, which TensorBoard renders as Markdown."""
        if self._writer is not None:
            self._step = max(self._step, step)
            self._writer.add_text(tag, text, step)

    def log_figure(self, tag: str, figure: Figure, step: int) -> None:
        """Write a matplotlib figure as an image. Always clear the figure, to free its memory."""
        if self._writer is not None:
            from matplotlib.backends.backend_agg import FigureCanvasAgg

            canvas = FigureCanvasAgg(figure)
            canvas.draw()  # type: ignore[no-untyped-call]
            rgba = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
            self._step = max(self._step, step)
            self._writer.add_image(tag, rgba[..., :3], step, dataformats="HWC")
        figure.clear()

    def log_hparams(
        self, params: Mapping[str, object], metrics: Mapping[str, object], step: int | None = None
    ) -> None:
        """Write the row of this run in the HPARAMS page of TensorBoard to the same event file.

        Keys of nested mappings in ``params`` become dotted names, and lists become text. Metrics
        that are not numbers are skipped. The others are also written as scalars at ``step``, by
        default the last step logged so far.
        """
        if self._writer is None:
            return
        from torch.utils.tensorboard.summary import hparams

        values = {tag: to_jsonable(metric) for tag, metric in metrics.items()}
        numbers = {tag: float(v) for tag, v in values.items() if isinstance(v, (int, float))}
        # SummaryWriter.add_hparams would write these records to a subfolder, and TensorBoard
        # would show the subfolder as a second run.
        records = hparams(dict(_flatten(params)), numbers)  # type: ignore[no-untyped-call]
        for record in records:
            self._writer.file_writer.add_summary(record)  # type: ignore[attr-defined]
        self.log_scalars(self._step if step is None else step, numbers)

    def flush(self) -> None:
        """Write buffered records to the file."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Flush and close the event file. Later calls of any method write nothing."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _flatten(
    params: Mapping[str, object], prefix: str = ""
) -> Iterator[tuple[str, int | float | str]]:
    """Yield the dotted name and the value, a number or text, of each leaf of nested mappings."""
    for key, value in params.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{name}.")
        elif isinstance(value, bool):
            # The HPARAMS page would show a bool as 1 or 0.
            yield name, str(value).lower()
        elif isinstance(value, (int, float, str)):
            yield name, value
        elif value is None:
            yield name, "none"
        elif isinstance(value, (np.generic, np.ndarray, torch.Tensor)) and value.ndim == 0:
            yield name, value.item()
        else:
            yield name, str(list(value) if isinstance(value, tuple) else value)
