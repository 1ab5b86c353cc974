"""The checkpoints of a search and of a retraining."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, TypeAlias, TypedDict, get_type_hints

import msgspec
import torch
from torch import Tensor

from darts.data import InputSpec, Loader
from darts.data.encodings import Encoding, RowEncoding
from darts.data.targets import TargetScale
from darts.data.words import WordEncoding
from darts.data_modules import DataModule
from darts.reading import JsonObject
from darts.searching.searcher import Searcher
from darts.spaces import AnyGenotype, NetworkBase, Space, parse_genotype
from darts.training.averaging import Averaging
from darts.training.checkpoint import (
    NETWORK,
    CheckpointError,
    StateDict,
    checkpoint_errors,
    find_checkpoint,
    load_checkpoint,
)
from darts.training.state import Stateful, TrainState
from darts.typed_values import Count, Misfit, entry


@dataclass(kw_only=True)
class SearchState(TrainState):
    """Checkpoint of a search."""

    valid_loader: Loader  # batches for architecture steps
    searcher: Searcher  # supernet, optimizers and masks
    history: list[dict[str, Tensor]] = field(default_factory=list)  # probabilities, each epoch
    genotypes: list[str] = field(default_factory=list)  # JSON, each epoch
    # Dominant eigenvalue at the end of each epoch in which the stopping rule needs it.
    eigenvalues: list[float] = field(default_factory=list)
    # So far, of the learning rate of the alphas.
    raises: Annotated[int, msgspec.Meta(ge=0, le=10)] = 0
    discretization: StateDict = field(default_factory=dict)  # progress of the discretization
    # Epoch, from 0, whose genotype is the result; None unless the stopping rule or a collapse check
    # has ended the search.
    stopped_epoch: Count | None = None

    def __post_init__(self) -> None:
        self.parts: dict[str, Stateful] = {}  # of callbacks, by name

    def state_dict(self) -> StateDict:
        added = {name: part.state_dict() for name, part in self.parts.items()}
        return {**super().state_dict(), **added}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        super().load_state_dict(state)
        for name, part in self.parts.items():
            part.load_state_dict(entry(state, name, object))


class _Calibration(TypedDict, total=False):
    temperature: Annotated[float, msgspec.Meta(gt=0, le=1000)]  # of a classifier


class BestEpoch(_Calibration):
    """The epoch that ``selection`` prefers, the best or the last one, and its weights."""

    epoch: Count  # from 1
    scores: dict[str, float]  # validation metrics
    net: dict[str, Tensor]  # state dict of the network


@dataclass(kw_only=True)
class DataDescription:
    """What a network must know of its data, to be built again and to read new samples."""

    target_names: list[str]  # classes, labels, numbers or words
    target_scale: TargetScale | None  # of numbers to predict
    # See DataModule.network_sizes. The bool says whether two vocabularies are the same.
    network_sizes: dict[str, int | bool]
    input_specs: list[InputSpec]  # empty if the network cannot be exported
    encoding: Encoding | None  # of rows of a table, or of texts

    @staticmethod
    def of(data: DataModule, space: Space) -> DataDescription:
        """Return the description of loaded data for networks of a space."""
        return DataDescription(
            target_names=list(data.target_names),
            target_scale=data.target_scale,
            network_sizes=dict(data.network_sizes(space)),
            input_specs=data.input_specs(),
            encoding=data.encoding,
        )

    @staticmethod
    def read(content: Mapping[str, object]) -> DataDescription:
        """Return the description that a checkpoint contains."""
        encoding = entry(content, "encoding", object)
        is_text = isinstance(encoding, Mapping) and "words" in encoding
        kind: Any = WordEncoding if is_text else RowEncoding
        hints: dict[str, Any] = {**get_type_hints(DataDescription), "encoding": kind | None}
        return DataDescription(**{name: entry(content, name, hints[name]) for name in DATA_FIELDS})

    def entries(self) -> StateDict:
        """Return the description as entries of a checkpoint."""
        own = DataDescription(**{name: getattr(self, name) for name in DATA_FIELDS})
        return dataclasses.asdict(own)


DATA_FIELDS = tuple(each.name for each in dataclasses.fields(DataDescription))


@dataclass(kw_only=True)
class RetrainState(TrainState, DataDescription):
    """Checkpoint of a retraining."""

    net: NetworkBase
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    averaging: Averaging
    best: BestEpoch | None = None  # None until an epoch is selected
    # Validation metrics before the training, if a classifier was fitted to trained weights.
    frozen_scores: dict[str, float] = field(default_factory=dict)
    slow_steps: Count = 0  # see stable_rate; also of runs that this one continues

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Restore every field; those that describe the data must equal the current ones."""
        current = self.state_dict()
        for name in DATA_FIELDS:
            # As JSON, because the state of a file has lists in place of tuples.
            if json.dumps(state.get(name)) != json.dumps(current[name]):
                raise Misfit(f"{name} differs from the value for the data set")
        self.load_fields(state, *(name for name in current if name not in DATA_FIELDS))


def warm_start(
    state: RetrainState,
    reference: str,
    space: Space,
    build: Callable[[AnyGenotype], NetworkBase],
    *,
    best: bool = False,
) -> None:
    """Begin with the last weights, the average and the optimizer state of another retraining.

    With ``best``, begin with the selected weights, and start a new average. The optimizer keeps the
    options of the new run, such as its weight decay. A network without the state of an optimizer
    only has selected weights. A network of another genotype inherits what fits, see
    ``Space.inherited_tensors``.

    Args:
        state: The state of the new run.
        reference: The other run.
        space: The space of both.
        build: Builds the network of a genotype with the sizes of this run.
        best: Whether to begin with the selected weights.
    """
    file = find_checkpoint(reference, key="start")
    saved = load_checkpoint(file, "retrain", NETWORK)
    has_state = "optimizer" in saved
    if saved.get("members") or saved.get("trees"):
        raise CheckpointError(f"{file}: no training continues from an ensemble")
    with checkpoint_errors(file):
        text = str(entry(saved, "config", JsonObject).get("genotype"))
        genotype, parent = state.net.genotype, parse_genotype(text)
        if parent.space == genotype.space and parent.function != genotype.function:
            inherit = partial(space.inherited_tensors, genotype, parent)
            saved = inherited_checkpoint(saved, state.net, inherit, partial(build, parent))
        if best or not has_state:
            state.net.load_state_dict(entry(saved, "best", BestEpoch)["net"])
        else:
            state.load_fields(saved, "net", "averaging")
        if has_state:
            state.load_fields(saved, "optimizer", "restarts", "first_loss", "slow_steps")


_Tensors: TypeAlias = Mapping[str, Tensor]


def inherited_checkpoint(
    saved: StateDict,
    net: NetworkBase,
    inherit: Callable[[_Tensors, _Tensors], dict[str, Tensor]],
    build_parent: Callable[[], NetworkBase],
) -> StateDict:
    """Return the checkpoint of a parent with tensors that fit another network.

    Args:
        saved: The checkpoint.
        net: The network.
        inherit: Returns the inherited tensors, given the network's own tensors and the parent's.
        build_parent: Builds the parent.
    """
    own, result = net.state_dict(), dict(saved)
    if saved.get("best") is not None:
        best = entry(saved, "best", BestEpoch)
        result["best"] = {**best, "net": inherit(own, best["net"])}
    if "optimizer" not in saved:
        return result
    result["net"] = inherit(own, entry(saved, "net", dict[str, Tensor]))
    averaging = entry(saved, "averaging", StateDict)
    if averaging["average"] is not None:
        result["averaging"] = {**averaging, "average": inherit(own, averaging["average"])}
    with torch.device("meta"):
        parents = [name for name, _ in build_parent().named_parameters()]
    parameters = dict(net.named_parameters())
    optimizer = entry(saved, "optimizer", StateDict)
    buffers: dict[str, dict[str, Any]] = {name: {} for name in parameters}
    known = {parents[int(index)]: own for index, own in optimizer["state"].items()}
    for key in {key for each in known.values() for key in each}:
        theirs = {name: each[key] for name, each in known.items() if each.get(key) is not None}
        # A step counter has no axes, and a new parameter has no state.
        zeros = {
            name: torch.zeros(parameter.shape if theirs[next(iter(theirs))].dim() else ())
            for name, parameter in parameters.items()
        }
        for name, tensor in inherit(zeros, theirs).items():
            if tensor is not zeros[name]:
                buffers[name][key] = tensor
    numbered = {number: own for number, own in enumerate(buffers.values()) if own}
    result["optimizer"] = {**optimizer, "state": numbered}
    return result
