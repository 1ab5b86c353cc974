"""Find a network within limits, and write a file for a phone or a small computer.

    python examples/device.py [MINUTES]

The file runs in ONNX Runtime (``pip install 'darts-nas[export]'``).
"""

import json
import sys
from pathlib import Path

import darts

minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
limits = ["limit.parameters=100e3", "limit.macs=2e6"]
best = darts.find("digits", minutes=minutes, export="onnx_int8", overrides=limits)
print(best)
print({name: best.summary[name] for name in ("parameters", "macs", "test_accuracy")})

exported = Path(best.directory) / "export"
print({file.name: f"{file.stat().st_size:,} bytes" for file in sorted(exported.glob("network*"))})
report = json.loads((exported / "summary.json").read_text(encoding="utf-8"))
print({name: value for name, value in report.items() if "accuracy" in name})
