"""The coarse pictures of photographs along their principal axes, and the comparison of each pair of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tfrecord_tools.copy_basis import BACK, KINDS, OPPOSITE, PLACES, PRODUCTS, Basis, find_basis
from tfrecord_tools.copy_links import Candidates
from tfrecord_tools.duplicates import COARSE_CORRELATION

NEEDED = COARSE_CORRELATION - 1e-4  # of a bound, which is a sum in float32
_SAMPLE = 4096  # photographs that the axes are made of
_REST = 0.2  # of the squared length of an average picture that its coordinates leave out
_ROWS, _ACROSS, _COLUMNS = 256, 512, 4096


class Pictures:
    """The coarse pictures that are filled, along the principal axes; they go by their place among the filled ones."""

    def __init__(self, coarse: np.ndarray, filled: np.ndarray) -> None:
        self.coarse, self.filled = coarse, filled
        squares = [np.square(coarse[part], dtype=np.int64).sum(axis=1) for part in _parts(filled)]
        self.lengths = np.sqrt(np.concatenate(squares))
        lit = np.any([coarse[part].any(axis=0) for part in _parts(filled)], axis=0)
        lit = np.any(lit[PLACES], axis=0)
        step = -(-len(filled) // _SAMPLE)
        sample = slice(0, len(filled), step)
        unit = coarse[filled[sample]] / self.lengths[sample, None]
        self.basis: Basis = find_basis(unit, lit)
        self.axes = self.basis.axes
        first = np.argsort(-self.basis.energy, kind="stable")
        count = int(np.searchsorted(self.basis.energy[first].cumsum(), 1 - _REST)) + 1
        chosen = set(first[:count]) | set(self.basis.partner[first[:count]])
        self.chosen = np.array(sorted(chosen))
        self.short = np.empty((len(filled), len(self.chosen) + 1), np.float32)  # the last is the length of the rest
        for start in range(0, len(filled), _COLUMNS):
            stop = min(start + _COLUMNS, len(filled))
            coordinates = self.unit(start, stop)[:, self.chosen]
            self.short[start:stop, :-1] = coordinates
            self.short[start:stop, -1] = np.sqrt(np.maximum(1 - np.square(coordinates).sum(axis=1), 0))

    def unit(self, start: int, stop: int) -> np.ndarray:
        """Returns [B, D] float32: all coordinates of pictures start..stop, of length 1."""
        rows = self.coarse[self.filled[start:stop]].astype(np.float32)
        return (rows / self.lengths[start:stop, None].astype(np.float32)) @ self.axes

    def turned(self, short: np.ndarray, position: int) -> np.ndarray:
        """Returns rows of `short` once they are brought into a position."""
        return np.concatenate([self.basis.turned(short[:, :-1], position, self.chosen), short[:, -1:]], axis=1)

    def pair_by_pair(self, rows: np.ndarray, on_progress: Callable[[int], None]) -> Iterator[Candidates]:
        """Yields the pairs of `rows` with all pictures that may agree, in any position.

        Eight positions cost what 1.5 would: a position changes but the signs of the products of the kinds of axes, and
        the opposite one only those of the pairs of kinds.
        """
        kinds = self.basis.kinds[self.chosen]
        of = [np.flatnonzero(kinds == kind) for kind in range(KINDS)]
        of[0] = np.append(of[0], len(kinds))  # the rest counts as a kind that no position changes
        parts = [np.ascontiguousarray(self.short[:, columns]) for columns in of]
        everything = len(rows) == len(self.short)
        work = np.empty((12, _ROWS, _ACROSS), np.float32)
        for start in range(0, len(rows), _ROWS):
            part = rows[start : start + _ROWS]
            left = [kind[part] for kind in parts]
            for other in range(start if everything else 0, len(self.short), _ACROSS):
                right = [kind[other : other + _ACROSS].T for kind in parts]
                for first, second, position in _may_agree(left, right, self.basis, work):
                    yield ordered(part[first], other + second, np.full(len(first), position))
            on_progress(len(part))

    def that_agree(self, pairs: Candidates) -> Candidates:
        """Returns the pairs whose coarse pictures agree by the rule of `near_pairs`."""
        first, second, position = pairs
        kept = np.zeros(len(first), bool)
        for start in range(0, len(first), _COLUMNS):
            i, j = first[start : start + _COLUMNS], second[start : start + _COLUMNS]
            places = PLACES[position[start : start + _COLUMNS]]
            turned = np.take_along_axis(self.coarse[self.filled[i]], places, axis=1).astype(np.float32)
            sums = np.einsum("ij,ij->i", turned, self.coarse[self.filled[j]].astype(np.float32))  # whole: exact
            needed = COARSE_CORRELATION * self.lengths[i] * self.lengths[j]
            kept[start : start + _COLUMNS] = sums >= needed
        return first[kept], second[kept], position[kept]


def _may_agree(
    left: Sequence[np.ndarray], right: Sequence[np.ndarray], basis: Basis, work: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Yields (row, column, position) of the pairs whose bound reaches the threshold.

    Args:
      left, right: [R, K] and [K, C] coordinates of each kind.
      work: [12, R, C] float32, written over: fresh pages for each step would take longer than the sums.
    """
    work = work[:, : len(left[0]), : right[0].shape[1]]
    products, spare = work[:8], work[8:]
    for number, (mine, its) in enumerate(PRODUCTS):
        np.matmul(left[mine], right[its], out=products[number])
    _sum_and_difference(*products[:2], *spare[:2])
    _sum_and_difference(*products[2:4], *spare[2:])
    still = {(1, 1, 1): products[0], (1, -1, -1): products[1], (-1, 1, -1): products[2], (-1, -1, 1): products[3]}
    _sum_and_difference(spare[0], spare[2], still[1, 1, 1], still[1, -1, -1])
    _sum_and_difference(spare[1], spare[3], still[-1, 1, -1], still[-1, -1, 1])
    for position, opposite in OPPOSITE:
        signs = basis.signs[position]
        pair = products[6:8] if basis.swaps[position, 4] else products[4:6]
        (np.add if signs[4] == signs[5] else np.subtract)(pair[0], pair[1], out=spare[0])
        those = still[tuple(signs[1:4].tolist())]
        bound = np.abs(spare[0], out=spare[1])
        bound += those
        if bound.max() < NEEDED:
            continue
        row, column = np.nonzero(bound >= NEEDED)
        fixed, change = those[row, column], signs[4] * spare[0][row, column]
        for place, value in ((position, fixed + change), (opposite, fixed - change)):
            kept = value >= NEEDED
            yield row[kept], column[kept], place


def _sum_and_difference(one: np.ndarray, other: np.ndarray, total: np.ndarray, difference: np.ndarray) -> None:
    np.add(one, other, out=total)
    np.subtract(one, other, out=difference)


def ordered(first: np.ndarray, second: np.ndarray, position: np.ndarray) -> Candidates:
    """Returns the pairs with the lower index first, which is the one that is brought into the position."""
    swapped = first > second
    apart = first != second
    position = np.where(swapped, BACK[position], position)
    return np.minimum(first, second)[apart], np.maximum(first, second)[apart], position[apart]


def _parts(filled: np.ndarray) -> Iterator[np.ndarray]:
    return (filled[start : start + _COLUMNS] for start in range(0, len(filled), _COLUMNS))
