"""The latency models of a search must be the same when it is resumed.

Their files belong to the user and may be replaced in between. The genotypes of both parts of the
search would then keep different limits.
"""

from __future__ import annotations

import hashlib
import json

from darts.config import ConfigError, SearchConfig
from darts.judging.devices.lookup_table import info_file
from darts.judging.limits.costs import find_model_file
from darts.training.run import TrainingRun

FILE = "latency_models.json"


def keep_latency_models(run: TrainingRun, config: SearchConfig) -> dict[str, str]:
    """Return the file with the SHA-256 digests of the latency models; compare it when resuming.

    Args:
        run: The run, before it begins.
        config: Its configuration.

    Returns:
        The text of the file by its name; empty without latency models.

    Raises:
        ConfigError: If the file of a model differs from the one with which the run began.
    """
    digests = _digests(config)
    known = run.saved is not None and (run.path / FILE).is_file()
    before = run.files.read_json(FILE) if known else digests
    for key, device in _devices(config).items():
        if before.get(key) != digests[key]:
            raise ConfigError(
                f"cannot resume {run.path}: the file of {key}={device} has changed since the run "
                "began; restore it, or start a new run"
            )
    return {FILE: json.dumps(digests, indent=2)} if digests else {}


def _devices(config: SearchConfig) -> dict[str, str]:
    """Return the latency models of hard bounds by key. A checkpoint contains those of penalties."""
    devices = {"limit.device": config.limit.device, "front.device": config.front.device}
    return {key: device for key, device in devices.items() if device is not None}


def _digests(config: SearchConfig) -> dict[str, str]:
    digests = {}
    for key, device in _devices(config).items():
        file = find_model_file(device)
        content = file.read_bytes()
        if file.suffix == ".csv":
            content += info_file(file).read_bytes()
        digests[key] = hashlib.sha256(content).hexdigest()
    return digests
