"""Coordinates of coarse pictures in which turning and mirroring only swaps coordinates and flips signs.

Folded at both middle lines, a picture falls into five kinds of patterns that no turn mixes: four that each position
keeps but for their sign, and pairs that a quarter turn swaps. Within each kind the axes are the principal ones of the
photographs at hand, so that the first coordinates hold most of a picture; what they leave is one number, its rest.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from tfrecord_tools.duplicates import COARSE_BYTES, COARSE_SIDE, positions

POSITIONS = 8
PLACES = positions(np.arange(COARSE_BYTES).reshape(1, COARSE_SIDE, COARSE_SIDE)).reshape(POSITIONS, COARSE_BYTES)
_FOUND = {places.tobytes(): index for index, places in enumerate(PLACES)}
# THEN[p, q]: the position that a picture is in when it was brought into p and then into q.
THEN = np.array([[_FOUND[first[then].tobytes()] for then in PLACES] for first in PLACES])
BACK = THEN.argmin(axis=1)  # the position that undoes each: 0 is the picture as it is
OPPOSITE = ((0, 2), (1, 3), (4, 6), (5, 7))  # positions that differ by half a turn: only the pairs change their sign
# The products of kinds, one picture's with another's, of which their product in each position is made.
PRODUCTS = ((0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (5, 4), (4, 5))
KINDS = 6  # four of one coordinate each, and the two halves of the pairs
_TRACE = 1e-7  # of energy, which every axis has along which a picture may be lit


@dataclasses.dataclass(frozen=True)
class Basis:
    """Axes of one kind after another: kinds 4 and 5 are partners, axis by axis.

    Attributes:
      axes: [1024, D] float32, orthonormal columns.
      kinds: [D] int, 0..5.
      energy: [D] share of the photographs' squared length along each axis; partners have the same.
      partner: [D] int, the axis that a quarter turn swaps it with; itself for kinds 0 to 3.
      swaps: [8, 6] bool, whether a position swaps the partners (alike for all kinds).
      signs: [8, 6] int, the sign of a kind's coordinate in each position, after the swap.
      table: [8, 8] int, how the products of kinds, `PRODUCTS`, make that of a picture in each position with another.
    """

    axes: np.ndarray
    kinds: np.ndarray
    energy: np.ndarray
    partner: np.ndarray
    swaps: np.ndarray
    signs: np.ndarray

    @functools.cached_property
    def table(self) -> np.ndarray:
        table = np.zeros((POSITIONS, len(PRODUCTS)), int)
        for row, signs, swaps in zip(table, self.signs, self.swaps, strict=True):
            row[:4] = signs[:4]
            for kind in (4, 5):
                row[PRODUCTS.index((9 - kind if swaps[kind] else kind, kind))] = signs[kind]
        return table

    def turned(self, coordinates: np.ndarray, position: int, chosen: np.ndarray) -> np.ndarray:
        """Returns the coordinates of pictures once they are brought into a position.

        Args:
          coordinates: [N, K] along the axes `chosen`, with partners together.
          chosen: [K] int, sorted indices of axes.
        """
        source = np.where(self.swaps[position][self.kinds[chosen]], self.partner[chosen], chosen)
        places = np.searchsorted(chosen, source)
        return coordinates[:, places] * self.signs[position][self.kinds[chosen]].astype(coordinates.dtype)


def find_basis(unit: np.ndarray, lit: np.ndarray) -> Basis:
    """Finds the axes; those along which no picture is lit are left out.

    Args:
      unit: [N, 1024] float, pictures of length 1, some thousands for good axes. Any give right answers.
      lit: [1024] bool, where any picture may differ from 0 in any position.
    """
    folded = _patterns()
    axes: list[np.ndarray] = []
    kinds: list[int] = []
    energy: list[float] = []
    for kind in range(KINDS - 1):
        halves = (kind,) if kind < 4 else (4, 5)
        parts = [unit @ folded[half] for half in halves]
        spread = sum(part.T @ part for part in parts) / (len(halves) * max(len(unit), 1))
        values, vectors = np.linalg.eigh(spread + _TRACE * (folded[kind].T * lit) @ folded[kind])
        kept = np.flatnonzero(values > _TRACE / 2)
        for half in halves:
            axes.append(folded[half] @ vectors[:, kept])
            kinds += [half] * len(kept)
            energy += values[kept].tolist()
    joined, of = np.concatenate(axes, axis=1), np.array(kinds)
    partner = np.arange(len(of))
    partner[of == 4], partner[of == 5] = np.flatnonzero(of == 5), np.flatnonzero(of == 4)
    swaps, signs = _action(joined, of)
    return Basis(joined.astype(np.float32), of, np.array(energy), partner, swaps, signs)


@functools.cache
def _patterns() -> list[np.ndarray]:
    """Returns the patterns of each kind, [1024, their number] each."""
    return _fold(np.eye(COARSE_BYTES))


def _fold(pictures: np.ndarray) -> list[np.ndarray]:
    """Returns the coordinates of [N, 1024] pictures along patterns of each kind; the patterns are orthonormal."""
    half = COARSE_SIDE // 2
    square = pictures.reshape(-1, COARSE_SIDE, COARSE_SIDE)
    left, right = square[:, :, :half], square[:, :, half:][:, :, ::-1]
    quarters = {}
    for across, columns in (("even", left + right), ("odd", left - right)):
        top, bottom = columns[:, :half], columns[:, half:][:, ::-1]
        quarters[across, "even"], quarters[across, "odd"] = (top + bottom) / 2, (top - bottom) / 2
    rows, columns = np.triu_indices(half, 1)
    kinds = []
    for both in ("even", "odd"):
        quarter = quarters[both, both]
        one, other = quarter[:, rows, columns], quarter[:, columns, rows]
        diagonal = quarter[:, range(half), range(half)]
        kinds += [np.concatenate([(one + other) / np.sqrt(2), diagonal], axis=1), (one - other) / np.sqrt(2)]
    kinds.append(quarters["even", "odd"].reshape(len(square), -1))
    kinds.append(quarters["odd", "even"].transpose(0, 2, 1).reshape(len(square), -1))
    return kinds


def _action(axes: np.ndarray, kinds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns, for each position and kind, whether partners are swapped, and the sign: read off one axis of a kind."""
    swaps, signs = np.zeros((POSITIONS, KINDS), bool), np.zeros((POSITIONS, KINDS), int)
    first = [axes[:, np.flatnonzero(kinds == kind)[0]] for kind in range(KINDS)]
    for position in range(POSITIONS):
        for kind, axis in enumerate(first):
            image = axis[PLACES[BACK[position]]]  # the axis along which a turned picture's coordinate was
            swaps[position, kind] = kind > 3 and abs(image @ axis) < 0.5
            signs[position, kind] = np.sign(np.rint(image @ first[9 - kind if swaps[position, kind] else kind]))
    return swaps, signs
