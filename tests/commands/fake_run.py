"""Fake ``darts.search`` and ``darts.retrain``, with the files that a comparison reads.

Costs and scores follow from the overrides. A run saves after each epoch and adds a character to the
file ``starts`` when it starts. A search fails if ``name`` equals its method. A retraining diverges
with ``optimizer.lr=99``, and with 9 if the name of its directory ends in an odd digit. An epoch
lasts ``FAKE_SECONDS`` of the environment, and ``FAKE_SOURCE`` is the source of the joules.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

# By method: joules of an epoch, of the work after the last epoch, and of a collapse check.
EPOCH_JOULES = {"darts_v1": 20.0, "random_sharing": 5.0, "retrain": 10.0, "p_darts": 2.0}
FINAL_JOULES = {"random_sharing": 7.0, "p_darts": 7.0}
CHECK_JOULES = {"p_darts": 4.0}
SECONDS = float(os.environ.get("FAKE_SECONDS", "0"))  # per epoch


def epoch_joules(method: str, epoch: int, settings: dict[str, str]) -> float:
    """Return the joules of an epoch.

    Epochs of P-DARTS cost more in later stages. They also cost more after the first 40 % of each
    stage, when the alphas are updated.
    """
    joules = EPOCH_JOULES[method]
    if method == "p_darts":
        epochs = int(settings["epochs"])
        ends = [0, *(int(epochs * third / 3 + 0.5) for third in (1, 2, 3))]
        stage = sum(epoch >= end for end in ends) - 1
        progress = (epoch - ends[stage]) / (ends[stage + 1] - ends[stage])
        updates = progress >= float(settings.get("arch_optimizer.warmup", 0.4))
        joules *= (stage + 1) * (2.5 if updates else 1.0)
    if (epoch + 1) % int(settings.get("collapse.every", 5)) == 0:
        joules += CHECK_JOULES.get(method, 0.0)
    return joules


def write(path: Path, text: str) -> None:
    """Write a file that another process may read at any time, as a real run does."""
    unfinished = path.with_suffix(".part")
    unfinished.write_text(text)
    unfinished.replace(path)


def main() -> None:
    command, *overrides = sys.argv[1:]
    settings = dict(word.split("=", 1) for word in overrides)
    if "resume" in settings:
        directory = Path(settings["resume"])
        saved = json.loads((directory / "overrides.json").read_text())["overrides"]
        settings = dict(word.split("=", 1) for word in saved)
    else:
        directory = Path(settings["hydra.run.dir"])
        directory.mkdir(parents=True)
        text = json.dumps({"command": command, "overrides": overrides})
        (directory / "overrides.json").write_text(text)
        (directory / "config.yaml").write_text("{}")
    with (directory / "starts").open("a") as file:
        file.write("x")
    received: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    signal.signal(signal.SIGINT, lambda number, _: received.append(number))
    method = settings.get("method", command)
    epochs = int(settings["epochs"])
    metrics = directory / "metrics.jsonl"
    done = len(metrics.read_text().splitlines()) if metrics.exists() else 0

    def joules_until(epochs: int) -> float:
        return sum(epoch_joules(method, epoch, settings) for epoch in range(epochs))

    for epoch in range(done, epochs):
        time.sleep(SECONDS)
        with metrics.open("a") as file:
            file.write(json.dumps({"epoch": epoch + 1, "joules": joules_until(epoch + 1)}) + "\n")
        if received:
            sys.exit(128 + received[0])
    if settings.get("name") == method:
        sys.exit(f"darts {command}: it diverged")
    odd = directory.name[-1] in "13579"
    if settings.get("optimizer.lr") == "99" or (settings.get("optimizer.lr") == "9" and odd):
        cost = {"reason": "the loss became nan", "seconds": 1.0, "joules": 4.0}
        cost |= {"joules_source": "fake", "gco2e": 0.1}
        write(directory / "diverged.json", json.dumps(cost))
        sys.exit("darts retrain: the loss became nan")
    genotype = '{"space": "mlp", "layers": ["relu_8"]}'
    generator = random.Random(str((method, settings["seed"], settings.get("genotype", "")[-20:])))
    summary = {
        "seed": int(settings["seed"]),
        "valid_accuracy": 0.5 + 0.4 * generator.random(),
        "seconds": 1.0,
        "joules": joules_until(epochs) + FINAL_JOULES.get(method, 0.0),
        "joules_source": os.environ.get("FAKE_SOURCE", "fake"),
        "gco2e": 0.1,
        "parameters": 10,
        "macs": 20,
        "genotype": genotype,
    }
    if command == "search":
        (directory / "genotype.json").write_text(genotype)
    elif settings.get("evaluate_test") != "false":
        is_method = "darts_v1" in settings["genotype"]
        summary["test_accuracy"] = (0.8 if is_method else 0.6) + 0.1 * generator.random()
    checks = epochs // int(settings.get("collapse.every", 5)) * CHECK_JOULES.get(method, 0.0)
    phases = [{"phase": "training", "joules": joules_until(epochs) - checks}]
    phases.append({"phase": "collapse", "joules": checks})
    (directory / "energy.json").write_text(json.dumps({"phases": phases}))
    write(directory / "summary.json", json.dumps(summary))


main()
