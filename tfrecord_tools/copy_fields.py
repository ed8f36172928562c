"""Compares every pair of pictures in all eight positions: three whole-number products in each float64.

The coordinates of `copy_basis` are rounded to whole numbers. Three rows are written into one, as digits: the first, the
second times 2 ** 17, the third times 2 ** 34. One product with a column is then three of them, exactly, side by side in
the 52 bits of a float64, each in a field of 17 bits. To each a number is added, so that the upper bit of a field says
that the threshold is reached.

No pair is lost: what the coordinates leave out can add no more than the product of the lengths of what was left out, by
Cauchy and Schwarz, and neither can the errors of rounding. The threshold is lowered by that much.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from tfrecord_tools.copy_basis import KINDS, POSITIONS, Basis

FIELDS, WIDTH = 3, 17
HALF = 1 << (WIDTH - 1)
LANES = 128
ROWS, COLUMNS = FIELDS * LANES, 64  # compared in a step: its products stay in the second cache
_UNITS = np.exp2(WIDTH * np.arange(FIELDS))
_BITS = np.array([HALF << WIDTH * field for field in range(FIELDS)], np.uint64)
_ANY = _BITS.sum()
_ONE = 1.5 * 2.0**52  # from here to 2 ** 53 a float64 counts in ones
_BELOW = 0.2  # fields hold from minus this on: a correlation below is taken for one that reaches the threshold
_PIECE = 4096  # lanes: products of more than that OpenBLAS would divide among threads, which takes longer
_STEPS, _MANY = 32, 1 << 16  # steps, and lanes that passed, whose pairs are given out together at the latest


@dataclasses.dataclass(frozen=True)
class Choice:
    """The axes that are compared: [4, K] of kinds 0 to 3, -1 where there are no more, and [2, J] partners."""

    still: np.ndarray
    pairs: np.ndarray

    @property
    def axes(self) -> np.ndarray:
        return np.concatenate([self.still[self.still >= 0], self.pairs.ravel()])


def choose(basis: Basis, each: int) -> Choice:
    """Returns the axes that leave the least: `each` steps of one axis of kinds 0 to 3 each, or of one pair of partners.

    The two cost the same. Kind 0 gets two axes less: the rest and the threshold take their places.
    """
    kinds = [np.flatnonzero(basis.kinds == kind) for kind in range(KINDS - 1)]
    kinds = [axes[np.argsort(-basis.energy[axes], kind="stable")] for axes in kinds]

    def still(number: int) -> list[np.ndarray]:
        return [axes[: number - 2 * (kind == 0)] for kind, axes in enumerate(kinds[:4])]

    def held(number: int) -> float:
        pairs = 2 * basis.energy[kinds[4][: each - number]].sum()
        return float(pairs + sum(basis.energy[axes].sum() for axes in still(number)))

    number = max(range(2, each), key=held)
    rows = np.full((4, number), -1)
    for row, axes in zip(rows, still(number), strict=True):
        row[: len(axes)] = axes
    ours = kinds[4][: each - number]
    return Choice(rows, np.stack([ours, basis.partner[ours]]))


def scale_for(needed: float) -> int:
    """Returns what coordinates are multiplied by: the largest with which a field is wide enough.

    What a field holds counts from -_BELOW on: half a field up to the threshold, where the upper bit is set, and half of
    it for what lies above. One that falls below sets the upper bit as well, which costs a comparison, and borrows 1
    from the next field, for which 1 more is added to each.
    """
    return math.floor(math.sqrt(HALF / (needed + _BELOW)))


def rest_of(coordinates: np.ndarray) -> np.ndarray:
    """Returns [N]: the length of what is left out of pictures of length 1; never less than it is."""
    return np.sqrt(np.maximum(1 - np.square(coordinates).sum(axis=1), 0) + 1e-5)  # which float32 may have lost


class Fields:
    """All pictures as columns of whole numbers, and the rows that are made of them."""

    def __init__(self, short: np.ndarray, columns: np.ndarray, choice: Choice, basis: Basis, needed: float) -> None:
        """Rounds the coordinates.

        Args:
          short: [N, D] float32, coordinates of pictures of length 1.
          columns: of `short`, one for each of `choice.axes`.
          needed: the correlation that is looked for.
        """
        self.table = basis.table.astype(np.float64)
        self.blocks = -(-len(short) // COLUMNS)
        self.still = np.zeros((self.blocks, *choice.still.shape, COLUMNS))
        self.pairs = np.zeros((self.blocks, *choice.pairs.shape, COLUMNS))
        there = choice.still >= 0
        taken = np.count_nonzero(there)
        scale = scale_for(needed)
        error = length = 0.0
        for block in range(self.blocks):
            part = short[block * COLUMNS : (block + 1) * COLUMNS][:, columns].astype(np.float64)
            exact = scale * part
            whole = np.rint(exact)
            error = max(error, _longest(exact - whole))
            length = max(length, _longest(exact), _longest(whole))
            self.still[block, there, : len(part)] = whole[:, :taken].T
            self.pairs[block, ..., : len(part)] = whole[:, taken:].T.reshape(*choice.pairs.shape, len(part))
            self.still[block, 0, -2, : len(part)] = np.ceil(scale * rest_of(part))
        self.still[:, 0, -1] = 1
        self.threshold = math.ceil(scale**2 * needed - 2 * error * length)
        self.added = _ONE + float(((HALF - self.threshold + 1) * _UNITS).sum())

    def rows(self, start: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns [4, 128, K] and [2, 128, J]: the pictures from `start` on, three in one row."""
        packed = [
            np.tensordot(_UNITS, _from(part, start), (0, 2)).transpose(0, 2, 1).copy()
            for part in (self.still, self.pairs)
        ]
        packed[0][0, :, -1] = self.added
        return packed[0], packed[1]

    def passing(self, start: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yields (row, column, position) of the pairs of 384 pictures with those after them that may agree.

        Row `row` is picture start + row, in that position; a picture's pair with itself is among them, and one of two
        rows may come in both orders.
        """
        still, pairs = self.rows(start)
        pairs = np.stack([pairs, pairs[::-1]])
        products = np.empty((POSITIONS, LANES, COLUMNS))
        lanes = products.reshape(POSITIONS, -1)
        values = np.empty((POSITIONS, _PIECE))
        reached = np.empty(lanes.shape[1], np.uint64)
        found: list[tuple[int, np.ndarray, np.ndarray]] = []
        for block in range(start // COLUMNS, self.blocks):
            np.matmul(still, self.still[block], out=products[:4])
            np.matmul(pairs, self.pairs[block], out=products[4:].reshape(2, 2, LANES, COLUMNS))
            for piece in range(0, lanes.shape[1], _PIECE):
                part = slice(piece, piece + _PIECE)
                bits = np.matmul(self.table, lanes[:, part], out=values).view(np.uint64)
                np.bitwise_or.reduce(bits, axis=0, out=reached[part])
            hits = np.flatnonzero(np.bitwise_and(reached, _ANY, out=reached) != 0)
            if len(hits):
                found.append((block, hits, lanes[:, hits]))
            if len(found) >= _STEPS or sum(len(those) for _, those, _ in found) >= _MANY:
                yield self._which(found)
                found = []
        if found:
            yield self._which(found)

    def _which(self, found: list[tuple[int, np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns (row, column, position) of the pairs, from the block, the lanes and the products of each step."""
        products = np.concatenate([part for *_, part in found], axis=1)
        bits = (self.table @ products).view(np.uint64)
        reached = (bits & _BITS[:, None, None]) != 0
        place, which = np.divmod(np.flatnonzero(reached), products.shape[1])
        field, position = np.divmod(place, POSITIONS)
        lane = np.concatenate([lanes for _, lanes, _ in found])[which]
        block = np.repeat([block for block, *_ in found], [len(lanes) for _, lanes, _ in found])[which]
        row, column = np.divmod(lane, COLUMNS)
        return field * LANES + row, block * COLUMNS + column, position


def _from(blocks: np.ndarray, start: int) -> np.ndarray:
    """Returns [kinds, K, 3, LANES]: pictures from `start` on, zeros beyond the last."""
    first, place = divmod(start, COLUMNS)
    joined = np.concatenate(blocks[first : -(-(start + ROWS) // COLUMNS)], axis=2)[..., place : place + ROWS]
    filled = np.pad(joined, ((0, 0), (0, 0), (0, ROWS - joined.shape[2])))
    return filled.reshape(*filled.shape[:2], FIELDS, LANES)


def _longest(rows: np.ndarray) -> float:
    return math.sqrt(np.square(rows).sum(axis=1).max())
