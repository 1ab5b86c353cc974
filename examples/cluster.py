"""Find a network with the processors of a Ray cluster.

    python examples/cluster.py [ADDRESS] [MINUTES]

ADDRESS is that of a running cluster, such as ``auto`` on one of its machines, which share a folder.
Without it, Ray starts on this machine (``pip install 'darts-nas[ray]'``).
"""

import sys

import darts

address = [f"executor.address={sys.argv[1]}"] if len(sys.argv) > 1 else []
minutes = float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
best = darts.find("digits", minutes=minutes, overrides=["executor=ray", *address])
print(best)
