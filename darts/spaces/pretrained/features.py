"""The features of training images, from layers that stay as they are.

They are computed once: with a folder, the runs of a race share them in a file.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from darts.data import SampleLoader
from darts.data.randomness import permutation
from darts.writing import write_atomically

MOST = 10_000
"""Largest number of images to which a classifier is fitted."""

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
