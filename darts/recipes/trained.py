"""The trained network of a retraining, and the data with which it is scored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, TypedDict

import msgspec
import torch
from torch import Tensor

from darts.config import RetrainConfig, rebuild
from darts.data import InputSpec
from darts.data.encodings import Encoding, RowEncoding
from darts.data.targets import CLASSES, TargetScale
from darts.data.words import WordEncoding
from darts.data_modules import DataModule, check_data_kind, make_data_module
from darts.reading import JsonObject
from darts.recipes.retrain import build_network
from darts.recipes.states import BestEpoch
from darts.spaces import AnyGenotype, NetworkBase, parse_genotype
from darts.spaces.averaging import Ensemble
from darts.tasks.sample_objective import SampleTask
from darts.training.checkpoint import (
    NETWORK,
    CheckpointError,
    StateDict,
    checkpoint_errors,
    find_checkpoint,
    load_checkpoint,
)
from darts.training.device import seed_everything
from darts.training.distributed import Ranks
from darts.training.state import require_finite_weights, require_fitting_network
from darts.typed_values import Misfit, entry, typed

EXAMPLE_LIMIT = 2**24  # elements of an example input


class _MemberEntries(TypedDict):
    config: JsonObject
    count: Annotated[int, msgspec.Meta(ge=1)]


class _Entries(TypedDict):
    """Entries of a checkpoint that describe a network, in addition to its configuration."""

    best: BestEpoch | None
    target_names: tuple[str, ...]
    target_scale: TargetScale | None
    network_sizes: dict[str, int | bool]
    input_specs: tuple[InputSpec, ...]
    encoding: JsonObject | None


class _AllEntries(_Entries, total=False):
    members: list[_MemberEntries]  # of an ensemble


@dataclass(frozen=True)
class Member:
    """A network of an ensemble: the configuration of its retraining, and how often it counts."""

    config: RetrainConfig
    count: int


@dataclass(frozen=True)
class TrainedNetwork:
    """The result of a retraining: weights, genotype, configuration and description of the data.

    For an ensemble, these are the values of its first member, and the weights of all members.
    """

    file: Path  # the checkpoint
    config: RetrainConfig
    genotype: AnyGenotype
    epoch: int  # of the selected weights, from 1
    weights: Mapping[str, Tensor]  # state dict of the network
    target_names: tuple[str, ...]  # classes, labels, numbers or words
    target_scale: TargetScale | None  # of numbers to predict
    network_sizes: Mapping[str, int]  # arguments that fit the network to the data
    input_specs: tuple[InputSpec, ...]  # empty if the network cannot be exported
    encoding: Encoding | None  # of rows of a table, or of texts
    members: tuple[Member, ...] = ()  # of an ensemble, including the first

    @classmethod
    def load(cls, reference: str) -> TrainedNetwork:
        """Load a checkpoint file, a network that was exported, or a run directory.

        The weights are checked to be finite and to fit the network, without allocating a network.
        """
        file = find_checkpoint(reference)
        content = load_checkpoint(file, "retrain", NETWORK)
        with checkpoint_errors(file):
            config = rebuild(RetrainConfig, entry(content, "config", JsonObject))
            check_data_kind(config)
            saved = typed(_AllEntries, content)
            best = saved["best"]
            if best is None:
                raise CheckpointError(f"{file}: the retraining has not completed an epoch")
            trained = cls(
                file=file,
                config=config,
                genotype=_parse(config),
                epoch=best["epoch"],
                weights=best["net"],
                target_names=saved["target_names"],
                target_scale=saved["target_scale"],
                network_sizes=saved["network_sizes"],
                input_specs=saved["input_specs"],
                encoding=_encoding(saved["encoding"]),
                members=_members(saved.get("members", []), config),
            )
            require_fitting_network(trained._untrained, trained.weights, "best.net")
            require_finite_weights(trained.weights, "best.net")
            for number, spec in enumerate(trained.input_specs):
                if math.prod(spec.shape) > EXAMPLE_LIMIT:
                    raise Misfit(f"input_specs[{number}].shape is too large: {spec.shape[:8]}")
        return trained

    def build(self) -> NetworkBase:
        """Return the network with its weights, on the CPU."""
        net = self._untrained()
        net.load_state_dict(self.weights)
        return net

    def entries(self) -> StateDict:
        """Return the entries of a checkpoint that describe the network, without its weights."""
        return {
            "config": asdict(self.config),
            "target_names": list(self.target_names),
            "target_scale": None if self.target_scale is None else asdict(self.target_scale),
            "network_sizes": dict(self.network_sizes),
            "input_specs": [asdict(spec) for spec in self.input_specs],
            "encoding": None if self.encoding is None else asdict(self.encoding),
            "members": [asdict(member) for member in self.members],
        }

    def _untrained(self) -> NetworkBase:
        if not self.members:
            return build_network(self.genotype, self.config, self.network_sizes)
        configs = [member.config for member in self.members]
        return Ensemble(
            [build_network(_parse(own), own, self.network_sizes) for own in configs],
            [member.count for member in self.members],
            self.config.task.targets,
        )


def _encoding(saved: JsonObject | None) -> Encoding | None:
    if saved is None:
        return None
    if "words" in saved:
        return typed(WordEncoding, saved, "encoding")
    return typed(RowEncoding, saved, "encoding")


def _members(saved: list[_MemberEntries], config: RetrainConfig) -> tuple[Member, ...]:
    """Return the members of an ensemble; none for a single network."""
    members = tuple(Member(rebuild(RetrainConfig, own["config"]), own["count"]) for own in saved)
    for number, member in enumerate(members):
        if member.config.task.name != config.task.name or not isinstance(config.task, SampleTask):
            raise Misfit(f"members[{number}] cannot be in an ensemble of task={config.task.name}")
    return members


def _parse(config: RetrainConfig) -> AnyGenotype:
    genotype = parse_genotype(config.genotype)
    if genotype.space != config.space.name:
        raise Misfit(
            f"config.genotype belongs to space={genotype.space}, not to space={config.space.name}"
        )
    return genotype


def open_data(
    trained: TrainedNetwork,
    ranks: Ranks,
    *,
    root: str | None = None,
    batch_size: int | None = None,
    workers: int = 4,
) -> DataModule:
    """Return the data of a retraining; also seed all generators with its seed.

    The configuration of the retraining is changed to the given values. None keeps a value.
    """
    dataset, loader = trained.config.dataset, trained.config.loader
    dataset.root = root or dataset.root
    loader.eval_batch_size = batch_size or loader.eval_batch_size
    loader.workers = workers
    seed_everything(trained.config.seed)
    data = make_data_module(trained.config, ranks)
    if tuple(data.target_names) != trained.target_names:
        noun = data.target_noun if trained.config.task.targets == CLASSES else "targets"
        raise CheckpointError(
            f"{trained.file}: trained on {len(trained.target_names)} {noun}, which "
            f"differ from the {len(data.target_names)} of {dataset.name} in {dataset.root}"
        )
    if data.encoding != trained.encoding or data.target_scale != trained.target_scale:
        raise CheckpointError(
            f"{trained.file}: the training data in {dataset.root} has changed: its columns, words "
            "or targets would be encoded in another way than in the training"
        )
    return data


def build_on(trained: TrainedNetwork, device: torch.device) -> NetworkBase:
    """Return the trained network on a device."""
    net = trained.build().to(device)
    # As in training: the memory layout affects the last bits of a score.
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net
