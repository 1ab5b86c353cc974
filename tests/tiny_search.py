"""Small searches and the parts that tests take out of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from darts.config import SearchConfig, compose
from darts.searching.searcher import Searcher
from darts.spaces import SPACES, SearchContext
from darts.training.distributed import Ranks

CLASSES = 3
IMAGE = (3, 8, 8)
Batch = tuple[Tensor, Tensor]


def setting_of(space: str, **sizes: Any) -> tuple[SearchContext, Any]:
    """A context and the supernet that it describes, of one cell (three on ``nas201``)."""
    torch.manual_seed(0)
    place = small(space, **{"channels": 2, "cells": 1} | sizes)
    net = place.supernet(classes=CLASSES, in_channels=place.inputs(IMAGE))
    return SearchContext.of(place, net), net


def small(space: str, **sizes: Any) -> Any:
    """A space with those of the sizes that it has."""
    known = {field.name for field in dataclasses.fields(SPACES[space])}
    return SPACES[space](**{key: size for key, size in sizes.items() if key in known})


def searcher_of(*overrides: str) -> Searcher:
    """A searcher of two cells with four channels, before its first epoch."""
    torch.manual_seed(0)
    config: SearchConfig = compose("search", ["dataset=synthetic", *overrides])
    objective = config.task.objective([str(number) for number in range(CLASSES)])
    return Searcher(config, objective, Ranks(), {"classes": CLASSES, "in_channels": 3})


def batch_of(seed: int, images: int = 4) -> Batch:
    """Random images of 8 pixels a side with random labels."""
    draw = torch.Generator().manual_seed(seed)
    images_ = torch.randn(images, 3, 8, 8, generator=draw)
    return images_, torch.randint(CLASSES, (images,), generator=draw)
