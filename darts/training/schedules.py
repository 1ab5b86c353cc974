"""Schedules of the learning rate of the weights."""

from __future__ import annotations

import math

from darts.config import WeightOptimizerConfig

# Epochs at the end of the linear schedule in which the rate falls more slowly.
FLAT_EPOCHS = 5


def rate_of_epoch(config: WeightOptimizerConfig, epoch: int, epochs: int) -> float:
    """Return the learning rate of an epoch (from 0).

    In the first ``warmup_epochs`` epochs, the rate rises linearly to ``lr``. Afterwards it follows
    the schedule, which also counts these epochs, so the rate drops at the end of the rise.
    """
    if epoch < config.warmup_epochs:
        return config.lr * (epoch + 1) / config.warmup_epochs
    if config.schedule == "cosine":
        return cosine(epoch, epochs, config.lr, config.lr_min)
    if config.schedule == "exponential":
        return max(config.lr * config.decay**epoch, config.lr_min)
    return max(linear(epoch, epochs, config.lr), config.lr_min)


def stable_rate(
    config: WeightOptimizerConfig,
    step: int,
    epochs: int,
    steps: int,
    *,
    time_left: float = 1.0,
    slow_steps: int = 0,
) -> float:
    """Return the learning rate of a step (from 0): a linear rise, a slow decay, and a fall.

    The rate rises in ``warmup_epochs``. With a ``timescale``, it then decays as an inverse square
    root of ``slow_steps``; a high rate keeps other networks from learning their training samples
    by heart. It falls to 0 in the last share ``cooldown`` of the training, half of the way in the
    first quarter of these steps. Without this fall, no rate depends on the number of epochs, so the
    training can be continued.

    Args:
        config: The schedule.
        step: The step.
        epochs: Epochs of the run.
        steps: Steps per epoch.
        time_left: Share of the training time that is left, if a time limit ends the training.
        slow_steps: Steps so far in epochs after which the network did not memorize.

    References:
        Zhai et al., "Scaling Vision Transformers", arXiv:2106.04560, section 3.5; Hägele et al.,
        "Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations",
        arXiv:2405.18392, section 3: the fall is one minus a square root.
    """
    rise = (step + 1) / (config.warmup_epochs * steps + 1)
    total = epochs * steps
    fall = (total - step) / (config.cooldown * total + 1)
    if config.cooldown:
        fall = min(fall, max(time_left, 0.0) / config.cooldown)
    decayed = config.lr
    if config.timescale is not None:
        decayed /= math.sqrt(1 + slow_steps / config.timescale)
    return decayed * min(rise, 1 - math.sqrt(1 - min(fall, 1.0)))


def cosine(epoch: int, epochs: int, high: float, low: float) -> float:
    """Return the learning rate of an epoch (from 0) on a half cosine from ``high`` to ``low``.

    Steps in place of epochs give a schedule that falls with each step.

    References:
        Loshchilov and Hutter, "SGDR", arXiv:1608.03983, equation 5, without restarts.
    """
    return low + 0.5 * (high - low) * (1 + math.cos(math.pi * epoch / epochs))


def linear(epoch: int, epochs: int, high: float) -> float:
    """Return the learning rate of an epoch (from 0) on a line from ``high`` to almost 0.

    The line reaches 0 at epoch ``epochs - 5``. The last five epochs therefore leave the line: they
    have 5/5, 4/5, ..., 1/5 of the last rate on the line that is above 0. PC-DARTS trains on
    ImageNet in this way (train_imagenet.py of the authors' code).
    """
    flat = min(FLAT_EPOCHS, epochs - 1)
    falling, left = epochs - flat, epochs - epoch
    if left > flat:
        return high * (falling - epoch) / falling
    return high * left / (falling * flat) if flat else high


def warmup_cosine(step: int, steps: int, warmup: float, high: float, low: float) -> float:
    """Return the learning rate of a step: a linear rise, then a half cosine with each step.

    With ``n = warmup * steps``, rounded, the rate is ``(step + 1) / (n + 1) * high`` in the first
    ``n`` steps. It is ``high`` in step ``n``, and falls towards ``low`` afterwards. With a warm-up,
    the rate rises in at least one step. At least one step follows the rise.

    References:
        Goyal et al., "Accurate, Large Minibatch SGD", arXiv:1706.02677, section 2.2, gradual
        warm-up; Loshchilov and Hutter, "SGDR", arXiv:1608.03983, equation 5, without restarts.
    """
    rising = min(max(round(warmup * steps), 1 if warmup > 0 else 0), steps - 1)
    if step < rising:
        return (step + 1) / (rising + 1) * high
    return cosine(step - rising, steps - rising, high, low)
