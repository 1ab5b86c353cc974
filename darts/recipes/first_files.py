"""What a search writes to its run directory before the first step."""

from __future__ import annotations

from darts.config import SearchConfig
from darts.data_modules import DataModule
from darts.judging.limits.costs import find_model_file
from darts.training.run import TrainingRun


def write_first_files(run: TrainingRun, config: SearchConfig, data: DataModule) -> None:
    """Write the files that describe the data, and copies of the latency models.

    Args:
        run: The run, which has begun.
        config: Its configuration.
        data: Its data.

    Raises:
        ConfigError: If a resumed run began with another latency model, whose costs would not be
            comparable.
    """
    for name, text in data.extra_files().items():
        run.write(name, text)
    devices = {
        "limit.device": config.limit.device,
        "penalty.device": config.penalty.device,
        "front.device": config.front.device,
    }
    for key, device in devices.items():
        if device is not None:
            file = find_model_file(device)
            run.write_once(f"{key}{file.suffix}", file.read_text(encoding="utf-8"))
