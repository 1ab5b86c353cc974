"""The trained network of a retraining, loaded from its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, TypedDict

from torch import Tensor

from darts.config import RetrainConfig, rebuild
from darts.data import InputSpec
from darts.data.encodings import Encoding, RowEncoding, WordEncoding
from darts.data.targets import NUMBERS, TargetScale
from darts.data.words import SPECIAL
from darts.data_modules import check_data_kind
from darts.recipes.retrain import build_network
from darts.recipes.retrain_state import RetrainState
from darts.recipes.shared_network import SUFFIX, load_network
from darts.spaces import AnyGenotype, NetworkBase, parse_genotype
from darts.spaces.ensemble import Ensemble
from darts.tasks.sample_objective import SampleTask
from darts.training.checkpoint import (
    ENSEMBLE,
    CheckpointError,
    StateDict,
    checkpoint_errors,
    find_checkpoint,
    load_checkpoint,
)
from darts.training.restoring import require_finite_weights, require_fitting_network
from darts.typed_values import Misfit, PlainDict, Within, entry, typed

GENOTYPE_LIMIT = 100_000  # characters
NAME_LIMIT = 100  # characters of an input or an axis
EXAMPLE_LIMIT = 2**24  # elements of an example input
TEXT_LIMIT = 1000  # words of a text, as in ``VocabularyOptions``


class MemberEntry(TypedDict):
    """One of the ``members`` in the checkpoint of an ensemble."""

    config: PlainDict
    count: Annotated[int, Within(1, 2**31)]


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
        """Load a checkpoint file, a file of ``darts.recipes.shared_network``, or a run directory.

        The weights are checked to be finite and to fit the network, without allocating a network.

        Raises:
            ConfigError: If there is no such file.
            CheckpointError: If the file is damaged, its entries contradict each other, or its run
                has not completed an epoch.
        """
        file = find_checkpoint(reference)
        is_shared = file.suffix == SUFFIX
        saved = load_network(file) if is_shared else load_checkpoint(file, "retrain", ENSEMBLE)
        with checkpoint_errors(file):
            config = rebuild(RetrainConfig, entry(saved, "config", PlainDict))
            check_data_kind(config)
            state = RetrainState.entries(
                saved, "epoch", "best", "target_names", "target_scale", "network_sizes",
                "input_specs", "encoding",
            )  # fmt: skip
            best = state["best"]
            if best is None:
                raise CheckpointError(f"{file}: the retraining has not completed an epoch")
            if not 1 <= best["epoch"] <= state["epoch"] <= config.epochs:
                raise Misfit(f"best.epoch is {best['epoch']} of {state['epoch']} epochs")
            trained = cls(
                file=file,
                config=config,
                genotype=_parse(config),
                epoch=best["epoch"],
                weights=best["net"],
                target_names=tuple(state["target_names"]),
                target_scale=state["target_scale"],
                network_sizes=state["network_sizes"],
                input_specs=tuple(state["input_specs"]),
                encoding=state["encoding"],
                members=_members(saved, config),
            )
            trained._check()
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
            "epoch": self.epoch,
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

    def _check(self) -> None:
        """Refuse weights, names and inputs that do not fit the network.

        Raises:
            Misfit: For the first one.
        """
        require_fitting_network(self._untrained, self.weights, "best.net")
        require_finite_weights(self.weights, "best.net")
        if len(self.target_names) not in self.network_sizes.values():
            raise Misfit(
                f"target_names has {len(self.target_names)} names, which equals no entry of "
                "network_sizes"
            )
        scale, has_numbers = self.target_scale, self.config.task.targets == NUMBERS
        if has_numbers != (scale is not None):
            raise Misfit("target_scale does not fit the task of the configuration")
        if scale is not None and len(scale.mean) != len(self.target_names):
            raise Misfit(
                f"target_scale has {len(scale.mean)} numbers, target_names {len(self.target_names)}"
            )
        for number, spec in enumerate(self.input_specs):
            _check_input(spec, self.network_sizes, f"input_specs[{number}]")
        self._check_encoding()

    def _check_encoding(self) -> None:
        """Refuse an encoding whose inputs do not fit the network.

        Raises:
            Misfit: If it does not fit.
        """
        if isinstance(self.encoding, RowEncoding):
            widths = {spec.shape[1] for spec in self.input_specs if len(spec.shape) > 1}
            if widths != {self.encoding.width}:
                raise Misfit(
                    f"encoding has {self.encoding.width} inputs, which does not fit input_specs"
                )
        if isinstance(self.encoding, WordEncoding):
            if {spec.num_tokens for spec in self.input_specs} != {len(self.encoding.words)}:
                raise Misfit(
                    f"encoding has {len(self.encoding.words)} words, which does not fit input_specs"
                )
            if not 1 <= self.encoding.max_length <= TEXT_LIMIT:
                raise Misfit(
                    f"encoding.max_length is {self.encoding.max_length}; must be 1 to {TEXT_LIMIT}"
                )
            if self.encoding.words[: len(SPECIAL)] != SPECIAL:
                raise Misfit(f"encoding.words must begin with {' '.join(SPECIAL)}")


def _members(saved: StateDict, config: RetrainConfig) -> tuple[Member, ...]:
    """Return the members of an ensemble; none for a single network.

    Raises:
        ConfigError, Misfit: If an entry is damaged, or a member has another task.
    """
    entries = typed(list[MemberEntry], saved.get("members", []), "members")
    members = tuple(Member(rebuild(RetrainConfig, own["config"]), own["count"]) for own in entries)
    for number, member in enumerate(members):
        if member.config.task.name != config.task.name or not isinstance(config.task, SampleTask):
            raise Misfit(f"members[{number}] cannot be in an ensemble of task={config.task.name}")
    return members


def _parse(config: RetrainConfig) -> AnyGenotype:
    """Return the genotype of a configuration.

    Raises:
        Misfit: If it is too long or belongs to another space than the configuration.
        ValueError: If it is not a genotype.
    """
    if len(config.genotype) > GENOTYPE_LIMIT:
        raise Misfit(f"config.genotype has more than {GENOTYPE_LIMIT:,} characters")
    genotype = parse_genotype(config.genotype)
    if genotype.space != config.space.name:
        raise Misfit(
            f"config.genotype belongs to space={genotype.space}, not to space={config.space.name}"
        )
    return genotype


def _check_input(spec: InputSpec, sizes: Mapping[str, int], name: str) -> None:
    """Refuse an input that an exported graph cannot have, or whose example would be too large.

    Raises:
        Misfit: If an entry of the specification is invalid.
    """
    elements = 1
    for size in spec.shape:
        elements *= size
        if not 1 <= size <= EXAMPLE_LIMIT or elements > EXAMPLE_LIMIT:
            raise Misfit(
                f"{name}.shape is {spec.shape[:8]}; it must have 1 to {EXAMPLE_LIMIT:,} elements"
            )
    for text in (spec.name, *spec.dynamic_axes.values()):
        if not text.isidentifier() or len(text) > NAME_LIMIT:
            raise Misfit(f"{name} has the name {text[:60]!r}, which is not an identifier")
    if not all(0 <= axis < len(spec.shape) for axis in spec.dynamic_axes):
        raise Misfit(f"{name}.dynamic_axes names an axis that the shape does not have")
    if spec.mean is not None or spec.std is not None:
        channels = {len(numbers) for numbers in (spec.mean or (), spec.std or ())}
        if channels != {spec.shape[1] if len(spec.shape) > 1 else 0}:
            raise Misfit(f"{name}: mean and std must have one number per channel")
    if spec.num_tokens is not None and spec.num_tokens not in sizes.values():
        raise Misfit(
            f"{name}.num_tokens is {spec.num_tokens}, which equals no entry of network_sizes"
        )
