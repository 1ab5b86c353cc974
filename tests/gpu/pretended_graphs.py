"""CUDA graphs on the pretended GPU.

A capture records the operations with the tensors that they read and write, and a replay executes
them again, without the code that called them. As on a GPU, a captured step changes nothing before
the first replay, a replay reads and writes the recorded tensors and draws new random numbers, and
what waits for the device or copies from or to the CPU raises an error in a capture. (A GPU allows
copies that do not wait, but repeats them from memory that the CPU uses for something else by then.)
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch.utils._pytree import tree_iter

NOT_PERMITTED = "operation not permitted when stream is capturing"


class Call(NamedTuple):
    """A recorded operation; all tensors are on the CPU."""

    func: Any
    args: Any
    kwargs: dict[str, Any]
    results: list[torch.Tensor]  # those in memory of their own


class Recording:
    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._own: dict[int, torch.UntypedStorage] = {}  # allocated in the capture
        self._before: dict[int, tuple[torch.UntypedStorage, torch.Tensor]] = {}  # with its bytes

    def before(self, args: Any, kwargs: dict[str, Any]) -> None:
        """Keep the values of the tensors that the next operation may change."""
        for x in _tensors((args, kwargs)):
            storage = x.untyped_storage()
            address = storage.data_ptr()
            if address and address not in self._own and address not in self._before:
                self._before[address] = storage, _bytes(storage).clone()

    def after(self, func: Any, args: Any, kwargs: dict[str, Any], result: Any) -> None:
        given = {x.untyped_storage().data_ptr() for x in _tensors((args, kwargs))}
        new = [x for x in _tensors(result) if x.untyped_storage().data_ptr() not in given]
        for x in new:
            self._own[x.untyped_storage().data_ptr()] = x.untyped_storage()
        self.calls.append(Call(func, args, kwargs, new))

    def end(self) -> None:
        """Undo all changes; results of the capture become NaN."""
        for storage, values in self._before.values():
            _bytes(storage).copy_(values)
        for storage in self._own.values():
            _bytes(storage).fill_(255)

    @torch.no_grad()
    def replay(self, execute: Any) -> None:
        """Execute the operations again, each with ``execute(func, args, kwargs)``."""
        for func, args, kwargs, results in self.calls:
            given = {x.untyped_storage().data_ptr() for x in _tensors((args, kwargs))}
            again = execute(func, args, kwargs)
            new = [x for x in _tensors(again) if x.untyped_storage().data_ptr() not in given]
            for old, value in zip(results, new, strict=True):
                old.copy_(value)


def _tensors(values: Any) -> list[torch.Tensor]:
    return [x for x in tree_iter(values) if isinstance(x, torch.Tensor)]


def _bytes(storage: torch.UntypedStorage) -> torch.Tensor:
    return torch.empty(0, dtype=torch.uint8).set_(storage)  # type: ignore[call-overload]


class Stream:
    """A stream; the pretended GPU executes everything at once."""

    def __init__(self, device: Any = None) -> None:
        pass

    def wait_stream(self, other: Stream) -> None:
        pass


class Graph:
    """A ``torch.cuda.CUDAGraph``."""

    counts: Any  # the counts of the pretended GPU; ``install`` sets it

    def __init__(self) -> None:
        self.recording: Recording | None = None

    def replay(self) -> None:
        assert self.recording is not None
        self.counts.launches["graph"] += 1
        with self.counts.replaying():
            self.recording.replay(self.counts.execute)


class Capture:
    """A ``torch.cuda.graph``: captures into a graph in a ``with`` block."""

    def __init__(self, graph: Graph, *, stream: Stream, capture_error_mode: str) -> None:
        self._graph, self._counts = graph, graph.counts

    def __enter__(self) -> None:
        assert self._counts.recording is None
        self._generator = self._counts.generator.get_state()
        self._counts.recording = Recording()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        recording, self._counts.recording = self._counts.recording, None
        recording.end()
        self._counts.generator.set_state(self._generator)
        if error is not None:
            raise RuntimeError("operation failed due to a previous error during capture")
        self._graph.recording = recording
