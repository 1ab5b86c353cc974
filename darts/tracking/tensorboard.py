"""TensorBoard: one event file in the run directory itself, and only this module writes it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from darts.tracking.files import to_jsonable

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def preload_tensorboard() -> None:
    """Load what draws and what writes event files, and so take its memory, before the first use."""
    import torch.utils.tensorboard  # noqa: F401


class TensorBoard:
    """Write scalars, texts, pictures and hyperparameters to TensorBoard.

    Args:
        directory: the run directory; the event file goes right into it.
        enabled: False makes every method do nothing (other ranks, dry runs).
        purge_step: the first step of a resumed run. TensorBoard then hides what the killed run
            had written from this step on, so that no step is shown twice.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        enabled: bool = True,
        purge_step: int | None = None,
    ) -> None:
        self._step = purge_step or 0
        self._writer: Any = None
        if enabled:
            # Imported here because it takes a second, which listing genotypes should not pay.
            from torch.utils.tensorboard.writer import SummaryWriter

            self._writer = SummaryWriter(log_dir=os.fspath(Path(directory)), purge_step=purge_step)

    @property
    def enabled(self) -> bool:
        """Whether anything is written; pictures need not be drawn otherwise."""
        return self._writer is not None

    def scalars(self, step: int, mapping: Mapping[str, Any]) -> None:
        """Write numbers by tag; values of None (not measured at this step) are left out."""
        if self._writer is None:
            return
        self._step = max(self._step, step)
        for tag, value in mapping.items():
            if value is not None:
                self._writer.add_scalar(tag, float(value), step)

    def text(self, tag: str, text: str, step: int) -> None:
        """Write a text, which TensorBoard shows as Markdown."""
        if self._writer is not None:
            self._step = max(self._step, step)
            self._writer.add_text(tag, text, step)

    def figure(self, tag: str, figure: Figure, step: int) -> None:
        """Draw a matplotlib figure as a picture, then empty the figure to free its memory."""
        if self._writer is not None:
            from matplotlib.backends.backend_agg import FigureCanvasAgg

            canvas = FigureCanvasAgg(figure)
            canvas.draw()
            pixels = np.asarray(canvas.buffer_rgba())[..., :3]  # (H, W, 4) -> (H, W, 3)
            self._step = max(self._step, step)
            self._writer.add_image(tag, pixels, step, dataformats="HWC")
        figure.clear()

    def image(
        self, tag: str, image: torch.Tensor | np.ndarray, step: int, *, layout: str = "CHW"
    ) -> None:
        """Write a picture: bytes from 0 to 255, or fractions from 0 to 1, in the given layout."""
        if self._writer is not None:
            self._step = max(self._step, step)
            self._writer.add_image(tag, image, step, dataformats=layout)

    def hparams(
        self, params: Mapping[str, Any], metrics: Mapping[str, Any], *, step: int | None = None
    ) -> None:
        """Write one row of the HPARAMS page into the same event file.

        Args:
            params: the configuration; nested groups become names with dots, lists become text.
            metrics: the scores of the run by tag, which are also written as scalars. Those that
                are None or not numbers are left out.
            step: the step of those scalars; by default the latest step seen so far.
        """
        if self._writer is None:
            return
        from torch.utils.tensorboard.summary import hparams

        numbers = {
            tag: float(value)
            for tag, value in to_jsonable(metrics).items()
            if isinstance(value, (int, float))
        }
        # SummaryWriter.add_hparams would put these three records into a folder of their own,
        # which TensorBoard lists as a second run.
        for record in hparams(dict(_flatten(params)), numbers):
            self._writer.file_writer.add_summary(record)
        self.scalars(self._step if step is None else step, numbers)

    def flush(self) -> None:
        """Hand everything written so far to the file."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Flush and close the event file; later calls write nothing."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _flatten(params: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (name with dots, number or text) for each leaf of nested mappings."""
    for key, value in params.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{name}.")
        elif isinstance(value, bool):
            # The hparams summary takes bool for a number, and the page would show 1 and 0.
            yield name, str(value).lower()
        elif isinstance(value, (int, float, str)):
            yield name, value
        elif value is None:
            yield name, "none"
        elif getattr(value, "ndim", None) == 0:  # a numpy or torch scalar
            yield name, value.item()
        else:
            yield name, str(list(value) if isinstance(value, tuple) else value)
