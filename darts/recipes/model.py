"""A trained network with what it needs for new samples: preprocessing, names, units."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from darts.data.encodings import RowEncoding
from darts.data.given_samples import is_table
from darts.data.mel import Spectrogram
from darts.data.targets import CLASSES, LABELS, NUMBERS, TargetScale
from darts.data.words import WordEncoding
from darts.data_modules.compatibility import data_kind
from darts.reading import JsonObject, read_json_object
from darts.recipes.sample_inputs import (
    Preprocessing,
    RecordingInput,
    RowInput,
    TextInput,
    Transform,
)
from darts.recipes.trained import TrainedNetwork
from darts.reporting import read_run
from darts.reporting.display import describe_run, draw_run, render_run
from darts.spaces import NetworkBase
from darts.spaces.module.targets import passed
from darts.tracking import read_metrics
from darts.training.scoring import evaluating

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class CompleteRun:
    """A complete run, as the Python functions return it."""

    directory: Path

    @property
    def summary(self) -> JsonObject:
        """The content of ``summary.json``."""
        return read_json_object(self.directory / "summary.json")

    @property
    def history(self) -> list[JsonObject]:
        """The rows of ``metrics.jsonl``: one per epoch, and the gradient diagnostics.

        It is empty if the run has no epochs.
        """
        file = self.directory / "metrics.jsonl"
        return read_metrics(file) if file.exists() else []

    def plot(self) -> Figure:
        """Draw losses and scores over the epochs; of a run of ``darts.find``, the race.

        Raises:
            ValueError: If the run has no epochs.
        """
        return draw_run(read_run(self.directory))

    def __repr__(self) -> str:
        return describe_run(type(self).__name__, self.directory)

    def _repr_html_(self) -> str | None:
        """Return what a notebook shows of the run."""
        return render_run(type(self).__name__, self.directory)


class Model(nn.Module):
    """A trained network of samples, in evaluation mode.

    Attributes:
        classes: Names of the classes, labels or numbers, by index of the outputs.
        transform: Preprocessing of one sample: ``Preprocessing`` of an image, ``RowInput``,
            ``TextInput`` or ``RecordingInput``. Its method ``batch`` joins the results.
        targets: What the network predicts for each sample, see ``darts.data.targets``.
        scale: How the numbers to predict were standardized; None for classes and labels.

    Shape: a batch of preprocessed samples -> logits ``(B, K)``, or numbers in their own units.
    """

    def __init__(
        self,
        network: NetworkBase,
        classes: Sequence[str],
        transform: Transform,
        *,
        targets: str = CLASSES,
        scale: TargetScale | None = None,
    ) -> None:
        super().__init__()
        self.network, self.classes, self.transform = network, tuple(classes), transform
        self.targets, self.scale = targets, scale

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.network(inputs)
        return outputs if self.scale is None else self.scale.restore(outputs)


@dataclass(frozen=True)
class Predictions:
    """Predictions for N samples.

    Attributes:
        names: Names of the K classes, labels or numbers.
        targets: What each sample has, see ``darts.data.targets``.
        values: ``(N, K)`` on the CPU: the probability of each class or label, float32; or the
            predicted numbers in their own units, float64.
    """

    names: tuple[str, ...]
    targets: str
    values: Tensor

    @property
    def probabilities(self) -> Tensor:
        """The probability of each class or label, ``(N, K)``.

        Raises:
            ValueError: If the network predicts numbers.
        """
        self._require(CLASSES, LABELS)
        return self.values

    @property
    def classes(self) -> tuple[str, ...]:
        """The most probable class of each sample.

        Raises:
            ValueError: If the network predicts labels or numbers.
        """
        self._require(CLASSES)
        best = self.values.argmax(-1).tolist() if len(self.values) else []
        return tuple(self.names[index] for index in best)

    @property
    def labels(self) -> tuple[tuple[str, ...], ...]:
        """The labels of each sample whose probability is above one half.

        Raises:
            ValueError: If the network predicts classes or numbers.
        """
        self._require(LABELS)
        rows = (self.values > 0.5).tolist()
        return tuple(
            tuple(name for name, has in zip(self.names, row, strict=True) if has) for row in rows
        )

    def _require(self, *kinds: str) -> None:
        if self.targets not in kinds:
            raise ValueError(f"the network predicts {self.targets}, not {' or '.join(kinds)}")


def load(
    reference: str | Path | CompleteRun,
    device: str | torch.device = "cpu",
    *,
    base: nn.Module | None = None,
) -> Model:
    """Load the trained network of a retraining, or of a run of ``darts.find``.

    Args:
        reference: The run, its directory, its checkpoint file, or a file that
            ``darts export format=safetensors`` wrote.
        device: Where to place the network.
        base: The model of your own whose genotype was trained.

    Raises:
        ConfigError: If there is no such file.
        CheckpointError: If the file is damaged.
        ValueError: If the network has no separate samples as input, or ``base`` does not fit.
    """
    place = reference.directory if isinstance(reference, CompleteRun) else reference
    if not isinstance(place, str | Path):
        kind = type(place).__name__
        raise TypeError(f"cannot load {kind}: must be a run, its directory or its checkpoint file")
    with passed(base):
        trained = TrainedNetwork.load(str(place))
        network = trained.build()
    model = Model(
        network,
        trained.target_names,
        _transform(trained),
        targets=trained.config.task.targets,
        scale=trained.target_scale,
    )
    return model.eval().requires_grad_(False).to(device)


def _transform(trained: TrainedNetwork) -> Transform:
    """Return the preprocessing of one sample of the kind on which a network was trained."""
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
            shape = channels, height, width
            return Preprocessing(shape, spec.mean, spec.std, margin, spec.full_scale)
        if kind == "audio":
            names = [field.name for field in dataclasses.fields(Spectrogram)]
            spectrogram = Spectrogram(**{name: getattr(dataset, name) for name in names})
            return RecordingInput(spectrogram, spec.mean, spec.std)
    raise ValueError(
        f"{trained.file}: only networks of images, rows of a table, labeled texts or recordings "
        f"can be loaded in this way; this one was trained on dataset={dataset.name}"
    )


@torch.no_grad()
def predict(
    model: Model | str | Path | CompleteRun, samples: Iterable[object], *, batch_size: int = 64
) -> Predictions:
    """Return the predictions for samples: classes, labels or numbers.

    Args:
        model: A model, or what ``load`` takes.
        samples: Images, see ``darts.recipes.sample_inputs.Image``; rows, texts or recordings, see
            the other classes there. A single image, recording, text or mapping is also allowed, and
            a table of pandas.
        batch_size: Number of samples that the network processes at once.

    The model computes in evaluation mode, and its modes are the same afterwards.

    Raises:
        ValueError: If ``batch_size`` is below 1, or a sample cannot be used.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: must be >= 1")
    if isinstance(samples, str | Path | Mapping):
        samples = [samples]
    elif is_table(samples):
        samples = samples.to_dict("records")
    if not isinstance(model, Model):
        model = load(model)
    device, rows = next(model.parameters()).device, []
    with evaluating(model):
        inputs = map(model.transform, samples)
        while batch := list(islice(inputs, batch_size)):
            outputs = model.network(model.transform.batch(batch).to(device)).float().cpu()
            if model.scale is not None:  # in float64, since numbers may be large and differ little
                outputs = model.scale.restore(outputs.double())
            rows.append(_VALUES[model.targets](outputs))
    values = torch.cat(rows) if rows else torch.zeros(0, len(model.classes))
    return Predictions(model.classes, model.targets, values)


# Functions from the outputs of a model to its predictions, by kind of the targets.
_VALUES: Mapping[str, Callable[[Tensor], Tensor]] = {
    CLASSES: lambda outputs: outputs.softmax(-1),
    LABELS: Tensor.sigmoid,
    NUMBERS: lambda outputs: outputs,
}
