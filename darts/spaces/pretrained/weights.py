"""Trained weights: their names, files and sources. Nothing is downloaded.

``NETWORK`` names the default weights of a network, ``NETWORK.ENTRY`` an entry of its weights in
torchvision, and ``NETWORK:FILE`` a state dict in a file of PyTorch or safetensors.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from darts.spaces.pretrained.architectures import NETWORKS

AUTO = "auto"

_INSTALL = "run pip install 'darts-nas[pretrained]'"
_NAME = re.compile(r"(?P<network>\w+)(\.(?P<entry>\w+)|:(?P<file>.+))?")

IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


@dataclass(frozen=True)
class Weights:
    """Trained weights; an empty entry stands for the default, an empty file for published ones."""

    name: str
    network: str
    entry: str
    file: str

    @classmethod
    def parse(cls, name: str) -> Weights:
        """Return the weights that a text names."""
        match = _NAME.fullmatch(name)
        if match is None:
            raise ValueError(
                f"space.weights={name}: must be NETWORK, NETWORK.ENTRY or NETWORK:FILE"
            )
        return cls(name, **match.groupdict(""))

    @property
    def statistics(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation by channel of the inputs, from pixels in [0, 1]."""
        own = NETWORKS.get(self.network)
        return IMAGENET if own is None else own.statistics

    @property
    def source(self) -> str:
        """Where the weights come from, and their license."""
        if self.file:
            return f"{self.network}, weights of the user from {Path(self.file).name}"
        if own := NETWORKS.get(self.network):
            return f"{self.name} of the package {own.package}, license {own.license}"
        url = self._published().url
        return f"{self.name} of torchvision, {url} (see the license statement of torchvision)"

    def path(self) -> Path:
        """Return the file; if it is missing, raise ValueError, with what to do."""
        if self.file:
            file, advice = Path(self.file), "name a file with a state dict"
        elif own := NETWORKS.get(self.network):
            file, advice = Path(own.file), _INSTALL
            with suppress(ModuleNotFoundError):
                file = Path(str(resources.files(own.package.replace("-", "_")))) / own.file
        else:
            url = self._published().url
            file = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
            advice = f"download {url} to this place"
        if not file.is_file():
            raise ValueError(f"space.weights={self.name}: {file} is missing; {advice}")
        return file

    def read(self) -> dict[str, Tensor]:
        """Return the state dict; a file cannot run code."""
        file = self.path()
        if file.suffix == ".safetensors":
            return load_file(file)
        state: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
        return state

    def _published(self) -> Any:
        """Return the entry of torchvision, a ``WeightsEnum``."""
        from torchvision import models

        entries = models.get_model_weights(self.network)
        try:
            return entries[self.entry or "DEFAULT"]
        except KeyError:
            names = ", ".join(entries.__members__)
            raise ValueError(f"space.weights={self.name}: choose from {names}") from None


def find_weights(name: str) -> Weights:
    """Return weights with an absolute path; for ``AUTO``, the smallest file on this machine."""
    if name != AUTO:
        weights = Weights.parse(name)
        file = Path(weights.file).absolute()
        return Weights.parse(f"{weights.network}:{file}") if weights.file else weights
    from torchvision import models

    sizes: dict[Weights, int] = {}
    for network in (*NETWORKS, *models.list_models(module=models)):
        with suppress(ValueError):
            sizes[Weights.parse(network)] = Weights.parse(network).path().stat().st_size
    if not sizes:
        raise ValueError(f"space.weights={AUTO}: none are installed or cached; {_INSTALL}")
    return min(sizes, key=sizes.__getitem__)
