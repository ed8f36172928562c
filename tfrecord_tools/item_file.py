"""The items of a build on disk: a million of them would fill the launcher's memory."""

from __future__ import annotations

import os
import pickle
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, overload

from tfrecord_tools.items import Item

_READ_AT_ONCE = 1 << 20  # bytes


class ItemFile(Sequence[Item]):
    """Items in a file without a name, which ends with the process, however that ends; eight bytes each in memory."""

    def __init__(self, items: Iterable[Item], beside: Path) -> None:
        """Writes the items.

        Args:
          items: in their order.
          beside: a path; the file lies on its disk, where that can be written: a directory for temporary files is often
            a part of the memory.
        """
        self._file = _nameless(beside)
        self._ends = array("q", [0])
        with open(self._file.fileno(), "wb", closefd=False) as file:
            for item in items:
                data = pickle.dumps(item, protocol=pickle.HIGHEST_PROTOCOL)
                file.write(data)
                self._ends.append(self._ends[-1] + len(data))

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return [self._read(place) for place in range(*index.indices(len(self)))]
        return self._read(range(len(self))[index])

    def __iter__(self) -> Iterator[Item]:
        return (self._read(place) for place in range(len(self)))

    def _read(self, place: int) -> Item:
        start, end = self._ends[place : place + 2]
        return pickle.loads(os.pread(self._file.fileno(), end - start, start))


def _nameless(beside: Path) -> IO[bytes]:
    """Returns an unnamed file in the first directory above `beside` that is there, or in that of temporary files."""
    place = next((parent for parent in beside.parents if parent.is_dir()), None)
    try:
        return tempfile.TemporaryFile(dir=place)
    except OSError:  # nothing may be written there; the build will say so where it must
        return tempfile.TemporaryFile()
