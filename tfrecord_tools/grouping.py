"""Which of many things belong together: union-find and equal texts, in a few bytes each.

Texts are told apart by digests of eight bytes where what follows from a mistake is harmless: among a million texts two
have the same one with a chance of 1 in 37 million. `equal_groups` compares the texts themselves.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np


def equal_groups(indices: Sequence[int] | np.ndarray, value: Callable[[int], str]) -> Iterator[list[int]]:
    """Yields the indices, ascending, whose value is the same, where two or more have it.

    Args:
      indices: ascending.
      value: of an index. It is asked for once of each, and again of those that may be alike.
    """
    digests = digests_of(value(int(index)) for index in indices)
    order = np.argsort(digests, kind="stable")
    starts = np.flatnonzero(np.diff(digests[order], prepend=digests[order[:1]] ^ np.uint64(1)) != 0)
    ends = np.append(starts, len(order))[1:]
    for start, end in zip(starts[ends - starts > 1], ends[ends - starts > 1], strict=True):
        by_value: dict[str, list[int]] = defaultdict(list)  # two values may share a digest of 8 bytes
        for place in order[start:end]:
            by_value[value(int(indices[place]))].append(int(indices[place]))
        yield from (group for group in by_value.values() if len(group) > 1)


def digest_of(text: str) -> int:
    """Returns a digest of eight bytes."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest())


def digests_of(texts: Iterable[str]) -> np.ndarray:
    """Returns [N] uint64."""
    return np.fromiter(map(digest_of, texts), np.uint64)


class Texts:
    """Which texts there are, and how often each; eight or sixteen bytes for each that is different."""

    def __init__(self, texts: Iterable[str]) -> None:
        digests = digests_of(texts)
        digests.sort()
        starts = np.flatnonzero(np.diff(digests, prepend=digests[:1] ^ np.uint64(1)) != 0)
        counts = np.diff(starts, append=len(digests))
        self._digests = digests[starts]
        self._counts = counts.astype(np.min_scalar_type(int(counts.max(initial=0))))

    def __len__(self) -> int:
        """Returns how many different ones there are."""
        return len(self._digests)

    def __contains__(self, text: object) -> bool:
        return isinstance(text, str) and self.count(text) > 0

    def count(self, text: str) -> int:
        """Returns how often a text is there."""
        digest = np.uint64(digest_of(text))
        place = int(np.searchsorted(self._digests, digest))
        there = place < len(self._digests) and self._digests[place] == digest
        return int(self._counts[place]) if there else 0

    @property
    def counts(self) -> np.ndarray:
        """How often each is there, [len] int, in no order that means anything."""
        return self._counts


class Lookup:
    """At which places of a list a text stands; twelve to sixteen bytes for each."""

    def __init__(self, texts: Iterable[str]) -> None:
        digests = digests_of(texts)
        order = np.argsort(digests, kind="stable")
        self._digests = digests[order]
        self._places = order.astype(np.min_scalar_type(len(order)))

    def places(self, text: str) -> list[int]:
        """Returns the places, ascending; the caller compares the texts, of which few have the same digest by chance."""
        digest = np.uint64(digest_of(text))
        start, stop = (int(np.searchsorted(self._digests, digest, side)) for side in ("left", "right"))
        return [int(place) for place in self._places[start:stop]]


def smallest_spellings(texts: Iterable[str]) -> Callable[[str], str]:
    """Returns what gives each text the smallest of those that differ from it in capitals only.

    Args:
      texts: gone through more than once.
    """
    folded = Texts(text.casefold() for text in _different(texts))
    if (folded.counts <= 1).all():
        return lambda text: text
    smallest: dict[str, str] = {}
    for text in texts:
        one = text.casefold()
        if folded.count(one) > 1:
            smallest[one] = min(smallest.get(one, text), text)
    return lambda text: smallest.get(text.casefold(), text)


def _different(texts: Iterable[str]) -> Iterator[str]:
    """Yields each text once, where it stands first."""
    digests = digests_of(texts)
    first = np.zeros(len(digests), bool)
    first[np.unique(digests, return_index=True)[1]] = True
    del digests
    return (text for text, new in zip(texts, first, strict=True) if new)


def components(nodes: Iterable[int], edges: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Returns the connected components, each sorted, in the order of their first nodes."""
    names = np.unique(np.fromiter(nodes, np.int64))
    places = {int(name): place for place, name in enumerate(names)}
    linked = ((places[first], places[second]) for first, second in edges)
    return [[int(names[place]) for place in group] for group in connected(len(names), linked)]


def connected(count: int, edges: Iterable[tuple[int, int]]) -> Iterator[np.ndarray]:
    """Yields the connected components of 0..count-1, each [n] int64 ascending, in the order of their first nodes."""
    parent = array("q", range(count))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for first, second in edges:
        one, other = root(first), root(second)
        parent[max(one, other)] = min(one, other)  # the root is the first node
    roots = np.fromiter((root(node) for node in range(count)), np.int64, count)
    order = np.argsort(roots, kind="stable")
    starts = np.flatnonzero(np.diff(roots[order], prepend=-1) != 0)
    ends = np.append(starts, count)[1:]
    for start, end in zip(starts, ends, strict=True):
        yield order[start:end]
