"""A trained network that classifies samples: preprocessing, network and class names."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn

from darts.data.encodings import RowEncoding, WordEncoding
from darts.data.mel import Spectrogram
from darts.data_modules.compatibility import data_kind
from darts.recipes.complete_run import CompleteRun
from darts.recipes.image_input import Preprocessing
from darts.recipes.sample_inputs import RecordingInput, RowInput, TextInput, Transform
from darts.recipes.trained import TrainedNetwork
from darts.spaces import NetworkBase
from darts.spaces.module import passed


class Model(nn.Module):
    """A trained network that classifies samples, in evaluation mode.

    Attributes:
        network: The network.
        classes: Names of the classes, by index of the logits.
        transform: Preprocessing of one sample: ``Preprocessing`` of an image, ``RowInput``,
            ``TextInput`` or ``RecordingInput``. Its method ``batch`` joins the results.

    Shape: a batch of preprocessed samples -> logits ``(B, classes)``.
    """

    def __init__(self, network: NetworkBase, classes: Sequence[str], transform: Transform) -> None:
        super().__init__()
        self.network, self.classes, self.transform = network, tuple(classes), transform

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.network(inputs)
        return logits


@dataclass(frozen=True)
class Predictions:
    """Predictions for N samples.

    Attributes:
        classes: The most probable class of each sample.
        probabilities: ``(N, classes)`` float, on the CPU.
    """

    classes: tuple[str, ...]
    probabilities: Tensor


def load(
    reference: str | Path | CompleteRun,
    device: str | torch.device = "cpu",
    *,
    base: nn.Module | None = None,
) -> Model:
    """Load the trained network of a retraining, or of a run of ``darts.find``.

    Args:
        reference: The run, its directory, its checkpoint file, or a file that
            ``darts.export format=safetensors`` wrote.
        device: Where to place the network.
        base: The model of your own whose genotype was trained.

    Raises:
        ConfigError: If there is no such file.
        CheckpointError: If the file is damaged.
        ValueError: If the network does not classify samples, or ``base`` does not fit.
    """
    place = reference.directory if isinstance(reference, CompleteRun) else reference
    with passed(base):
        return _load(place, device)


def _load(reference: str | Path, device: str | torch.device) -> Model:
    trained = TrainedNetwork.load(str(reference))
    model = Model(trained.build(), trained.target_names, _transform(trained))
    return model.eval().requires_grad_(False).to(device)


def _transform(trained: TrainedNetwork) -> Transform:
    """Return the preprocessing of one sample of the kind on which a network was trained.

    Raises:
        ValueError: If the network does not classify samples.
    """
    dataset, encoding = trained.config.dataset, trained.encoding
    kind = data_kind(trained.config)
    if isinstance(encoding, RowEncoding):
        return RowInput(encoding)
    if isinstance(encoding, WordEncoding):
        return TextInput(encoding, column=str(getattr(dataset, "text", "text")))
    spec = trained.input_specs[0] if len(trained.input_specs) == 1 else None
    if spec is not None and spec.mean is not None and spec.std is not None:
        if kind == "images":
            _, channels, height, width = spec.shape
            margin = {"imagenet": 256 / 224, "imagefolder": 1.0}.get(dataset.name)
            return Preprocessing((channels, height, width), spec.mean, spec.std, margin)
        if kind == "audio":
            names = [field.name for field in dataclasses.fields(Spectrogram)]
            spectrogram = Spectrogram(**{name: getattr(dataset, name) for name in names})
            return RecordingInput(spectrogram, spec.mean, spec.std)
    raise ValueError(
        f"{trained.file}: only networks that classify images, rows of a table, texts or recordings "
        f"can be loaded in this way; this one was trained on dataset={dataset.name}"
    )


@torch.no_grad()
def predict(
    model: Model | str | Path | CompleteRun, samples: Iterable[object], *, batch_size: int = 64
) -> Predictions:
    """Return the predicted classes of samples and their probabilities.

    Args:
        model: A model, or what ``load`` takes.
        samples: Images, see ``darts.recipes.image_input.Image``; rows, texts or recordings, see
            ``darts.recipes.sample_inputs``. A single image or WAV file, a single text or a single
            mapping is allowed, too.
        batch_size: Number of samples that the network processes at once.

    The model computes in evaluation mode, and its modes are the same afterwards.

    Raises:
        ValueError: If ``batch_size`` is below 1, or a sample cannot be used.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: must be >= 1")
    if isinstance(samples, str | Path | Mapping):
        samples = [samples]
    if not isinstance(model, Model):
        model = load(model)
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        return _predict(model, samples, batch_size)
    finally:
        for module, was_training in modes:
            module.training = was_training


def _predict(model: Model, samples: Iterable[object], batch_size: int) -> Predictions:
    device = next(model.parameters()).device
    rows = [
        model(model.transform.batch(batch).to(device)).float().softmax(-1).cpu()
        for batch in _batches(map(model.transform, samples), batch_size)
    ]
    probabilities = torch.cat(rows) if rows else torch.zeros(0, len(model.classes))
    best = probabilities.argmax(-1).tolist() if rows else []
    return Predictions(tuple(model.classes[index] for index in best), probabilities)


def _batches(items: Iterable[Tensor], size: int) -> Iterator[list[Tensor]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
