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
from darts.data import Loader, load_split
from darts.data.encodings import RowEncoding
from darts.data.targets import CLASSES
from darts.data_modules import DataModule, check_data_kind, make_data_module
from darts.reading import JsonObject
from darts.recipes.retrain import build_network
from darts.recipes.states import BestEpoch, DataDescription
from darts.recipes.temperature import divide_outputs
from darts.spaces import AnyGenotype, NetworkBase, parse_genotype
from darts.spaces.averaging import Ensemble
from darts.spaces.trees import TreeNetwork, TreeSizes
from darts.tasks import Objective
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


class _Member(TypedDict):
    config: JsonObject
    count: Annotated[int, msgspec.Meta(ge=1)]


class _MemberEntries(_Member, total=False):
    trees: TreeSizes | None


@dataclass(frozen=True)
class Member:
    """A network of an ensemble.

    Attributes:
        config: The configuration of its retraining.
        count: How often it counts.
        trees: The sizes, if it consists of trees.
    """

    config: RetrainConfig
    count: int
    trees: TreeSizes | None


@dataclass(kw_only=True)
class TrainedNetwork(DataDescription):
    """The result of a retraining: weights, genotype, configuration and description of the data.

    For an ensemble, these are the values of its first member, and the weights of all members.
    """

    file: Path  # the checkpoint
    config: RetrainConfig
    genotype: AnyGenotype
    epoch: int  # of the selected weights, from 1
    weights: Mapping[str, Tensor]  # state dict of the network
    members: tuple[Member, ...] = ()  # of an ensemble, including the first
    trees: TreeSizes | None = None  # of an ensemble of trees, which has no genotype of its own
    temperature: float = 1.0  # divides the outputs, see darts.recipes.temperature

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
            if content.get("best") is None:
                raise CheckpointError(f"{file}: the retraining has not completed an epoch")
            best = entry(content, "best", BestEpoch)
            members = typed(list[_MemberEntries], content.get("members", []), "members")
            trees = content.get("trees")
            trained = cls(
                **vars(DataDescription.read(content)),
                file=file,
                config=config,
                genotype=_parse(config),
                epoch=best["epoch"],
                weights=best["net"],
                members=_members(members, config),
                trees=None if trees is None else typed(TreeSizes, trees, "trees"),
                temperature=best.get("temperature", 1.0),
            )
            require_fitting_network(trained._untrained, trained.weights, "best.net")
            require_finite_weights(trained.weights, "best.net")
            for number, spec in enumerate(trained.input_specs):
                if math.prod(spec.shape) > EXAMPLE_LIMIT:
                    raise Misfit(f"input_specs[{number}].shape is too large: {spec.shape[:8]}")
        return trained

    @property
    def architecture(self) -> JsonObject:
        """The architecture for summaries: the genotype, or the number of trees."""
        if self.trees is not None:
            return {"trees": self.trees.trees}
        return {"genotype": str(self.genotype)}

    def build(self) -> NetworkBase:
        """Return the network with its weights, on the CPU."""
        net = self._untrained()
        net.load_state_dict(self.weights)
        if self.temperature != 1:
            divide_outputs(net, self.temperature)
        return net

    def entries(self) -> StateDict:
        """Return the entries of a checkpoint that describe the network, without its weights."""
        members = [asdict(member) for member in self.members]
        trees = None if self.trees is None else asdict(self.trees)
        own = {"config": asdict(self.config), "members": members, "trees": trees}
        return {**own, **super().entries()}

    def _untrained(self) -> NetworkBase:
        if not self.members:
            return self._untrained_member(Member(self.config, 1, self.trees), None)
        widths = [self._width(member) for member in self.members]
        pairs = zip(self.members, widths, strict=True)
        return Ensemble(
            [self._untrained_member(member, width) for member, width in pairs],
            [member.count for member in self.members],
            self.config.task.targets,
            widths,
        )

    def _width(self, member: Member) -> int | None:
        """Return the number of inputs of a network without bins in an ensemble with bins."""
        if not isinstance(self.encoding, RowEncoding) or uses_bins(member.config):
            return None
        return self.encoding.without_bins().width

    def _untrained_member(self, member: Member, width: int | None) -> NetworkBase:
        genotype = _parse(member.config)
        if member.trees is not None:
            return TreeNetwork(genotype, member.trees)
        sizes = self.network_sizes | ({} if width is None else {"in_channels": width})
        return build_network(genotype, member.config, sizes)


def uses_bins(config: RetrainConfig) -> bool:
    """Return whether a network reads a piecewise linear encoding of numbers."""
    return getattr(config.dataset, "bins", 0) > 0


def _members(saved: list[_MemberEntries], config: RetrainConfig) -> tuple[Member, ...]:
    """Return the members of an ensemble; none for a single network."""
    members = tuple(
        Member(rebuild(RetrainConfig, own["config"]), own["count"], own.get("trees"))
        for own in saved
    )
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
    if list(data.target_names) != trained.target_names:
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


def open_split(
    trained: TrainedNetwork, ranks: Ranks, split: str, batch_size: int | None = None
) -> tuple[NetworkBase, Loader, Objective]:
    """Return a network on its device, a split that its data has, and the objective."""
    data = open_data(trained, ranks, batch_size=batch_size)
    subsets = load_split(trained.file.parent / "split.npz") if split == "valid" else {}
    loader = data.held_out_loader(split, subsets)
    assert loader is not None
    return build_on(trained, ranks.device), loader, data.objective()
