"""A training step as a CUDA graph: captured once, then replayed with one launch.

A step of a supernet starts thousands of kernels. If they are short, the CPU needs longer to start
them than the GPU to run them. A graph starts all of them at once.

References:
    PyTorch, "CUDA semantics", section "CUDA Graphs": capture of a whole step, warm-up in a stream
    of its own, and what a captured step must not do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

import torch
from torch import Tensor

from darts.config import ConfigError, RunConfig
from darts.data import Batch, SampleBatch
from darts.registry import can_capture
from darts.tasks.sample_objective import OWN
from darts.training.device import RandomStates, random_states
from darts.training.distributed import Ranks

Result = TypeVar("Result")

DRAWS_ON_CPU = "its steps draw random numbers on the CPU"
REPEATS_DRAWS = "its steps use random numbers of the GPU twice"


@dataclass(frozen=True)
class _Capture(Generic[Result]):
    """A captured step."""

    graph: torch.cuda.CUDAGraph
    inputs: Sequence[Tensor]  # tensors of the batches, which the graph reads
    result: Result  # each replay overwrites its tensors


class GraphedStep(Generic[Result]):
    """A training step that runs as a CUDA graph; its arguments are batches.

    A graph contains the kernels of the step, the addresses of their tensors, and every number that
    Python passed to a kernel: learning rates, temperatures, dropout rates. Call ``discard``
    whenever such a number, a parameter or the state of an optimizer may have been replaced. The
    next call then runs the step without a graph, which also fills caches and creates the state of
    the optimizers. The second call captures the step, and this and all later calls replay it.
    Batches of another layout, for example a smaller last batch, run without a graph.

    The step must launch the same kernels in every call of an epoch. It must not wait for the GPU,
    nor copy tensors from or to the CPU.

    Args:
        step: The step. Its result may contain tensors of the GPU and values that depend only on the
            layout of the batches.
        device: Device of the step.
        enabled: Whether to use graphs, if the device is a GPU.
        obstacle: Why the step must run without a graph although graphs are enabled, or None.
        repeats_draws: Whether the step restores an earlier state of the generator of the GPU. A
            graph cannot do this, so a step that does it and draws numbers runs without a graph.
    """

    def __init__(
        self,
        step: Callable[..., Result],
        device: torch.device,
        *,
        enabled: bool,
        obstacle: str | None = None,
        repeats_draws: bool = False,
    ) -> None:
        self._step, self._device, self._enabled = step, device, enabled and device.type == "cuda"
        self._obstacle, self._repeats_draws = obstacle, repeats_draws
        self._notify: Callable[[str], None] = lambda line: None
        # All calls without a graph and the capture use this stream, because backward passes and the
        # memory allocator remember streams.
        self._stream: torch.cuda.Stream | None = None
        if self._enabled and obstacle is None:
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self.discard()

    def connect(self, notify: Callable[[str], None]) -> None:
        """Report, now or later, why an enabled graph is not used: ``notify`` is given one line."""
        self._notify = notify
        self._report_obstacle()

    def _report_obstacle(self) -> None:
        if self._enabled and self._obstacle is not None:
            self._notify(f"graphs=auto: no CUDA graphs, because {self._obstacle}")

    def discard(self) -> None:
        """Discard the graph, because the next step differs, and free its memory."""
        self._layout: list[object] | None = None  # shape, strides and dtype of each tensor
        self._capture: _Capture[Result] | None = None

    def __call__(self, *batches: Batch) -> Result:
        """Take one step. The next call may overwrite the tensors of the result."""
        if not self._enabled or self._obstacle is not None:
            return self._step(*batches)
        samples = cast("Sequence[SampleBatch]", batches)
        inputs = [x for batch in samples for x in batch]
        layout: list[object] = [(x.shape, x.stride(), x.dtype) for x in inputs]
        if self._layout is None:
            self._layout = layout
            return self._warm_up(samples)
        if layout != self._layout:
            return self._run(samples)
        if self._capture is None:
            self._capture = self._captured(samples)
        for own, new in zip(self._capture.inputs, inputs, strict=True):
            own.copy_(new, non_blocking=True)
        self._capture.graph.replay()
        return self._capture.result

    def _warm_up(self, batches: Sequence[SampleBatch]) -> Result:
        """Run the step without a graph, and find out which generators it uses."""
        before = random_states(self._device)
        result = self._run(batches)
        after = random_states(self._device)
        if _on_cpu(before) != _on_cpu(after):
            self._obstacle = DRAWS_ON_CPU
        elif self._repeats_draws and not torch.equal(before["cuda"], after["cuda"]):
            self._obstacle = REPEATS_DRAWS
        self._report_obstacle()
        return result

    def _run(self, batches: Sequence[SampleBatch]) -> Result:
        """Run the step without a graph, in the stream of the capture."""
        assert self._stream is not None
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            result = self._step(*batches)
        torch.cuda.current_stream(self._device).wait_stream(self._stream)
        return result

    def _captured(self, batches: Sequence[SampleBatch]) -> _Capture[Result]:
        """Capture the step, without running it, with copies of the batches as its inputs."""
        own = [tuple(x.clone() for x in batch) for batch in batches]
        graph = torch.cuda.CUDAGraph()
        try:
            # Threads that read data may use the GPU during the capture.
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                result = self._step(*own)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            # A failed capture may leave the generator of the GPU unusable: there is no way back.
            # The first error made it fail; ending the capture raises another one.
            first: BaseException = error
            while first.__context__ is not None:
                first = first.__context__
            reason = str(first).strip().partition("\n")[0]
            raise ConfigError(
                f"graphs=auto: the step cannot be captured as a CUDA graph ({reason}); "
                "set graphs=off"
            ) from error
        return _Capture(graph, [x for batch in own for x in batch], result)


def capture_obstacle(config: RunConfig, ranks: Ranks, components: Sequence[str]) -> str | None:
    """Return why a training step cannot be captured as a CUDA graph; None if it can.

    ``components`` are the keys of the components that take part in a step. Each declares itself
    whether it can be captured, see ``can_capture``.
    """
    if ranks.size > 1:
        return "there are several ranks"
    if config.precision == "fp16":
        return "precision=fp16: the CPU reads whether a gradient overflows"
    if getattr(config.task, "loss", "") == OWN:
        return f"task.loss={OWN} is your own code"
    for key in components:
        component = getattr(config, key)
        if not can_capture(component):
            return f"{key}={component.name} does not support them"
    return None


def _on_cpu(states: RandomStates) -> tuple[object, ...]:
    """Return the states of the generators of the CPU as values that can be compared."""
    return states["python"], states["numpy"], states["torch"].tolist()
