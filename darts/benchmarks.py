"""Benchmark tables for Python programs: the true scores of every architecture of a space.

``from darts.benchmarks import macro, nas201`` imports the modules that read the tables::

    table = nas201.load("nasbench201.csv", latency="latency.csv")
    for arch in table:
        print(arch, table.accuracy(arch), table.latency(arch, "raspi4"))

    table = macro.load("nasbench_macro.csv")
    genotype = macro.genotype_of("22212220")
    net = macro.space().network(genotype, classes=10, in_channels=3)
    print(table.rank(genotype), table.parameters(genotype))
"""

from darts.judging import macro_table as macro
from darts.judging import nas201_table as nas201

__all__ = ["macro", "nas201"]
