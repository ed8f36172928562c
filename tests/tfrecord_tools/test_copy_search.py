"""The fast search for copies against the rule that compares every pair: the same groups, in the whole and per side."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from coarse_pictures import crowd, mixed, stored, strangers
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrecord_tools import copy_links as linking
from tfrecord_tools.copies import count_copies
from tfrecord_tools.copy_basis import PLACES, POSITIONS, find_basis
from tfrecord_tools.copy_filters import GROUPS, Plan, both_pass, pass_filters, plan_filters
from tfrecord_tools.copy_links import Links, link
from tfrecord_tools.copy_pictures import Pictures
from tfrecord_tools.copy_search import copy_links, slice_of
from tfrecord_tools.duplicates import COARSE_BYTES, COARSE_SIDE, near_pairs
from tfrecord_tools.split import Fractions, assign, components, sides_of
from tfrecord_tools.spool import Fact

# Of copy_links: whole pictures, short coordinates of every pair, and those of pairs that filters choose.
WAYS = {"whole": {"few": 10**6}, "short": {"few": 0}, "filters": {"filtered": True}}


def reader(coarse: np.ndarray, other: np.ndarray):
    """Fine pictures: the coarse ones enlarged; noise where `other`, which nothing confirms."""

    def read(index: int) -> np.ndarray:
        if other[index]:
            return np.random.default_rng(index).integers(-100, 100, (64, 64)).astype(np.int8)
        return np.kron(coarse[index].reshape(COARSE_SIDE, COARSE_SIDE), np.ones((2, 2), np.int8))

    return read


def groups_of(count: int, pairs, sides: np.ndarray) -> list[list[list[int]]]:
    """The groups in the whole, those of all that stay, then those within each side alone."""
    found = [components(range(count), pairs)]
    for there in (sides >= 0, *(sides == side for side in np.unique(sides[sides >= 0]))):
        inside = set(np.flatnonzero(there).tolist())
        found.append(components(inside, [pair for pair in pairs if inside.issuperset(pair)]))
    return found


def assert_same_groups(coarse: np.ndarray, other: np.ndarray, sides: np.ndarray, way: str) -> None:
    told: list[int] = []
    read = reader(coarse, other)
    links = copy_links(coarse, read, sides, told.append, **WAYS[way])
    pairs = list(near_pairs(coarse, read, lambda _: None))
    assert groups_of(len(coarse), links, sides) == groups_of(len(coarse), pairs, sides)
    assert set(links) <= set(pairs) and len(links) == len(set(links))
    assert sum(told) == len(coarse) and min(told) >= 0


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["random", "clustered"])
def test_the_groups_are_those_of_the_rule(kind: str, way: str):
    coarse, other = crowd(kind, 700, seed=1)
    assert_same_groups(coarse, other, np.random.default_rng(2).integers(-1, 3, len(coarse)), way)


def test_any_number_of_workers_gives_the_same_links_in_the_same_order():
    coarse, other = crowd("clustered", 1500, seed=1)
    sides = np.random.default_rng(2).integers(-1, 3, len(coarse))
    told: list[int] = []
    one, several = (
        copy_links(coarse, reader(coarse, other), sides, told.append, workers=workers) for workers in (1, 3)
    )
    assert one == several and len(one) > 50 and sum(told) == 2 * len(coarse)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 60),
    kind=st.sampled_from(["random", "clustered"]),
    way=st.sampled_from(["whole", "short"]),
)
def test_small_sets_of_any_kind_give_the_groups_of_the_rule(seed: int, count: int, kind: str, way: str):
    coarse, other = crowd(kind, count, seed)
    sides = np.random.default_rng(seed).integers(-1, 3, count)
    assert_same_groups(coarse, other, sides, way)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["random", "clustered"])
@pytest.mark.parametrize("way", WAYS)
def test_the_groups_of_many_are_those_of_the_rule(kind: str, way: str):
    coarse, other = crowd(kind, 4000, seed=3)
    assert_same_groups(coarse, other, np.random.default_rng(4).integers(-1, 2, len(coarse)), way)


@pytest.mark.parametrize("way", WAYS)
def test_pictures_that_resemble_themselves_are_found_in_every_position(way: str):
    """Rings: all eight positions are alike, so that they pass a filter in all or in none."""
    rng = np.random.default_rng(5)
    base = strangers(300, rng)
    rings = np.mean([base[:40, places] for places in PLACES], axis=0)
    rings /= np.linalg.norm(rings, axis=1, keepdims=True)
    copies = mixed(rings, strangers(40, rng), np.full(40, 0.72))
    coarse = stored(np.concatenate([base, rings, copies]))
    assert_same_groups(coarse, np.zeros(len(coarse), bool), np.zeros(len(coarse), int), way)


def test_empty_sets_and_empty_pictures_have_no_copies():
    for count in (0, 1, 5):
        told: list[int] = []
        assert copy_links(np.zeros((count, COARSE_BYTES), np.int8), lambda _: None, [0] * count, told.append) == []
        assert sum(told) == count


@pytest.mark.parametrize("way", WAYS)
def test_copies_of_one_photograph_are_confirmed_once_each(way: str):
    """200 copies are 19,900 pairs; 199 confirmations say as much."""
    rng = np.random.default_rng(6)
    one = np.repeat(strangers(1, rng), 200, axis=0)
    coarse = stored(np.concatenate([mixed(one, strangers(200, rng), np.full(200, 0.95)), strangers(100, rng)]))
    read: list[int] = []

    def count(index: int) -> np.ndarray:
        read.append(index)
        return reader(coarse, np.zeros(300, bool))(index)

    links = copy_links(coarse, count, np.zeros(300, int), lambda _: None, **WAYS[way])
    assert components(range(200), links) == [list(range(200))] and len(links) == 199
    assert len(read) <= 2 * 220, "a few pairs beyond the 199 may be refused, not thousands confirmed again"


def test_the_chance_that_a_pair_is_missed_is_the_one_that_is_said():
    """Of pairs of a correlation at which about half are missed; each in a position of its own."""
    rng = np.random.default_rng(7)
    pairs, correlation, plan = 1000, 0.55, Plan(0.01, 2.3263, 300)
    one = strangers(pairs, rng)
    other = mixed(one, strangers(pairs, rng), np.full(pairs, correlation))
    position = rng.integers(0, POSITIONS, pairs)
    coarse = stored(np.concatenate([one, np.take_along_axis(other, PLACES[position], axis=1)]))
    pictures = Pictures(coarse, np.arange(2 * pairs))
    first, second = pass_filters(pictures.unit, 2 * pairs, pictures.basis, plan, 8, lambda _: None)
    missed = sum(not _meet(first, second, plan, index, index + pairs, int(position[index])) for index in range(pairs))
    expected = plan.missed(correlation)
    assert 0.2 < expected < 0.8
    assert abs(missed / pairs - expected) < 4 * np.sqrt(expected * (1 - expected) / pairs) + 0.02


def _meet(first, second, plan: Plan, one: int, other: int, position: int) -> bool:
    """Whether `one`, brought into the position, and `other` pass the same filters: said without `copy_search`."""

    # x passes c in position p where x . c_p is high: x turned by q passes it in p and then q.
    def turned(passed, photograph: int, turn: int) -> set[tuple[int, bytes]]:
        codes = passed.codes[passed.photographs == photograph]
        return {(int(code) // POSITIONS, PLACES[int(code) % POSITIONS][PLACES[turn]].tobytes()) for code in codes}

    both = [turned(passed, one, position) & turned(passed, other, 0) for passed in (first, second)]
    groups = [{int(plan.group(which)) for which, _ in each} for each in both]
    return bool(groups[0] & groups[1])


def test_the_law_of_two_normal_values_holds():
    rng = np.random.default_rng(9)
    one, rest = rng.normal(size=(2, 4_000_000))
    other = 0.7 * one + np.sqrt(1 - 0.49) * rest
    assert both_pass(1.5, 0.7) == pytest.approx(((one >= 1.5) & (other >= 1.5)).mean(), rel=0.02)
    assert both_pass(1.5, 0.0) == pytest.approx(both_pass(1.5, 1.0) ** 2, rel=1e-3)


@pytest.mark.parametrize("photographs", [120_000, 1_000_000])
def test_a_plan_misses_hardly_a_pair_at_the_threshold_and_none_above(photographs: int):
    plan = plan_filters(photographs)
    assert plan.missed(0.70) < 1e-3 and plan.missed(0.75) < 1e-4 and plan.missed(0.80) < 1e-5
    assert plan.filters >= GROUPS and plan.missed(0.1) > 0.9, "else strangers would all be compared"


@pytest.mark.parametrize("position", range(POSITIONS))
def test_a_position_swaps_coordinates_and_flips_signs(position: int):
    pictures = strangers(50, np.random.default_rng(10))
    basis = find_basis(pictures, np.ones(COARSE_BYTES, bool))
    assert np.allclose(basis.axes.T @ basis.axes, np.eye(COARSE_BYTES), atol=1e-5)
    coordinates = pictures @ basis.axes
    turned = pictures[:, PLACES[position]] @ basis.axes
    every = np.arange(COARSE_BYTES)
    assert np.allclose(basis.turned(coordinates, position, every), turned, atol=1e-6)
    some = np.array(sorted({*range(0, 300), *range(600, 620), *basis.partner[600:620].tolist()}))
    assert np.allclose(basis.turned(coordinates[:, some], position, some), turned[:, some], atol=1e-6)


def test_slices_of_rows_are_taken_in_order():
    row, values = slice_of(np.arange(100, 120), np.array([3, 5, 5, 17]), np.array([5, 5, 8, 20]))
    assert row.tolist() == [0, 0, 2, 2, 2, 3, 3, 3] and values.tolist() == [103, 104, 105, 106, 107, 117, 118, 119]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_split_by_links_is_the_split_by_all_pairs(data: st.DataObject):
    """Any pairs at all: where exact copies go, official splits and patients part what is linked."""
    count = data.draw(st.integers(2, 14))
    facts = [
        Fact(
            f"i{index:02d}", f"{index}.png", reason=data.draw(st.sampled_from(["", "", "", "", "bad"])),
            patient=f"p{data.draw(st.integers(0, count - 1))}", pixels=f"x{data.draw(st.integers(0, count - 1))}",
            split=data.draw(st.sampled_from([None, None, "train", "val", "test"])),
            labels={"grade": data.draw(st.sampled_from([0, 0, 0, 0, 1]))},
        )
        for index in range(count)
    ]  # fmt: skip
    index = st.integers(0, count - 1)
    drawn = data.draw(st.lists(st.tuples(index, index), max_size=30))
    # Pictures that agree in every pixel have the same small pictures, and a rejected one has none.
    alike = {frozenset((facts[one].pixels, facts[other].pixels)) for one, other in drawn}
    alike |= {frozenset((fact.pixels,)) for fact in facts}
    pairs = [
        (one, other)
        for one, other in itertools.combinations(range(count), 2)
        if frozenset((facts[one].pixels, facts[other].pixels)) in alike and not facts[one].reason + facts[other].reason
    ]
    order = data.draw(st.permutations(pairs))
    links = Links(sides_of(facts))
    found = tuple(np.array([pair[place] for pair in order], int) for place in range(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linking, "confirm", lambda *_: True)
        link([(*found, np.zeros(len(order), int))], lambda pairs: pairs, lambda index: index, links)
    by_links, by_pairs = (assign(facts, found, Fractions(0.2, 0.2), 0, ["grade"]) for found in (links.found, pairs))
    assert by_links == by_pairs
    assert count_copies(facts, links.found, by_links.splits) == count_copies(facts, pairs, by_pairs.splits)
