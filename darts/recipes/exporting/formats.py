"""The formats of exported graphs, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from torch import Tensor

from darts.config import INT8, ConfigError
from darts.data_modules.samples import SampleDataModule
from darts.recipes.exporting import onnx_file, torch_files
from darts.recipes.exporting.network import ExportableNetwork, Graph, quiet


@dataclass(frozen=True)
class GraphFormat:
    """A format of exported graphs."""

    suffix: str
    save: Callable[[ExportableNetwork, Path], None]  # in float32
    # In int8, given the file in float32, the new file, and samples for calibration (N, C, H, W)
    # float32. The folder is temporary: other files in it are removed. None if the runtime has no
    # kernels for int8.
    save_int8: Callable[[ExportableNetwork, Path, Path, Tensor], None] | None
    load: Callable[[Path, ExportableNetwork], Graph]  # runs a file in its runtime
    imports: tuple[str, ...] = ()  # packages that it needs, besides PyTorch
    int8_imports: tuple[str, ...] = ()  # further packages for int8
    extra: str = "export"  # extra of this package that installs them
    one_sample: bool = False  # whether its files take one sample per pass, and no sequences


FORMATS: Mapping[str, GraphFormat] = {
    "onnx": GraphFormat(
        ".onnx",
        onnx_file.save,
        onnx_file.save_int8,
        onnx_file.load,
        imports=("onnxruntime", "onnxscript"),
        int8_imports=("onnx",),
    ),
    "torch_export": GraphFormat(".pt2", torch_files.save_torch, None, torch_files.load_torch),
    "executorch": GraphFormat(
        ".pte",
        torch_files.save_executorch,
        torch_files.save_executorch_int8,
        torch_files.load_executorch,
        imports=("executorch",),
        int8_imports=("torchao",),
        extra="executorch",
        one_sample=True,
    ),
}


def require_packages(name: str, *, int8: bool, setting: str | None = None) -> None:
    """Raise ConfigError if a package of a format cannot be imported.

    ``setting`` is what the user has set; None stands for the keys of ``darts export``.
    """
    chosen = FORMATS[name]
    for package in (*chosen.imports, *(chosen.int8_imports if int8 else ())):
        try:
            with quiet():
                import_module(package)
        except ImportError as error:
            keys = f"format={name}" + (" quantize=int8" if int8 else "")
            raise ConfigError(
                f"{setting or keys}: {error.name or package} is not installed; run pip install "
                f"'darts-nas[{chosen.extra}]', or choose another format"
            ) from None


def split_export(export: str) -> tuple[str, bool]:
    """Return the format of the key ``export``, and whether it is quantized to int8."""
    return export.removesuffix(INT8), export.endswith(INT8)


def check_export(export: str, kind: str) -> None:
    """Raise ConfigError if a format is not installed or has no networks for the kind of data."""
    name, int8 = split_export(export)
    if name not in FORMATS:  # none or safetensors
        return
    numbers = SampleDataModule.data_kinds
    if kind not in numbers and (int8 or FORMATS[name].one_sample):
        raise ConfigError(
            f"export={export}: takes networks for {', '.join(numbers)}, and the data contains "
            f"{kind}; choose export=onnx, torch_export or safetensors"
        )
    require_packages(name, int8=int8, setting=f"export={export}")
