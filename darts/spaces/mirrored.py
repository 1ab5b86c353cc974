"""A network that averages its outputs for an image and the mirror image.

References:
    Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural
    Networks", 2012, section 4.1: averaging predictions of crops and their reflections.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import torch
from torch import Tensor, nn

from darts.spaces.network import NetworkBase
from darts.spaces.rank_dropout import BatchShare


class Mirrored(NetworkBase):
    """A network that averages its outputs for each image and its mirror image in evaluation mode.

    In training mode, it is the network itself. An evaluation takes twice as long. The module has
    the state dict of the network, so a run may continue with or without mirror images.

    Args:
        net: Network for images ``(B, C, H, W)``.
    """

    def __init__(self, net: NetworkBase) -> None:
        nn.Module.__init__(self)
        self.net, self.genotype = net, net.genotype
        self.register_state_dict_post_hook(_remove_name)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_add_name)  # type: ignore[no-untyped-call]

    def forward(self, images: Tensor, *args: Any, **options: Any) -> Any:
        """Return the outputs; in evaluation, they must be one tensor."""
        if self.training:
            return self.net(images, *args, **options)
        # One pass, because int8 formats need each layer only once.
        outputs = self.net(torch.cat([images, images.flip(3)]), *args, **options)
        if isinstance(outputs, tuple):  # logits and those of the auxiliary head
            return outputs[0].unflatten(0, (2, -1)).mean(0), outputs[1]
        return outputs.unflatten(0, (2, -1)).mean(0)

    @property
    def drop_path(self) -> float:
        return self.net.drop_path

    @drop_path.setter
    def drop_path(self, value: float) -> None:
        self.net.drop_path = value

    @property
    def batch_share(self) -> BatchShare:
        return self.net.batch_share

    @batch_share.setter
    def batch_share(self, value: BatchShare) -> None:
        self.net.batch_share = value

    @property
    def auxiliary(self) -> nn.Module | None:
        return self.net.auxiliary

    @auxiliary.setter
    def auxiliary(self, value: nn.Module | None) -> None:
        self.net.auxiliary = value

    def feature_blocks(self) -> list[nn.Module]:
        return self.net.feature_blocks()

    def edge_modules(self, cell: str, edge: int) -> list[tuple[nn.Module, str]] | None:
        return self.net.edge_modules(cell, edge)


_NAME = "net."


def _remove_name(
    module: nn.Module, state: MutableMapping[str, Any], prefix: str, *others: Any
) -> None:
    for key in [key for key in state if key.startswith(prefix + _NAME)]:
        state[prefix + key.removeprefix(prefix + _NAME)] = state.pop(key)


def _add_name(
    module: nn.Module, state: MutableMapping[str, Any], prefix: str, *others: Any
) -> None:
    for key in [key for key in state if key.startswith(prefix)]:
        state[prefix + _NAME + key.removeprefix(prefix)] = state.pop(key)
