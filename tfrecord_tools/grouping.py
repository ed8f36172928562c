"""Which of many things belong together: union-find and equal texts, in a few bytes each."""

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
    digests = np.fromiter((_digest(value(int(index))) for index in indices), np.uint64, len(indices))
    order = np.argsort(digests, kind="stable")
    starts = np.flatnonzero(np.diff(digests[order], prepend=digests[order[:1]] ^ np.uint64(1)) != 0)
    ends = np.append(starts, len(order))[1:]
    for start, end in zip(starts[ends - starts > 1], ends[ends - starts > 1], strict=True):
        by_value: dict[str, list[int]] = defaultdict(list)  # two values may share a digest of 8 bytes
        for place in order[start:end]:
            by_value[value(int(indices[place]))].append(int(indices[place]))
        yield from (group for group in by_value.values() if len(group) > 1)


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest())


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
