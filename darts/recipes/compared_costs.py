"""Compare trained networks by their parameters and by the time for one sample."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from darts.judging.devices.stopwatch import TimingSettings, example, time_passes, timing
from darts.recipes.trained import TrainedNetwork
from darts.training.cost import count_parameters


def compare_costs(directories: Mapping[str, Path], threads: int) -> dict[str, float]:
    """Return ``<name>_parameters`` and ``<name>_ms`` of networks with the same inputs.

    The milliseconds are the median time for one sample on the CPU, measured in alternation. They
    are left out for networks whose input is a text.

    Args:
        directories: Run directory of each network by its name.
        threads: Number of threads.
    """
    trained = [TrainedNetwork.load(str(directory)) for directory in directories.values()]
    nets = [own.build() for own in trained]
    costs: dict[str, float] = {
        f"{name}_parameters": count_parameters(net.parameters())
        for name, net in zip(directories, nets, strict=True)
    }
    specs = trained[0].input_specs
    if len(specs) == 1 and specs[0].num_tokens is None:
        settings = TimingSettings("cpu", threads, 1, "fp32", warmup=5, repeats=20)
        with timing(settings):
            inputs = example(tuple(specs[0].shape[1:]), settings)
            times = time_passes(nets, [inputs] * len(nets), settings)
        for name, time in zip(directories, times, strict=True):
            costs[f"{name}_ms"] = time.median_ms
    return costs
