"""Write the graph of a network to a file, run it, and give it its name if it agrees."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from darts.config import ConfigError, ExportConfig
from darts.reading import JsonObject
from darts.recipes.exporting.formats import FORMATS, GraphFormat
from darts.recipes.exporting.network import ExportableNetwork, Graph, max_error, max_error_on
from darts.recipes.exporting.validation import Validation, median_milliseconds
from darts.writing import write_atomically, write_errors


@dataclass
class GraphFile:
    """One export of a graph."""

    config: ExportConfig
    directory: Path
    network: ExportableNetwork  # as a graph of tensors
    validation: Validation | None  # None if the export reads no data

    def write(self) -> tuple[Path, JsonObject]:
        """Return the file and what was measured, or leave no file."""
        suffix = self.format.suffix
        self.directory.mkdir(parents=True, exist_ok=True)
        target = self.directory / f"network{suffix}"
        with TemporaryDirectory(dir=self.directory) as folder:
            plain, quantized = Path(folder, f"float{suffix}"), Path(folder, f"int8{suffix}")
            graph, report = self._write_float(plain)
            if self.config.quantize == "int8":
                report |= self._write_int8(quantized, plain, graph, report)
            checked = quantized if self.config.quantize == "int8" else plain
            write_atomically(target, checked.read_bytes())
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
        if self.validation is not None:
            report |= self.validation.compare(self.config, self.validation.score(), graph)
            (report["milliseconds"],) = median_milliseconds(
                [graph], self.validation.calibration_samples()[:1]
            )
        return graph, report

    def _write_int8(
        self, path: Path, plain: Path, float_graph: Graph, report: JsonObject
    ) -> JsonObject:
        """Write the network in int8, and compare the scores."""
        validation = self.validation
        assert validation is not None  # quantize=int8 always reads data
        before = float(str(report[f"float_{validation.score_name}"]))
        samples = validation.calibration_samples()
        with write_errors(path):
            self.format.save_int8(self.network, plain, path, samples)
        graph = self.format.load(path, self.network)
        scores = validation.compare(self.config, before, graph)
        float_ms, int8_ms = median_milliseconds([float_graph, graph], samples[:1])
        return scores | {
            "difference": max_error_on(self.network, graph, [samples]),
            "float_bytes": plain.stat().st_size,
            "float_milliseconds": float_ms,
            "milliseconds": int8_ms,
            "calibration_samples": len(samples),
        }
