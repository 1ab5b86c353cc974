"""Trained weights: their names, files, sources and licenses.

``NETWORK`` names the default weights of a network, ``NETWORK.ENTRY`` an entry of its weights in
torchvision, and ``NETWORK:FILE`` a state dict in a file of PyTorch or safetensors.
"""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from darts.reading import one_line
from darts.spaces.pretrained.architectures import NETWORKS, structure

AUTO = "auto"

_LOGGER = logging.getLogger("darts")
_INSTALL = "run pip install 'darts-nas[pretrained]'"
_NAME = re.compile(r"(?P<network>\w+)(\.(?P<entry>\w+)|:(?P<file>.+))?")
_FILE = re.compile(r"[^:]*(/[^:]*|\.(pth|pt|safetensors))")
_HASH = re.compile(r"-([0-9a-f]{8,})\.pth$")  # in the names of published files


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
        if own := NETWORKS.get(self.network):
            mean, std = own.statistics
        else:
            preset = self._published().transforms()
            mean, std = preset.mean, preset.std
        return list(mean), list(std)

    @property
    def source(self) -> str:
        """Where the weights come from, and their license."""
        if self.file:
            return (
                f"{self.network}, from the file {Path(self.file).name} of the user; its license is "
                "not recorded"
            )
        if own := NETWORKS.get(self.network):
            return f"{self.name} of the package {own.package}, license {own.license}"
        entry = self._published()
        terms = entry.meta.get("license") or (
            "torchvision states none for weights, which may have terms of the data, ImageNet; its "
            "code has the license BSD-3-Clause"
        )
        return f"{self.network}.{entry.name} of torchvision, {entry.url}; license: {terms}"

    def path(self) -> Path:
        """Return the file; if it is missing, raise ValueError, with what to do."""
        file, advice = self._place()
        if not file.is_file():
            raise ValueError(f"space.weights={self.name}: {file} is missing; {advice}")
        return file

    def _place(self) -> tuple[Path, str]:
        """Return where the file belongs, and how to get it."""
        if self.file:
            return Path(self.file), "name a file with a state dict"
        if own := NETWORKS.get(self.network):
            folder = Path(own.package)
            with suppress(ModuleNotFoundError):
                folder = Path(str(resources.files(own.package.replace("-", "_"))))
            return folder / own.file, _INSTALL
        url = self._published().url
        file = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
        return file, (
            f"download {url} to this place, which darts find does with dataset.download=true"
        )

    def download(self) -> None:
        """Download the file from the publisher, if there is one and the file is missing."""
        file, advice = self._place()
        if self.file or self.network in NETWORKS or file.is_file():
            return
        url = self._published().url
        _LOGGER.info("downloading %s to %s", url, file)
        expected = _HASH.search(url)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(file), expected and expected[1], progress=False)
        except Exception as error:  # network or disk: many libraries and error types
            raise ValueError(
                f"space.weights={self.name}: cannot download ({one_line(error, 100)}); {advice}"
            ) from None

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
    """Return weights by their name or file, which gets an absolute path.

    ``AUTO`` returns the weights of an installed package; without one, the smallest file in the
    cache of torchvision. If only a file is given, its name must begin with the name of a
    network, as the names of published files do.
    """
    if name == AUTO:
        return _installed()
    if _FILE.fullmatch(name):
        stem = Path(name).name.replace("-", "_")
        known = (network for network in _networks() if stem.startswith(network))
        network = max(known, key=len, default=None)
        if network is None:
            raise ValueError(
                f"space.weights={name}: the name of the file does not begin with a network; set "
                f"NETWORK:{name}"
            )
        name = f"{network}:{name}"
    weights = Weights.parse(name)
    file = Path(weights.file).expanduser().absolute()
    return Weights.parse(f"{weights.network}:{file}") if weights.file else weights


def _networks() -> list[str]:
    """Return the names of all networks with published weights, beginning with ``NETWORKS``."""
    from torchvision import models

    return [*NETWORKS, *models.list_models(module=models)]


def _installed() -> Weights:
    sizes: dict[Weights, tuple[bool, int]] = {}
    for network in _networks():
        weights = Weights.parse(network)
        with suppress(ValueError):  # the file is missing, or the network is of another kind
            size = weights.path().stat().st_size
            structure(network)
            sizes[weights] = network not in NETWORKS, size
    if not sizes:
        raise ValueError(f"space.weights={AUTO}: none are installed or cached; {_INSTALL}")
    return min(sizes, key=sizes.__getitem__)
