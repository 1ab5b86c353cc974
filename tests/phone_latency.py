"""The latency law of a made-up phone, to which latency models are fitted in tests."""

from __future__ import annotations

# Milliseconds of each operation of NAS-Bench-201.
MS = {
    "none": 0.0,
    "skip_connect": 0.1,
    "nor_conv_1x1": 1.0,
    "nor_conv_3x3": 4.0,
    "avg_pool_3x3": 0.5,
}
