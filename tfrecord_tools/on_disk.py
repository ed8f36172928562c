"""Long lists in files without a name: a million rows of a table, or photographs, would fill the launcher's memory.

What stays in memory is where each value begins, eight bytes. The file ends with the process, however that ends.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import pickle
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any, Generic, TypeVar, overload

import numpy as np

T = TypeVar("T")
R = TypeVar("R")
WRITTEN_AT_ONCE = 1 << 16  # bytes
READ_AT_ONCE = 64  # values
RUN = 8192  # values that are sorted in memory
_place: ContextVar[Path | None] = ContextVar("place", default=None)


@contextlib.contextmanager
def beside(path: Path | None) -> Iterator[None]:
    """Lets the lists that are made inside lie on the disk of `path`, where that can be written.

    A directory for temporary files, where they lie otherwise, is often a part of the memory.
    """
    token = _place.set(path)
    try:
        yield
    finally:
        _place.reset(token)


class DiskList(Sequence[T]):
    """A list that grows at its end, and can be read while it does; of values that pickle."""

    def __init__(self, values: Iterable[T] = ()) -> None:
        self._place = _place.get()
        self._file: IO[bytes] | None = None  # until there is much to write
        self._ends = array("q", [0])
        self._waiting = bytearray()  # the end of it that is not written yet
        self.extend(values)

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None:
            self._file.close()  # type: ignore[union-attr]

    def append(self, value: T) -> None:
        """Adds a value."""
        data = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
        self._waiting += data
        self._ends.append(self._ends[-1] + len(data))
        if len(self._waiting) >= WRITTEN_AT_ONCE:
            self._write()

    def extend(self, values: Iterable[T]) -> None:
        """Adds values."""
        for value in values:
            self.append(value)
        if self._file is not None:  # so that several threads may read it
            self._write()

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            places = range(*index.indices(len(self)))
            if places.step == 1:
                return list(self.between(places.start, places.stop))
            return [self[place] for place in places]
        place = range(len(self))[index]
        return next(self.between(place, place + 1))

    def __iter__(self) -> Iterator[T]:
        return self.between(0, len(self))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(one == two for one, two in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def between(self, start: int, stop: int, at_once: int = READ_AT_ONCE) -> Iterator[T]:
        """Yields the values of places, some of them in memory at a time."""
        if self._waiting and self._file is not None:
            self._write()
        for first in range(start, stop, at_once):
            ends = self._ends[first : min(first + at_once, stop) + 1]
            if self._file is None:
                data = memoryview(bytes(self._waiting[ends[0] : ends[-1]]))
            else:
                data = memoryview(os.pread(self._file.fileno(), ends[-1] - ends[0], ends[0]))
            yield from (pickle.loads(data[a - ends[0] : b - ends[0]]) for a, b in itertools.pairwise(ends))

    def _write(self) -> None:
        if self._file is None:
            self._file = _nameless(self._place)
        data, at = bytes(self._waiting), self._ends[-1] - len(self._waiting)
        self._waiting.clear()
        while data:
            done = os.pwrite(self._file.fileno(), data, at)
            data, at = data[done:], at + done


class Seen(Sequence[R], Generic[T, R]):
    """A sequence as a function sees its values, or their places; nothing of that is kept."""

    def __init__(self, values: Sequence[T], see: Callable[[T], R]) -> None:
        self._values, self._see = values, see

    def __len__(self) -> int:
        return len(self._values)

    @overload
    def __getitem__(self, index: int) -> R: ...
    @overload
    def __getitem__(self, index: slice) -> list[R]: ...
    def __getitem__(self, index: int | slice) -> R | list[R]:
        if isinstance(index, slice):
            return [self._see(value) for value in self._values[index]]
        return self._see(self._values[index])

    def __iter__(self) -> Iterator[R]:
        return map(self._see, self._values)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(one == two for one, two in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]


class Chosen(Sequence[T]):
    """Some values of a sequence by their places: [N] int, or a range."""

    def __init__(self, values: Sequence[T], places: np.ndarray | range) -> None:
        self._values, self._places = values, places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self._values[int(place)] for place in self._places[index]]
        return self._values[int(self._places[index])]

    def __iter__(self) -> Iterator[T]:
        for start in range(0, len(self), READ_AT_ONCE):
            places = self._places[start : start + READ_AT_ONCE]
            if len(places) and int(places[-1]) - int(places[0]) == len(places) - 1:  # side by side: read at once
                yield from self._values[int(places[0]) : int(places[-1]) + 1]
            else:
                yield from (self._values[int(place)] for place in places)


def in_order(values: Iterable[T], key: Callable[[T], Any] | None = None) -> Iterator[T]:
    """Yields values in the order of their keys, as `sorted`; what is too much for the memory is sorted on the disk."""
    waiting = iter(values)
    run = sorted(itertools.islice(waiting, RUN), key=key)  # type: ignore[type-var,arg-type]
    following = next(waiting, _NONE)
    if following is _NONE:
        return iter(run)
    runs = DiskList(run)
    bounds = [0, len(runs)]
    waiting = itertools.chain([following], waiting)  # type: ignore[list-item]
    while run := sorted(itertools.islice(waiting, RUN), key=key):  # type: ignore[type-var,arg-type]
        runs.extend(run)
        bounds.append(len(runs))
    del run
    # Few of each run in memory: there may be hundreds of them.
    parts = (runs.between(start, stop, at_once=8) for start, stop in itertools.pairwise(bounds))
    return heapq.merge(*parts, key=key)  # type: ignore[type-var,arg-type]


_NONE: Any = object()


def _nameless(place: Path | None) -> IO[bytes]:
    """Returns an unnamed file in the first directory above `place` that is there, or in that of temporary files."""
    above = None if place is None else next((parent for parent in place.parents if parent.is_dir()), None)
    try:
        return tempfile.TemporaryFile(dir=above, buffering=0)
    except OSError:  # nothing may be written there; the build will say so where it must
        return tempfile.TemporaryFile(buffering=0)
