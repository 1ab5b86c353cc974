"""Stands for ``darts.search`` and ``darts.retrain`` where only their results matter.

Writes what a study reads, with costs and scores that follow from the overrides, and saves after
each epoch, so that it can be stopped and resumed. A search with ``name=`` its method fails; short
trainings with ``optimizer.lr=99`` diverge, with ``optimizer.lr=9`` those with an odd number.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

JOULES = {"darts_v1": 20.0, "random_sharing": 5.0, "retrain": 10.0, "p_darts": 2.0}  # an epoch
AFTER = {"random_sharing": 7.0, "p_darts": 7.0}
LOOK = {"p_darts": 4.0}  # of the doctor
SECONDS = float(os.environ.get("FAKE_SECONDS", "0"))  # an epoch


def epoch_of(kind: str, epoch: int, given: dict[str, str]) -> float:
    """Joules; of P-DARTS dearer from third to third, and after 40 % of each, where alphas move."""
    joules = JOULES[kind]
    if kind == "p_darts":
        epochs = int(given["epochs"])
        ends = [0, *(int(epochs * part / 3 + 0.5) for part in (1, 2, 3))]
        stage = sum(epoch >= end for end in ends) - 1
        share = (epoch - ends[stage]) / (ends[stage + 1] - ends[stage])
        moves = share >= float(given.get("arch_optimizer.warmup", 0.4))
        joules *= (stage + 1) * (2.5 if moves else 1.0)
    if (epoch + 1) % int(given.get("doctor.every", 5)) == 0:
        joules += LOOK.get(kind, 0.0)
    return joules


def main() -> None:
    """One run."""
    command, *words = sys.argv[1:]
    given = dict(word.split("=", 1) for word in words)
    if "resume" in given:
        directory = Path(given["resume"])
        saved = json.loads((directory / "overrides.json").read_text())["overrides"]
        given = dict(word.split("=", 1) for word in saved)
    else:
        directory = Path(given["hydra.run.dir"])
        directory.mkdir(parents=True)
        text = json.dumps({"command": command, "overrides": words})
        (directory / "overrides.json").write_text(text)
    with (directory / "starts").open("a") as file:
        file.write("x")
    leaving: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: leaving.append(number))
    signal.signal(signal.SIGINT, lambda number, _: leaving.append(number))
    kind = given.get("method", command)
    epochs = int(given["epochs"])
    metrics = directory / "metrics.jsonl"
    done = len(metrics.read_text().splitlines()) if metrics.exists() else 0

    def used(epochs: int) -> float:
        return sum(epoch_of(kind, epoch, given) for epoch in range(epochs))

    for epoch in range(done, epochs):
        time.sleep(SECONDS)
        with metrics.open("a") as file:
            file.write(json.dumps({"epoch": epoch + 1, "joules": used(epoch + 1)}) + "\n")
        if leaving:
            sys.exit(128 + leaving[0])
    if given.get("name") == kind:
        sys.exit(f"darts.{command}: it diverged")
    odd = directory.name[-1] in "13579"
    if given.get("optimizer.lr") == "99" or (given.get("optimizer.lr") == "9" and odd):
        bill = {"why": "the loss became nan", "seconds": 1.0, "joules": 4.0}
        bill |= {"joules_source": "made up", "gco2e": 0.1}
        (directory / "diverged.json").write_text(json.dumps(bill))
        sys.exit("darts.retrain: the loss became nan")
    genotype = '{"space": "mlp", "layers": ["relu_8"]}'
    chance = random.Random(str((kind, given["seed"], given.get("genotype", "")[-20:])))
    summary = {
        "seed": int(given["seed"]),
        "valid_accuracy": 0.5 + 0.4 * chance.random(),
        "seconds": 1.0,
        "joules": used(epochs) + AFTER.get(kind, 0.0),
        "joules_source": os.environ.get("FAKE_SOURCE", "made up"),
        "gco2e": 0.1,
        "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "parameters": 10,
        "macs": 20,
        "genotype": genotype,
    }
    if command == "search":
        (directory / "genotype.json").write_text(genotype)
    elif given.get("test") != "false":
        found = "darts_v1" in given["genotype"]
        summary["test_accuracy"] = (0.8 if found else 0.6) + 0.1 * chance.random()
    looks = epochs // int(given.get("doctor.every", 5)) * LOOK.get(kind, 0.0)
    phases = [{"phase": "training", "joules": used(epochs) - looks}]
    phases.append({"phase": "doctor", "joules": looks})
    (directory / "energy.json").write_text(json.dumps({"phases": phases}))
    (directory / "summary.json").write_text(json.dumps(summary))


main()
