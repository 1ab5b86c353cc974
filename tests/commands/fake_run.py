"""Fake ``darts.search`` and ``darts.retrain`` for tests of comparisons.

It writes the files that a comparison reads, with costs and scores derived from the overrides, and
saves after each epoch, so that it can be stopped and resumed. A search with ``name=`` its method
fails. Short trainings diverge with ``optimizer.lr=99``, and with ``optimizer.lr=9`` if their number
is odd.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

JOULES = {"darts_v1": 20.0, "random_sharing": 5.0, "retrain": 10.0, "p_darts": 2.0}  # per epoch
AFTER = {"random_sharing": 7.0, "p_darts": 7.0}
CHECK = {"p_darts": 4.0}  # per collapse check
SECONDS = float(os.environ.get("FAKE_SECONDS", "0"))  # per epoch


def epoch_joules(kind: str, epoch: int, given: dict[str, str]) -> float:
    """Return the joules of an epoch.

    Epochs of P-DARTS cost more in later stages, and after the first 40 % of each stage, when the
    alphas are updated.
    """
    joules = JOULES[kind]
    if kind == "p_darts":
        epochs = int(given["epochs"])
        ends = [0, *(int(epochs * third / 3 + 0.5) for third in (1, 2, 3))]
        stage = sum(epoch >= end for end in ends) - 1
        progress = (epoch - ends[stage]) / (ends[stage + 1] - ends[stage])
        updates = progress >= float(given.get("arch_optimizer.warmup", 0.4))
        joules *= (stage + 1) * (2.5 if updates else 1.0)
    if (epoch + 1) % int(given.get("collapse.every", 5)) == 0:
        joules += CHECK.get(kind, 0.0)
    return joules


def main() -> None:
    """Execute one run."""
    command, *overrides = sys.argv[1:]
    given = dict(word.split("=", 1) for word in overrides)
    if "resume" in given:
        directory = Path(given["resume"])
        saved = json.loads((directory / "overrides.json").read_text())["overrides"]
        given = dict(word.split("=", 1) for word in saved)
    else:
        directory = Path(given["hydra.run.dir"])
        directory.mkdir(parents=True)
        text = json.dumps({"command": command, "overrides": overrides})
        (directory / "overrides.json").write_text(text)
    with (directory / "starts").open("a") as file:
        file.write("x")
    received: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    signal.signal(signal.SIGINT, lambda number, _: received.append(number))
    kind = given.get("method", command)
    epochs = int(given["epochs"])
    metrics = directory / "metrics.jsonl"
    done = len(metrics.read_text().splitlines()) if metrics.exists() else 0

    def used(epochs: int) -> float:
        return sum(epoch_joules(kind, epoch, given) for epoch in range(epochs))

    for epoch in range(done, epochs):
        time.sleep(SECONDS)
        with metrics.open("a") as file:
            file.write(json.dumps({"epoch": epoch + 1, "joules": used(epoch + 1)}) + "\n")
        if received:
            sys.exit(128 + received[0])
    if given.get("name") == kind:
        sys.exit(f"darts.{command}: it diverged")
    odd = directory.name[-1] in "13579"
    if given.get("optimizer.lr") == "99" or (given.get("optimizer.lr") == "9" and odd):
        cost = {"why": "the loss became nan", "seconds": 1.0, "joules": 4.0}
        cost |= {"joules_source": "fake", "gco2e": 0.1}
        (directory / "diverged.json").write_text(json.dumps(cost))
        sys.exit("darts.retrain: the loss became nan")
    genotype = '{"space": "mlp", "layers": ["relu_8"]}'
    chance = random.Random(str((kind, given["seed"], given.get("genotype", "")[-20:])))
    summary = {
        "seed": int(given["seed"]),
        "valid_accuracy": 0.5 + 0.4 * chance.random(),
        "seconds": 1.0,
        "joules": used(epochs) + AFTER.get(kind, 0.0),
        "joules_source": os.environ.get("FAKE_SOURCE", "fake"),
        "gco2e": 0.1,
        "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "parameters": 10,
        "macs": 20,
        "genotype": genotype,
    }
    if command == "search":
        (directory / "genotype.json").write_text(genotype)
    elif given.get("evaluate_test") != "false":
        is_method = "darts_v1" in given["genotype"]
        summary["test_accuracy"] = (0.8 if is_method else 0.6) + 0.1 * chance.random()
    checks = epochs // int(given.get("collapse.every", 5)) * CHECK.get(kind, 0.0)
    phases = [{"phase": "training", "joules": used(epochs) - checks}]
    phases.append({"phase": "collapse", "joules": checks})
    (directory / "energy.json").write_text(json.dumps({"phases": phases}))
    (directory / "summary.json").write_text(json.dumps(summary))


main()
