"""A trained network that classifies images: preprocessing, network and class names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from darts.data.decode import decode, read_rgb
from darts.data.images import MemoryImages
from darts.recipes.trained import TrainedNetwork
from darts.spaces import NetworkBase
from darts.spaces.module import passed

Image: TypeAlias = object
"""A file name, a PIL image, or an array or tensor: uint8 or float from 0 to 1, of shape ``(H, W)``
or ``(C, H, W)``; arrays also ``(H, W, 3)``."""


class Preprocessing:
    """The function from an image to the input of a network, as in training without augmentation.

    Args:
        shape: Channels, height and width of the input.
        mean, std: By channel, of pixels scaled to [0, 1].
        margin: For networks that are trained on image files: shorter side before the center crop,
            divided by the size. None: images are resized without cropping.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        mean: Sequence[float],
        std: Sequence[float],
        margin: float | None = None,
    ) -> None:
        self.shape, self.margin = shape, margin
        self._mean = torch.tensor(mean).view(-1, 1, 1)
        self._std = torch.tensor(std).view(-1, 1, 1)

    def __call__(self, image: Image) -> Tensor:
        """Return the input ``(C, H, W)`` float of one image.

        An image of another size is resized, even if that changes its aspect ratio. A file is
        cropped to its center instead if the network was trained on image files.

        Raises:
            ValueError: If the image has another number of channels, or is not an image.
            OSError: If a file cannot be read.
        """
        channels, height, width = self.shape
        if isinstance(image, str | Path) and self.margin is not None:
            pixels = decode(str(image), height, self.margin)
        else:
            pixels = self._pixels(image)
        if pixels.shape[0] != channels:
            raise ValueError(f"the image has {pixels.shape[0]} channels, not {channels}")
        if pixels.shape[1:] != (height, width):
            pixels = _resized(pixels, height, width)
        normalized: Tensor = (pixels.float() / 255 - self._mean) / self._std
        return normalized

    def _pixels(self, image: Image) -> Tensor:
        """Return an image as ``(C, H, W)`` uint8."""
        from PIL import Image as pillow

        if isinstance(image, str | Path):
            return self._pixels(read_rgb(str(image)))
        if isinstance(image, pillow.Image):
            image = np.array(image.convert("L" if self.shape[0] == 1 else "RGB"))
        is_tensor = isinstance(image, Tensor)
        pixels = image.cpu() if isinstance(image, Tensor) else torch.from_numpy(np.array(image))
        if pixels.ndim == 2:
            pixels = pixels[None]
        elif pixels.ndim == 3 and not is_tensor and pixels.shape[0] != self.shape[0]:
            pixels = pixels.permute(2, 0, 1)
        if pixels.ndim != 3:
            raise ValueError(f"an image must have shape (H, W) or (C, H, W), not {pixels.shape}")
        if pixels.is_floating_point():
            if not (float(pixels.min()) >= 0 and float(pixels.max()) <= 1):  # NaN fails, too
                raise ValueError("an image of floats must have values from 0 to 1")
            pixels = (pixels * 255).round()
        elif pixels.dtype != torch.uint8:
            raise ValueError(f"an image must be uint8, or float from 0 to 1, not {pixels.dtype}")
        return pixels.to(torch.uint8)


class Model(nn.Module):
    """A trained network for images, in evaluation mode.

    Attributes:
        network: The network.
        classes: Names of the classes, by index of the logits.
        transform: Preprocessing of one image.

    Shape: preprocessed images ``(B, C, H, W)`` -> logits ``(B, classes)``.
    """

    def __init__(
        self, network: NetworkBase, classes: Sequence[str], transform: Preprocessing
    ) -> None:
        super().__init__()
        self.network, self.classes, self.transform = network, tuple(classes), transform

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        return logits


@dataclass(frozen=True)
class Predictions:
    """Predictions for N images.

    Attributes:
        classes: The most probable class of each image.
        probabilities: ``(N, classes)`` float, on the CPU.
    """

    classes: tuple[str, ...]
    probabilities: Tensor


def load(
    reference: str | Path, device: str | torch.device = "cpu", *, base: nn.Module | None = None
) -> Model:
    """Load the trained network of a retraining.

    Args:
        reference: The run directory of a retraining, or its checkpoint file.
        device: Where to place the network.
        base: The model of your own whose genotype was trained.

    Raises:
        ConfigError: If there is no such file.
        CheckpointError: If the file is damaged.
        ValueError: If the network does not classify images.
    """
    with passed(base):
        return _load(reference, device)


def _load(reference: str | Path, device: str | torch.device) -> Model:
    trained = TrainedNetwork.load(str(reference))
    specs = trained.input_specs
    spec = specs[0] if len(specs) == 1 else None
    if spec is None or spec.mean is None or spec.std is None or not _reads_images(trained):
        raise ValueError(
            f"{trained.file}: only networks that classify images can be loaded in this way; "
            f"this one was trained on dataset={trained.config.dataset.name}"
        )
    _, channels, height, width = spec.shape
    margin = {"imagenet": 256 / 224, "imagefolder": 1.0}.get(trained.config.dataset.name)
    transform = Preprocessing((channels, height, width), spec.mean, spec.std, margin)
    model = Model(trained.build(), trained.target_names, transform)
    return model.eval().requires_grad_(False).to(device)


def _reads_images(trained: TrainedNetwork) -> bool:
    return hasattr(trained.config.dataset, "crop")


@torch.no_grad()
def predict(
    model: Model | str | Path, images: Iterable[Image], *, batch_size: int = 64
) -> Predictions:
    """Return the predicted classes of images and their probabilities.

    Args:
        model: A model, or what ``load`` takes.
        images: Files, PIL images, arrays or tensors, see ``Preprocessing``.
        batch_size: Number of images that the network processes at once.

    The model computes in evaluation mode, and its mode is the same afterwards.

    Raises:
        ValueError: If ``batch_size`` is below 1, or an image cannot be used.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: must be >= 1")
    if isinstance(images, str | Path):
        images = [images]
    if not isinstance(model, Model):
        model = load(model)
    was_training = model.training
    model.eval()
    try:
        return _predict(model, images, batch_size)
    finally:
        model.train(was_training)


def _predict(model: Model, images: Iterable[Image], batch_size: int) -> Predictions:
    device = next(model.parameters()).device
    rows = [
        model(torch.stack(batch).to(device)).float().softmax(-1).cpu()
        for batch in _batches(map(model.transform, images), batch_size)
    ]
    probabilities = torch.cat(rows) if rows else torch.zeros(0, len(model.classes))
    best = probabilities.argmax(-1).tolist() if rows else []
    return Predictions(tuple(model.classes[index] for index in best), probabilities)


def _batches(items: Iterable[Tensor], size: int) -> Iterator[list[Tensor]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _resized(pixels: Tensor, height: int, width: int) -> Tensor:
    """Return an image (C, H, W) uint8 resized like those of ``MemoryImages``."""
    if height == width:
        image = MemoryImages(pixels[None], torch.zeros(1, dtype=torch.int64))
        return image.resized(height).pixels[0]
    smooth = F.interpolate(
        pixels[None].float(), (height, width), mode="bilinear", antialias=True, align_corners=False
    )
    return smooth[0].round().clamp(0, 255).to(torch.uint8)
