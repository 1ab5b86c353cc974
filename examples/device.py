"""Find a network, and write a file with 8-bit numbers for a small computer with Python.

    python examples/device.py [MINUTES]

The file runs in ONNX Runtime (``pip install 'darts-nas[export]'``). Limits of the network, such as
``overrides=["limit.parameters=2e5"]``, are possible, too.
"""

import json
import sys
from pathlib import Path

import darts

minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
best = darts.find("digits", minutes=minutes, export="onnx_int8")
print(best)
print({name: best.summary[name] for name in ("parameters", "macs", "test_accuracy")})

exported = Path(best.directory) / "export"
print({file.name: f"{file.stat().st_size:,} bytes" for file in sorted(exported.glob("network*"))})
report = json.loads((exported / "summary.json").read_text(encoding="utf-8"))
print({name: value for name, value in report.items() if "accuracy" in name})
