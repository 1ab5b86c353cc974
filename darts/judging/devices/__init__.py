"""Latency and memory of networks on devices: measured, looked up or predicted by a fitted model.

``load_model(path)`` reads a model, ``model.predict(genotype)`` returns milliseconds, and
``memory(network, shape)`` returns the bytes that a network needs.
"""

from darts.judging.devices.latency_model import LatencyModel, load_model
from darts.judging.devices.memory import Memory, memory

__all__ = ["LatencyModel", "Memory", "load_model", "memory"]
