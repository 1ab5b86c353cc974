"""Temperature scaling: probabilities that agree with how often the classes are right.

References:
    Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", ICML 2017,
    section 4.2.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from darts.recipes.states import BestEpoch
from darts.training.checkpoint import find_checkpoint, load_checkpoint, save_checkpoint
from darts.typed_values import entry

# The largest temperature; its inverse is the smallest one.
LIMIT = 20.0


def fit_temperature(logits: Tensor, classes: Tensor) -> float:
    """Return the temperature that minimizes the cross entropy of ``logits / temperature``.

    It is fitted as if there were one more sample, of unknown class. Otherwise, few samples that are
    all right would make the network certain.

    Args:
        logits: ``(N, K)``, on the CPU.
        classes: ``(N,)`` int64.
    """
    from scipy.optimize import minimize_scalar

    logits, smoothing = logits.double(), 1 / (len(classes) + 1)

    def loss(log_temperature: float) -> float:
        scaled = logits / math.exp(log_temperature)
        return float(F.cross_entropy(scaled, classes, label_smoothing=smoothing))

    limit = math.log(LIMIT)
    return math.exp(minimize_scalar(loss, bounds=(-limit, limit), method="bounded").x)


def divide_outputs(net: nn.Module, temperature: float) -> None:
    """Make a network divide its outputs by a temperature; its state dict does not change."""
    net.register_forward_hook(lambda net, inputs, outputs: outputs / temperature)


def save_temperature(run: Path, temperature: float) -> None:
    """Save the temperature of a network in the checkpoint of its run directory."""
    file = find_checkpoint(str(run))
    content = load_checkpoint(file)
    best = entry(content, "best", BestEpoch)
    best["temperature"] = temperature
    save_checkpoint(file, content["kind"], {**content, "best": best})
