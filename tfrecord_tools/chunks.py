"""Which photographs stand together in a chunk of the spool, also where some came, went or changed since.

A chunk is a range of ids. The first plan of a build cuts the ids, in their order, into ranges of 32 photographs and
notes them beside the spool; a build that goes on keeps these ranges. So a photograph that is gone, new or listed
otherwise leaves every other chunk as it was, with the work that is in it.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from dr_edge.metadata import write_json
from tfrecord_tools.items import Item
from tfrecord_tools.versions import reader_of

CHUNK_ITEMS = 32
MOST_ITEMS = 2 * CHUNK_ITEMS  # of a range into which photographs came; beyond that it is cut again
NOTES, FRAMES, PICTURES = "chunk-{:06d}.json", "chunk-{:06d}.tfrecord", "chunk-{:06d}.pictures"
FILE = "chunks.json"  # in the staging directory: [number, first id] of each chunk
DIGEST_BYTES = 16

Range = tuple[int, str]  # number of a chunk, and the id from which on it takes items


class Chunks:
    """The items of a build in their chunks; half a byte for each item in memory.

    Attributes:
      items: sorted by id.
      numbers: of the chunks, by which their files are called, in the order of their ids.
    """

    def __init__(self, items: Sequence[Item]) -> None:
        """Cuts the items into chunks of 32, numbered from 0."""
        self.items = items
        self._starts = array("q", range(0, len(items), CHUNK_ITEMS))
        self.numbers = array("q", range(len(self._starts)))

    @classmethod
    def kept(cls, staging: Path, items: Sequence[Item]) -> Chunks:
        """Returns the items in the chunks that `staging` notes, which is told of new ones."""
        path = staging / FILE
        chunks = cls(items)
        before = _read(path) if path.is_file() else []
        if before:
            cut = list(_cut(items, before))
            chunks.numbers = array("q", (number for number, _, _ in cut))
            chunks._starts = array("q", (start for _, _, start in cut))
            now = [(number, first) for number, first, _ in cut]
        else:
            now = [(number, items[start].image_id) for number, start in enumerate(chunks._starts)]
        if now != before:
            write_json(path, now)
        return chunks

    def __len__(self) -> int:
        """Returns the number of chunks; some may hold no item any more."""
        return len(self.numbers)

    def part(self, place: int) -> Sequence[Item]:
        """Returns the items of the chunk at a place."""
        return self.items[self.span(place)]

    def span(self, place: int) -> slice:
        """Returns where the items of the chunk at a place stand among all."""
        return slice(self._starts[place], self._starts[place + 1] if place + 1 < len(self) else len(self.items))

    def size(self, place: int) -> int:
        """Returns how many items the chunk at a place holds."""
        span = self.span(place)
        return span.stop - span.start

    def find(self, item: int) -> tuple[int, int]:
        """Returns the number of the chunk of an item, and the item's place within it."""
        place = int(np.searchsorted(np.frombuffer(self._starts, np.int64), item, side="right")) - 1
        return self.numbers[place], item - self._starts[place]


def _read(path: Path) -> list[Range]:
    try:
        return [(int(number), str(first)) for number, first in json.loads(path.read_text(encoding="utf-8"))]
    except (TypeError, ValueError):  # damaged: cut anew; what stands in another range now is made again
        return []


def _cut(items: Sequence[Item], ranges: Sequence[Range]) -> Iterator[tuple[int, str, int]]:
    """Yields number, first id and start of each chunk: the ranges as they were, cut where many items came."""
    starts = [0]  # what comes before the first range belongs to it
    for place, item in enumerate(items):
        while len(starts) < len(ranges) and item.image_id >= ranges[len(starts)][1]:
            starts.append(place)
    starts += [len(items)] * (len(ranges) + 1 - len(starts))
    free = 1 + max(number for number, _ in ranges)
    for (number, first), start, end in zip(ranges, starts, starts[1:], strict=False):
        yield number, first, start
        if end - start > MOST_ITEMS:
            for place in range(start + CHUNK_ITEMS, end, CHUNK_ITEMS):
                yield free, items[place].image_id, place
                free += 1


def item_digest(item: Item) -> str:
    """Returns what is declared of an item, and the version of what reads it, as a digest: 32 hexadecimal digits.

    The bytes of its files are told apart by their own digests.
    """
    return hashlib.blake2b(f"{item} {reader_of(item.path)}".encode(), digest_size=DIGEST_BYTES).hexdigest()
