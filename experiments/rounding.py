"""How far rounding alone moves the alphas and the genotype of a search on the digits.

    python experiments/rounding.py

For each seed and each number of epochs, the same search runs several times. The reference is one
process with one thread. The other runs differ from it only by rounding:

* ``same``: nothing is changed, as a control.
* ``2_threads``: sums of PyTorch's kernels are computed in another order.
* ``2_ranks``: two processes share each batch, and sum their gradients.
* ``1_ulp``: every initial weight is the next larger float32 number.

For comparison, ``other_seed`` is the reference with the next seed.

Finished searches are not repeated. The results are written to results/rounding.json and README.md.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from records import Row, grouped, parser_of, put_table, record, table
from torch import Tensor

from darts.judging.devices.stopwatch import device_name
from darts.search import main as search_main
from darts.searching.searcher import Searcher
from darts.spaces import SupernetBase
from darts.spaces.genotype import Genotype
from darts.training.checkpoint import load_checkpoint

REFERENCE = "reference"
VARIANTS = ("same", "2_threads", "2_ranks", "1_ulp")
FIXED = (
    *("dataset=digits", "device=cpu", "collapse.every=0"),
    *("tracking.figures=false", "tracking.tensorboard=false"),
)
KEY = ("hardware", "channels", "epochs", "change", "seed")


def raise_initial_weights() -> None:
    """Make every searcher of this process start from the next larger weights."""
    initial_net = Searcher._initial_net

    def raised_net(self: Searcher, index: int) -> SupernetBase:
        net = initial_net(self, index)
        with torch.no_grad():
            for weight in net.weight_parameters():
                weight.copy_(torch.nextafter(weight, torch.full_like(weight, torch.inf)))
        return net

    Searcher._initial_net = raised_net  # type: ignore[method-assign]


def run_search(variant: str, directory: Path, overrides: Sequence[str]) -> None:
    """Run a search in processes of its own, unless it has been finished."""
    if (directory / "summary.json").exists():
        return
    python: list[str | Path] = [sys.executable]
    if variant == "2_ranks":
        python += ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    words = [*python, __file__, "--child", variant, *overrides, f"hydra.run.dir={directory}"]
    threads = "2" if variant == "2_threads" else "1"
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    # A search that is too short to find anything ends with another exit code than 0.
    if not (directory / "summary.json").exists():
        raise SystemExit(f"{' '.join(map(str, words))} failed:\n{done.stderr}")


def alphas_of(directory: Path) -> dict[str, Tensor]:
    """Return the final alphas of a search, ``(edges, operations)`` by group."""
    net = load_checkpoint(directory / "checkpoint.safetensors", "search")["searcher"]["net"]
    return {name: value for name, value in net.items() if name.startswith("alphas.")}


def edges_of(directory: Path) -> dict[tuple[str, int, int], str]:
    """Return the operation of each edge (cell, source, target) of a search's genotype."""
    genotype = Genotype.parse((directory / "genotype.json").read_text(encoding="utf-8"))
    return {
        (cell, source, target): operation
        for cell in genotype.cells
        for source, target, operation in genotype.edges(cell)
    }


def compare(directory: Path, reference: Path) -> Row:
    """Return the differences between two searches."""
    alphas, expected = alphas_of(directory), alphas_of(reference)
    difference = max(float((alphas[name] - value).abs().max()) for name, value in expected.items())
    largest = max(float(value.abs().max()) for value in expected.values())
    edges, expected_edges = edges_of(directory), edges_of(reference)
    common = edges.keys() & expected_edges.keys()
    return {
        "difference": difference / largest,
        "edges": len(expected_edges),
        "other edges": len(expected_edges) - len(common),
        "other operations": sum(edges[edge] != expected_edges[edge] for edge in common),
    }


def write_table(rows: Sequence[Row]) -> None:
    """Write all recorded rows as a table to README.md, one line per change."""
    columns = (*KEY[:-1], "seeds", "difference of alphas", "other edges", "other operations")
    text = []
    for key, group in grouped(rows, *KEY[:-1]).items():
        differences = ", ".join(f"{row['difference']:.0%}" for row in group)
        edges = ", ".join(str(row["other edges"]) for row in group)
        operations = ", ".join(str(row["other operations"]) for row in group)
        seeds = ", ".join(str(row["seed"]) for row in group)
        text.append((*key, seeds, differences, edges, operations))
    put_table("rounding", table(columns, text))


def main() -> None:
    """Run all searches and write the results."""
    parser = parser_of(__doc__)
    parser.add_argument("--channels", type=int, default=4)
    parser.add_argument("--epochs", type=int, nargs="+", default=[2, 15])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/rounding"))
    args = parser.parse_args()

    def folder_of(epochs: int, seed: int) -> Path:
        out: Path = args.out.resolve()
        return out / f"channels_{args.channels}_epochs_{epochs}_seed_{seed}"

    rows: list[Row] = []
    for epochs in args.epochs:
        for seed in args.seeds:
            overrides = (f"space.channels={args.channels}", f"epochs={epochs}", f"seed={seed}")
            for variant in (REFERENCE, *VARIANTS):
                directory = folder_of(epochs, seed) / variant
                run_search(variant, directory, (*FIXED, *overrides))
        for seed in args.seeds:
            folder = folder_of(epochs, seed)
            next_seed = args.seeds[(args.seeds.index(seed) + 1) % len(args.seeds)]
            others = {variant: folder / variant for variant in VARIANTS}
            others["other_seed"] = folder_of(epochs, next_seed) / REFERENCE
            for variant, directory in others.items():
                result = compare(directory, folder / REFERENCE)
                print(epochs, seed, variant, result, flush=True)
                rows.append(
                    {
                        "torch": torch.__version__,
                        "hardware": device_name(torch.device("cpu")),
                        "channels": args.channels,
                        "epochs": epochs,
                        "change": variant,
                        "seed": seed,
                        **result,
                    }
                )
    write_table(record("rounding", KEY, rows))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        if sys.argv[2] == "1_ulp":
            raise_initial_weights()
        del sys.argv[1:3]
        search_main()
    else:
        main()
