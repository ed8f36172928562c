"""Finds the groups of copies that `duplicates.near_pairs` finds, in a fraction of its time.

  links = copy_links(coarse, read_fine, sides, on_progress)

Every pair is compared, and none is lost, however many photographs there are. A comparison is of the first coordinates
along the principal axes (`copy_basis`), of three pairs at once in all positions (`copy_fields`): by Cauchy and Schwarz
the rest can add no more than the product of its lengths. What may reach the threshold by that is compared by more
coordinates, and then as `near_pairs` does it.

The time still grows with the square of the number. An exact search that left out pairs would have to know from other
pairs that they are far apart. Copies are up to 46 degrees apart, strangers mostly 74 to 90 in the best of eight
positions, with more than a hundred dimensions: the triangle inequality rules out none of them.

`filtered`: random filters say which pairs are compared (`copy_filters`), in less than quadratic time, which is less
time from about half a million photographs on. A pair at the very threshold, correlation 0.70, is then passed over with
a chance of 1 in 3,500, one of 0.75 with 1 in 100,000 and one of 0.80 with 1 in ten million, more often where the two
resemble themselves turned or mirrored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tfrecord_tools.copy_basis import BACK, POSITIONS, THEN
from tfrecord_tools.copy_filters import GROUPS, Plan, pass_filters, plan_filters
from tfrecord_tools.copy_links import Candidates, Links, link
from tfrecord_tools.copy_pictures import NEEDED, Pictures, ordered
from tfrecord_tools.duplicates import coarse_pairs

FEW = 512  # photographs, up to which the search for axes would take longer than it saves
_LIKE_ITSELF = 0.8  # correlation with its own mirrored or turned picture; see `_like_themselves`
_ROWS, _COLUMNS = 256, 4096
_SEED = 20261130  # of the filters: the same photographs give the same links
_HASHING = 0.3  # of the time, for the progress bar


def copy_links(
    coarse: np.ndarray,
    read_fine: Callable[[int], np.ndarray],
    sides: Sequence[int] | np.ndarray,
    on_progress: Callable[[int], None],
    few: int = FEW,
    filtered: bool = False,
    workers: int = 1,
) -> list[tuple[int, int]]:
    """Returns links (i, j), i < j, that connect copies: the same groups as all pairs of `near_pairs`.

    Args:
      coarse: [N, 1024] int8, zeros for a rejected photograph, which matches nothing.
      read_fine: gives the [64, 64] int8 picture of a photograph.
      sides: [N] int; the links within a side connect the copies of that side as all pairs within it would, and the
        links between those of 0 and more connect these as all pairs between them would.
      on_progress: told how many photographs are done.
      few: up to that many photographs whole coarse pictures are compared.
      filtered: random filters say what is compared: a pair may be passed over, see above.
      workers: threads that compare, without filters; any number gives the same links.
    """
    filled = np.flatnonzero(coarse.any(axis=1))
    on_progress(len(coarse) - len(filled))
    links = Links(np.asarray(sides)[filled])
    agree: Callable[[Candidates], Candidates] = _as_they_are
    if len(filled) <= (0 if filtered else few):
        pairs: Iterator[Candidates] = coarse_pairs(coarse[filled], on_progress)
    else:
        pictures = Pictures(coarse, filled)
        agree = pictures.that_agree
        if filtered:
            pairs = by_filters(pictures, links, plan_filters(len(filled)), on_progress)
        else:
            pairs = pictures.pair_by_pair(on_progress, workers)
    link(pairs, agree, lambda place: read_fine(int(filled[place])), links)
    return sorted((int(filled[first]), int(filled[second])) for first, second in links.found)


def _as_they_are(pairs: Candidates) -> Candidates:
    return pairs


def by_filters(
    pictures: Pictures, links: Links, plan: Plan, on_progress: Callable[[int], None]
) -> Iterator[Candidates]:
    """Yields the pairs that pass the same couple of filters and may agree."""
    count = len(pictures.short)
    yield from pictures.with_all(_like_themselves(pictures))
    told = _Told(count, on_progress)
    first, second = pass_filters(pictures.unit, count, pictures.basis, plan, _SEED, told.part(_HASHING))
    begins = second.group_starts(count, plan)
    first, starts = first.by_filter(plan.filters)
    search = told.part(1 - _HASHING, of=plan.filters)
    for which in range(plan.filters):
        entries = slice(starts[which], starts[which + 1])
        members, codes = first.photographs[entries].astype(np.intp), first.codes[entries]
        group = int(plan.group(which))
        theirs = slice_of(second.codes, begins[group::GROUPS][members], begins[group + 1 :: GROUPS][members])
        yield from _of_filter(pictures, links, members, codes % POSITIONS, *theirs)
        search(1)
    told.rest()


def slice_of(values: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns (row, values): the values from begins[row] to ends[row] of each row, one row after another."""
    counts = ends - begins
    row = np.repeat(np.arange(len(counts)), counts)
    offsets = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    return row, values[np.repeat(begins, counts) + offsets]


def _of_filter(
    pictures: Pictures, links: Links, members: np.ndarray, position: np.ndarray, row: np.ndarray, theirs: np.ndarray
) -> Iterator[Candidates]:
    """Yields the pairs of one filter of the first list that share one of its group of the second.

    Args:
      members: [M] the pictures that pass it, each in its `position`.
      row, theirs: [E] which member passes which filter of the second list, as 8 * filter + position.
    """
    seen = np.empty((len(members), pictures.short.shape[1]), np.float32)  # from the filter's position
    for place in range(POSITIONS):
        there = np.flatnonzero(position == place)
        seen[there] = pictures.turned(pictures.short[members[there]], BACK[place])
    keys = theirs // POSITIONS * POSITIONS + THEN[theirs % POSITIONS, BACK[position[row]]]
    order = np.argsort(keys, kind="stable")
    row = row[order]
    bounds = np.flatnonzero(np.diff(keys[order], prepend=-1, append=-1))
    for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        if stop - start > 1:
            yield from _of_couple(pictures, links, members, position, seen, row[start:stop])


def _of_couple(
    pictures: Pictures, links: Links, members: np.ndarray, position: np.ndarray, seen: np.ndarray, row: np.ndarray
) -> Iterator[Candidates]:
    """Yields the pairs of the members at `row`, which share a couple of filters."""
    count = len(row)
    if count > _ROWS:  # many copies of one photograph: what is linked is not compared again
        new = links.outside_largest(members[row])
        row, count = np.concatenate([row[new], row[~new]]), int(new.sum())
    both = seen[row]
    for start in range(0, count, _ROWS):
        left, right = np.nonzero(both[start : start + _ROWS] @ both[start:].T >= NEEDED)
        apart = left < right
        one, other = row[start + left[apart]], row[start + right[apart]]
        if len(one):
            yield ordered(members[one], members[other], THEN[BACK[position[one]], position[other]])


def _like_themselves(pictures: Pictures) -> np.ndarray:
    """Returns the pictures that resemble themselves turned or mirrored: they are compared with all.

    The products of such a picture with a filter go together in its positions: it passes in several of them or in none,
    and the chance of `Plan.missed` would not hold.
    """
    found = np.zeros(len(pictures.short), bool)
    for start in range(0, len(found), _COLUMNS):
        short = pictures.short[start : start + _COLUMNS]
        for position in range(1, POSITIONS):
            found[start : start + _COLUMNS] |= (short * pictures.turned(short, position)).sum(axis=1) >= _LIKE_ITSELF
    return np.flatnonzero(found)


class _Told:
    """Tells of a share of the work in photographs, so that all shares together are their number."""

    def __init__(self, count: int, on_progress: Callable[[int], None]) -> None:
        self.count, self.on_progress = count, on_progress
        self.done, self.told = 0.0, 0

    def part(self, share: float, of: int | None = None) -> Callable[[int], None]:
        """Returns what is told of a part of the work that has `of` steps; one for each photograph, if not given."""
        return lambda steps: self._add(share * steps * self.count / (of or self.count))

    def _add(self, amount: float) -> None:
        self.done += amount
        new = min(int(self.done), self.count) - self.told
        self.told += new
        self.on_progress(new)

    def rest(self) -> None:
        """Tells of what rounding left."""
        self._add(float(self.count))
