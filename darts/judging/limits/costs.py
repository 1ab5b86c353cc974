"""The costs that limits refer to, measured on a network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor, nn

from darts.config import ConfigError, LimitConfig, quoted
from darts.judging.devices.latency_model import LatencyModel, load_model
from darts.judging.devices.lookup_table import LookupTable
from darts.judging.devices.memory import count_weights
from darts.reading import FileError
from darts.searching.expected_cost import MEASURES
from darts.spaces import AnyGenotype, Space

KIB = 1024

BITS = (8, 16, 32)  # values of limit.bits

SUFFIXES = (".json", ".csv")  # of fitted models and of lookup tables

UNTIMED = ("dropout",)  # settings of a space that do not change the latency

# Where the latency models of `limit.device=NAME` are, relative to the working directory.
FOLDER = Path("devices")

Measure = Callable[[nn.Module, Tensor], float]


@dataclass(frozen=True)
class CostMeter:
    """Measures the limited costs of networks."""

    limits: Mapping[str, float] = field(default_factory=dict)  # largest values by name
    bits: int = 32  # width of weights for flash_kb
    model: LatencyModel | None = None  # None to measure on the device of the example

    @classmethod
    def from_config(cls, config: LimitConfig) -> CostMeter:
        """Return the meter of a configuration; read the latency model."""
        limits = config.values()
        if config.bits not in BITS:
            raise ConfigError(
                f"limit.bits={config.bits}: must be one of {', '.join(map(str, BITS))}"
            )
        if config.device is not None and "latency_ms" not in limits:
            raise ConfigError(
                f"limit.device={config.device}: has no effect unless limit.latency_ms is set"
            )
        if config.bits != LimitConfig.bits and "flash_kb" not in limits:
            raise ConfigError(
                f"limit.bits={config.bits}: has no effect unless limit.flash_kb is set"
            )
        model = None if config.device is None else find_model(config.device)
        return cls(limits, config.bits, model)

    def measures(self) -> dict[str, Measure]:
        """Return the functions of network and example that measure each cost but the latency.

        An example is a batch with one sample.
        """
        known: dict[str, Measure] = {
            "macs": lambda net, example: MEASURES["flops"](net, example) / 2,
            "parameters": lambda net, example: float(count_weights(net, statistics=False)),
            "flash_kb": lambda net, example: count_weights(net) * self.bits / 8 / KIB,
        }
        return {name: measure for name, measure in known.items() if name in self.limits}

    def __call__(
        self, genotype: AnyGenotype, network: nn.Module, example: Tensor
    ) -> dict[str, float]:
        """Return the limited costs of a network in evaluation mode, by name.

        The example is a batch with one sample, on the network's device.
        """
        costs = {name: measure(network, example) for name, measure in self.measures().items()}
        if "latency_ms" in self.limits:
            costs["latency_ms"] = (
                1000 * MEASURES["latency"](network, example)
                if self.model is None
                else self.model.predict(genotype)
            )
        return costs

    def excess(self, costs: Mapping[str, float]) -> float:
        """Return the largest ratio of a cost to its limit; at most 1 if all limits hold."""
        return max((costs[name] / limit for name, limit in self.limits.items()), default=0.0)

    def __str__(self) -> str:
        return describe_limits(self.limits)


def find_model(name: str, key: str = "limit.device") -> LatencyModel:
    """Read the latency model that a key names: a file, or a name in the folder ``devices``."""
    path = find_model_file(name)
    try:
        return load_model(path)
    except (FileError, OSError) as error:
        if path.is_file():
            raise ConfigError(f"{key}={name}: {error}") from None
    known = sorted(file.stem for file in FOLDER.glob("*") if file.suffix in SUFFIXES)
    missing = f"there is no {FOLDER}/{name}.json"
    available = f"{FOLDER}/ has {', '.join(known)}" if known else missing
    raise ConfigError(
        f"{key}={name}: no such latency model; {available}; darts device measure and fit "
        "write models"
    )


def find_model_file(name: str) -> Path:
    """Return the file that ``name`` denotes: itself, or a file of the folder ``devices``."""
    path = Path(name).expanduser()
    if path.suffix in SUFFIXES:
        return path
    files = [FOLDER / f"{name}{suffix}" for suffix in SUFFIXES]
    return next((file for file in files if file.is_file()), path)


def require_space(key: str, model: LatencyModel, space: Space) -> None:
    """Raise ConfigError if the latency model that ``key`` names is for another space."""
    if model.space_name != space.name:
        raise ConfigError(
            f"{key}: the latency model is for space={model.space_name}, not space={space.name}"
        )


def require_sizes(
    key: str, model: LatencyModel | None, space: Space, sample_shape: Sequence[int]
) -> None:
    """Raise ConfigError if a lookup table was measured with networks or samples of other sizes.

    Fitted models do not know the sizes.
    """
    if not isinstance(model, LookupTable):
        return
    for own_field in dataclasses.fields(space):
        name = own_field.name
        measured, own = getattr(model.space, name), getattr(space, name)
        if measured != own and name not in UNTIMED:
            raise ConfigError(
                f"{key}: the lookup table was measured with space.{name}={measured}, and the "
                f"networks have space.{name}={own}; measure networks of this size"
            )
    if tuple(model.info.sample_shape) != tuple(sample_shape):
        raise ConfigError(
            f"{key}: the lookup table was measured with samples of shape "
            f"{list(model.info.sample_shape)}, and the data has {list(sample_shape)}; measure "
            "networks for this shape"
        )


def limit_overrides(limit: LimitConfig) -> list[str]:
    """Return the limits of the network as overrides of another command."""
    values = limit.values()
    overrides = [f"limit.{name}={value!r}" for name, value in values.items()]
    if limit.device is not None:
        overrides.append(f"limit.device={quoted(limit.device)}")
    return [*overrides, f"limit.bits={limit.bits}"] if "flash_kb" in values else overrides


def describe_limits(limits: Mapping[str, float]) -> str:
    """Return limits as they are written on the command line."""
    return " ".join(f"limit.{name}={value:g}" for name, value in limits.items())
