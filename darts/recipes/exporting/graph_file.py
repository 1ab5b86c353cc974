"""Write the graph of a network to a file, run it, and give it its name if it agrees."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from darts.config import ConfigError, ExportConfig
from darts.reading import JsonObject
from darts.recipes.exporting.formats import FORMATS, GraphFormat
from darts.recipes.exporting.network import ExportableNetwork, Graph, max_error, max_error_on
from darts.recipes.exporting.validation import Validation, median_milliseconds
from darts.spaces import NetworkBase
from darts.tracking.formats import format_value
from darts.writing import write_errors


@dataclass
class GraphFile:
    """One export of a graph."""

    config: ExportConfig
    directory: Path
    network: ExportableNetwork  # as a graph of tensors
    net: NetworkBase  # the same network for the objective
    validation: Validation | None  # None if the export reads no data

    def write(self) -> tuple[Path, JsonObject]:
        """Return the file and what was measured, or leave no file."""
        suffix = self.format.suffix
        self.directory.mkdir(parents=True, exist_ok=True)
        target = self.directory / f"network{suffix}"
        plain = self.directory / f"unchecked{suffix}"
        quantized = self.directory / f"unchecked-int8{suffix}"
        try:
            graph, report = self._write_float(plain)
            checked = plain
            if self.config.quantize == "int8":
                checked = quantized
                report |= self._write_int8(quantized, plain, graph, report)
            with write_errors(target):
                with open(checked, "rb") as file:
                    os.fsync(file.fileno())
                os.replace(checked, target)
        finally:
            plain.unlink(missing_ok=True)
            quantized.unlink(missing_ok=True)
        return target, report

    @property
    def format(self) -> GraphFormat:
        return FORMATS[self.config.format]

    def _write_float(self, path: Path) -> tuple[Graph, JsonObject]:
        """Write the network in float32 and compare outputs and, with data, the scores."""
        with write_errors(path):
            self.format.save(self.network, path)
        graph = self.format.load(path, self.network)
        error = max_error(self.network, graph)
        if not error <= self.config.tolerance:
            raise ConfigError(
                f"the graph differs from the network by {error:.2g}, more than "
                f"tolerance={self.config.tolerance:g}; nothing was written"
            )
        report: JsonObject = {"difference": error, "validated": self.validation is not None}
        if self.validation is None:
            return graph, report
        before = self.validation.score(self.net)
        after = self.validation.score(self.net, graph)
        self._require_small_drop(before, after)
        sample = self.validation.calibration_samples()[:1]
        (milliseconds,) = median_milliseconds([graph], sample)
        return graph, report | self._scores(before, after) | {"milliseconds": milliseconds}

    def _write_int8(
        self, path: Path, plain: Path, float_graph: Graph, report: JsonObject
    ) -> JsonObject:
        """Write the network in int8, and compare the scores."""
        validation = self.validation
        assert validation is not None  # quantize=int8 always reads data
        before = float(str(report[f"float_{validation.score_name}"]))
        samples = validation.calibration_samples()
        with write_errors(path):
            self.format.save_int8(self.network, path, samples)
        graph = self.format.load(path, self.network)
        after = validation.score(self.net, graph)
        self._require_small_drop(before, after)
        float_ms, int8_ms = median_milliseconds([float_graph, graph], samples[:1])
        return self._scores(before, after) | {
            "difference": max_error_on(self.network, graph, [samples]),
            "float_bytes": plain.stat().st_size,
            "float_milliseconds": float_ms,
            "milliseconds": int8_ms,
            "calibration_samples": len(samples),
        }

    def _scores(self, before: float, after: float) -> JsonObject:
        """Return the scores of the network in PyTorch and of the file in its runtime."""
        assert self.validation is not None
        name = self.validation.score_name
        return {f"float_{name}": before, name: after, "drop": self.validation.loss(before, after)}

    def _require_small_drop(self, before: float, after: float) -> None:
        """Raise ConfigError if the score of the file drops by more than ``max_drop``."""
        assert self.validation is not None
        drop, name = self.validation.loss(before, after), self.validation.score_name
        if not drop <= self.config.max_drop:
            scores = f"{format_value(name, before)} to {format_value(name, after)}"
            advice = ""
            if self.config.quantize == "int8":
                advice = "; calibrate with more samples"
            raise ConfigError(
                f"max_drop={self.config.max_drop:g}: {name} goes from {scores}, a drop of "
                f"{drop:.2g}; nothing was written{advice}"
            )
