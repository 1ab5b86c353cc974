"""Candidates of ``darts.find``: their order, their variants and their sizes of images."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
from fake_race import BASELINES, DATA, networks_of
from PIL import Image

from darts.config import compose
from darts.data.folders import median_side
from darts.data_modules.data_module import keep_data
from darts.finding.candidates import BASELINE, FOUND, Candidate, Start
from darts.finding.families import FAMILIES
from darts.finding.proposals import Pool
from darts.finding.setup import image_sizes, make_networks, with_sizes
from darts.recipes.rules import DataFacts, Setting, settings

START = Start("mlp-mlp_128", 2, 12.0, 9)


def make_pool(*words: str, data: tuple[str, ...] = DATA) -> Pool:
    config, facts, networks = networks_of((*data, *words))
    return Pool(config, networks, facts)


def proposed(pool: Pool, leader: Candidate, count: int = 12) -> list[Candidate]:
    """Return the first variants of a leader, after the baselines."""
    return list(itertools.islice(pool.variants(leader, START, pool.baselines()), count))


def test_the_first_baselines_of_all_families_come_first() -> None:
    pool = make_pool(data=DATA[:4])
    networks = pool.networks["convnet"]
    names = list(networks.baselines)
    second = dataclasses.replace(networks.family, name="second")
    both = {"convnet": networks, "second": dataclasses.replace(networks, family=second)}
    baselines = dataclasses.replace(pool, networks=both).baselines()
    turns = [f"{family}-{name}" for name in names for family in both]
    assert [candidate.name for candidate in baselines] == turns
    late = dataclasses.replace(both["second"], family=dataclasses.replace(second, later=1))
    baselines = dataclasses.replace(pool, networks={**both, "second": late}).baselines()
    order = [f"convnet-{names[0]}", f"convnet-{names[1]}", f"second-{names[0]}"]
    assert [candidate.name for candidate in baselines[:3]] == order
    assert all(c.is_baseline and c.start == Start() for c in baselines)


def test_a_move_inherits_the_training_of_the_leader_and_records_what_changed() -> None:
    pool = make_pool(data=DATA[:4])
    flipped = Setting("flip", {"dataset.flip": True, "mirror": True})
    leader = dataclasses.replace(pool.baselines()[1], setting=flipped)
    found = [c for c in proposed(pool, leader, 100) if c.origin == FOUND]
    space = pool.networks["convnet"].space
    moves = {move.name: str(move.genotype) for move in space.moves(leader.architecture)}
    assert {c.moves[0]: c.genotype for c in found} == moves
    assert all((c.start, c.setting, c.family) == (START, flipped, "convnet") for c in found)
    assert [c.moves for c in found] != sorted(c.moves for c in found)  # drawn at random
    assert [c.moves for c in proposed(pool, leader)] == [c.moves for c in proposed(pool, leader)]
    child = dataclasses.replace(found[0], name="convnet-found-9")
    again = [c.moves for c in proposed(pool, child, 100) if c.genotype != child.genotype]
    assert {moves[:-1] for moves in again if moves} == {child.moves}
    assert not child.changes_setting_of(dataclasses.replace(leader, name=START.parent))


def test_without_architectures_only_settings_and_baselines_are_tried() -> None:
    pool = make_pool("plan.architectures=false", data=DATA[:4])
    leader = pool.baselines()[0]
    variants = list(itertools.islice(pool.variants(leader, START, [leader]), 100))
    assert {c.origin for c in variants} == {BASELINE}
    assert {c.setting.name for c in variants} == {"default", "flip"}


@pytest.mark.parametrize(
    ("words", "second"), [((), "mlp-mlp_128+flip"), (("dataset.flip=true",), "mlp-mlp_128+lr_low")]
)
def test_the_user_decides_about_augmentation(words: tuple[str, ...], second: str) -> None:
    pool = make_pool(*words)
    assert proposed(pool, pool.baselines()[0])[0].name.rpartition("-")[0] == second


def test_no_setting_takes_back_a_change_of_the_leader() -> None:
    pool = make_pool()
    flipped = Setting("flip", {"dataset.flip": True, "mirror": True})
    leader = dataclasses.replace(pool.baselines()[0], setting=flipped)
    variants = list(itertools.islice(pool.variants(leader, START, [leader]), 30))
    names = [c.setting.name for c in variants if c.start == START]
    assert names[:2] == ["flip+lr_low", "flip+no_shift"]
    assert not any("no_flip" in name for name in names)


def test_a_setting_continues_the_training_of_the_leader_at_each_of_its_stages() -> None:
    pool = make_pool()
    leader = pool.baselines()[0]
    first = next(pool.variants(leader, START, [leader]))
    assert (first.setting.name, first.start) == ("flip", START)
    assert "flip" not in {
        c.setting.name for c in itertools.islice(pool.variants(leader, START, [leader, first]), 30)
    }
    known = [leader]
    while settings := [
        c for c in itertools.islice(pool.variants(leader, START, known), 30) if c.start == START
    ]:
        known += settings
    later = dataclasses.replace(START, stage=3)
    again = next(pool.variants(leader, later, known[:-1]))
    assert (again.setting, again.start) == (known[-1].setting, later)  # not tried before
    again = next(pool.variants(leader, later, known))
    assert (again.setting.name, again.start) == ("flip", later)


def test_variants_are_new_distinct_and_of_three_kinds() -> None:
    pool = make_pool()
    known = pool.baselines()
    leader = dataclasses.replace(known[0], setting=Setting("cutout", {"cutout": 2}))
    variants = proposed(pool, leader)
    assert len({c.key for c in [*known, *variants]}) == len(known) + len(variants)
    assert len({c.name for c in [*known, *variants]}) == len(known) + len(variants)
    setting, neighbor, other, *more = variants
    # After an augmentation, other settings wait until its effect is known.
    assert not any(c.start == START for c in more)
    assert (setting.genotype, setting.setting.name) == (leader.genotype, "cutout+flip")
    assert setting.setting.values == {"cutout": 2, "dataset.flip": True, "mirror": True}
    assert (neighbor.origin, neighbor.setting) == ("found", leader.setting)
    assert [c.start for c in (setting, neighbor, other)] == [START, Start(), Start()]
    space = pool.networks["mlp"].space
    ours, theirs = space.encode(neighbor.architecture), space.encode(leader.architecture)
    assert sum(ours.get(key) != theirs.get(key) for key in ours | theirs) in (1, 2)  # or a layer
    assert (other.genotype, other.setting) == (known[0].genotype, leader.setting)
    assert [c.name for c in variants] == [c.name for c in proposed(make_pool(), leader)]


def test_variants_end_when_there_are_no_more() -> None:
    pool = make_pool("space.widths=[64,128]", "space.cells=1", "plan.settings=false")
    first = pool.baselines()[0]
    variants = proposed(pool, first, 1000)
    assert 0 < len(variants) < 20
    assert list(pool.variants(first, START, [*pool.baselines(), *variants])) == []


def test_no_variant_changes_what_the_user_has_set() -> None:
    words = ("optimizer.lr=0.1", "optimizer.weight_decay=0", "dataset.crop=none", "cutout=0")
    pool = make_pool(*words)
    leader = pool.baselines()[0]
    variants = itertools.islice(pool.variants(leader, START, [leader]), 40)
    keys = {key for candidate in variants for key in candidate.setting.values}
    assert keys == {"dataset.flip", "mirror"}
    overrides = pool.networks["mlp"].overrides(values={"optimizer.lr": 0.5})
    assert "optimizer.lr=0.1" in overrides
    assert "optimizer.lr=0.5" not in overrides


def test_without_settings_only_architectures_change() -> None:
    pool = make_pool("plan.settings=false")
    assert [c.name for c in pool.baselines()] == BASELINES
    variants = proposed(pool, pool.baselines()[0])
    assert {c.setting.name for c in variants} == {"default"}
    assert {c.origin for c in variants} == {"found"}


def test_a_neighbor_that_is_a_baseline_is_named_so() -> None:
    pool = make_pool("plan.settings=false")
    leader = pool.baselines()[0]
    neighbor = next(pool.variants(leader, START, [leader]))
    networks = dataclasses.replace(pool.networks["mlp"], baselines={"known": neighbor.architecture})
    again = dataclasses.replace(pool, networks={"mlp": networks})
    assert neighbor.origin == "found"
    known = next(again.variants(leader, START, [leader]))
    assert (known.origin, known.genotype) == (BASELINE, neighbor.genotype)


def test_variants_keep_the_limits() -> None:
    limit = 30_000
    pool = make_pool(f"limit.macs={limit}")
    leader = pool.baselines()[0]
    networks = pool.networks["mlp"]
    variants = proposed(pool, leader, 40)
    neighbors = [c for c in variants if c.origin == "found"]
    assert neighbors
    assert all(
        networks.costs(c.architecture)["macs"] <= limit for c in [*pool.baselines(), *variants]
    )
    unlimited = [c for c in proposed(make_pool(), leader, 40) if c.origin == "found"]
    assert any(networks.costs(c.architecture)["macs"] > limit for c in unlimited)


def test_no_setting_doubles_the_macs_of_a_limited_network() -> None:
    for words, mirrored in ((), True), (("limit.macs=100000",), False):
        pool = make_pool(*words)
        flipped = proposed(pool, pool.baselines()[0])[0]
        assert flipped.setting.name == "flip"
        assert ("mirror" in flipped.setting.values) == mirrored


def test_a_setting_is_undone_only_if_the_training_goes_on() -> None:
    pool = make_pool()
    first = pool.baselines()[0]
    flipped = proposed(pool, first)[0]
    same = [c for c in proposed(pool, flipped, 40) if c.genotype == first.genotype]
    assert same
    assert all(c.setting.values or c.start == START for c in same)


def write_images(root: Path, side: int, count: int = 12) -> Path:
    for index in range(count):
        folder = root / ("even", "odd")[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (side + index, side), (20 * index, 0, 0)).save(folder / f"{index}.png")
    return root


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        (28, (28,)),
        (3, (5,)),
        (40, (32, 40)),
        (48, (32, 48)),
        (64, (32, 64)),
        (66, (32, 64, 66)),
        (100, (32, 64, 100)),
        (500, (32, 64, 128)),
    ],
)
def test_sizes_follow_from_the_side_of_the_images(side: int, expected: tuple[int, ...]) -> None:
    assert image_sizes(side) == expected


def test_the_side_is_the_median_of_the_readable_files(tmp_path: Path) -> None:
    write_images(tmp_path / "train", 40)
    (tmp_path / "train" / "odd" / "damaged.png").write_bytes(b"no image")
    (tmp_path / "train" / "odd" / "notes.txt").write_text("no image")
    assert median_side(tmp_path) == 40
    assert median_side(tmp_path / "missing") is None


def test_only_the_first_family_trains_on_larger_images() -> None:
    families = with_sizes(FAMILIES["images"], (32, 64, 100))
    small = families[: len(FAMILIES["images"])]
    assert [family.name for family in small] == [family.name for family in FAMILIES["images"]]
    assert {family.values["dataset.size"] for family in small} == {32}
    larger = [(family.name, family.values["dataset.size"]) for family in families[len(small) :]]
    assert larger == [(f"{small[0].name}_64px", 64), (f"{small[0].name}_100px", 100)]
    assert with_sizes(FAMILIES["images"], ()) == FAMILIES["images"]


def inputs_of_networks(
    root: Path, *overrides: str, dataset: str = "imagefolder"
) -> dict[str, tuple[int, int, int]]:
    config = compose("find", [f"dataset={dataset}", f"dataset.root={root}", *overrides])
    _, networks = make_networks(config)
    result = {}
    for name, own in networks.items():
        assert own.config.cutout == 0
        padding = own.config.dataset.padding  # type: ignore[attr-defined]
        result[name] = (*own.data.sample_shape[1:], padding)
    return result


def test_networks_train_on_their_sizes_with_fitting_augmentation(tmp_path: Path) -> None:
    root = write_images(tmp_path / "large", 64, 40)
    seen = inputs_of_networks(root)
    assert seen["convnet"] == (32, 32, 2)
    assert seen["convnet_64px"] == (64, 64, 4)
    assert set(inputs_of_networks(root, "dataset.size=16").values()) == {(16, 16, 1)}
    small = write_images(tmp_path / "small", 24, 40)
    assert set(inputs_of_networks(small).values()) == {(24, 24, 2)}


@pytest.mark.parametrize(
    ("sides", "smallest", "largest"),
    [((48, 48), (32, 32), (48, 48)), ((48, 40), (48, 40), (48, 40)), ((9, 9), (9, 9), (9, 9))],
)
def test_large_square_arrays_are_also_resized(
    sides: tuple[int, int], smallest: tuple[int, int], largest: tuple[int, int], tmp_path: Path
) -> None:
    np.save(tmp_path / "train_x.npy", np.random.default_rng(0).normal(size=(40, 1, *sides)))
    np.save(tmp_path / "train_y.npy", np.arange(40) % 2)
    seen = inputs_of_networks(tmp_path, dataset="challenge")
    assert seen["convnet"][:2] == smallest
    assert {size[:2] for size in seen.values()} == {smallest, largest}


def test_networks_for_one_size_share_the_pixels(tmp_path: Path) -> None:
    root = write_images(tmp_path, 64, 40)
    config = compose("find", ["dataset=imagefolder", f"dataset.root={root}"])
    with keep_data():
        facts, networks = make_networks(config)
        sources = {name: id(own.data.source) for name, own in networks.items()}
    assert sources["convnet"] != sources["convnet_64px"]
    assert facts.samples == 26  # 40 without a fifth for tests, and a fifth of the others


def test_the_erased_square_of_a_setting_fits_the_size_of_the_images() -> None:
    facts = DataFacts("images", 1000, 10, (3, 32, 32)).resized(96)
    assert facts == DataFacts("images", 1000, 10, (3, 96, 96))
    values = {"optimizer.lr": 0.1, "optimizer.weight_decay": 0.1, "dataset.flip": False}
    cutout = next(s for s in settings(facts, values, ()) if s.name == "cutout")
    assert cutout.values == {"cutout": 32}
