"""The comparison of rounded coordinates finds each pair that the plain rule finds: the pairs, not only the groups."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from coarse_pictures import at_the_limit, correlation, crowd, stored, strangers
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrecord_tools import copy_fields
from tfrecord_tools.copy_basis import BACK, PLACES, POSITIONS, find_basis
from tfrecord_tools.copy_fields import COLUMNS, LANES, ROWS, Fields, choose
from tfrecord_tools.copy_pictures import NEEDED, Pictures
from tfrecord_tools.duplicates import COARSE_BYTES, COARSE_CORRELATION, COARSE_SIDE, coarse_pairs

Pair = tuple[int, int, int]


def listed(found: list[tuple[np.ndarray, ...]]) -> list[Pair]:
    return [pair for part in found for pair in zip(*(column.tolist() for column in part), strict=True)]


def found_by_fields(coarse: np.ndarray) -> set[Pair]:
    filled = np.flatnonzero(coarse.any(axis=1))
    if not len(filled):
        return set()
    told: list[int] = []
    pictures = Pictures(coarse, filled)
    found = listed([pictures.that_agree(pairs) for pairs in pictures.pair_by_pair(told.append)])
    assert sum(told) == len(filled)
    return {(int(filled[first]), int(filled[second]), position) for first, second, position in found}


def assert_the_same_pairs(coarse: np.ndarray) -> set[Pair]:
    """As the rule finds them, each in the same positions."""
    by_rule = listed(list(coarse_pairs(coarse, lambda _: None)))
    found = found_by_fields(coarse)
    assert found == set(by_rule)
    return found


def rings(count: int, rng: np.random.Generator) -> np.ndarray:
    """Pictures that all positions leave as they are."""
    drawn = strangers(count, rng)
    return stored(np.mean([drawn[:, places] for places in PLACES], axis=0) * 2)


def few_pixels(count: int, rng: np.random.Generator) -> np.ndarray:
    """One to four pixels, each -1 or 1: correlations of exactly 1, 0.71, 0.5, 0 and below."""
    made = np.zeros((count, COARSE_BYTES), np.int8)
    for picture in made:
        picture[rng.choice([0, 31, 5, 500, 1023], rng.integers(1, 5), replace=False)] = rng.choice([-1, 1])
    return made


def constant(count: int, rng: np.random.Generator) -> np.ndarray:
    return np.repeat(rng.integers(-127, 128, (count, 1)), COARSE_BYTES, axis=1).astype(np.int8)


def halves(count: int, rng: np.random.Generator) -> np.ndarray:
    """Half and half, one kind of pattern alone: sides, diagonals, quarters; and negatives of one another."""
    y, x = np.mgrid[:COARSE_SIDE, :COARSE_SIDE] - (COARSE_SIDE - 1) / 2
    patterns = np.sign([x, y, x * y, x**2 - y**2, x + y, x * y * (x**2 - y**2)])
    values = patterns.reshape(len(patterns), -1)[rng.integers(0, len(patterns), count)]
    return (values * rng.choice([-100, -1, 1, 127], (count, 1))).astype(np.int8)


FAMILIES = {
    "random": lambda count, rng: crowd("random", count, int(rng.integers(2**32)))[0],
    "clustered": lambda count, rng: crowd("clustered", count, int(rng.integers(2**32)))[0],
    "at the limit": lambda count, rng: at_the_limit(-(-count // 2), rng)[:count],
    "negatives": lambda count, rng: (stored(strangers(1, rng)) * rng.choice([-1, 1], (count, 1))).astype(np.int8),
    "copies": lambda count, rng: np.repeat(stored(strangers(1, rng)), count, axis=0),
    "noise": lambda count, rng: rng.integers(-127, 128, (count, COARSE_BYTES)).astype(np.int8),
    "nothing": lambda count, rng: np.zeros((count, COARSE_BYTES), np.int8),
    "rings": rings, "few pixels": few_pixels, "constant": constant, "halves": halves,
}  # fmt: skip


# Where nearly every pair is one, the plain rule takes its time.
CROWDED = ("constant", "copies", "noise", "halves")


@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=pytest.mark.slow if name in CROWDED else ()) for name in FAMILIES]
)
def test_the_pairs_of_a_family_are_those_of_the_rule(family: str):
    coarse = FAMILIES[family](ROWS + 70, np.random.default_rng(list(FAMILIES).index(family)))
    assert_the_same_pairs(coarse)


def test_pairs_at_the_very_limit_are_found_in_every_position_and_those_below_are_not():
    coarse = at_the_limit(320, np.random.default_rng(1))
    found = assert_the_same_pairs(coarse)
    own = {(first, second, position) for first, second, position in found if second == first + 320}
    back = [PLACES[position].argsort() for position in range(POSITIONS)]
    apart = []
    for index in range(320):
        position = index // 2 % POSITIONS
        turned = coarse[320 + index].astype(int)[back[position]]
        apart.append(correlation(coarse[index].astype(int), turned) - COARSE_CORRELATION)
        assert ((index, index + 320, position) in own) == (index % 2 == 0)
    assert max(np.abs(apart)) < 1e-4 and np.median(np.abs(apart)) < 1e-6 and min(np.abs(apart)) < 1e-8


@settings(max_examples=30, deadline=None)
@given(
    parts=st.lists(st.tuples(st.sampled_from(sorted(FAMILIES)), st.integers(1, 60)), min_size=1, max_size=4),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_pairs_of_any_mixture_are_those_of_the_rule(parts: list[tuple[str, int]], seed: int):
    rng = np.random.default_rng(seed)
    coarse = np.concatenate([FAMILIES[family](count, rng) for family, count in parts])
    assert_the_same_pairs(coarse[rng.permutation(len(coarse))])


@pytest.mark.parametrize("count", [1, 2, LANES - 1, LANES + 1, COLUMNS, COLUMNS + 1, ROWS, ROWS + 1, 2 * ROWS + 5])
def test_pairs_are_found_over_every_border(count: int):
    """A copy of the first, the middle and the last picture each: the borders of lanes, fields, rows and columns."""
    rng = np.random.default_rng(count)
    coarse = stored(strangers(count, rng))
    copied = coarse[[0, count // 2, count - 1]][:, PLACES[3]]
    found = assert_the_same_pairs(np.concatenate([coarse, copied]))
    assert {second for _, second, _ in found} >= {count, count + 1, count + 2}


@pytest.mark.parametrize("place", range(copy_fields.FIELDS))
def test_what_lies_in_the_other_fields_does_not_hide_a_pair(place: int):
    """Products of exactly the threshold, beside the largest and the smallest there can be: fields borrow and carry."""
    coarse = stored(strangers(ROWS + 1, np.random.default_rng(0)))
    pictures = Pictures(coarse, np.arange(len(coarse)))
    fields = pictures._fields(pictures.short, pictures.choice)
    most = math.ceil((copy_fields.scale_for(NEEDED) + 8) ** 2)
    assert most - fields.threshold + 1 < copy_fields.HALF, "else a product would run over into the next field"
    last, column = divmod(ROWS, COLUMNS)
    for others in itertools.product([-most, -1, 0, fields.threshold - 2, fields.threshold, most], repeat=2):
        products = [*others[:place], fields.threshold, *others[place:]]
        fields.still[:, 0, :-1] = fields.still[:, 1:] = fields.pairs[:] = 0
        fields.still[last, 0, 0, column] = 1
        for field, product in enumerate(products):
            first, inside = divmod(field * LANES, COLUMNS)
            fields.still[first, 0, 0, inside] = product
        passed = {row for row, other, _ in listed(list(fields.passing(0))) if other == ROWS}
        assert place * LANES in passed
        if min(products) >= 0:
            assert passed == {field * LANES for field, product in enumerate(products) if product >= fields.threshold}


@pytest.mark.parametrize("position", range(POSITIONS))
def test_errors_of_rounding_that_all_work_against_a_pair_do_not_lose_it(position: int, monkeypatch: pytest.MonkeyPatch):
    """Each coordinate is cut by half a step where the other picture's is large, and what is left out is parallel."""
    rng = np.random.default_rng(position)
    basis = find_basis(strangers(50, rng), np.ones(COARSE_BYTES, bool))
    choice = choose(basis, 30)
    axes = np.sort(choice.axes)
    scale = 250
    monkeypatch.setattr(copy_fields, "scale_for", lambda needed: scale)
    for part in np.linspace(0.3, 0.9, 20):  # of the length that the coordinates hold
        whole = np.rint(scale * np.sqrt(part) * unit(rng.normal(size=len(axes))) * [[1], [0.9]])
        whole[1] += np.rint(2 * rng.normal(size=len(axes)))
        exact = (whole + 0.49 * np.sign(whole[::-1])) / scale
        back = basis.turned(exact[:1], int(BACK[position]), axes)
        short = unit(rng.normal(size=(ROWS + 1, len(axes)))) * 0.7
        short[[5, ROWS]] = np.concatenate([back, exact[1:]])
        bound = exact[0] @ exact[1] + np.sqrt(np.prod(1 - np.square(exact).sum(axis=1)))
        fields = Fields(short, np.searchsorted(axes, choice.axes), choice, basis, float(bound) - 1e-9)
        passed = listed(list(fields.passing(0)))
        assert (5, ROWS, position) in passed


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_the_bounds_let_through_little_more_than_they_must():
    """Else the comparison of all coordinates would have the work, and find the same."""
    coarse = crowd("random", 1500, 3)[0]
    pictures = Pictures(coarse, np.flatnonzero(coarse.any(axis=1)))
    fields = pictures._fields(pictures.short, pictures.choice)
    passed = sum(len(row) for row, *_ in fields.passing(0))
    assert passed < 0.03 * ROWS * len(pictures.short)
    kept = np.concatenate([first for first, *_ in pictures.pair_by_pair(lambda _: None)])
    agree = np.concatenate([pictures.that_agree(pairs)[0] for pairs in pictures.pair_by_pair(lambda _: None)])
    assert len(kept) < len(agree) + 0.001 * len(coarse) ** 2 and NEEDED < COARSE_CORRELATION
