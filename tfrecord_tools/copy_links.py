"""Which photographs are copies of one another, without each pair of them: a copy of a copy is known already.

The links that come out connect the same photographs as all pairs would: in the whole, among those that stay once exact
copies are set aside, and within each side of a split alone, which stays where the other sides are set aside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from tfrecord_tools.duplicates import confirm

Candidates = tuple[np.ndarray, np.ndarray, np.ndarray]  # i, j and the position of i, [M] each; i < j


class Links:
    """The links that were found, and what they connect."""

    def __init__(self, sides: Sequence[int] | np.ndarray) -> None:
        """Args: sides: of each photograph; below 0: it is set aside first, whatever it is linked to."""
        self.sides = np.asarray(sides)
        self.found: list[tuple[int, int]] = []
        self.whole, self.staying, self.within = (_Groups(len(self.sides)) for _ in range(3))

    def known(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Returns [M] bool: whether a link between two photographs would connect nothing new."""
        stay = (self.sides[first] >= 0) & (self.sides[second] >= 0)
        together = stay & (self.sides[first] == self.sides[second])
        levels = (
            np.where(together, self.within.of[each], np.where(stay, self.staying.of[each], self.whole.of[each]))
            for each in (first, second)
        )
        return np.equal(*levels)

    def join(self, first: int, second: int) -> None:
        """Adds a link."""
        self.found.append((first, second))
        self.whole.join(first, second)
        if self.sides[first] >= 0 and self.sides[second] >= 0:
            self.staying.join(first, second)
            if self.sides[first] == self.sides[second]:
                self.within.join(first, second)

    def outside_largest(self, photographs: np.ndarray) -> np.ndarray:
        """Returns [M] bool: False for those of the largest group there is; pairs of these connect nothing new."""
        groups = self.within.of[photographs]
        names, places, counts = np.unique(groups, return_inverse=True, return_counts=True)
        if len(names) == len(photographs):
            return np.ones(len(photographs), bool)
        return places != counts.argmax()


class _Groups:
    """The groups that links make; the smaller one takes the number of the larger, which costs little in all."""

    def __init__(self, count: int) -> None:
        self.of = np.arange(count)
        self.members: dict[int, list[int]] = {}

    def join(self, first: int, second: int) -> None:
        one, other = int(self.of[first]), int(self.of[second])
        if one == other:
            return
        groups = [self.members.pop(number, [number]) for number in (one, other)]
        if len(groups[0]) < len(groups[1]):
            one, groups = other, groups[::-1]
        self.of[groups[1]] = one
        self.members[one] = groups[0]
        self.members[one] += groups[1]


def link(
    candidates: Iterable[Candidates],
    agree: Callable[[Candidates], Candidates],
    read_fine: Callable[[int], np.ndarray],
    links: Links,
) -> None:
    """Links the candidates that are copies; what is known already is neither compared nor confirmed again.

    Args:
      candidates: pairs that may be copies; they may come several times.
      agree: returns those whose coarse pictures agree.
      read_fine: gives the [64, 64] int8 picture of a photograph.
    """
    refused: set[tuple[int, int, int]] = set()
    for pairs in candidates:
        new = ~links.known(*pairs[:2])
        if not new.any():
            continue
        first, second, position = agree(tuple(part[new] for part in pairs))
        for pair in zip(first.tolist(), second.tolist(), position.tolist(), strict=True):
            one, other, place = pair
            if pair in refused or links.known(np.array([one]), np.array([other]))[0]:
                continue
            if confirm(read_fine(one), read_fine(other), place):
                links.join(one, other)
            else:
                refused.add(pair)
