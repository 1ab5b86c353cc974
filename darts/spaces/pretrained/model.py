"""A network that begins with trained weights, whose stages and adapter are choices.

Its new classifier is fitted to features of training images, which are computed once: with a folder,
the runs of a race share them in a file.

References:
    Kornblith, Shlens and Le, "Do Better ImageNet Models Transfer Better?", arXiv:1805.08974,
    section 3: logistic regression of fixed features, by L-BFGS.
    Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform
    Out-of-Distribution", arXiv:2202.10054: fit the classifier first, then tune all layers.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from darts.data import SampleLoader
from darts.data.randomness import permutation
from darts.reading import one_line
from darts.spaces.macro.fast_layers import Residual
from darts.spaces.module.choice import Choice
from darts.spaces.network import FittedLayer, FittingData, Loss
from darts.spaces.pretrained.architectures import make_backbone, published_key, structure
from darts.spaces.pretrained.weights import Weights
from darts.writing import write_atomically

# Largest number of images to which a classifier is fitted.
MOST = 10_000

CHUNK = 64  # images that pass the network at once


@torch.no_grad()
def training_features(
    backbone: nn.Module, loader: SampleLoader, folder: Path | None, seconds: float
) -> tuple[Tensor, Tensor]:
    """Return features ``(N, F)`` of training images without augmentation, and their targets.

    All runs read the images of the split in the same random order, and each uses the features of
    its own training images. Runs with other validation images therefore share one file.

    Args:
        backbone: Network in evaluation mode that computes the features.
        loader: Loader of the training images.
        folder: Folder of the file; None for no file.
        seconds: Time after which no further images are read.
    """
    begin = time.monotonic()
    used, count = loader.indices, len(loader.images.labels)
    # With a small subset of the data, most features would not be used.
    is_shared = folder is not None and 2 * len(used) > count
    pool = torch.arange(count) if is_shared else used
    order = pool[permutation(len(pool), 0, "features")]
    is_used = torch.isin(order, used)
    needed = min(int((is_used.cumsum(0) < MOST).sum()) + 1, len(order))
    chunks = loader.plain(order, CHUNK)

    file, known = None, 0
    parts: list[Tensor] = []
    if folder is not None:
        file = folder / f"{_digest(backbone, chunks.read(0)[0])}.safetensors"
        if file.is_file():
            parts = [load_file(file)["features"].to(loader.device)]
            known = len(parts[0])
    size = known
    batches = chunks.epoch(0, -(-known // CHUNK))
    while size < needed and (not is_used[:size].any() or time.monotonic() - begin < seconds):
        parts.append(backbone(next(batches)[0]))
        size += len(parts[-1])
    features = torch.cat(parts)
    if file is not None and size > known:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, save({"features": features.cpu()}))
    rows = is_used[:size].nonzero().flatten()
    rows = rows[rows < needed]
    return features[rows.to(features.device)], loader.images.labels[order[rows]].to(features.device)


def _digest(backbone: nn.Module, images: Tensor) -> str:
    """Return a hash of a network and of the first images, which identifies a file of features."""
    digest = hashlib.blake2b(repr(backbone).encode(), digest_size=16)
    for tensor in (*backbone.state_dict().values(), images):
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


# Factor of the squared weights, for one sample per feature. On 300 and 2,000 photos of CIFAR-10 at
# 64 and 96 pixels, with the 1,280 features of EfficientNet-Lite0, half and 1.5 times this factor
# are within 0.8 points of the best factor from 0.0008 to 0.8.
RIDGE = 0.15

ITERATIONS = 50


def fit_head(head: nn.Linear, features: Tensor, targets: Tensor, loss: Loss) -> float:
    """Minimize the mean loss of ``head(features)`` plus a penalty; return the loss of zero weights.

    The penalty is for weights of features with unit variance.

    Args:
        head: The layer, which is changed.
        features: Its inputs ``(N, F)``.
        targets: The targets of the samples.
        loss: Loss of the task.
    """
    mean, spread = features.mean(0), features.std(0, correction=0).clamp_min(1e-4)
    standard = (features - mean) / spread
    weight = torch.zeros_like(head.weight, requires_grad=True)
    bias = torch.zeros_like(head.bias, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=ITERATIONS, line_search_fn="strong_wolfe"
    )

    def objective() -> Tensor:
        optimizer.zero_grad()
        value, _ = loss(lambda x: F.linear(x, weight, bias), (standard, targets))
        value = value + RIDGE * features.shape[1] / (2 * len(features)) * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    with torch.enable_grad():
        before = optimizer.step(objective)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        head.weight.copy_(weight / spread)
        head.bias.copy_(bias - head.weight @ mean)
    return float(before.detach())


class Backbone(nn.Module):
    """The layers that have trained weights.

    Batch norms keep their trained statistics, also in training: the features to which a classifier
    was fitted must not change with the batch. Statistics of new images would be worse: with
    EfficientNet-Lite0 and 2,000 photos of CIFAR-10 at 64 pixels, a linear classifier then has 45 %
    instead of 63 %.

    Args:
        weights: The weights, which ``load`` reads; until then, they are random.
        size: Side in pixels to which smaller images are enlarged.

    Shape: ``(B, 1 or 3, H, W)`` -> ``(B, F)``. One channel stands for three equal ones.
    """

    def __init__(self, weights: Weights, size: int) -> None:
        super().__init__()
        self.weights, self.size = weights, size
        # The inputs of the run have mean 0 and deviation 1 on its own data. The trained network
        # needs inputs that are normalized with the statistics of its training.
        self.scale, self.shift = nn.Buffer(torch.ones(3, 1, 1)), nn.Buffer(torch.zeros(3, 1, 1))
        self.net = make_backbone(weights.network)
        self.train()

    def forward(self, images: Tensor) -> Tensor:
        x = images * self.scale + self.shift
        if min(x.shape[2:]) < self.size:
            x = F.interpolate(x, (self.size, self.size), mode="bilinear")
        features: Tensor = self.net(x)
        return features

    def train(self, mode: bool = True) -> Backbone:
        super().train(mode)
        for module in self.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        return self

    def extra_repr(self) -> str:
        return f"size={self.size}"

    @torch.no_grad()
    def load(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Load the weights; the inputs have been normalized with ``mean`` and ``std``."""
        stages = structure(self.weights.network).stages
        names = {key: published_key(key, stages) for key in self.net.state_dict()}
        try:
            state = self.weights.read()
            self.net.load_state_dict({k: state[v] for k, v in names.items() if v in state})
        except Exception as error:  # a damaged file may raise anything
            raise ValueError(
                f"space.weights={self.weights.name}: cannot be loaded: {one_line(error, 200)}"
            ) from None
        wanted_mean, wanted_std, own_mean, own_std = (
            torch.tensor(v).view(-1, 1, 1) for v in (*self.weights.statistics, mean, std)
        )
        self.scale.copy_(own_std / wanted_std)
        self.shift.copy_((own_mean - wanted_mean) / wanted_std)


class PretrainedModel(FittedLayer):
    """A network with trained weights and a new linear classifier.

    Args:
        weights: Name of the weights.
        classes: Number of outputs.
        size: Side in pixels to which smaller images are enlarged.
        folder: Folder for the features of training images; None if they are not kept.

    Shape: ``(B, 1 or 3, H, W)`` -> ``(B, classes)``.
    """

    def __init__(
        self, weights: str, classes: int, size: int = 0, folder: Path | None = None
    ) -> None:
        super().__init__()
        parsed = Weights.parse(weights)
        features = structure(parsed.network).features
        self.folder = folder
        self.backbone = Backbone(parsed, size)
        choices = {"adapter": adapter(features), "plain": nn.Identity()}
        self.adapter = Choice(choices, key="adapter")
        self.head = nn.Linear(features, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.adapter(self.backbone(images)))
        return logits

    def fit(self, data: FittingData) -> float:
        """Load the weights, and fit the classifier to the features of training samples."""
        loader, trains = data.loader, self.training
        assert isinstance(loader, SampleLoader)
        self.backbone.load(loader.mean, loader.std)
        self.eval()  # the adapter is the identity
        features, targets = training_features(self.backbone, loader, self.folder, data.seconds)
        self.train(trains)
        return fit_head(self.head, features, targets, data.loss)


def adapter(features: int) -> Residual:
    """Return a residual bottleneck of features ``(B, F)``, which begins as the identity.

    References:
        Houlsby et al., "Parameter-Efficient Transfer Learning for NLP", arXiv:1902.00751.
    """
    up = nn.Linear(features // 4, features)
    nn.init.zeros_(up.weight)
    nn.init.zeros_(up.bias)
    return Residual(nn.Linear(features, features // 4), nn.ReLU(), up)
