"""Latency of networks on devices: measured, looked up or predicted by a fitted model.

``load_model(path)`` reads a model, and ``model.predict(genotype)`` returns milliseconds.
"""

from darts.judging.devices.latency_model import LatencyModel, load_model

__all__ = ["LatencyModel", "load_model"]
