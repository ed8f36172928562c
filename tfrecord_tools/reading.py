"""Reads finished records back, one example at a time, without TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dr_edge.data.records import MISSING_LABEL, shard_paths
from dr_edge.data.wire import WireError, parse_example, read_frames


@dataclasses.dataclass(frozen=True)
class Example:
    """One example as it stands in a shard; pictures stay encoded until `picture` or `mask` is called.

    Attributes:
      features: feature name -> values, see `dr_edge.data.records`.
    """

    features: Mapping[str, Any]

    def text(self, name: str) -> str:
        """Returns a text feature such as "image/id"; "" where it is absent."""
        values = self.features.get(name, [b""])
        return values[0].decode("utf-8")

    def numbers(self, name: str) -> tuple[float, ...]:
        """Returns a numeric feature such as "image/crop_box"."""
        return tuple(float(value) for value in self.features[name])

    def label(self, name: str) -> int:
        """Returns a class index; -1 where it is missing."""
        return int(self.features.get(f"label/{name}", [MISSING_LABEL])[0])

    def names(self, kind: str) -> list[str]:
        """Returns the names of the masks or centres ("mask", "centre") that the example has."""
        return sorted(name.partition("/")[2] for name in self.features if name.startswith(f"{kind}/"))

    def picture(self, name: str = "image/encoded") -> np.ndarray:
        """Returns [S, S, 3] uint8 RGB of "image/encoded" or "image/photograph" (the same where that is absent)."""
        data = self.features.get(name, self.features["image/encoded"])[0]
        return cv2.cvtColor(_decode(data, cv2.IMREAD_COLOR, name), cv2.COLOR_BGR2RGB)

    def mask(self, name: str) -> np.ndarray:
        """Returns [S, S] bool."""
        return np.greater(_decode(self.features[f"mask/{name}"][0], cv2.IMREAD_GRAYSCALE, name), 127)


def _decode(data: bytes, flags: int, name: str) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if picture is None:
        raise ValueError(f"{name} does not decode. Check: python -m tfrecord_tools.verify RECORDS")
    return picture


def read_examples(records: Path, split: str) -> Iterator[Example]:
    """Yields the examples of a split in the order of its shards.

    Raises:
      ValueError: no shards, or a damaged one; says where.
    """
    for path in shard_paths(records, split):
        try:
            for _, data in read_frames(path):
                yield Example(parse_example(data))
        except WireError as err:
            raise ValueError(f"{path}: {err}. Check: python -m tfrecord_tools.verify {records}") from err
