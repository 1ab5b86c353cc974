"""The faster precision of training steps on this machine."""

from __future__ import annotations

import statistics
import time

import torch

from darts.config import RetrainConfig
from darts.data_modules import DataModule
from darts.recipes.retrain import build_network
from darts.spaces import AnyGenotype
from darts.training.device import autocast
from darts.training.distributed import Ranks
from darts.training.steps import weight_optimizer

STEPS = 5  # measured steps, after one to warm up


def faster_precision(genotype: AnyGenotype, config: RetrainConfig, data: DataModule) -> str:
    """Return "bf16" if steps of a retraining are faster with it than in float32, else "fp32".

    Processors without instructions for bfloat16 are slower with it.
    """
    with torch.random.fork_rng():
        seconds = {p: _step_seconds(p, genotype, config, data) for p in ("fp32", "bf16")}
    return min(seconds, key=lambda precision: seconds[precision])


def _step_seconds(
    precision: str, genotype: AnyGenotype, config: RetrainConfig, data: DataModule
) -> float:
    device = Ranks(config.device).device
    train, _ = data.retrain_loaders()
    net = build_network(genotype, config, data.network_sizes(config.space)).to(device).train()
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer, objective = weight_optimizer(net.parameters(), config.optimizer), data.objective()
    batch, seconds = train.batch(0, 0), []
    for _ in range(STEPS + 1):
        begin = time.perf_counter()
        with autocast(precision, device):
            loss, _ = objective.network_loss(net, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds[1:])
