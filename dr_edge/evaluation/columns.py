"""Rows that come batch by batch, each column in one array from the start: joining parts would hold everything twice.

What would fill the memory (the features of a million images take 5 GB) lies in a file without a name, and the system
takes its pages back when it needs them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

LARGE = 1 << 28  # bytes; from here on a column lies on disk


class Columns:
    """Columns of numbers or texts, filled batch by batch."""

    def __init__(self, rows: int, beside: Path) -> None:
        """Takes the number of rows that are expected, and a directory on whose disk large columns may lie."""
        self._expected, self._beside = max(rows, 1), beside
        self._arrays: dict[str, np.ndarray] = {}
        self._filled = 0

    def add(self, part: Mapping[str, np.ndarray]) -> None:
        """Adds rows: name -> [B, ...] of every column."""
        count = len(next(iter(part.values())))
        for name, values in part.items():
            before = self._arrays.get(name)
            if before is None:
                self._arrays[name] = self._empty(max(self._expected, count), values)
            elif self._filled + count > len(before):  # more than was expected
                self._arrays[name] = self._empty(2 * (self._filled + count), values)
                self._arrays[name][: self._filled] = before[: self._filled]
            self._arrays[name][self._filled : self._filled + count] = values
        self._filled += count

    def joined(self) -> dict[str, np.ndarray]:
        """Returns name -> [N, ...]; {} where no row came."""
        return {name: array[: self._filled] for name, array in self._arrays.items()}

    def _empty(self, rows: int, like: np.ndarray) -> np.ndarray:
        """Returns an array of `rows` rows as those of `like`."""
        shape = (rows, *like.shape[1:])
        if like.dtype == object or int(np.prod(shape, dtype=np.int64)) * like.dtype.itemsize < LARGE:
            return np.empty(shape, like.dtype)
        place = self._beside if os.access(self._beside, os.W_OK) else None
        with tempfile.TemporaryFile(dir=place) as file:  # the mapping holds on to it
            return np.memmap(file, like.dtype, "w+", shape=shape)
