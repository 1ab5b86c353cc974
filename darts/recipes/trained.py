"""The trained network of a retraining, loaded from its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from darts.config import ConfigError, RetrainConfig, rebuild
from darts.data import InputSpec
from darts.recipes.retrain import build_network
from darts.spaces import AnyGenotype, NetworkBase, parse_genotype
from darts.training.checkpoint import CheckpointError, load_checkpoint


@dataclass(frozen=True)
class TrainedNetwork:
    """The result of a retraining: weights, genotype, configuration and description of the data."""

    file: Path  # the checkpoint
    config: RetrainConfig
    genotype: AnyGenotype
    epoch: int  # of the selected weights, from 1
    weights: Mapping[str, Tensor]  # state dict of the network
    target_names: tuple[str, ...]  # classes or words
    network_sizes: Mapping[str, int]  # arguments that fit the network to the data
    input_specs: tuple[InputSpec, ...]  # empty if the network cannot be exported

    @classmethod
    def load(cls, reference: str) -> TrainedNetwork:
        """Load a checkpoint file, or the checkpoint of a run directory.

        Raises:
            ConfigError: When there is no such file.
            CheckpointError: When the file is damaged, or its run has not completed an epoch.
        """
        file = find_checkpoint(reference)
        saved = load_checkpoint(file, "retrain")
        if saved["best"] is None:
            raise CheckpointError(f"{file}: the retraining has not completed an epoch")
        config = rebuild(RetrainConfig, saved["config"])
        return cls(
            file=file,
            config=config,
            genotype=parse_genotype(config.genotype),
            epoch=saved["best"]["epoch"],
            weights=saved["best"]["net"],
            target_names=tuple(saved["target_names"]),
            network_sizes=saved["network_sizes"],
            input_specs=tuple(InputSpec(**spec) for spec in saved["input_specs"]),
        )

    def build(self) -> NetworkBase:
        """Return the network with its weights, on the CPU."""
        net = build_network(self.genotype, self.config, self.network_sizes)
        net.load_state_dict(self.weights)
        return net


def find_checkpoint(reference: str) -> Path:
    """Return the checkpoint file that a file name or a run directory refers to.

    Raises:
        ConfigError: When there is no such file.
    """
    path = Path(reference)
    file = path / "checkpoint.pt" if path.is_dir() else path
    if not file.is_file():
        raise ConfigError(
            f"checkpoint={reference!r}: neither a checkpoint file nor the directory of a "
            "retraining; give runs/retrain/<run>"
        )
    return file
