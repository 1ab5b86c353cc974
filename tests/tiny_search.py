"""Small spaces, supernets, searchers and batches for tests."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from darts.config import SearchConfig, compose
from darts.judging.devices.latency_model import LinearModel
from darts.searching.searcher import Searcher
from darts.spaces import SPACES, SearchContext
from darts.tasks.task import ObjectiveSpec
from darts.training.distributed import Ranks

CLASSES = 3
IMAGE = (3, 8, 8)
Batch = tuple[Tensor, Tensor]
BUILT_IN = [name for name in SPACES if name not in ("module", "pretrained")]
"""The spaces that need no model of the user's own and no trained weights."""

MS = {"none": 0.0, "skip_connect": 0.1, "avg_pool_3x3": 0.5}
MS |= {"nor_conv_1x1": 1.0, "nor_conv_3x3": 4.0}
"""Milliseconds of each operation of NAS-Bench-201 on a made-up phone."""


def context_and_supernet(space: str, **sizes: Any) -> tuple[SearchContext, Any]:
    """Return a supernet with one cell (``nas201``: one cell per stage) and its search context."""
    torch.manual_seed(0)
    tiny = small_space(space, **{"channels": 2, "cells": 1} | sizes)
    net = tiny.supernet(classes=CLASSES, in_channels=tiny.in_channels(IMAGE))
    return SearchContext.from_supernet(tiny, net), net


def small_space(name: str, **sizes: Any) -> Any:
    """Return a space; sizes that are not fields of this space are ignored."""
    fields = {field.name for field in dataclasses.fields(SPACES[name])}
    return SPACES[name](**{key: size for key, size in sizes.items() if key in fields})


def make_searcher(*overrides: str) -> Searcher:
    """Return a searcher with a supernet of two cells and four channels, before its first epoch."""
    torch.manual_seed(0)
    config: SearchConfig = compose("search", ["dataset=synthetic", *overrides])
    spec = ObjectiveSpec(tuple(str(number) for number in range(CLASSES)))
    objective = config.task.make_objective(spec)
    return Searcher(config, objective, Ranks(), {"classes": CLASSES, "in_channels": 3})


def make_batch(seed: int, size: int = 4) -> Batch:
    """Return random images of 8x8 pixels with random labels."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(size, 3, 8, 8, generator=generator)
    return images, torch.randint(CLASSES, (size,), generator=generator)


def cross_entropy(net: Any, batch: Batch) -> Tensor:
    """Return the loss of a network for a batch, as the public gradients take it."""
    return F.cross_entropy(net(batch[0]), batch[1])


def phone(folder: Path) -> Path:
    """Write a latency model that counts operations; 3x3 convolutions are slow."""
    times = {"nor_conv_3x3": 3.0, "nor_conv_1x1": 1.0, "avg_pool_3x3": 0.5}
    weights = {f"count.cell.{name}": time for name, time in times.items()}
    model = LinearModel("nas201", "phone", "ridge", "operations", 1.0, weights, [])
    model.save(folder / "phone.json")
    return folder / "phone.json"
