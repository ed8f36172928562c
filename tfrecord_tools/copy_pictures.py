"""The coarse pictures of photographs along their principal axes, and the comparison of each pair of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from tfrecord_tools.copy_basis import BACK, PLACES, POSITIONS, Basis, find_basis
from tfrecord_tools.copy_fields import ROWS, Choice, Fields, choose, rest_of
from tfrecord_tools.copy_links import Candidates
from tfrecord_tools.duplicates import COARSE_CORRELATION

NEEDED = COARSE_CORRELATION - 1e-4  # of a bound, which is a sum in float32
_SAMPLE = 4096  # photographs that the axes are made of
_REST = 0.2  # of the squared length of an average picture that its coordinates leave out
_COLUMNS = 4096
_STEPS = range(16, 65, 4)  # of which the best is chosen; see `copy_fields.choose`
# Nanoseconds, on one x86-64 core: a step of a comparison, and a pair that passes it. They only choose the steps.
_STEP, _PASSED = 0.07, 200.0


class Pictures:
    """The coarse pictures that are filled, along the principal axes; they go by their place among the filled ones."""

    def __init__(self, coarse: np.ndarray, filled: np.ndarray) -> None:
        self.coarse, self.filled = coarse, filled
        squares = [np.square(coarse[part], dtype=np.int64).sum(axis=1) for part in _parts(filled)]
        self.lengths = np.sqrt(np.concatenate(squares))
        lit = np.any([coarse[part].any(axis=0) for part in _parts(filled)], axis=0)
        lit = np.any(lit[PLACES], axis=0)
        step = -(-len(filled) // _SAMPLE)
        sample = np.arange(0, len(filled), step)
        self.basis: Basis = find_basis(coarse[filled[sample]] / self.lengths[sample, None], lit)
        self.choice = self._choose(sample)
        self.chosen = self._with(self.choice)
        self.short = np.empty((len(filled), len(self.chosen) + 1), np.float32)  # the last is the length of the rest
        for start in range(0, len(filled), _COLUMNS):
            self._shorten(np.arange(start, min(start + _COLUMNS, len(filled))), self.short[start : start + _COLUMNS])

    def _with(self, choice: Choice) -> np.ndarray:
        """Returns the indices of the axes of a choice and of those that hold the most of a picture."""
        energy = self.basis.energy
        first = np.argsort(-energy, kind="stable")
        count = int(np.searchsorted(energy[first].cumsum(), 1 - _REST)) + 1
        return np.union1d(np.union1d(first[:count], self.basis.partner[first[:count]]), choice.axes)

    def unit(self, start: int, stop: int) -> np.ndarray:
        """Returns [B, D] float32: all coordinates of pictures start..stop, of length 1."""
        return self._unit(np.arange(start, stop)) @ self.basis.axes

    def _unit(self, pictures: np.ndarray) -> np.ndarray:
        rows = self.coarse[self.filled[pictures]].astype(np.float32)
        return rows / self.lengths[pictures, None].astype(np.float32)

    def _shorten(self, pictures: np.ndarray, short: np.ndarray) -> None:
        short[:, :-1] = self._unit(pictures) @ self.basis.axes[:, self.chosen]
        short[:, -1] = rest_of(short[:, :-1])

    def _choose(self, sample: np.ndarray) -> Choice:
        """Returns the axes with which comparing takes the least time, tried on some of the pictures."""
        best = (np.inf, choose(self.basis, _STEPS[0]))
        self.chosen = self._with(choose(self.basis, _STEPS[-1]))
        short = np.empty((len(sample), len(self.chosen) + 1), np.float32)
        self._shorten(sample, short)
        for steps in _STEPS:
            choice = choose(self.basis, steps)
            passed = sum(len(row) for row, *_ in self._fields(short, choice).passing(0))
            cost = _STEP * steps + _PASSED * passed / (min(ROWS, len(short)) * len(short))
            best = min(best, (cost, choice), key=lambda tried: tried[0])
        return best[1]

    def _fields(self, short: np.ndarray, choice: Choice) -> Fields:
        return Fields(short, np.searchsorted(self.chosen, choice.axes), choice, self.basis, NEEDED)

    def turned(self, short: np.ndarray, position: int) -> np.ndarray:
        """Returns rows of `short` once they are brought into a position."""
        return np.concatenate([self.basis.turned(short[:, :-1], position, self.chosen), short[:, -1:]], axis=1)

    def pair_by_pair(self, on_progress: Callable[[int], None], workers: int = 1) -> Iterator[Candidates]:
        """Yields the pairs that may agree, in any position: once they pass by `choice`, by all coordinates.

        They come in the same order with any number of workers, which are threads: numpy lets them run at once.
        """
        fields = self._fields(self.short, self.choice)
        starts = iter(range(0, len(self.short), ROWS))
        flight: deque[tuple[int, Future[list[Candidates]]]] = deque()
        with ThreadPoolExecutor(workers) as pool:
            while True:
                while len(flight) < 2 * workers and (start := next(starts, None)) is not None:
                    flight.append((start, pool.submit(self._of_rows, fields, start)))
                if not flight:
                    return
                start, found = flight.popleft()
                yield from found.result()
                on_progress(min(ROWS, len(self.short) - start))

    def _of_rows(self, fields: Fields, start: int) -> list[Candidates]:
        """Returns the pairs that may agree of the ROWS pictures from `start` on, with those after them."""
        rows = self.short[start : start + ROWS]
        seen = np.stack([self.turned(rows, position) for position in range(POSITIONS)])
        found = []
        for passed in fields.passing(start):
            for begin in range(0, len(passed[0]), _COLUMNS):  # where all are alike, there are millions
                row, column, position = (part[begin : begin + _COLUMNS] for part in passed)
                kept = np.einsum("ij,ij->i", seen[position, row], self.short[column]) >= NEEDED
                found.append(ordered(start + row[kept], column[kept], position[kept]))
        return found

    def with_all(self, pictures: np.ndarray) -> Iterator[Candidates]:
        """Yields the pairs of some pictures with all that may agree, in any position."""
        for start in range(0, len(pictures), ROWS):
            rows = pictures[start : start + ROWS]
            for position in range(POSITIONS):
                seen = self.turned(self.short[rows], position)
                for other in range(0, len(self.short), _COLUMNS):
                    row, column = np.nonzero(seen @ self.short[other : other + _COLUMNS].T >= NEEDED)
                    yield ordered(rows[row], other + column, np.full(len(row), position))

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


def ordered(first: np.ndarray, second: np.ndarray, position: np.ndarray) -> Candidates:
    """Returns the pairs with the lower index first, which is the one that is brought into the position."""
    swapped = first > second
    apart = first != second
    position = np.where(swapped, BACK[position], position)
    return np.minimum(first, second)[apart], np.maximum(first, second)[apart], position[apart]


def _parts(filled: np.ndarray) -> Iterator[np.ndarray]:
    return (filled[start : start + _COLUMNS] for start in range(0, len(filled), _COLUMNS))
