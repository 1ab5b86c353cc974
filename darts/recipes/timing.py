"""How long networks take on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from darts.config import RetrainConfig
from darts.data import Loader
from darts.data_modules import DataModule
from darts.judging.devices.stopwatch import TimingSettings, example, time_passes, timing
from darts.recipes.retrain import build_network
from darts.recipes.trained import TrainedNetwork, build_on
from darts.spaces import AnyGenotype
from darts.tasks import Objective
from darts.training.cost import count_parameters
from darts.training.device import precision_context, resolve_device, synchronized_clock
from darts.training.scoring import evaluate
from darts.training.steps import weight_optimizer

# Steps of each precision that ``faster_precision`` takes at most, and its time.
MAX_STEPS, MAX_SECONDS = 10, 3.0


def faster_precision(genotype: AnyGenotype, config: RetrainConfig, data: DataModule) -> str:
    """Return "bf16" if steps of a retraining are faster with it than in float32, else "fp32".

    Processors without instructions for bfloat16 are slower with it. Steps alternate between both,
    and the fastest ones are compared, because other programs only make steps slower.
    """
    with torch.random.fork_rng():
        steps = {p: _training_step(p, genotype, config, data) for p in ("fp32", "bf16")}
        seconds = {precision: list[float]() for precision in steps}
        for step in steps.values():  # the first time, libraries also choose their algorithms
            step()
        begin = time.monotonic()
        while len(seconds["bf16"]) < MAX_STEPS and time.monotonic() - begin < MAX_SECONDS:
            for precision, step in steps.items():
                seconds[precision].append(step())
    return min(steps, key=lambda precision: min(seconds[precision]))


def _training_step(
    precision: str, genotype: AnyGenotype, config: RetrainConfig, data: DataModule
) -> Callable[[], float]:
    """Return a function that takes one step and returns its seconds."""
    device = resolve_device(config.device)
    train, _ = data.retrain_loaders()
    net = build_network(genotype, config, data.network_sizes(config.space)).to(device).train()
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer, objective = weight_optimizer(net.parameters(), config.optimizer), data.objective()
    batch = train.batch(0, 0)

    def take_step() -> float:
        start = synchronized_clock(device)
        with precision_context(precision, device):
            loss, _ = objective.network_loss(net, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        return synchronized_clock(device) - start

    return take_step


def seconds_per_batch(run: Path, loader: Loader, objective: Objective) -> float:
    """Return the seconds that a trained network takes to score the first batch of a loader."""
    trained = TrainedNetwork.load(str(run))
    device = resolve_device(trained.config.device)
    net, batch = build_on(trained, device), next(iter(loader.epoch(0)))
    for _ in range(2):  # the first time, libraries also choose their algorithms
        start = synchronized_clock(device)
        evaluate(net, [batch], objective, device=device)
    return synchronized_clock(device) - start


def compare_costs(directories: Mapping[str, Path], threads: int) -> dict[str, float]:
    """Return ``<name>_parameters`` and ``<name>_ms`` of networks for the same samples.

    The milliseconds are the median time for one sample on the CPU, measured in alternation. They
    are left out for networks whose input is a text.
    """
    trained = [TrainedNetwork.load(str(directory)) for directory in directories.values()]
    nets = [own.build() for own in trained]
    costs: dict[str, float] = {
        f"{name}_parameters": count_parameters(net.parameters())
        for name, net in zip(directories, nets, strict=True)
    }
    specs = [spec for own in trained for spec in own.input_specs]
    if len(specs) == len(nets) and all(spec.num_tokens is None for spec in specs):
        settings = TimingSettings("cpu", threads, 1, "fp32", warmup=5, repeats=20)
        with timing(settings):
            inputs = [example(tuple(spec.shape[1:]), settings) for spec in specs]
            times = time_passes(nets, inputs, settings)
        for name, measured in zip(directories, times, strict=True):
            costs[f"{name}_ms"] = measured.median_ms
    return costs
