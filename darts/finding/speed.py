"""Seconds per epoch of a training, from a few of its steps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from darts.config import RetrainConfig
from darts.data_modules import DataModule
from darts.recipes.retrain import build_network
from darts.spaces.lookup import find_genotype
from darts.training.device import autocast
from darts.training.distributed import Ranks
from darts.training.steps import weight_optimizer

EPOCH_OVERHEAD = 0.05
"""Seconds per epoch outside of the steps: scores, logs and a checkpoint."""

MAX_STEPS = 5  # measured steps after the warm-up step
MAX_SECONDS = 1.0  # after this time, no further step is measured
SCORED_COST = 1 / 3  # cost of validating a sample, relative to training on it


@contextmanager
def threads_of_a_run(workers: int) -> Iterator[None]:
    """Use as many threads in a block as each of ``workers`` simultaneous runs does."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // max(workers, 1)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def measure_seconds_per_epoch(
    genotype: str, config: RetrainConfig, data: DataModule, *, workers: int
) -> float:
    """Return the predicted seconds of an epoch of a retraining.

    The prediction uses the fastest of a few steps, because other processes only slow steps down.

    Args:
        genotype: Architecture as text.
        config: Configuration of the retraining; its genotype is not used.
        data: Loaded data of the configuration.
        workers: Number of simultaneous trainings.
    """
    with threads_of_a_run(workers), torch.random.fork_rng():
        return _measure(genotype, config, data)


def _measure(genotype: str, config: RetrainConfig, data: DataModule) -> float:
    device = Ranks(config.device).device
    train, valid = data.retrain_loaders()
    _, parsed = find_genotype(genotype)
    net = build_network(parsed, config, data.network_sizes(config.space)).to(device)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    net.train()
    optimizer = weight_optimizer(net.parameters(), config.optimizer)
    objective = data.objective()
    seconds: list[float] = []
    start = time.perf_counter()
    for step in range(MAX_STEPS + 1):
        begin = time.perf_counter()
        batch = train.batch(0, step % len(train))
        with autocast(config.precision, device):
            loss, _ = objective.network_loss(net, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - begin)
        if step > 0 and time.perf_counter() - start > MAX_SECONDS:
            break
    fastest = min(seconds[1:])
    scored = 0.0
    if valid is not None:
        ratio = config.loader.eval_batch_size / config.loader.batch_size
        scored = len(valid) * ratio * SCORED_COST
    return fastest * (len(train) + scored) + EPOCH_OVERHEAD
