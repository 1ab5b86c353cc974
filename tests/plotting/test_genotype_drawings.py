"""Figures of genotypes: their content, that nothing overlaps, and their files."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib import rcParams
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.path import Path as Curve

from darts.plotting.genotype import compare_genotypes, draw_genotype, save_genotype
from darts.plotting.style import save_figure
from darts.spaces import macro, mlp, nas201, recurrent, transformer
from darts.spaces.cnn import PUBLISHED
from darts.spaces.genotype import OPERATIONS, Genotype

V1, V2 = PUBLISHED["DARTS_V1"].genotype, PUBLISHED["DARTS_V2"].genotype


def random_cells(generator: torch.Generator, nodes: int) -> Genotype:
    """Draw two sources of each node and an operation for each."""
    names = [name for name in OPERATIONS if name != "none"]
    cells: list[Any] = []
    for _ in Genotype.cells:
        pairs = []
        for node in range(2, nodes + 2):
            for source in sorted(torch.randperm(node, generator=generator)[:2].tolist()):
                drawn = int(torch.randint(len(names), (), generator=generator))
                pairs.append((names[drawn], source))
        cells += [pairs, range(2, nodes + 2)]
    return Genotype(*cells)


def sample_genotypes() -> dict[str, Any]:
    """Return published and random genotypes of several spaces and sizes by name."""
    generator = torch.Generator().manual_seed(0)
    known = {name: PUBLISHED[name].genotype for name in ("DARTS_V1", "NASNET", "AMOEBANET")}
    return known | {
        **{f"random-{n}": random_cells(generator, n) for n in (1, 2, 4, 7)},
        **{f"nas201-{n}": nas201.Genotype.from_index(n) for n in (0, 4711, 15_624)},
        **{f"recurrent-{name}": genotype for name, genotype in recurrent_genotypes().items()},
        **{
            f"transformer-{n}": transformer.Transformer(cells=n).random(generator)
            for n in (1, 2, 5)
        },
        **{f"macro-{n}": macro.Genotype(("mb_k5_e6", "skip_connect")[:n] * 3) for n in (1, 2)},
        "mlp": mlp.Genotype(("relu_16",)),
    }


def recurrent_genotypes() -> dict[str, Any]:
    """Return recurrent cells by name: published, random, all nodes after node 0, and in a row."""
    generator = torch.Generator().manual_seed(1)
    names = recurrent.genotype.ACTIVATIONS
    return {
        **{name: entry.genotype for name, entry in recurrent.PUBLISHED.items()},
        **{f"random-{n}": recurrent.Recurrent(nodes=n).random(generator) for n in (1, 2, 5, 12)},
        "star": recurrent.Genotype([(names[n % 4], 0) for n in range(9)], range(1, 10)),
        "row": recurrent.Genotype([(names[n % 4], n) for n in range(5)], range(1, 6)),
    }


def patches_of(figure: Figure, prefix: str, suffix: str) -> dict[str, Patch]:
    """Return the patches whose ids have a prefix (a cell) and a suffix (a kind), by id."""
    patches = (patch for axes in figure.axes for patch in axes.patches)
    return {
        str(patch.get_gid()): patch
        for patch in patches
        if str(patch.get_gid()).startswith(prefix) and str(patch.get_gid()).endswith(suffix)
    }


@pytest.mark.parametrize("genotype", sample_genotypes().values(), ids=sample_genotypes())
def test_labels_boxes_and_curves_do_not_overlap(genotype: Any) -> None:
    figure = draw_genotype(genotype, title="A title")
    renderer = FigureCanvasAgg(figure).get_renderer()
    for cell, axes in zip(genotype.cells, figure.axes, strict=True):
        boxes = {
            name.removesuffix("-box"): patch.get_window_extent(renderer)
            for name, patch in patches_of(figure, cell, "-box").items()
        }
        operations = sorted(name for _, _, name in genotype.edges(cell))
        assert len(boxes) == len(operations)
        labels = [text for text in axes.texts if text.get_text() in operations]
        assert sorted(text.get_text() for text in labels) == operations
        for label in labels:  # every label is inside exactly one box, so labels cannot overlap
            extent = label.get_window_extent(renderer)
            assert sum(
                box.x0 <= extent.x0 and extent.x1 <= box.x1 and box.y0 <= extent.y0
                and extent.y1 <= box.y1
                for box in boxes.values()
            ) == 1  # fmt: skip
        assert not any(a.overlaps(b) for a, b in combinations(boxes.values(), 2))
        for name, curve in patches_of(figure, cell, "-curve").items():
            drawn = curve.get_path().transformed(curve.get_transform())
            for other, box in boxes.items():
                if other != name.removesuffix("-curve"):  # they may touch
                    inside = box.padded(-1)
                    assert not drawn.intersects_bbox(inside, filled=False), (name, other)
        for text in axes.texts:
            extent = text.get_window_extent(renderer)
            assert figure.bbox.x0 <= extent.x0 < extent.x1 <= figure.bbox.x1
            assert figure.bbox.y0 <= extent.y0 < extent.y1 <= figure.bbox.y1


@pytest.mark.parametrize("genotype", recurrent_genotypes().values(), ids=recurrent_genotypes())
def test_lines_of_a_recurrent_cell_do_not_cross(genotype: Any) -> None:
    """Lines of the same node meet only where they start; no line crosses one to the output."""
    figure = draw_genotype(genotype)
    (axes,) = figure.axes
    curves = patches_of(figure, "recurrent", "-curve")
    drawn = {name: patch.get_path() for name, patch in curves.items()}
    # Only the arrows to the output have this gray.
    gray = [p.get_path() for p in axes.patches if to_hex(p.get_edgecolor()) == "#b8c0cc"]
    outputs = [Curve(path.vertices[:2]) for path in gray]  # without arrow heads
    assert len(outputs) == len(genotype.outputs)
    for curve in drawn.values():
        assert not any(curve.intersects_path(output, filled=False) for output in outputs)
    sources = {f"recurrent-0-edge-{n}-curve": e[0] for n, e in enumerate(genotype.edges())}
    for (a, first), (b, second) in combinations(drawn.items(), 2):
        if sources[a] != sources[b]:
            assert not first.intersects_path(second, filled=False)
        else:
            ends = [torch.as_tensor(curve.vertices[2:]) for curve in (first, second)]
            assert not len(ends[0]) or not len(ends[1]) or not torch.equal(*ends)


def test_recurrent_cell_shows_inputs_nodes_and_the_mean_of_several_outputs() -> None:
    cell = recurrent.PUBLISHED["DARTS_RNN_V2"].genotype
    (axes,) = draw_genotype(cell).axes
    texts = [text.get_text() for text in axes.texts]
    assert {"Recurrent cell", "$x_t$", "$h_{t-1}$", "$h_t$", "mean"} <= set(texts)
    assert sorted(text for text in texts if text.isdigit()) == sorted("012345678")
    single = recurrent.Genotype([("tanh", 0)], (1,))
    (axes,) = draw_genotype(single).axes
    assert "mean" not in [text.get_text() for text in axes.texts]


def test_curves_of_parallel_edges_do_not_touch() -> None:
    pair = (("avg_pool_3x3", 0), ("avg_pool_3x3", 0))
    figure = draw_genotype(Genotype(pair, (2,), pair, (2,)))
    drawn = patches_of(figure, "normal", "-curve").values()
    curves = [curve.get_path().interpolated(20).vertices for curve in drawn]
    first, second = (torch.as_tensor(curve) for curve in curves)
    assert float((first - second).norm(dim=1).min()) > 0.05  # inches


def test_comparison_draws_exactly_the_common_edges_faintly() -> None:
    figure = compare_genotypes(V1, V2, ("first", "second"))
    assert {text.get_text() for text in figure.texts} == {"first", "second"}
    assert len(figure.axes) == 4
    for column, (mine, other) in enumerate(((V1, V2), (V2, V1))):
        for cell in Genotype.cells:
            faint = [
                name
                for name, patch in patches_of(figure, f"{cell}-{column}", "-curve").items()
                if (patch.get_alpha() or 1.0) < 0.5
            ]
            same = [edge for edge in mine.edges(cell) if edge in other.edges(cell)]
            assert len(faint) == len(same)
            assert 0 < len(faint) < 8


def test_equal_genotypes_give_equal_svg_files_with_selectable_text(tmp_path: Path) -> None:
    before = rcParams.copy()  # unlike dict(), does not resolve the backend
    for name, genotype in (("a", V2), ("b", Genotype.parse(str(V2))), ("c", V1)):
        save_genotype(genotype, tmp_path / f"{name}.svg", title="DARTS")
    a, b, c = ((tmp_path / f"{name}.svg").read_bytes() for name in "abc")
    assert a == b != c
    assert b"sep_conv_3x3</text>" in a
    assert b"dc:date" not in a
    assert rcParams.copy() == before


@pytest.mark.parametrize("title", ["$x^", "a\nb\x00", "細胞 <&>", "_" * 300])
def test_titles_may_contain_any_characters(title: str, tmp_path: Path) -> None:
    save_figure(draw_genotype(V2, title=title), tmp_path / "a.svg")
    save_figure(draw_genotype(V2, title=title), tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 10_000


@pytest.mark.slow
def test_figures_do_not_import_pyplot_and_matplotlib_is_imported_on_use(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from darts.plotting.genotype import save_genotype\n"
        "from darts.spaces.genotype import Genotype\n"
        "assert 'matplotlib' not in sys.modules\n"
        f"save_genotype(Genotype.parse({str(V2)!r}), sys.argv[1] + '/a.png')\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program, str(tmp_path)], check=True)
    assert (tmp_path / "a.png").exists()
