"""One trained network in every format of ``darts.export``, in float32 and in int8.

    darts search
    darts retrain genotype=runs/search/<run>
    python experiments/export_formats.py --checkpoint runs/retrain/<run> --runs DIR

Each export is a command of its own and measures its file: the accuracy on the validation split, the
size, and the median latency of one sample on one thread. The float32 and the int8 file of a format
take turns when they are timed. Formats whose packages are not installed are left out; run the
script again in the environment that has them.

The results are written to results/export_formats.json and README.md.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from records import Row, parser_of, put_rows, record
from runs import run

from darts.config import ConfigError
from darts.recipes.exporting.formats import FORMATS, require_packages

RUNTIMES = {"onnx": "onnxruntime", "torch_export": "torch", "executorch": "executorch"}
"""The package that runs the files of each format."""


def main() -> None:
    """Export the network, and write the results."""
    parser = parser_of(__doc__)
    parser.add_argument("--checkpoint", required=True, type=Path, help="directory of a retraining")
    parser.add_argument("--runs", required=True, type=Path, help="folder for the exports")
    args = parser.parse_args()
    rows: list[Row] = []
    for name, own_format in FORMATS.items():
        int8 = own_format.save_int8 is not None
        try:
            require_packages(name, int8=int8)
        except ConfigError as error:
            print(error)
            continue
        own = (f"checkpoint={args.checkpoint}", f"format={name}")
        summaries = {"float32": run("export", args.runs / name, *own)}
        if int8:
            summaries["int8"] = run("export", args.runs / f"{name}_int8", *own, "quantize=int8")
        quantized = summaries.get("int8", {})  # it has measured both files in turn
        for numbers, summary in summaries.items():
            prefix = "float_" if numbers == "float32" else ""
            rows.append(
                {
                    "format": name,
                    "numbers": numbers,
                    "network_accuracy": summary["float_valid_accuracy"],
                    "accuracy": summary["valid_accuracy"],
                    "bytes": summary["bytes"],
                    "milliseconds": quantized.get(f"{prefix}milliseconds", summary["milliseconds"]),
                    "runtime": f"{RUNTIMES[name]} {version(RUNTIMES[name])}",
                    "torch": version("torch"),
                }
            )
    rows = record("export_formats", ("format", "numbers"), rows)
    rows = [
        {**row, "network": 100 * row["network_accuracy"], "file": 100 * row["accuracy"]}
        for row in sorted(rows, key=lambda row: list(RUNTIMES).index(row["format"]))
    ]
    columns = {
        "format": "`{format}`",
        "numbers": "{numbers}",
        "valid % in PyTorch": "{network:.2f}",
        "valid % of the file": "{file:.2f}",
        "bytes": "{bytes:,}",
        "ms": "{milliseconds:.2f}",
        "runtime": "{runtime}",
    }
    put_rows("export_formats", columns, rows)


if __name__ == "__main__":
    main()
